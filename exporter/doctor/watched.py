"""Which jobs a configuration watches and how the poller will see them, once the lists are known; pure.

The poller's own rules decide: `Watchlist` what is watched, `ListTrust` which lists are worth reading.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from exporter.config import Config
from exporter.doctor.answers import Answers, ListAnswer
from exporter.errors import NotVisibleError, RejectedError
from exporter.model import Job, ListedJob
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
        watchlist.take_in(listing)
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
