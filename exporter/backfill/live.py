"""What a running exporter tells of itself: which jobs it watches, and from where on it counts each; pure."""

from typing import Final, NamedTuple

from prometheus_client.openmetrics.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from exporter.errors import BackfillError
from exporter.model import Job

_SINCE: Final = "codearts_build_builds_created"
_BASELINE: Final = "codearts_build_baseline_build_number"
_INFO: Final = "codearts_build_job_info"


class Counted(NamedTuple):
    """A job, under the names that it is shown under.

    Attributes:
        since_ms: when counting began, in milliseconds since the epoch by the exporter's clock.
        baseline: the highest number that had finished then; None where none was known.
    """

    job: Job
    since_ms: int
    baseline: int | None


def counted(exposition: str) -> dict[str, Counted]:
    """The jobs that it counts, by id.

    Args:
        exposition: OpenMetrics, which alone has ``_created``.

    Raises:
        BackfillError: it is no exposition of this exporter.
    """
    since: dict[tuple[str, str], int] = {}
    baselines: dict[tuple[str, str], int] = {}
    jobs: list[Job] = []
    try:
        samples = [one for family in text_string_to_metric_families(exposition) for one in family.samples]
    except ValueError as error:
        raise BackfillError(f"the exporter's metrics cannot be read: {error}") from None
    for sample in samples:
        if sample.name == _SINCE:
            since[_names(sample)] = round(sample.value * 1000)
        elif sample.name == _BASELINE:
            baselines[_names(sample)] = round(sample.value)
        elif sample.name == _INFO:
            project, name = _names(sample)
            ids = (sample.labels.get("job_id", ""), sample.labels.get("project_id", ""))
            jobs.append(Job(ids[0], name, project, ids[1]))
    if not jobs:
        raise BackfillError(f"the exporter's metrics have no {_INFO}; does it watch any job?")
    named = ((job, (job.project, job.name)) for job in jobs)
    return {
        job.id: Counted(job, since[names], baselines.get(names)) for job, names in named if names in since
    }


def _names(sample: Sample) -> tuple[str, str]:
    return sample.labels.get("project", ""), sample.labels.get("job_name", "")
