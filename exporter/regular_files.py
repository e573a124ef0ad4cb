"""Regular files, read up to a limit."""

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO, Final

NOT_REGULAR: Final = "it is not a regular file"


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file for reading; never wait for the other end of a pipe, or read from a device.

    Raises:
        OSError: it cannot be opened, or is not a regular file.
    """
    file = open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK))  # noqa: SIM115
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, NOT_REGULAR)
    return file


def read_bounded(path: Path, limit: int) -> bytes:
    """Read a whole regular file.

    Raises:
        OSError: it cannot be read, is not regular, or is larger than ``limit`` bytes.
    """
    with open_regular(path) as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
    return content


def os_reason(error: OSError) -> str:
    """Return the system's message without the file's name."""
    return error.strerror or type(error).__name__
