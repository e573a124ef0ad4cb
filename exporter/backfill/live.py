"""What a running exporter tells of itself: which jobs it watches, and since when it counts each; pure."""

from typing import Final

from prometheus_client.openmetrics.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from exporter.errors import BackfillError
from exporter.model import Job

_SINCE: Final = "codearts_build_builds_created"
_INFO: Final = "codearts_build_job_info"


def counted(exposition: str) -> dict[str, tuple[Job, int]]:
    """Jobs by id, and since when each is counted, in milliseconds since the epoch.

    Args:
        exposition: OpenMetrics, which alone has ``_created``.

    Raises:
        BackfillError: it is no exposition of this exporter.
    """
    since: dict[tuple[str, str], int] = {}
    jobs: list[Job] = []
    try:
        samples = [one for family in text_string_to_metric_families(exposition) for one in family.samples]
    except ValueError as error:
        raise BackfillError(f"the exporter's metrics cannot be read: {error}") from None
    for sample in samples:
        if sample.name == _SINCE:
            since[_names(sample)] = round(sample.value * 1000)
        elif sample.name == _INFO:
            project, name = _names(sample)
            ids = (sample.labels.get("job_id", ""), sample.labels.get("project_id", ""))
            jobs.append(Job(ids[0], name, project, ids[1]))
    if not jobs:
        raise BackfillError(f"the exporter's metrics have no {_INFO}; does it watch any job?")
    return {job.id: (job, since[job.project, job.name]) for job in jobs if (job.project, job.name) in since}


def _names(sample: Sample) -> tuple[str, str]:
    return sample.labels.get("project", ""), sample.labels.get("job_name", "")
