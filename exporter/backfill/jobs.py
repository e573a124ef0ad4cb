"""Which jobs a configuration watches, and what the API calls them: asked once, where the exporter sweeps."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final, TypeVar

from exporter.api.client import ApiClient
from exporter.backfill.retry import Notices, Reply, persist
from exporter.config import Config
from exporter.errors import BackfillError
from exporter.model import Job, ListedJob
from exporter.poller.tasks import Listing
from exporter.poller.watchlist import UNKNOWN_PROJECT, Watchlist

_DOUBT_PAUSE_S: Final = 3.0
"""Lists have been seen empty for a moment: one that is, or is short, is asked for once more after so long."""

_NAMED: Final = 5

Answer = TypeVar("Answer")
Listed = TypeVar("Listed")


def watched_jobs(
    config: Config,
    client: ApiClient,
    notices: Notices,
    sleep: Callable[[float], object] = time.sleep,
) -> tuple[Job, ...]:
    """The jobs that are named and those of the projects, under the labels that the exporter gives them.

    Names alone may be missing where the service refuses them.

    Raises:
        ApiError: a list could not be had, though asking later may help; or that of a project is refused.
        BackfillError: the list of a project is short, and another each time.
    """
    lists = _Lists(client, notices, sleep)
    watchlist = Watchlist(config)
    for project in config.projects:
        reply = lists.jobs(project.id)
        if reply.error:
            raise reply.error
        watchlist.apply_listing(Listing(project.id, reply.answer or {}))
        if all(job.project_id != project.id for job in watchlist.jobs):
            notices.say(f"project {project.id} shows no job that is to be watched")
    if any(not (job.name and job.project) for job in config.jobs):
        watchlist.apply_listing(Listing("", _unless_refused(lists.jobs(""), "the list of all jobs", notices)))
    if watchlist.unnamed_projects:
        watchlist.name_projects(_unless_refused(lists.projects(), "the list of projects", notices))
    return watchlist.jobs


def missing_names(jobs: Iterable[Job]) -> Iterator[str]:
    """Lines for a person: what stands in labels for names that nobody told."""
    given = list(jobs)
    if unnamed := [job.id for job in given if job.name == job.id]:
        yield f"nobody tells the names of these jobs, so that job_name is the id: {few(unnamed)}"
    if without := [job.id for job in given if job.project == job.project_id]:
        yield f"nobody tells the names of these jobs' projects, so that project is an id: {few(without)}"
    if unknown := [job.id for job in given if job.project == UNKNOWN_PROJECT]:
        yield f"nobody tells these jobs' projects, so that project is {UNKNOWN_PROJECT}: {few(unknown)}"


def few(ids: Sequence[str]) -> str:
    """The first of them for a person, and how many more there are."""
    more = f" and {len(ids) - _NAMED:,} more" if len(ids) > _NAMED else ""
    return ", ".join(ids[:_NAMED]) + more


class _Lists:
    """Lists as they are, not as they may be for a moment."""

    def __init__(self, client: ApiClient, notices: Notices, sleep: Callable[[float], object]) -> None:
        self._client = client
        self._notices = notices
        self._sleep = sleep
        self._is_told = False

    def jobs(self, project_id: str) -> Reply[None, Mapping[str, ListedJob]]:
        """The jobs of a project by id, or with ``""`` all that the credentials see.

        A list that is shorter than its total is believed if it shows the same jobs twice: the total may count
        jobs that the user does not see.

        Raises:
            BackfillError: that of a project is short, and another each time.
        """
        replies = self._asked(
            lambda _: self._client.job_list(project_id, max_jobs=None, expected=0)[:2],
            lambda told: not told[0] or told[1] > len(told[0]),
        )
        jobs, size = replies[-1].answer or ({}, 0)
        if size > len(jobs):
            shown = f"the job list of project {project_id}" if project_id else "the list of all jobs"
            short = f"{shown} shows {len(jobs):,} of {size:,}"
            if project_id and any(
                reply.answer and reply.answer[0].keys() != jobs.keys() for reply in replies
            ):
                raise BackfillError(
                    f"{short}, and others before: nothing is begun; the same command asks again"
                )
            self._notices.say(short)
        return Reply(None, jobs, replies[-1].error)

    def projects(self) -> Reply[None, Mapping[str, str]]:
        """The names of projects, by id."""
        return self._asked(lambda _: self._client.project_names(), lambda names: not names)[-1]

    def _asked(
        self, ask: Callable[[None], Answer], is_doubtful: Callable[[Answer], bool]
    ) -> list[Reply[None, Answer]]:
        """What comes of it the first time, and the second where the first answer may be wrong."""
        reply = persist(ask, None, self._notices, self._sleep)
        if reply.answer is None or not is_doubtful(reply.answer):
            return [reply]
        if not self._is_told:
            self._notices.say("some lists are empty or cut short: asking once more")
            self._is_told = True
        self._sleep(_DOUBT_PAUSE_S)
        return [reply, persist(ask, None, self._notices, self._sleep)]


def _unless_refused(
    reply: Reply[None, Mapping[str, Listed]], what: str, notices: Notices
) -> Mapping[str, Listed]:
    if reply.error and not reply.is_final:
        raise reply.error
    if reply.error:
        notices.say(f"{what} is refused: {reply.error}")
    return reply.answer or {}
