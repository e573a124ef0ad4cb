"""What the configuration and the files that it names are made of; reading is bounded in size."""

import errno
import os
import re
from pathlib import Path
from typing import Final

CONTROL_CHARACTERS: Final = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
"""What no value has: controls, line breaks among them, and bytes that are not Unicode."""


def read_bounded(path: Path, limit: int) -> bytes:
    """Read a whole file.

    Raises:
        OSError: the file cannot be read, or is larger than ``limit`` bytes.
    """
    with path.open("rb") as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
    return content


def why(error: OSError) -> str:
    """Say in the system's words why a file cannot be read, without its name."""
    return error.strerror or type(error).__name__
