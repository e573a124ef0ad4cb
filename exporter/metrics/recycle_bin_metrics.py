"""Metric families of the recycle bin, which belong to no single job."""

from collections import Counter
from typing import Final

from exporter.metrics.family_types import Family, Kind, Samples, seconds, single
from exporter.metrics.views import FleetView


def _project_jobs(view: FleetView) -> Samples:
    if view.recycle_bin:
        names = (view.projects.get(job.project_id, job.project_id) for job in view.recycle_bin.jobs.values())
        for name, jobs in sorted(Counter(names).items()):
            yield (name,), jobs


def _oldest_deletion(view: FleetView) -> Samples:
    jobs = view.recycle_bin.jobs.values() if view.recycle_bin else ()
    return seconds(min((job.deleted_ms for job in jobs if job.deleted_ms is not None), default=None))


FLEET_FAMILIES: Final[tuple[Family[FleetView], ...]] = (
    Family(
        "codearts_build_recycle_bin_jobs",
        Kind.GAUGE,
        "Jobs in the recycle bin.",
        samples=lambda view: single(len(view.recycle_bin.jobs) if view.recycle_bin else None),
    ),
    Family(
        "codearts_build_recycle_bin_project_jobs",
        Kind.GAUGE,
        "Jobs in the recycle bin by project; a project whose name is unknown is shown by its id.",
        ("project",),
        _project_jobs,
    ),
    Family(
        "codearts_build_recycle_bin_retention_seconds",
        Kind.GAUGE,
        "How long a deleted job is kept in the recycle bin.",
        samples=lambda view: seconds(view.recycle_bin.retention_ms if view.recycle_bin else None),
    ),
    Family(
        "codearts_build_recycle_bin_oldest_deletion_timestamp_seconds",
        Kind.GAUGE,
        "Deletion time of the job that will be purged next; absent if the recycle bin is empty.",
        samples=_oldest_deletion,
    ),
    Family(
        "codearts_build_recycle_bin_last_read_timestamp_seconds",
        Kind.GAUGE,
        "When the recycle bin was last read; absent before that.",
        samples=lambda view: seconds(view.recycle_bin.read_ms if view.recycle_bin else None),
    ),
)
