"""Seconds since the epoch: how long credentials live, and how a moment is told."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

Clock = Callable[[], float]
"""Seconds since the epoch."""

MINUTE: Final = 60.0

_LONGEST_LIFE: Final = 24 * 60 * MINUTE  # what the service documents for tokens and temporary keys
_ASSUMED_LIFE: Final = 60 * MINUTE  # where an answer does not say, or says the impossible


def life(issued: object, expires: object, now: float) -> float:
    """Seconds; by the issuer's own clock where it told both times, so that ours may be wrong."""
    end = _epoch(expires)
    if end is None:
        return _ASSUMED_LIFE
    start = _epoch(issued)
    told = end - (now if start is None else start)
    return min(max(told, 1.0), _LONGEST_LIFE) if told > 0 else _ASSUMED_LIFE


def when(epoch: float) -> str:
    """As ``2026-01-02T03:04:05Z``."""
    return datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _epoch(value: object) -> float | None:
    try:
        moment = datetime.fromisoformat(value if isinstance(value, str) else "")
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
