"""The watched jobs, their shards and their label values; no I/O, no clock.

Jobs named in the configuration are always watched. Jobs of a watched project come and go with its lists; the
project `ALL` is every one without an entry of its own. They are dropped at once when a list shows that they
no longer match, or a new job of their name in their place, or when they are in the recycle bin, and else when
several whole lists in a row do not show them. Lists have been seen empty for a moment: an empty one counts
only once the service denies the job.

The jobs of other shards are tracked too, as far as lists show them, so that label values are distinct over
all shards.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from typing import Final

from exporter.config import Config, JobConfig
from exporter.model import ALL, Job, JobNames
from exporter.poller.job_state import JobState
from exporter.poller.tasks_and_results import Listing

UNKNOWN_PROJECT: Final = "unknown"
"""Label `project` of a job whose project has no known name."""

GONE_AFTER: Final = 3
"""Whole lists of its project in a row without a discovered job, after which it is dropped."""

_UNNAMED: Final = JobNames()

_ID_PREFIX: Final = 8
"""Characters of the id that are added to a name that two jobs share."""


class Watchlist:
    """The watched jobs of this process, and the API's names for them and for those of other shards.

    Args:
        config: names jobs and projects.
        is_mine: whether a job belongs to this shard.

    Attributes:
        states: the state of each job that this process watches, by id.
    """

    def __init__(self, config: Config, is_mine: Callable[[str], bool] = lambda _: True) -> None:
        self._is_mine = is_mine
        self._named = {job.id: job for job in config.jobs}
        self._projects = {project.id: project for project in config.projects}
        self._names: dict[str, JobNames] = {}
        self._discovered: dict[str, int] = {}  # whole lists in a row that did not show the job
        self._denied: set[str] = set()
        self._jobs: tuple[Job, ...] | None = None
        self._tracked = frozenset(self._named)
        self.states = {job_id: JobState(job_id) for job_id in filter(is_mine, self._named)}

    @property
    def unnamed_projects(self) -> frozenset[str]:
        """Ids of projects whose name is missing in the label of a job."""
        unnamed = (
            self.names(job.id) for job in self.jobs if job.project in (UNKNOWN_PROJECT, job.project_id)
        )
        return frozenset(names.project_id for names in unnamed if names.project_id)

    @property
    def ids(self) -> frozenset[str]:
        """Ids of the jobs that this process watches."""
        return frozenset(self.states)

    @property
    def discovered(self) -> frozenset[str]:
        """Ids of those of them that the configuration does not name."""
        return frozenset(self.states).difference(self._named)

    @property
    def size(self) -> int:
        """Number of jobs that this process watches."""
        return len(self.states)

    @property
    def watched_projects(self) -> frozenset[str]:
        """Ids of the projects whose jobs are watched; with `ALL` for those of every project."""
        return frozenset(self._projects)

    @property
    def projects_of_jobs(self) -> frozenset[str]:
        """Ids of the projects of all watched jobs; with `""` if one is unknown."""
        return frozenset(self.names(job_id).project_id for job_id in self.states)

    @property
    def jobs(self) -> tuple[Job, ...]:
        """The watched jobs, with label values that are distinct over all shards."""
        if self._jobs is None:
            jobs = distinct(self._job(job_id) for job_id in self._of_all_shards)
            self._jobs = tuple(job for job in jobs if job.id in self.states)
        return self._jobs

    @property
    def project_names(self) -> Mapping[str, str]:
        """Names of projects by id.

        The configuration's `projects` take precedence, then the API, whose names of jobs that are gone are
        kept until a restart. The `project` label of a job names a project only if no other source does and
        all such labels agree.
        """
        labels: dict[str, set[str]] = {}
        for job in self.jobs:
            config = self._named.get(job.id)
            if job.project_id and config and config.project:
                labels.setdefault(job.project_id, set()).add(config.project)
        from_labels = {project_id: label for project_id, (label, *others) in labels.items() if not others}
        watched = self._of_all_shards
        watched_last = sorted(self._names.items(), key=lambda item: item[0] in watched)
        from_api = {
            names.project_id: names.project for _, names in watched_last if names.project_id and names.project
        }
        configured = {project.id: project.name for project in self._projects.values() if project.name}
        return {**from_labels, **from_api, **configured}

    def names(self, job_id: str) -> JobNames:
        """Return the API's names for a job, as far as known."""
        return self._names.get(job_id, _UNNAMED)

    def project_of(self, job_id: str) -> str:
        """Return the label `project` of a job, watched or not."""
        return self._job(job_id).project

    def entry_of(self, project_id: str) -> str:
        """Return the id under which the configuration would watch a project: its own, or `ALL`."""
        return project_id if project_id in self._projects else ALL

    def name_projects(self, names: Mapping[str, str]) -> None:
        """Record names of projects by id."""
        for job_id in self._of_all_shards:
            project_id = self.names(job_id).project_id
            if project_id in names:
                self.rename(job_id, JobNames(project=names[project_id]))

    def rename(self, job_id: str, names: JobNames) -> None:
        """Record the API's names for a job; empty ones keep their value."""
        known = self.names(job_id)
        merged = JobNames(
            names.name or known.name, names.project or known.project, names.project_id or known.project_id
        )
        if merged != known:
            self._names[job_id] = merged
            self._jobs = None

    def restore(self, names: Mapping[str, JobNames], gone: Collection[str] = ()) -> None:
        """Restore names and discovered jobs after a restart; lists or the configuration bring back others."""
        for job_id, known in names.items():
            is_wanted = known != JobNames() and self._wants(known)
            if job_id in self._named or (job_id not in gone and is_wanted):
                self.rename(job_id, known)
                if job_id not in self._named:
                    self._discovered.setdefault(job_id, 0)
        self._update_states()

    def carry_over(self, before: "Watchlist") -> None:
        """Take over names and discovered jobs; only those if the projects are the same."""
        if self.has_projects_of(before):
            self._discovered = {}
        self.restore({job_id: before.names(job_id) for job_id in before._of_all_shards})
        self._discovered = {job_id: before._discovered.get(job_id, 0) for job_id in self._discovered}

    def has_projects_of(self, other: "Watchlist") -> bool:
        """Return whether both watch the same jobs of the same projects."""
        return self._projects == other._projects

    def apply_listing(self, listing: Listing) -> None:
        """Add and drop jobs by what a job list shows."""
        tracked = self._of_all_shards
        self._denied.difference_update(listing.jobs)
        for job_id, listed in listing.jobs.items():
            wanted = self._wants(listed.names)
            if job_id in tracked or wanted:
                self.rename(job_id, listed.names)
            if wanted and job_id not in self._named:
                self._discovered[job_id] = 0
        new_names = {
            (listed.names.project_id, listed.names.name)
            for job_id, listed in listing.jobs.items()
            if job_id not in tracked and listed.names.name
        }
        for job_id in tuple(self._discovered):
            names = self.names(job_id)
            if job_id in listing.jobs and not self._wants(names):
                del self._discovered[job_id]
            elif listing.lacks(job_id, names.project_id, even_empty=job_id in self._denied):
                self._discovered[job_id] += 1
                # If both were watched, the new job would have one label value now and another one later.
                is_replaced = (names.project_id, names.name) in new_names
                if is_replaced or self._discovered[job_id] >= GONE_AFTER:
                    del self._discovered[job_id]
        self._update_states()

    def polled(self, job_id: str, *, denied: bool) -> None:
        """Record a poll of a job, and whether the service denied that the job exists or is visible."""
        if denied and job_id in self._discovered:
            self._denied.add(job_id)
        else:
            self._denied.discard(job_id)

    def listed_projects(self, listing: Listing) -> dict[str, tuple[int, bool]]:
        """Watched projects in a whole list: how many jobs it shows of each, and whether any is to be watched.

        A job that an earlier list has shown is enough, whichever shard watches it.
        """
        listed = {listing.project_id} & self._projects.keys() if listing.project_id else self._projects.keys()
        job_names: dict[str, list[str]] = {project_id: [] for project_id in listed if listing.is_whole}
        for job in listing.jobs.values():
            if (entry := self.entry_of(job.names.project_id)) in job_names:
                job_names[entry].append(job.names.name)
        known = {self.entry_of(self.names(job_id).project_id) for job_id in self._discovered}
        return {
            project_id: (
                len(names),
                any(map(self._projects[project_id].wants, names)) or project_id in known,
            )
            for project_id, names in job_names.items()
        }

    def drop_deleted(self, deleted: Iterable[str]) -> None:
        """Drop discovered jobs that are in the recycle bin."""
        for job_id in deleted:
            self._discovered.pop(job_id, None)
        self._update_states()

    @property
    def _of_all_shards(self) -> dict[str, None]:
        """The jobs that this process or another one watches, in order."""
        return dict.fromkeys((*self._named, *self._discovered))

    def _update_states(self) -> None:
        tracked = self._of_all_shards
        if tracked.keys() == self._tracked:
            return
        self._tracked, self._jobs = frozenset(tracked), None
        for job_id in self.states.keys() - tracked.keys():
            del self.states[job_id]
        for job_id in filter(self._is_mine, tracked):
            self.states.setdefault(job_id, JobState(job_id))
        self._denied &= self.states.keys()

    def _wants(self, names: JobNames) -> bool:
        project = self._projects.get(self.entry_of(names.project_id))
        return project is not None and project.wants(names.name)

    def _job(self, job_id: str) -> Job:
        names, config = self.names(job_id), self._named.get(job_id)
        watched = self._projects.get(names.project_id)
        project_id = names.project_id or self._project_id(config)
        return Job(
            id=job_id,
            name=(config and config.name) or names.name or job_id,
            project=(config and config.project)
            or (watched and watched.name)
            or names.project
            or ("" if config else project_id)
            or UNKNOWN_PROJECT,
            project_id=project_id,
        )

    def _project_id(self, config: JobConfig | None) -> str:
        """Return the id of the watched project that has the job's `project` label as its name."""
        name = config.project if config else None
        return next((project.id for project in self._projects.values() if name and project.name == name), "")


def distinct(jobs: Iterable[Job]) -> tuple[Job, ...]:
    """Return the jobs, with part of the id in the names that share a project with an equal name."""
    given = tuple(jobs)
    length: int | None = _ID_PREFIX
    while len(taken := Counter((job.project, job.name) for job in given)) < len(given):
        given = tuple(
            job if taken[job.project, job.name] == 1 else replace(job, name=f"{job.name} ({job.id[:length]})")
            for job in given
        )
        length = None  # ids may begin alike, and a job may have the new name of another
    return given


def in_shard(job_id: str, shard: int, total_shards: int) -> bool:
    """Return whether a job belongs to a shard.

    Rendezvous hashing: a job belongs to the shard whose number, hashed together with its id, is highest. So
    all exporters agree without communication, and one more shard takes only its share from each other one.
    """

    def weight(candidate: int) -> bytes:
        return hashlib.sha256(f"{job_id}/{candidate}".encode()).digest()

    return max(range(total_shards), key=weight) == shard
