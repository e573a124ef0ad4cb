"""What a long command tells on standard error while it goes on."""

import sys
from collections.abc import Iterable
from typing import Final

import click

from exporter.cli.terminal import warn
from exporter.doctor import plural

_TENTHS: Final = 10

_CLEARED: Final = "\r\x1b[K"
"""Empties the line of a terminal."""


def say(text: str) -> None:
    """A line; it takes the place of a bar, which is drawn anew below it."""
    warn(text, before=_CLEARED if sys.stderr.isatty() else "")


def follow(steps: Iterable[object], length: int, label: str) -> None:
    """Do all steps; a bar tells how far it is, or without a terminal a line for each tenth."""
    if sys.stderr.isatty():
        with click.progressbar(length=length, label=label, file=sys.stderr) as bar:
            for _ in steps:
                bar.update(1)
        return
    tenths = 0
    for done, _ in enumerate(steps, 1):
        if _TENTHS * done // length > tenths:
            tenths = _TENTHS * done // length
            say(f"{label}: {done:,} of {length:,}")


def takes(questions: int, per_minute: float) -> str:
    """So many questions, and how long they take if none has to be asked again."""
    minutes = questions / per_minute
    if minutes < 1:
        length = "less than a minute"
    else:
        length = f"at least {minutes / 60:.1f} hours" if minutes > 90 else f"at least {round(minutes)} min"
    return f"{plural(questions, 'question')}, {length} at {per_minute:g} a minute"
