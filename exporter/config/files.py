"""What the configuration and the files that it names are made of; reading is bounded in size."""

import errno
import os
import re
import stat
from pathlib import Path
from typing import BinaryIO, Final

CONTROL_CHARACTERS: Final = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
"""What no value has: controls, line breaks among them, and bytes that are not Unicode."""

NOT_REGULAR: Final = "it is not a regular file"


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file for reading; never wait for the other end of a pipe, or read from a device.

    Raises:
        OSError: it cannot be opened, or is not a regular file.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            raise OSError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, NOT_REGULAR)
        return os.fdopen(descriptor, "rb")
    except OSError:
        os.close(descriptor)
        raise


def read_bounded(path: Path, limit: int) -> bytes:
    """Read a whole regular file.

    Raises:
        OSError: the file cannot be read, is no regular file, or is larger than ``limit`` bytes.
    """
    with open_regular(path) as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
    return content


def why(error: OSError) -> str:
    """Say in the system's words why a file cannot be read, without its name."""
    return error.strerror or type(error).__name__
