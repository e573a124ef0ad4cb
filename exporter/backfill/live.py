"""What a running exporter tells of itself: which jobs it watches, and from where on it counts each; pure."""

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, NamedTuple

from prometheus_client.openmetrics.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from exporter.errors import BackfillError
from exporter.model import Job

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
