"""Jobs and period of a backfill, its end for each job, and what a running exporter already counts. Pure.

Times are milliseconds since the epoch. Samples lie on multiples of the step, so that days begin with one;
each job's last sample lies at its end, whether that is such a multiple or not.
"""

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, NamedTuple

from prometheus_client.openmetrics.parser import text_string_to_metric_families
from prometheus_client.samples import Sample
from pydantic import TypeAdapter

from exporter.backfill.builds import Known
from exporter.backfill.spool import Spool
from exporter.config import parse_duration
from exporter.errors import BackfillError
from exporter.model import DAY_MS, Job

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


class Border(NamedTuple):
    """The last builds of a past.

    Attributes:
        end_ms: what finished later is not of it, in milliseconds since the epoch by the service's clock.
        baseline: nor is what has a higher number; None where the moment alone tells.
    """

    end_ms: int
    baseline: int | None

    def includes(self, number: int, dated_ms: int) -> bool:
        """Whether a build is of the past."""
        return dated_ms <= self.end_ms and (self.baseline is None or number <= self.baseline)


@dataclass(frozen=True, slots=True)
class PastJob:
    """A job, and up to when its builds are brought back.

    Attributes:
        end_ms: when its last sample lies, in milliseconds since the epoch.
        baseline: the highest number that had finished when an exporter began to count, which was then.
    """

    job: Job
    end_ms: int
    baseline: int | None = None

    def border(self, known: Sequence[Known]) -> Border:
        """What is of its past: by numbers where they are told, as clocks may differ.

        The build of the baseline had finished when the exporter looked, so what finished before it had too.
        """
        finish_ms = next((one.dated_ms for one in known if one.number == self.baseline), None)
        if finish_ms is None or finish_ms - self.end_ms > DAY_MS:
            return Border(self.end_ms, self.baseline)
        return Border(max(self.end_ms, finish_ms), self.baseline)


_SINCE: Final = "codearts_build_builds_created"

_BASELINE: Final = "codearts_build_baseline_build_number"

_INFO: Final = "codearts_build_job_info"

_FAMILIES: Final = "|".join((_SINCE.removesuffix("_created"), _BASELINE, _INFO))

_OF_USE: Final = re.compile(
    rf"(?:{_SINCE}|{_BASELINE}|{_INFO})[{{ ]|# (?:TYPE|HELP) (?:{_FAMILIES}) |# EOF$".encode()
)

Names = tuple[str, str]


class Counted(NamedTuple):
    """A job, under the names that it is shown under.

    Attributes:
        since_ms: when counting began, in milliseconds since the epoch by the exporter's clock.
        baseline: the highest number that had finished then; None where none was known.
    """

    job: Job
    since_ms: int
    baseline: int | None


def counted(lines: Iterable[bytes]) -> dict[str, Counted]:
    """The jobs that it counts, by id.

    Args:
        lines: of OpenMetrics, which alone has ``_created``; without their ends.

    Raises:
        BackfillError: it is no exposition of this exporter.
    """
    since: dict[Names, int] = {}
    baselines: dict[Names, int] = {}
    jobs: list[Job] = []
    try:
        for sample in _samples(line for line in lines if _OF_USE.match(line)):
            if sample.name == _SINCE:
                since[_names(sample)] = _whole(sample.value * 1000)
            elif sample.name == _BASELINE:
                baselines[_names(sample)] = _whole(sample.value)
            else:
                project, name = _names(sample)
                ids = (sample.labels.get("job_id", ""), sample.labels.get("project_id", ""))
                jobs.append(Job(ids[0], name, project, ids[1]))
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise BackfillError(f"the exporter's metrics cannot be read: {error}") from None
    if not jobs:
        raise BackfillError(f"the exporter's metrics have no {_INFO}; does it watch any job?")
    named = ((job, (job.project, job.name)) for job in jobs)
    return {
        job.id: Counted(job, since[names], baselines.get(names)) for job, names in named if names in since
    }


def earliest(told: Iterable[Mapping[str, Counted]]) -> dict[str, Counted]:
    """Each job as that exporter tells of it which has counted it longest."""
    first: dict[str, Counted] = {}
    for counts in told:
        for job_id, one in counts.items():
            if job_id not in first or one.since_ms < first[job_id].since_ms:
                first[job_id] = one
    return first


def _samples(lines: Iterable[bytes]) -> Iterator[Sample]:
    text = "".join([f"{line.decode()}\n" for line in lines])
    for family in text_string_to_metric_families(text):
        yield from family.samples


def _names(sample: Sample) -> Names:
    return sample.labels.get("project", ""), sample.labels.get("job_name", "")


def _whole(value: float) -> int:
    if not math.isfinite(value):
        raise ValueError(f"{value} is no time or number")
    return round(value)


_REQUEST: Final = "request"

_PLAN: Final = "plan"


@dataclass(frozen=True, slots=True)
class Plan:
    """The jobs, each with its end, and the period that all of them lie in; ms since the epoch.

    Attributes:
        begun_ms: when it was settled.
    """

    jobs: tuple[PastJob, ...]
    start_ms: int
    end_ms: int
    begun_ms: int

    def period(self, step_ms: int) -> Period:
        """With a sample every ``step_ms``; it begins on a multiple of that."""
        return Period(self.start_ms // step_ms * step_ms, self.end_ms, step_ms)


_JSON: Final = TypeAdapter(Plan)


def planned(spool: Spool, request: str, settle: Callable[[], Plan]) -> tuple[Plan, bool]:
    """The plan that the spool holds, or a new one; and whether it was there before.

    Args:
        spool: holds the answers of one request.
        request: what was asked for, in any form that is the same for the same request.
        settle: makes the plan; called once for each spool.

    Raises:
        BackfillError: the spool is of another request, or there is no job to plan for; nothing is kept then.
    """
    kept = spool.recall(_PLAN)
    if kept is None:
        plan = settle()
        if not plan.jobs:
            raise BackfillError("no job is left whose past could be brought back")
        spool.note(_REQUEST, request)
        spool.note(_PLAN, _JSON.dump_json(plan).decode())
        return plan, False
    if spool.recall(_REQUEST) != request:
        raise BackfillError(
            f"{spool.path}: holds a backfill of other jobs or another time; "
            "repeat that command, choose another --output or --spool, or remove the file"
        )
    return _JSON.validate_json(kept), True
