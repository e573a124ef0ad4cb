"""Durations, ages, sizes, times and lists as people read them. Pure; imports nothing of the project."""

import difflib
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Final

UNKNOWN: Final = "–"

_SPACE: Final = "\N{NO-BREAK SPACE}"
_EPOCH: Final = datetime.fromtimestamp(0, UTC)
_UNITS: Final = (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1))


def length(value_ms: int | None) -> str:
    """Format a duration in its two largest units: ``4.2 s``, ``3 min 12 s``, ``2 h 5 min``."""
    if value_ms is None:
        return UNKNOWN
    if value_ms < 10_000:
        return f"{max(0, value_ms) / 1000:.1f}{_SPACE}s"
    seconds = round(value_ms / 1000)
    largest = next(index for index, (_, size) in enumerate(_UNITS) if seconds >= size)
    parts: list[str] = []
    for unit, size in _UNITS[largest : largest + 2]:
        number, seconds = divmod(seconds, size)
        parts += [f"{number}{_SPACE}{unit}"] if number else []
    return _SPACE.join(parts)


def age(value_ms: int | None) -> str:
    """Format an age in its largest unit: ``12 s``, ``4 min``, ``3 d``."""
    if value_ms is None:
        return UNKNOWN
    seconds = max(0, value_ms) // 1000
    unit, size = next((step for step in _UNITS if seconds >= step[1]), _UNITS[-1])
    return f"{seconds // size}{_SPACE}{unit}"


def format_bytes(value: float | None) -> str:
    """Format bytes: ``812 B``, ``41 KB``, ``6.3 MB``."""
    if value is None:
        return UNKNOWN
    prefixes = iter("KMG")
    unit = "B"
    while value >= 999.5 and (prefix := next(prefixes, None)):
        value, unit = value / 1000, f"{prefix}B"
    return f"{value:.1f} {unit}" if unit != "B" and value < 10 else f"{value:.0f} {unit}"


def format_utc(value_ms: int | None) -> str:
    """Format a time as ``2026-01-02T03:04:05Z``; empty if there is none, or beyond the calendar."""
    if value_ms is None:
        return ""
    try:
        return (_EPOCH + timedelta(milliseconds=value_ms)).strftime("%Y-%m-%dT%H:%M:%SZ")
    except OverflowError:
        return ""


def plural(number: int, word: str) -> str:
    """Format a count: ``1 job``, ``1,000 jobs``."""
    return f"{number:,} {word}" if number == 1 else f"{number:,} {word}s"


def join_words(words: Iterable[str], last: str = "and") -> str:
    """Join as ``a, b and c``."""
    *head, tail = words
    return f"{', '.join(head)} {last} {tail}" if head else tail


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Find the known word that is most similar, if any is."""
    return next(iter(difflib.get_close_matches(word, list(known), n=1)), None)
