"""What an examination asks, and how much that is; pure."""

from collections.abc import Mapping
from typing import Final

from exporter.config import Config, format_duration
from exporter.doctor.answers import Answers
from exporter.doctor.watched import Watched
from exporter.model import Build, RecycleBin

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
