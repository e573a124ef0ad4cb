"""Jobs and period of a backfill, and its cutoff for each job. Pure.

Times are milliseconds since the epoch. Samples lie on multiples of the step, so that days begin with one;
each job's last sample lies at its end, whether that is such a multiple or not.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, NamedTuple

from exporter.backfill.past_build import KnownBuild
from exporter.config import parse_duration
from exporter.model import DAY_MS, Job

BLOCK_MS: Final = 2 * 3_600_000
"""promtool writes blocks of two hours, and reads a file once for each block that it overlaps."""

_FILE_LENGTHS_MS: Final = (12 * BLOCK_MS, 3 * BLOCK_MS, BLOCK_MS)

_FILE_SAMPLES: Final = 50_000
"""Limit of a file that promtool reads several times; reading it then costs about as much as starting."""


@dataclass(frozen=True, slots=True)
class Period:
    """Builds that finished after ``start_ms`` and until ``end_ms``, sampled every ``step_ms``."""

    start_ms: int
    end_ms: int
    step_ms: int

    def sample_times(self, first_ms: int, before_ms: int, end_ms: int) -> tuple[int, ...]:
        """Sample times from ``first_ms`` until before ``before_ms`` of a job that ends at ``end_ms``.

        All are whole seconds; the last one lies at most a second before the end.
        """
        last_ms = end_ms // 1000 * 1000
        start_ms = max(self.start_ms, -(-first_ms // self.step_ms) * self.step_ms)
        steps = range(start_ms, min(before_ms, last_ms + 1), self.step_ms)
        if max(first_ms, self.start_ms) <= last_ms < before_ms and last_ms % self.step_ms:
            return (*steps, last_ms)
        return tuple(steps)

    def chunks(self, series: int) -> list[tuple[int, int]]:
        """Split the period into one chunk (first, before) for each file.

        Chunks are aligned with blocks, and as long as a file of that many series stays small.
        """
        fits = (ms for ms in _FILE_LENGTHS_MS if series * (ms // self.step_ms) <= _FILE_SAMPLES)
        length_ms = next(fits, BLOCK_MS)
        first_ms = self.start_ms // length_ms * length_ms
        return [(ms, ms + length_ms) for ms in range(first_ms, self.end_ms + 1, length_ms)]


class Cutoff(NamedTuple):
    """The latest finish (by the service's clock) and the highest number of the builds in a backfill.

    Without a baseline only the time decides.
    """

    end_ms: int
    baseline: int | None

    def includes(self, number: int, dated_ms: int) -> bool:
        """Return whether a build belongs to the backfill."""
        return dated_ms <= self.end_ms and (self.baseline is None or number <= self.baseline)


@dataclass(frozen=True, slots=True)
class PastJob:
    """A job and the end of its backfill.

    Attributes:
        end_ms: time of its last sample.
        baseline: the highest number that had finished when an exporter began to count, at ``end_ms``.
        build_project_id: stands for the job in requests for records; empty if unknown.
        listed_number: number of the last build in a job list, read before the end; None if it did not say.
    """

    job: Job
    end_ms: int
    baseline: int | None = None
    build_project_id: str = ""
    listed_number: int | None = None

    def cutoff(self, known: Sequence[KnownBuild]) -> Cutoff:
        """Return the cutoff: by build number where there is a baseline, as clocks may differ.

        The baseline build had finished when the exporter looked, so all that finished before it had too.
        """
        finish_ms = next((build.dated_ms for build in known if build.number == self.baseline), None)
        if finish_ms is None or finish_ms - self.end_ms > DAY_MS:
            return Cutoff(self.end_ms, self.baseline)
        return Cutoff(max(self.end_ms, finish_ms), self.baseline)


@dataclass(frozen=True, slots=True)
class Plan:
    """The jobs, each with its end, and the period of all of them; made at ``begun_ms``."""

    jobs: tuple[PastJob, ...]
    start_ms: int
    end_ms: int
    begun_ms: int

    def period(self, step_ms: int) -> Period:
        """The period in steps of ``step_ms``; it begins on a multiple of the step."""
        return Period(self.start_ms // step_ms * step_ms, self.end_ms, step_ms)


def parse_time(text: str, now_ms: int) -> int:
    """Parse an age (``30d``) or a time such as ``2026-10-23`` or ``2026-10-23T08:00:00+08:00``.

    A time without a zone is UTC.

    Raises:
        ValueError: it is neither.
    """
    try:
        return now_ms - round(parse_duration(text) * 1000)
    except ValueError:
        pass
    try:
        if not re.match(r"\d{4}-\d{2}-\d{2}", text):
            raise ValueError
        time = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError("must be a duration such as 30d or a time such as 2026-10-23T08:00:00Z") from None
    if not 2000 <= time.year < 2100:
        raise ValueError("must be between the years 2000 and 2100")
    return round((time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp() * 1000)
