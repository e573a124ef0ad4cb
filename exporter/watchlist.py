"""Which jobs are watched, by which shard, and under which label values; pure."""

import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from exporter.config import Config
from exporter.model import Job

UNKNOWN_PROJECT = "unknown"
"""Label ``project`` of a job whose project nobody named."""

_SHOWN_OF_ID: Final = 8


def watched_jobs(config: Config) -> tuple[Job, ...]:
    """The jobs of a configuration, each with label values that no other job has.

    A job without a name is called by its id. Where two jobs would share project and name, both carry the
    beginning of their id behind the name, so that no series ever stands twice.
    """
    project_ids = {project.name: project.id for project in config.projects if project.name}
    return distinct(
        Job(
            id=job.id,
            name=job.name or job.id,
            project=job.project or UNKNOWN_PROJECT,
            project_id=project_ids.get(job.project or "", ""),
        )
        for job in config.jobs
    )


def distinct(jobs: Iterable[Job]) -> tuple[Job, ...]:
    """The same jobs, those renamed that share project and name with another."""
    given = tuple(jobs)
    shown: int | None = _SHOWN_OF_ID
    while len(taken := Counter((job.project, job.name) for job in given)) < len(given):
        given = tuple(
            job if taken[job.project, job.name] == 1 else replace(job, name=f"{job.name} ({job.id[:shown]})")
            for job in given
        )
        shown = None  # ids may begin alike, and a job may be called what another is renamed to
    return given


def in_shard(job_id: str, shard: int, total_shards: int) -> bool:
    """Whether a job belongs to a shard.

    Rendezvous hashing: a job goes to the shard whose name, hashed together with its id, comes out highest. So
    every exporter agrees without talking, and one shard more takes only its share from each of the others.
    """

    def weight(candidate: int) -> bytes:
        return hashlib.sha256(f"{job_id}/{candidate}".encode()).digest()

    return max(range(total_shards), key=weight) == shard
