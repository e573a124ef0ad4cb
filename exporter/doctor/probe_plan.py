"""The requests of an examination: how many, and about which jobs and builds. Pure."""

from typing import Final

from exporter.config import Config, format_duration
from exporter.doctor.probe_answers import Answers
from exporter.doctor.watched_jobs import WatchedJobs
from exporter.errors import ApiError
from exporter.model import Result
from exporter.poller.tasks_and_results import ALL

ASKED_ONE_BY_ONE: Final = 20
"""Up to so many jobs are asked about one by one; else those that no list shows, and one of each project."""

PROJECTS_BY_DETAILS: Final = 5
"""Maximum number of projects found by build details where the list of all jobs is refused."""

_BRIEF_S: Final = 10
"""Duration of an examination up to which it is not announced."""


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


def histories_to_ask(watched: WatchedJobs, answers: Answers) -> tuple[str, ...]:
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


def detail_to_ask(answers: Answers, watched: WatchedJobs) -> tuple[str, int] | None:
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


def needs_names(watched: WatchedJobs, answers: Answers) -> bool:
    """Return whether the poller will request names of projects, or they may explain a refused job id."""
    explained = answers.deleted.keys() | watched.listed.keys()
    failed = {job_id for job_id, answer in answers.histories.items() if isinstance(answer, ApiError)}
    return bool(watched.unnamed or failed - explained)
