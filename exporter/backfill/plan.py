"""Jobs and period of a backfill, its cutoff for each job, and the jobs a running exporter counts. Pure.

Times are milliseconds since the epoch. Samples lie on multiples of the step, so that days begin with one;
each job's last sample lies at its end, whether that is such a multiple or not.
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, NamedTuple

from prometheus_client.openmetrics.parser import text_string_to_metric_families

from exporter.backfill.builds import KnownBuild
from exporter.config import parse_duration
from exporter.errors import BackfillError
from exporter.model import DAY_MS, Job

BLOCK_MS: Final = 2 * 3_600_000
"""promtool writes blocks of two hours, and reads a file once for each block that it overlaps."""

_FILE_LENGTHS_MS: Final = (12 * BLOCK_MS, 3 * BLOCK_MS, BLOCK_MS)

_FILE_SAMPLES: Final = 50_000
"""Limit of a file that promtool reads several times; reading it then costs about as much as starting."""

_CREATED: Final = "codearts_build_builds_created"
_BASELINE: Final = "codearts_build_baseline_build_number"
_INFO: Final = "codearts_build_job_info"
_FAMILIES: Final = "|".join((_CREATED.removesuffix("_created"), _BASELINE, _INFO))
_RELEVANT_LINE: Final = re.compile(
    rf"(?:{_CREATED}|{_BASELINE}|{_INFO})[{{ ]|# (?:TYPE|HELP) (?:{_FAMILIES}) |# EOF$".encode()
)


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
    """

    job: Job
    end_ms: int
    baseline: int | None = None
    build_project_id: str = ""

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


class CountedJob(NamedTuple):
    """A job that a running exporter counts, under the names it exposes.

    Counting began at ``since_ms`` by the exporter's clock; ``baseline`` is the highest number that had
    finished then, if any.
    """

    job: Job
    since_ms: int
    baseline: int | None


def running_exporter(lines: Iterable[bytes]) -> dict[str, CountedJob]:
    """Parse the OpenMetrics lines of a running exporter into the jobs it counts, by id.

    Raises:
        BackfillError: it is not an exposition of this exporter.
    """
    since: dict[tuple[str, str], int] = {}
    baselines: dict[tuple[str, str], int] = {}
    jobs: list[Job] = []
    try:
        text = "".join([f"{line.decode()}\n" for line in lines if _RELEVANT_LINE.match(line)])
        for sample in (s for family in text_string_to_metric_families(text) for s in family.samples):
            names = sample.labels.get("project", ""), sample.labels.get("job_name", "")
            if sample.name == _INFO:
                job_id, project_id = sample.labels.get("job_id", ""), sample.labels.get("project_id", "")
                jobs.append(Job(job_id, names[1], names[0], project_id))
            elif not math.isfinite(sample.value):
                raise ValueError(f"{sample.value} is neither a time nor a number")
            elif sample.name == _CREATED:
                since[names] = round(sample.value * 1000)
            else:
                baselines[names] = round(sample.value)
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise BackfillError(f"the exporter's metrics cannot be read: {error}") from None
    if not jobs:
        raise BackfillError(f"the exporter's metrics have no {_INFO}; does it watch any job?")
    named = ((job, (job.project, job.name)) for job in jobs)
    return {
        job.id: CountedJob(job, since[names], baselines.get(names)) for job, names in named if names in since
    }


def earliest(exporters: Iterable[Mapping[str, CountedJob]]) -> dict[str, CountedJob]:
    """Merge the jobs of several exporters; the one that has counted a job the longest wins."""
    merged: dict[str, CountedJob] = {}
    for counted_jobs in exporters:
        for job_id, counted in counted_jobs.items():
            if job_id not in merged or counted.since_ms < merged[job_id].since_ms:
                merged[job_id] = counted
    return merged


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
    if not re.match(r"\d{4}-\d{2}-\d{2}", text):
        raise ValueError("must be a duration such as 30d or a time such as 2026-10-23T08:00:00Z")
    time = datetime.fromisoformat(text)
    if not 2000 <= time.year < 2100:
        raise ValueError("must be between the years 2000 and 2100")
    return round((time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp() * 1000)
