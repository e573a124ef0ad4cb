"""Which jobs a configuration watches, and what to ask about them. Pure.

The poller's own rules decide: `Watchlist` what is watched, `ListTrust` which lists are worth reading.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from exporter.config import Config, format_duration
from exporter.doctor.results import Answers, ListAnswer
from exporter.errors import NotVisibleError, RejectedError
from exporter.model import Build, Job, ListedJob, RecycleBin
from exporter.poller.job_lists import ListTrust
from exporter.poller.tasks import ALL, PAGE, Listing
from exporter.poller.watchlist import Watchlist


@dataclass(frozen=True, slots=True)
class Watched:
    """The watched jobs, and the lists that show them.

    Attributes:
        jobs: named ones first, then those that projects bring.
        listed: as lists show them, by job id.
        plan: which lists the poller will read: project ids, ``""`` for the list of all jobs.
        pages: requests that reading those takes.
        worth_it: they are read each interval, and tell which jobs to poll.
        served: how many watched jobs those lists show.
        unnamed: projects whose names the poller will ask for.
    """

    jobs: tuple[Job, ...]
    listed: Mapping[str, ListedJob]
    plan: tuple[str, ...]
    pages: int
    worth_it: bool
    served: int
    unnamed: frozenset[str]


def watched(config: Config, answers: Answers) -> Watched:
    """What is watched, as far as the lists could be read."""
    watchlist = Watchlist(config)
    listings = {
        project_id: answer.listing
        for project_id, answer in answers.lists.items()
        if isinstance(answer, ListAnswer)
    }
    for listing in listings.values():
        watchlist.apply_listing(listing)
    if isinstance(answers.names, Mapping):
        watchlist.name_projects(answers.names)
    lists = _lists(config, answers, listings, watchlist)
    plan = lists.plan(watchlist.size, watchlist.projects_of_jobs, watchlist.watched_projects, 0.0)
    sizes = {project_id: max(1, -(-lists.size(project_id) // PAGE)) for project_id in plan}
    shown = {job_id: job for listing in listings.values() for job_id, job in listing.jobs.items()}
    shown.update(listings[ALL].jobs if ALL in listings else {})
    listed = {job_id: shown[job_id] for job_id in watchlist.ids & shown.keys()}
    worth_it = bool(watchlist.watched_projects.intersection(plan)) or lists.are_worth_it(plan, watchlist.size)
    served = sum(ALL in plan or watchlist.names(job_id).project_id in plan for job_id in listed)
    return Watched(
        jobs=watchlist.jobs,
        listed=listed,
        plan=plan,
        pages=sum(sizes.values()),
        worth_it=worth_it,
        served=served if worth_it else 0,
        unnamed=watchlist.unnamed_projects,
    )


def _lists(
    config: Config, answers: Answers, listings: Mapping[str, Listing], watchlist: Watchlist
) -> ListTrust:
    """What the poller will have learnt of the lists after its first sweeps."""
    lists = ListTrust(config.poll.interval)
    if ALL in listings and listings[ALL].is_whole:
        by_project: dict[str, dict[str, ListedJob]] = defaultdict(dict)
        for job_id, job in listings[ALL].jobs.items():
            by_project[job.names.project_id][job_id] = job
        for project_id, jobs in by_project.items():
            lists.was_read(Listing(project_id, jobs))
    for project_id, answer in answers.lists.items():
        if isinstance(answer, NotVisibleError | RejectedError):
            lists.was_refused(project_id, 0.0)
        elif isinstance(answer, ListAnswer) and answer.listing.is_whole:
            lists.was_read(answer.listing)
        elif isinstance(answer, ListAnswer):
            lists.was_too_large(project_id, answer.size)
    return lists


ASKED_ONE_BY_ONE: Final = 20
"""So few jobs are asked for one by one; of more, those that no list shows, and one of each project."""

PROJECTS_BY_DETAILS: Final = 5
"""So many projects are found out by details of builds where the list of all jobs is refused."""

_SOON_S: Final = 10
"""What takes no longer than this needs no word about its length."""


def at_most(config: Config) -> int:
    """Requests that an examination likely takes at most, with lists of a page each and none repeated."""
    jobs = len(config.jobs) if not config.projects else 2 * ASKED_ONE_BY_ONE
    lists = 1 + len(config.projects)
    of_builds_and_names = len(("record-info", "projects")) + config.metrics.stages
    return lists + config.recycle_bin.enabled + min(jobs, 2 * ASKED_ONE_BY_ONE) + of_builds_and_names


def announced(config: Config) -> str:
    """How much will be asked, and how long that takes, in a line."""
    questions, ceiling = at_most(config), config.poll.max_requests_per_minute
    each_s = 60 / ceiling
    if questions * each_s < _SOON_S:
        text = f"asking: about {questions} requests, and one for each further 100 jobs in a list"
        return f"{text}; at most {ceiling} a minute"
    whole, further = (format_duration(float(max(1, round(n * each_s)))) for n in (questions, 1))
    return (
        f"asking: about {questions} requests, which takes {whole} at {ceiling} a minute; each further 100 "
        f"jobs in a list take {further} more"
    )


def histories_to_ask(seen: Watched, recycle_bin: object) -> tuple[str, ...]:
    """The jobs whose history to ask for; those that are known to be deleted need no question."""
    deleted = recycle_bin.jobs if isinstance(recycle_bin, RecycleBin) else {}
    job_ids = [job.id for job in seen.jobs if job.id not in deleted]
    if len(job_ids) <= ASKED_ONE_BY_ONE:
        return tuple(job_ids)
    unlisted = [job_id for job_id in job_ids if job_id not in seen.listed]
    of_projects: dict[str, str] = {}
    for job in sorted(seen.listed.values(), key=lambda job: job.last_build_ms or 0, reverse=True):
        if job.id not in deleted:
            of_projects.setdefault(job.names.project_id, job.id)
    return (*list(of_projects.values())[:ASKED_ONE_BY_ONE], *unlisted[:ASKED_ONE_BY_ONE])


def detail_to_ask(histories: Mapping[str, object], seen: Watched) -> tuple[str, int] | None:
    """The newest finished build of one job whose history could be read."""
    told: list[tuple[int, str, int]] = []
    for job_id, builds in histories.items():
        if not isinstance(builds, tuple):
            continue
        ended = [build for build in builds if isinstance(build, Build) and build.result is not None]
        told += [(build.finish_ms or build.start_ms or 0, job_id, build.number) for build in ended]
        listed = seen.listed.get(job_id)
        if not ended and listed and listed.number and listed.is_finished:
            told.append((listed.last_build_ms or 0, job_id, listed.number))
    newest = max(told, default=None)
    return newest and newest[1:]


def names_are_wanted(seen: Watched, answers: Answers) -> bool:
    """Whether the poller will ask for names of projects, or they may tell what is wrong with an id."""
    deleted = answers.recycle_bin.jobs if isinstance(answers.recycle_bin, RecycleBin) else {}
    strange = any(
        isinstance(answer, Exception) and job_id not in deleted and job_id not in seen.listed
        for job_id, answer in answers.histories.items()
    )
    return strange or bool(seen.unnamed)
