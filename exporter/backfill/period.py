"""The stretch of time that is brought back, its samples and its files; pure.

Times are milliseconds since the epoch. Samples lie on multiples of the step, so that days begin with one;
each job's last sample lies at its end, whether that is such a multiple or not.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from exporter.config import parse_duration

HOUR_MS: Final = 3_600_000

BLOCK_MS: Final = 2 * HOUR_MS
"""promtool makes blocks of two hours, and reads a file once for each block that it touches."""

_FILE_LENGTHS_MS: Final = (12 * BLOCK_MS, 3 * BLOCK_MS, BLOCK_MS)
_FILE_SAMPLES: Final = 50_000
"""A file that is read several times holds no more than so many: to read them takes as long as to start."""


@dataclass(frozen=True, slots=True)
class Period:
    """What finished after ``start_ms`` and not after ``end_ms``, sampled every ``step_ms``."""

    start_ms: int
    end_ms: int
    step_ms: int

    @property
    def samples(self) -> int:
        """How many samples each series gets."""
        return len(self.moments(self.start_ms, self.end_ms + 1, self.end_ms))

    def moments(self, first_ms: int, before_ms: int, end_ms: int) -> tuple[int, ...]:
        """When the samples of a job lie that ends at ``end_ms``, from ``first_ms`` on and before another.

        All lie on whole seconds, the last one at most a second before the end.
        """
        last_ms = end_ms // 1000 * 1000
        start_ms = max(self.start_ms, -(-first_ms // self.step_ms) * self.step_ms)
        steps = range(start_ms, min(before_ms, last_ms + 1), self.step_ms)
        if max(first_ms, self.start_ms) <= last_ms < before_ms and last_ms % self.step_ms:
            return (*steps, last_ms)
        return tuple(steps)

    def chunks(self, series: int) -> list[tuple[int, int]]:
        """Neighbouring stretches, from and before, one for each file.

        They begin and end where blocks do: the longest that keep a file small.
        """
        fits = (ms for ms in _FILE_LENGTHS_MS if series * (ms // self.step_ms) <= _FILE_SAMPLES)
        length_ms = next(fits, BLOCK_MS)
        first_ms = self.start_ms // length_ms * length_ms
        return [(at_ms, at_ms + length_ms) for at_ms in range(first_ms, self.end_ms + 1, length_ms)]


def moment_ms(text: str, now_ms: int) -> int:
    """Read a moment: how long ago (``30d``), or a time as ``2026-10-23`` or ``2026-10-23T08:00:00+08:00``.

    A time without a zone is UTC.

    Raises:
        ValueError: it is neither.
    """
    try:
        return now_ms - round(parse_duration(text) * 1000)
    except ValueError:
        pass
    if not re.match(r"\d{4}-\d{2}-\d{2}", text):
        raise ValueError("neither a length of time, as 30d, nor a time, as 2026-10-23T08:00:00Z")
    told = datetime.fromisoformat(text)
    if not 2000 <= told.year < 2100:
        raise ValueError("not between the years 2000 and 2100")
    return round((told if told.tzinfo else told.replace(tzinfo=UTC)).timestamp() * 1000)


def file_name(first_ms: int) -> str:
    """What the file is called whose samples begin there; names sort by time."""
    return f"{datetime.fromtimestamp(first_ms / 1000, UTC):%Y-%m-%dT%H}.om"
