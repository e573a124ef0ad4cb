"""The watched jobs of a configuration, as far as lists show them, and the lists that the poller will read.

The poller's own rules decide: `Watchlist` on the watched jobs, `ListTrust` on the lists worth reading. Pure.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from exporter.config import Config
from exporter.doctor.probe_answers import Answers, ListAnswer
from exporter.errors import RefusalError
from exporter.model import Job, ListedJob
from exporter.poller.job_list_trust import ListTrust
from exporter.poller.tasks_and_results import ALL, Listing
from exporter.poller.watchlist import Watchlist


@dataclass(frozen=True, slots=True)
class WatchedJobs:
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


def resolve_watched(config: Config, answers: Answers) -> WatchedJobs:
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
    return WatchedJobs(
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
