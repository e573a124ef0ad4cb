"""The start of a process: signals and standard streams, then slow imports, without garbage collection."""

import gc
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_hangups: list[int] = []


def prepare() -> None:
    """Set up streams, and signals that the parent process did not ignore; a second call changes nothing."""
    for number, handler in {signal.SIGTERM: _end, signal.SIGINT: _end, signal.SIGHUP: _note_hangup}.items():
        if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, handler)
    _open_streams()


def note_hangups() -> None:
    """Record SIGHUP from now on, for `hangup_came`."""
    signal.signal(signal.SIGHUP, _note_hangup)


def hangup_came() -> bool:
    """Return True if a SIGHUP arrived before reloading was possible."""
    return bool(_hangups)


def restore_hangup() -> None:
    """Let SIGHUP end the process, for commands that have nothing to reload."""
    if signal.getsignal(signal.SIGHUP) is _note_hangup:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        if _hangups:
            os.kill(os.getpid(), signal.SIGHUP)


@contextmanager
def slow_imports() -> Iterator[None]:
    """Import what a command needs; after that, Ctrl-C raises KeyboardInterrupt again, since it is caught."""
    with without_garbage_collection():
        yield
    if signal.getsignal(signal.SIGINT) is _end:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@contextmanager
def without_garbage_collection() -> Iterator[None]:
    """Do faster what makes many objects that stay: collections would walk them again and again."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def _note_hangup(number: int, _frame: FrameType | None) -> None:
    _hangups.append(number)


def _end(number: int, _frame: FrameType | None) -> None:
    """Die by the signal. The kernel ignores that for process 1, which exits with the usual code instead."""
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    os._exit(128 + number)


def _open_streams() -> None:
    """Occupy the descriptors 0, 1 and 2, so that no database or socket gets one of them.

    Writing to a closed standard output fails; a closed standard error drops what is written to it. Characters
    missing in the terminal's encoding are escaped.
    """
    for descriptor, mode in ((0, os.O_RDONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, mode)
    for name, descriptor in (("stdout", 1), ("stderr", 2)):
        stream = getattr(sys, name)
        if stream is None:
            stream = open(descriptor, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 (stays open)
            setattr(sys, name, stream)
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
