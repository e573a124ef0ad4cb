"""Seccomp filters that make system calls of a process fail: file locks, or new threads."""

import ctypes
import errno
import os
import struct
from collections.abc import Callable, Sequence
from typing import Final

import pytest

_NUMBERS: Final = {
    "x86_64": {"fcntl": 72, "clone": 56, "clone3": 435},
    "aarch64": {"fcntl": 25, "clone": 220, "clone3": 435},
}
_LOCKS: Final = (5, 6, 7, 36, 37, 38)
"""``F_GETLK``, ``F_SETLK``, ``F_SETLKW``, and those for open file descriptions."""

_LOAD, _IF_EQUAL, _RETURN = 0x20, 0x15, 0x06
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_SECOND_ARGUMENT: Final = 24
"""Offset in ``struct seccomp_data``; the number of the call is at 0."""


def no_locks() -> Callable[[], None]:
    """Return a ``preexec_fn`` that makes file locks fail, as on NFS without a lock service."""
    return _refusing(["fcntl"], errno.ENOLCK, _LOCKS)


def no_threads() -> Callable[[], None]:
    """Return a ``preexec_fn`` that makes new threads fail, as at a limit of processes."""
    return _refusing(["clone", "clone3"], errno.EAGAIN)


def _refusing(calls: Sequence[str], error: int, second: Sequence[int] = ()) -> Callable[[], None]:
    """Return a ``preexec_fn`` that installs a seccomp filter; without seccomp, the test is skipped."""
    numbers = _NUMBERS.get(os.uname().machine) if os.path.exists("/proc/sys/kernel/seccomp") else None
    if numbers is None:
        pytest.skip("this system cannot refuse system calls to a process")
    block = [(_RETURN, 0, 0, _ERRNO | error)]
    if second:
        choose = [(_IF_EQUAL, len(second) - index, 0, value) for index, value in enumerate(second)]
        block = [(_LOAD, 0, 0, _SECOND_ARGUMENT), *choose, (_RETURN, 0, 0, _ALLOW), *block]
    program = [(_LOAD, 0, 0, 0)]
    for call in calls:
        program += [(_IF_EQUAL, 0, len(block), numbers[call]), *block]
    program.append((_RETURN, 0, 0, _ALLOW))
    code = b"".join(struct.pack("HBBI", *step) for step in program)
    libc = ctypes.CDLL(None)

    def install_filter() -> None:
        class Program(ctypes.Structure):
            _fields_ = (("length", ctypes.c_ushort), ("code", ctypes.c_char_p))

        libc.prctl(38, 1, 0, 0, 0)
        if libc.prctl(22, 2, ctypes.byref(Program(len(program), code))):
            os._exit(99)

    return install_filter
