"""Prometheus's way of writing a length of time: ``30s``, ``5m``, ``1h30m``, ``7d``.

Source: https://prometheus.io/docs/prometheus/latest/configuration/configuration/ (``<duration>``).
"""

import re
from typing import Final

_MILLISECONDS: Final = {
    "y": 365 * 86_400_000,
    "w": 7 * 86_400_000,
    "d": 86_400_000,
    "h": 3_600_000,
    "m": 60_000,
    "s": 1_000,
    "ms": 1,
}
_DURATION: Final = re.compile("".join(f"(?:(?P<{unit}>[0-9]{{1,12}}){unit})?" for unit in _MILLISECONDS))
DURATION_PATTERN: Final = "0|(?=.)" + "".join(f"(?:[0-9]{{1,12}}{unit})?" for unit in _MILLISECONDS)
"""What `parse_duration` reads, save for the longest, as a pattern without names."""
_LONGEST: Final = 2**63 // 1_000_000  # Prometheus keeps nanoseconds in 64 bits: 292 years
_EXACT_ONLY: Final = ("y", "w", "d")


def parse_duration(text: str) -> float:
    """Read a duration.

    Args:
        text: units from the largest to the smallest, each once at most; or ``0``.

    Returns:
        Seconds.

    Raises:
        ValueError: ``text`` is no duration, or longer than 292 years.
    """
    if text == "0":
        return 0.0
    match = _DURATION.fullmatch(text)
    if not text or match is None:
        raise ValueError("not a duration")
    milliseconds = sum(int(match[unit] or 0) * size for unit, size in _MILLISECONDS.items())
    if milliseconds > _LONGEST:
        raise ValueError("longer than 292 years")
    return milliseconds / 1000


def format_duration(seconds: float) -> str:
    """Write a duration so that `parse_duration` reads the same to the millisecond.

    Years, weeks and days are used only where nothing remains, as in Prometheus: ``90m`` is ``1h30m``,
    ``30d`` stays ``30d``, and 36 hours are ``36h``.
    """
    rest = round(seconds * 1000)
    if rest == 0:
        return "0s"
    parts = []
    for unit, size in _MILLISECONDS.items():
        if rest >= size and not (unit in _EXACT_ONLY and rest % size):
            parts.append(f"{rest // size}{unit}")
            rest %= size
    return "".join(parts)
