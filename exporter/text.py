"""Plurals, sizes, durations and timestamps as people read them. Pure; imports nothing of the project."""

from datetime import UTC, datetime, timedelta
from typing import Final

NOTHING: Final = "–"
"""Stands for what is not known."""

_SPACE: Final = "\N{NO-BREAK SPACE}"

_EPOCH: Final = datetime.fromtimestamp(0, UTC)

_STEPS: Final = (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1))


def length(value_ms: int | None) -> str:
    """A duration in its two largest units: ``4.2 s``, ``3 min 12 s``, ``2 h 5 min``."""
    if value_ms is None:
        return NOTHING
    if value_ms < 10_000:
        return f"{max(0, value_ms) / 1000:.1f}{_SPACE}s"
    parts: list[str] = []
    left = round(value_ms / 1000)
    for unit, size in _STEPS:
        count, left = divmod(left, size)
        if count or parts:
            parts.append(f"{count}{_SPACE}{unit}" if count else "")
        if len(parts) == 2:
            break
    return _SPACE.join(part for part in parts if part)


def age(value_ms: int | None) -> str:
    """How long ago something was, in its largest unit: ``12 s``, ``4 min``, ``3 d``."""
    if value_ms is None:
        return NOTHING
    seconds = max(0, value_ms) // 1000
    unit, size = next((step for step in _STEPS if seconds >= step[1]), _STEPS[-1])
    return f"{seconds // size}{_SPACE}{unit}"


def size(value: float | None) -> str:
    """Bytes: ``812 B``, ``41 KB``, ``6.3 MB``."""
    if value is None:
        return NOTHING
    if value < 1000:
        return f"{value:.0f}{_SPACE}B"
    number, unit = (value / 1e3, "KB") if value < 999_500 else (value / 1e6, "MB")
    return f"{number:.1f}{_SPACE}{unit}" if number < 10 else f"{number:.0f}{_SPACE}{unit}"


def moment(value_ms: int | None) -> str:
    """A moment as ISO 8601 has it, UTC, to the second; empty where there is none or no calendar holds it."""
    if value_ms is None:
        return ""
    try:
        return (_EPOCH + timedelta(milliseconds=value_ms)).strftime("%Y-%m-%dT%H:%M:%SZ")
    except OverflowError:
        return ""


def count(number: int, one: str, many: str) -> str:
    """``1 job``, ``1,000 jobs``."""
    return f"{number:,}{_SPACE}{one if number == 1 else many}"


def plural(number: int, word: str) -> str:
    """As ``1 job`` or ``2 jobs``."""
    return f"{number:,} {word}" if number == 1 else f"{number:,} {word}s"


def in_bytes(size: int) -> str:
    """A size as a person reads it."""
    return f"{size / 1e9:,.1f} GB" if size >= 1e8 else f"{size / 1e6:,.1f} MB"


def minute(moment_ms: int) -> str:
    """A moment as a person reads it."""
    return f"{datetime.fromtimestamp(moment_ms / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"


def format_utc(epoch: float) -> str:
    """As ``2026-01-02T03:04:05Z``."""
    return datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
