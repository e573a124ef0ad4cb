"""The metrics that concern no single job."""

from collections import Counter
from typing import Final

from exporter.catalogue.families import Family, Kind, Samples, Snapshot, seconds


def _bin_size(snapshot: Snapshot) -> Samples:
    if snapshot.recycle_bin:
        yield (), len(snapshot.recycle_bin.jobs)


def _bin_projects(snapshot: Snapshot) -> Samples:
    if snapshot.recycle_bin:
        names = (
            snapshot.projects.get(job.project_id, job.project_id)
            for job in snapshot.recycle_bin.jobs.values()
        )
        for name, jobs in sorted(Counter(names).items()):
            yield (name,), jobs


def _bin_retention(snapshot: Snapshot) -> Samples:
    return seconds(snapshot.recycle_bin.retention_ms if snapshot.recycle_bin else None)


def _bin_oldest(snapshot: Snapshot) -> Samples:
    jobs = snapshot.recycle_bin.jobs.values() if snapshot.recycle_bin else ()
    return seconds(min((job.deleted_ms for job in jobs if job.deleted_ms is not None), default=None))


FLEET_FAMILIES: Final[tuple[Family[Snapshot], ...]] = (
    Family(
        "codearts_build_recycle_bin_jobs",
        Kind.GAUGE,
        "Jobs in the recycle bin.",
        (),
        _bin_size,
    ),
    Family(
        "codearts_build_recycle_bin_project_jobs",
        Kind.GAUGE,
        "Jobs in the recycle bin by project; a project whose name is not known shows its id.",
        ("project",),
        _bin_projects,
    ),
    Family(
        "codearts_build_recycle_bin_retention_seconds",
        Kind.GAUGE,
        "How long a deleted job is kept in the recycle bin.",
        (),
        _bin_retention,
    ),
    Family(
        "codearts_build_recycle_bin_oldest_deletion_timestamp_seconds",
        Kind.GAUGE,
        "Deletion time of the job that is purged next; absent when the recycle bin is empty.",
        (),
        _bin_oldest,
    ),
)
