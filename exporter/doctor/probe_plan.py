"""Watched jobs of a configuration, and the requests of an examination. Pure.

The poller's own rules decide: `Watchlist` on the watched jobs, `ListTrust` on the lists worth reading.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from exporter.config import Config, format_duration
from exporter.doctor.probe_answers import Answers, ListAnswer
from exporter.errors import ApiError, RefusalError
from exporter.model import Job, ListedJob, Result
from exporter.poller.job_lists import ListTrust
from exporter.poller.tasks_and_results import ALL, Listing
from exporter.poller.watchlist import Watchlist

ASKED_ONE_BY_ONE: Final = 20
"""Up to so many jobs are asked about one by one; else those that no list shows, and one of each project."""

PROJECTS_BY_DETAILS: Final = 5
"""Maximum number of projects found by build details where the list of all jobs is refused."""

_BRIEF_S: Final = 10
"""Duration of an examination up to which it is not announced."""


@dataclass(frozen=True, slots=True)
class Watched:
    """The watched jobs, and the lists that show them.

    Attributes:
        jobs: those under ``jobs:`` first, then those of projects.
        listed: as lists show them, by job id.
        plan: lists that the poller will read: project ids, ``""`` for the list of all jobs.
        worth_it: they are read each interval, and decide which jobs to poll.
        served: number of watched jobs that such lists show.
        unnamed: projects whose names the poller will request.
    """

    jobs: tuple[Job, ...]
    listed: Mapping[str, ListedJob]
    plan: tuple[str, ...]
    worth_it: bool
    served: int
    unnamed: frozenset[str]


def resolve_watched(config: Config, answers: Answers) -> Watched:
    """Find the watched jobs, as far as the lists could be read."""
    watchlist = Watchlist(config)
    found = {key: answer.listing for key, answer in answers.lists.items() if isinstance(answer, ListAnswer)}
    for listing in found.values():
        watchlist.apply_listing(listing)
    if isinstance(answers.names, Mapping):
        watchlist.name_projects(answers.names)
    lists = _list_trust(config, answers)
    plan = lists.plan(watchlist.size, watchlist.projects_of_jobs, watchlist.watched_projects, 0.0)
    worth_it = bool(watchlist.watched_projects.intersection(plan)) or lists.are_worth_it(plan, watchlist.size)
    all_last = sorted(found.values(), key=lambda listing: listing.project_id == ALL)
    ids = watchlist.ids
    listed = {job.id: job for listing in all_last for job in listing.jobs.values() if job.id in ids}
    served = sum(ALL in plan or watchlist.names(job_id).project_id in plan for job_id in listed)
    return Watched(
        jobs=watchlist.jobs,
        listed=listed,
        plan=plan,
        worth_it=worth_it,
        served=served if worth_it else 0,
        unnamed=watchlist.unnamed_projects,
    )


def _list_trust(config: Config, answers: Answers) -> ListTrust:
    """Return what the poller will know of the lists after reading them a few times."""
    lists, everything = ListTrust(config.poll.interval), answers.lists.get(ALL)
    if isinstance(everything, ListAnswer) and everything.listing.is_whole:
        by_project: dict[str, dict[str, ListedJob]] = defaultdict(dict)
        for job_id, job in everything.listing.jobs.items():
            by_project[job.names.project_id][job_id] = job
        for project_id, jobs in by_project.items():
            lists.was_read(Listing(project_id, jobs))
    for project_id, answer in answers.lists.items():
        if isinstance(answer, RefusalError):
            lists.was_refused(project_id, 0.0)
        elif isinstance(answer, ListAnswer) and answer.listing.is_whole:
            lists.was_read(answer.listing)
        elif isinstance(answer, ListAnswer):
            lists.was_too_large(project_id, answer.size)
    return lists


def at_most(config: Config) -> int:
    """Return the likely maximum of requests, with lists of one page and no retry."""
    jobs = len(config.jobs) if not config.projects else 2 * ASKED_ONE_BY_ONE
    lists = len({ALL, *(project.id for project in config.projects)})
    details_and_names = 2 + config.metrics.stages
    return lists + config.recycle_bin.enabled + min(jobs, 2 * ASKED_ONE_BY_ONE) + details_and_names


def announced(config: Config) -> str:
    """Announce the number of requests, and how long they take unless that is short."""
    requests, limit = at_most(config), config.poll.max_requests_per_minute
    each_s = 60 / limit
    if requests * each_s < _BRIEF_S:
        text = f"asking: about {requests} requests, and one for each further 100 jobs in a list"
        return f"{text}; at most {limit} a minute"
    total, further = (format_duration(float(max(1, round(n * each_s)))) for n in (requests, 1))
    return (
        f"asking: about {requests} requests, which takes {total} at {limit} a minute; each further 100 "
        f"jobs in a list take {further} more"
    )


def histories_to_ask(watched: Watched, answers: Answers) -> tuple[str, ...]:
    """Return the jobs whose history to request; deleted ones are left out."""
    job_ids = [job.id for job in watched.jobs if job.id not in answers.deleted]
    if len(job_ids) <= ASKED_ONE_BY_ONE:
        return tuple(job_ids)
    unlisted = [job_id for job_id in job_ids if job_id not in watched.listed]
    of_projects: dict[str, str] = {}
    for job in sorted(watched.listed.values(), key=lambda job: job.last_build_ms or 0, reverse=True):
        if job.id not in answers.deleted:
            of_projects.setdefault(job.names.project_id, job.id)
    return (*list(of_projects.values())[:ASKED_ONE_BY_ONE], *unlisted[:ASKED_ONE_BY_ONE])


def detail_to_ask(answers: Answers, watched: Watched) -> tuple[str, int] | None:
    """Return the build whose details to request, of the jobs whose history could be read: job id and number.

    It is the newest that succeeded, because a failed one may lack stages, else the newest that finished.
    """
    builds: list[tuple[bool, int, str, int]] = []
    for job_id, history in answers.histories.items():
        if isinstance(history, ApiError):
            continue
        ended = [build for build in history if build.result is not None]
        builds += [
            (build.result is Result.SUCCESS, build.finish_ms or build.start_ms or 0, job_id, build.number)
            for build in ended
        ]
        listed = watched.listed.get(job_id)
        if not ended and listed and listed.number and listed.is_finished:
            builds.append((False, listed.last_build_ms or 0, job_id, listed.number))
    newest = max(builds, default=None)
    return newest and newest[2:]


def needs_names(watched: Watched, answers: Answers) -> bool:
    """Return whether the poller will request names of projects, or they may explain a refused job id."""
    explained = answers.deleted.keys() | watched.listed.keys()
    failed = {job_id for job_id, answer in answers.histories.items() if isinstance(answer, ApiError)}
    return bool(watched.unnamed or failed - explained)
