"""Which jobs are watched, by which shard, and under which label values; no I/O, no clock.

Jobs named one by one stay for ever. Jobs of a watched project come and go with its lists. They go at once
when a list shows them renamed or moved out of what is wanted, or when they lie in the recycle bin; else when
several whole lists in a row do not show them. Lists have been seen empty for a moment: an empty one counts
only from when the service denies the job itself.

The jobs of other shards are followed too, as far as lists show them, so that label values are distinct over
all shards.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from typing import Final

from exporter.config import Config, JobConfig, ProjectConfig
from exporter.model import Job, JobNames
from exporter.poller.job_state import JobState
from exporter.poller.tasks import Listing

UNKNOWN_PROJECT: Final = "unknown"
"""Label ``project`` of a job whose project nobody named."""

GONE_AFTER: Final = 3
"""A discovered job is dropped when so many whole lists of its project in a row did not show it."""

_SHOWN_OF_ID: Final = 8


class Watchlist:
    """The watched jobs of this process, and what the API calls them and those of other shards.

    Args:
        config: names jobs and projects.
        is_mine: whether a job belongs to this shard.

    Attributes:
        states: what the poller knows of each job that this process watches, by id.
    """

    def __init__(self, config: Config, is_mine: Callable[[str], bool] = lambda _: True) -> None:
        self._is_mine = is_mine
        self._named = {job.id: job for job in config.jobs}
        self._projects = {project.id: project for project in config.projects}
        self._names: dict[str, JobNames] = {}
        self._discovered: dict[str, int] = {}
        self._denied: set[str] = set()
        self._jobs: tuple[Job, ...] | None = None
        self._followed = frozenset(self._named)
        self.states = {job_id: JobState(job_id) for job_id in filter(is_mine, self._named)}

    @property
    def unnamed_projects(self) -> frozenset[str]:
        """Ids of projects that the label of some job waits for the name of."""
        waiting = (
            self.names(job.id) for job in self.jobs if job.project in (UNKNOWN_PROJECT, job.project_id)
        )
        return frozenset(names.project_id for names in waiting if names.project_id)

    @property
    def ids(self) -> frozenset[str]:
        """The jobs this process watches."""
        return frozenset(self.states)

    @property
    def discovered(self) -> frozenset[str]:
        """Those of them that no configuration names."""
        return frozenset(self.states).difference(self._named)

    @property
    def size(self) -> int:
        """How many jobs this process watches."""
        return len(self.states)

    @property
    def watched_projects(self) -> frozenset[str]:
        """Ids of the projects whose jobs are watched."""
        return frozenset(self._projects)

    @property
    def projects_of_jobs(self) -> frozenset[str]:
        """Ids of all projects that watched jobs are known to belong to; empty for one that is not known."""
        return frozenset(self.names(job_id).project_id for job_id in self.ids)

    @property
    def jobs(self) -> tuple[Job, ...]:
        """The watched jobs, each with label values that no other has, in this shard or another."""
        if self._jobs is None:
            everyone = distinct(self._job(job_id) for job_id in self._of_all_shards)
            self._jobs = tuple(job for job in everyone if job.id in self.states)
        return self._jobs

    @property
    def project_names(self) -> Mapping[str, str]:
        """What projects are called, by their ids.

        The configuration's ``projects`` win, then the API, whose word on gone jobs lasts until a restart. The
        label of a job is its own: it names a project only if nobody else does and no other label differs.
        """
        labels: dict[str, set[str]] = {}
        for job in self.jobs:
            asked = self._named.get(job.id)
            if job.project_id and asked and asked.project:
                labels.setdefault(job.project_id, set()).add(asked.project)
        agreed = {project_id: one for project_id, (one, *others) in labels.items() if not others}
        watched = self._of_all_shards
        latest_last = sorted(self._names.items(), key=lambda known: known[0] in watched)
        told = {
            names.project_id: names.project for _, names in latest_last if names.project_id and names.project
        }
        named = {project.id: project.name for project in self._projects.values() if project.name}
        return {**agreed, **told, **named}

    def names(self, job_id: str) -> JobNames:
        """What the API calls a job, as far as it has told."""
        return self._names.get(job_id, JobNames())

    def name_projects(self, names: Mapping[str, str]) -> None:
        """The API told the names of projects by their ids."""
        for job_id in self._of_all_shards:
            project_id = self.names(job_id).project_id
            if project_id in names:
                self.rename(job_id, JobNames(project=names[project_id]))

    def rename(self, job_id: str, names: JobNames) -> None:
        """The API told what it calls a job; what it left out stays as it was."""
        known = self.names(job_id)
        told = JobNames(
            names.name or known.name, names.project or known.project, names.project_id or known.project_id
        )
        if told != known:
            self._names[job_id] = told
            self._jobs = None

    def restore(self, names: Mapping[str, JobNames], gone: Collection[str] = ()) -> None:
        """Take up what was known before a restart: names, and the jobs that had been discovered.

        Args:
            names: of jobs, by id.
            gone: those that were dropped before; lists or the configuration bring them back.
        """
        for job_id, told in names.items():
            if job_id in self._named or (job_id not in gone and self._wants(told)):
                self.rename(job_id, told)
                if job_id not in self._named:
                    self._discovered.setdefault(job_id, 0)
        self._follow()

    def carry_over(self, before: "Watchlist") -> None:
        """Take up names and discovered jobs as they were; of the same projects exactly those."""
        if self.has_projects_of(before):
            self._discovered = {}
        self.restore({job_id: before.names(job_id) for job_id in before._of_all_shards})
        self._discovered = {job_id: before._discovered.get(job_id, 0) for job_id in self._discovered}

    def has_projects_of(self, other: "Watchlist") -> bool:
        """Whether both watch the same jobs of the same projects."""
        return self._projects == other._projects

    def apply_listing(self, listing: Listing) -> None:
        """Learn from a job list which jobs are watched from now on, and which no more."""
        known = self._of_all_shards
        self._denied.difference_update(listing.jobs)
        for job_id, listed in listing.jobs.items():
            wanted = self._wants(listed.names)
            if job_id in known or wanted:
                self.rename(job_id, listed.names)
            if wanted and job_id not in self._named:
                self._discovered[job_id] = 0
        for job_id in tuple(self._discovered):
            names = self.names(job_id)
            if job_id in listing.jobs and not self._wants(names):
                del self._discovered[job_id]
            elif listing.lacks(job_id, names.project_id, even_empty=job_id in self._denied):
                self._discovered[job_id] += 1
                if self._discovered[job_id] >= GONE_AFTER:
                    del self._discovered[job_id]
        self._follow()

    def polled(self, job_id: str, *, denied: bool) -> None:
        """A job was polled; whether the service denied that there is such a job to be seen."""
        if denied and job_id in self._discovered:
            self._denied.add(job_id)
        else:
            self._denied.discard(job_id)

    def shown(self, listing: Listing) -> dict[str, tuple[int, bool]]:
        """What a whole list tells of watched projects: how many jobs each shows, and whether any is to watch.

        One that an earlier list has shown will do. Which shard watches it does not matter.
        """
        told = {listing.project_id} & self._projects.keys() if listing.project_id else self._projects.keys()
        shown: dict[str, list[str]] = {project: [] for project in told if listing.is_whole}
        for listed in listing.jobs.values():
            if listed.names.project_id in shown:
                shown[listed.names.project_id].append(listed.names.name)
        return {
            project: (
                len(names),
                any(map(self._projects[project].wants, names)) or self._has_discovered(project),
            )
            for project, names in shown.items()
        }

    def drop_deleted(self, deleted: Iterable[str]) -> None:
        """Discovered jobs that lie in the recycle bin are watched no more."""
        for job_id in deleted:
            self._discovered.pop(job_id, None)
        self._follow()

    @property
    def _of_all_shards(self) -> dict[str, None]:
        """The jobs that this process or another watches, in order."""
        return dict.fromkeys((*self._named, *self._discovered))

    def _follow(self) -> None:
        """Keep a state for each job of this shard that is followed now."""
        followed = self._of_all_shards
        if followed.keys() == self._followed:
            return
        self._followed, self._jobs = frozenset(followed), None
        for job_id in self.states.keys() - followed.keys():
            del self.states[job_id]
        for job_id in filter(self._is_mine, followed):
            self.states.setdefault(job_id, JobState(job_id))
        self._denied &= self.states.keys()

    def _has_discovered(self, project_id: str) -> bool:
        return any(self.names(job_id).project_id == project_id for job_id in self._discovered)

    def _wants(self, names: JobNames) -> bool:
        project = self._projects.get(names.project_id)
        return project is not None and project.wants(names.name)

    def _job(self, job_id: str) -> Job:
        told = self.names(job_id)
        asked = self._named.get(job_id)
        project = self._project_name(asked, self._projects.get(told.project_id)) or told.project
        project_id = told.project_id or self._project_id(asked)
        return Job(
            id=job_id,
            name=(asked and asked.name) or told.name or job_id,
            project=project or (UNKNOWN_PROJECT if asked else project_id),
            project_id=project_id,
        )

    @staticmethod
    def _project_name(asked: JobConfig | None, project: ProjectConfig | None) -> str | None:
        return (asked and asked.project) or (project and project.name) or None

    def _project_id(self, asked: JobConfig | None) -> str:
        named = asked.project if asked else None
        return next((one.id for one in self._projects.values() if named and one.name == named), "")


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

    Rendezvous hashing: a job goes to the shard whose number, hashed together with its id, comes out highest.
    So every exporter agrees without talking, and one shard more takes only its share from each of the others.
    """

    def weight(candidate: int) -> bytes:
        return hashlib.sha256(f"{job_id}/{candidate}".encode()).digest()

    return max(range(total_shards), key=weight) == shard
