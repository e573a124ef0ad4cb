"""Output to standard streams that may be closed or full, with secrets redacted; exit codes."""

import errno
import os
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Any, Final

import click

from exporter.errors import ExporterError
from exporter.redaction import clean

_STDOUT: Final = 1
_STDERR: Final = 2


def echo(text: str) -> None:
    """Print a line.

    Raises:
        ExporterError: standard output is full or closed.
    """
    echo_styled(clean(text))


def echo_styled(text: str) -> None:
    """Print a line that is redacted already and may contain colours.

    Raises:
        ExporterError: standard output is full or closed.
    """
    try:
        click.echo(text, file=sys.stdout)
    except (OSError, ValueError) as error:
        raise cannot_write(error) from None


def cannot_write(error: Exception) -> ExporterError:
    """Make the error for standard output; exit silently if its reader has closed the pipe."""
    _discard(_STDOUT)
    if isinstance(error, BrokenPipeError):
        raise SystemExit(1)
    return ExporterError(f"standard output: cannot write: {getattr(error, 'strerror', None) or error}")


def warn(text: str, *, before: str = "") -> None:
    """Print a line on standard error, if possible; ``before`` are control characters to send unchanged."""
    with suppress(OSError, ValueError):
        click.echo(before + clean(text), err=True, file=sys.stderr)


def warn_lines(text: str) -> None:
    """Print each line of a message on standard error, after the name of the program."""
    for line in text.splitlines():
        warn(f"codearts-build-exporter: {line}")


def exit_code(command: Callable[[], Any]) -> int | str | None:
    """Run a command and return its exit code, which is 1 if standard output cannot be written."""
    code: int | str | None = 0
    try:
        command()
    except SystemExit as exited:
        code = exited.code
    except OSError as error:
        _discard(_STDOUT)
        warn_lines(_reason(error))
        code = 1
    for stream, descriptor in ((sys.stdout, _STDOUT), (sys.stderr, _STDERR)):
        try:
            stream.flush()
        except (OSError, ValueError):
            _discard(descriptor)
            code = code or (1 if descriptor == _STDOUT else code)
    return code


def _discard(stream: int) -> None:
    """Drop the buffer of a broken standard stream, so that the exit stays silent."""
    with suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream)


def _reason(error: OSError) -> str:
    if error.errno == errno.EPIPE or not error.strerror:
        return str(error)
    return f"{error.filename}: {error.strerror}" if error.filename else error.strerror


def filter_tracebacks() -> None:
    """Redact tracebacks of the main thread, of other threads and of destructors."""

    def uncaught(
        kind: type[BaseException], error: BaseException, trace: TracebackType | None, where: str = ""
    ) -> None:
        text = where + "".join(traceback.format_exception(kind, error, trace))
        with suppress(OSError, ValueError):
            sys.stderr.write(clean(text, keep="\n"))
            sys.stderr.flush()

    def in_thread(args: threading.ExceptHookArgs) -> None:
        if args.exc_value is not None and not issubclass(args.exc_type, SystemExit):
            name = args.thread.name if args.thread else "unknown"
            uncaught(args.exc_type, args.exc_value, args.exc_traceback, f"Exception in thread {name}:\n")

    def unraisable(args: "sys.UnraisableHookArgs") -> None:
        if args.exc_value is not None:
            where = f"{args.err_msg or 'Exception ignored in'}: {args.object!r}\n"
            uncaught(args.exc_type, args.exc_value, args.exc_traceback, where)

    sys.excepthook, threading.excepthook, sys.unraisablehook = uncaught, in_thread, unraisable
