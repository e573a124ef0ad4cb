"""Makes the plan of a backfill from options, API and running exporters, and keeps it in the spool."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final
from urllib.parse import urljoin

import requests
from pydantic import TypeAdapter
from requests.utils import get_auth_from_url

from exporter.api.client import ApiClient
from exporter.backfill.fetch_with_retries import Notices, Reply, Value, fetch_with_retries
from exporter.backfill.plan import PastJob, Plan, parse_time
from exporter.backfill.running_exporter import CountedJob, earliest, running_exporter
from exporter.backfill.spool import Spool
from exporter.config import Config
from exporter.errors import BackfillError, ConfigError
from exporter.exposition import Format
from exporter.humanize import format_utc
from exporter.model import ALL, Job, ListedJob
from exporter.poller.tasks_and_results import Listing
from exporter.poller.watchlist import UNKNOWN_PROJECT, Watchlist

_RECHECK_PAUSE_S: Final = 3.0
"""Lists have been seen empty for a moment: one that is empty or short is requested again after this pause."""

_IDS_SHOWN: Final = 5
_TIMEOUT_S: Final = 30.0
_CHUNK_BYTES: Final = 1 << 16

_READY_PAUSE_S: Final = 2.0
_READY_TRIES: Final = 5
"""An exporter that has just been started takes a moment to listen."""

_REQUEST_KEY: Final = "request"
_PLAN_KEY: Final = "plan"
_PLAN: Final = TypeAdapter(Plan)


@dataclass(frozen=True, slots=True)
class Selection:
    """The builds to export, as the command line selects them; ``start`` and ``end`` are ages or times.

    Attributes:
        exporters: metrics URLs of running exporters; a job's backfill ends where one began to count it.
        include_uncounted: include jobs that none of these exporters counts, until the end.
    """

    start: str
    end: str
    exporters: tuple[str, ...]
    include_uncounted: bool = False

    def check(self) -> None:
        """Check the options as far as that needs no request.

        Raises:
            ConfigError: a time or an address is invalid.
        """
        start_ms, end_ms = _time("--start", self.start, 0), _time("--end", self.end, 0)
        if start_ms >= end_ms and (start_ms > 0) == (end_ms > 0):  # two times, or two ages, which are below 0
            raise ConfigError("--start must be before the end")
        for url in self.exporters:
            if not url.startswith(("http://", "https://")):
                shown = _without_credentials(url)
                raise ConfigError(f"--exporter={shown}: must begin with http:// or https://")


def load_or_make_plan(
    spool: Spool, config: Config, selection: Selection, client: ApiClient, notices: Notices
) -> tuple[Plan, bool]:
    """Return the plan in the spool, or a new one, and whether it was in the spool.

    Raises:
        ExporterError: the spool belongs to another request, or no plan can be made; nothing is stored then.
    """
    watched = [(job.id, job.name, job.project) for job in config.jobs]
    projects = [(project.id, project.name, project.include, project.exclude) for project in config.projects]
    exporters = [_without_credentials(url) for url in selection.exporters]
    request = repr((config.endpoint, watched, projects, selection.start, selection.end, exporters))
    stored = spool.get(_PLAN_KEY)
    if stored is None:
        plan = make_plan(config, selection, client, notices)
        if not plan.jobs:
            raise BackfillError("no job is left to backfill")
        spool.put(_REQUEST_KEY, request)
        spool.put(_PLAN_KEY, _PLAN.dump_json(plan).decode())
        return plan, False
    if spool.get(_REQUEST_KEY) != request:
        raise BackfillError(
            f"{spool.path}: belongs to a backfill of other jobs or another period; "
            "repeat that command, choose another --output or --spool, or remove the file"
        )
    return _PLAN.validate_json(stored), True


def make_plan(
    config: Config,
    selection: Selection,
    client: ApiClient,
    notices: Notices,
    sleep: Callable[[float], object] = time.sleep,
) -> Plan:
    """Look up the jobs and their names, and what running exporters count; wait for those that are starting.

    With a baseline a job's backfill ends at a build number, whatever the clocks say, unless ``end`` is
    earlier. A job that none of the exporters counts may be counted by another.

    Raises:
        ExporterError: a request failed, or the options are wrong.
    """
    notices.say("looking up the jobs and their names")
    watched = watched_jobs(config, client, notices)
    for url in selection.exporters:
        _wait_until_ready(url, notices, sleep)
    running = earliest(running_exporter(_fetch(url)) for url in selection.exporters)
    now_ms = client.clock.service_ms()
    start_ms, cut_ms = _time("--start", selection.start, now_ms), _time("--end", selection.end, now_ms)
    end_ms = min(now_ms, cut_ms) // 1000 * 1000
    if start_ms >= end_ms:
        raise ConfigError("--start must be before the end")
    if cut_ms > now_ms:
        notices.say(f"--end={selection.end} is in the future: the backfill ends now")
    if selection.exporters and (uncounted := [job.id for job in watched if job.id not in running]):
        if not selection.include_uncounted:
            raise BackfillError(
                f"no exporter given counts these jobs: {shortened(uncounted)}\n"
                "if another exporter counts them, the backfill would overlap its counters: "
                "add it with another --exporter, set the end with --end, or give --include-uncounted"
            )
        notices.say(
            "no exporter counts these jobs yet, so their backfill ends at "
            f"{format_utc(end_ms)}: {shortened(uncounted)}"
        )
    jobs: list[PastJob] = []
    for job in watched:
        counted = running.get(job.id, CountedJob(job, end_ms, None))
        if counted.since_ms <= start_ms:
            notices.say(f"job {job.id} has been counted since before --start: left out")
        else:
            baseline = None if cut_ms < min(counted.since_ms, now_ms) else counted.baseline
            ids = client.sources.build_projects.get(job.id, ""), client.sources.listed_builds.get(job.id)
            jobs.append(PastJob(counted.job, min(counted.since_ms, end_ms), baseline, *ids))
    for line in unnamed(past.job for past in jobs):
        notices.say(line)
    return Plan(tuple(jobs), start_ms, end_ms, now_ms)


def watched_jobs(
    config: Config, client: ApiClient, notices: Notices, sleep: Callable[[float], object] = time.sleep
) -> tuple[Job, ...]:
    """Configured jobs and those of configured projects, with the names that the exporter gives them.

    Names are missing if the service refuses them. The lists also show the ids that records needs; the client
    keeps them.

    Raises:
        ApiError: a list failed, though a later run may succeed; or the list of a project is refused.
        BackfillError: such a list is incomplete, and differs each time.
    """
    lists = _ListReader(client, notices, sleep)
    watchlist = Watchlist(config)
    projects = [project.id for project in config.projects]
    for project_id in [ALL] if ALL in projects else projects:
        reply = lists.jobs(project_id, discovers=True)
        if reply.error:
            raise reply.error
        watchlist.apply_listing(Listing(project_id, reply.value or {}))
    with_jobs = {watchlist.entry_of(job.project_id) for job in watchlist.jobs if job.project_id}
    for project_id in projects:
        if project_id not in with_jobs:
            what = f"project {project_id} has" if project_id else "`all` under projects: finds"
            notices.say(f"{what} no job to watch")
    is_incomplete = any(not (job.name and job.project) for job in config.jobs) or any(
        job.id not in client.sources.build_projects for job in watchlist.jobs
    )
    if ALL not in projects and is_incomplete:
        watchlist.apply_listing(Listing("", _unless_refused(lists.jobs(""), "list of all jobs", notices)))
    if watchlist.unnamed_projects:
        watchlist.name_projects(_unless_refused(lists.projects(), "list of projects", notices))
    return watchlist.jobs


def unnamed(jobs: Iterable[Job]) -> Iterator[str]:
    """Messages about jobs whose names are unknown."""
    jobs = list(jobs)
    if ids := [job.id for job in jobs if job.name == job.id]:
        yield f"the names of these jobs are unknown, so job_name is the id: {shortened(ids)}"
    if ids := [job.id for job in jobs if job.project == job.project_id]:
        yield f"the project names of these jobs are unknown, so project is an id: {shortened(ids)}"
    if ids := [job.id for job in jobs if job.project == UNKNOWN_PROJECT]:
        yield f"the projects of these jobs are unknown, so project is {UNKNOWN_PROJECT}: {shortened(ids)}"


def shortened(ids: Sequence[str]) -> str:
    """The first few of them, and how many more there are."""
    more = f" and {len(ids) - _IDS_SHOWN:,} more" if len(ids) > _IDS_SHOWN else ""
    return ", ".join(ids[:_IDS_SHOWN]) + more


@dataclass(slots=True)
class _ListReader:
    """Reads lists, and doubtful ones twice."""

    client: ApiClient
    notices: Notices
    sleep: Callable[[float], object]
    has_rechecked: bool = False

    def jobs(self, project_id: str, *, discovers: bool = False) -> Reply[None, Mapping[str, ListedJob]]:
        """Fetch the jobs of a project by id, or with ``""`` all that the credentials may see.

        A list shorter than its total is accepted if it shows the same jobs twice: the total may include jobs
        that the user may not see. Where it decides which jobs to export (``discovers``), it is else an error.
        """
        replies = self._read(
            lambda: self.client.job_list(project_id, max_jobs=None, expected=0)[:2],
            lambda jobs_and_total: not jobs_and_total[0] or jobs_and_total[1] > len(jobs_and_total[0]),
        )
        jobs, total = replies[-1].value or ({}, 0)
        if total > len(jobs):
            name = f"job list of project {project_id}" if project_id else "list of all jobs"
            incomplete = f"the {name} has {len(jobs):,} of {total:,} jobs"
            if discovers and any(reply.value and reply.value[0].keys() != jobs.keys() for reply in replies):
                raise BackfillError(f"{incomplete}, and other jobs than before; run the same command again")
            self.notices.say(incomplete)
        return Reply(None, jobs, replies[-1].error)

    def projects(self) -> Reply[None, Mapping[str, str]]:
        return self._read(self.client.project_names, lambda names: not names)[-1]

    def _read(
        self, fetch: Callable[[], Value], is_doubtful: Callable[[Value], bool]
    ) -> list[Reply[None, Value]]:
        hint = "" if self.client.sources.has_answered else "; check-config --online says what to do"
        reply = fetch_with_retries(lambda _: fetch(), None, self.notices, self.sleep, hint)
        if reply.value is None or not is_doubtful(reply.value):
            return [reply]
        if not self.has_rechecked:
            self.notices.say("some lists are empty or incomplete: requesting them again")
            self.has_rechecked = True
        self.sleep(_RECHECK_PAUSE_S)
        return [reply, fetch_with_retries(lambda _: fetch(), None, self.notices, self.sleep)]


def _unless_refused(
    reply: Reply[None, Mapping[str, Value]], what: str, notices: Notices
) -> Mapping[str, Value]:
    if reply.error and not reply.is_final:
        raise reply.error
    if reply.error:
        notices.say(f"the {what} is refused: {reply.error}")
    return reply.value or {}


def _time(flag: str, text: str, now_ms: int) -> int:
    try:
        return parse_time(text, now_ms)
    except ValueError as error:
        raise ConfigError(f"{flag}={text}: {error}") from None


def _wait_until_ready(url: str, notices: Notices, sleep: Callable[[float], object]) -> None:
    """Wait until an exporter has polled all its jobs; ignore one that does not answer."""
    tries = 0
    while tries < _READY_TRIES:
        state = "not ready yet"
        try:
            with _get(urljoin(url, "/-/ready")) as response:
                status = response.status_code
        except (requests.RequestException, ValueError):
            state = "no answer yet"
            tries += 1
        else:
            if status != HTTPStatus.SERVICE_UNAVAILABLE:
                return
        notices.problem("exporter", f"{_without_credentials(url)}: {state}: waiting")
        sleep(_READY_PAUSE_S)


def _fetch(url: str) -> Iterator[bytes]:
    """Fetch an exposition in chunks."""
    shown = _without_credentials(url)
    try:
        with _get(url) as response:
            if response.status_code != HTTPStatus.OK:
                raise BackfillError(f"{shown}: HTTP {response.status_code}")
            kind = response.headers.get("Content-Type", "")
            if not kind.startswith(Format.PROTOBUF.content_type.partition(";")[0]):
                raise BackfillError(f"{shown}: no metrics as protobuf; is it the metrics URL of an exporter?")
            yield from response.iter_content(_CHUNK_BYTES)
    except (requests.RequestException, ValueError) as error:
        raise BackfillError(f"{shown}: no answer: {_reason(error)}") from None


def _reason(error: Exception) -> str:
    match error:
        case requests.Timeout():
            return "it takes too long"
        case requests.exceptions.SSLError():
            return "the TLS handshake failed"
        case requests.ConnectionError():
            return "nothing can be reached at that address"
        case requests.exceptions.ChunkedEncodingError() | requests.exceptions.ContentDecodingError():
            return "it breaks off or cannot be decoded"
        case _:
            return "the address is invalid"


def _get(url: str) -> requests.Response:
    """Send a request whose response is streamed. A user in the URL overrides ~/.netrc."""
    user = get_auth_from_url(url)
    headers = {"Accept": Format.PROTOBUF.content_type}
    return requests.get(
        url, headers=headers, timeout=_TIMEOUT_S, stream=True, auth=user if any(user) else None
    )


def _without_credentials(url: str) -> str:
    before, at, after = url.rpartition("@")
    return f"{before.partition('//')[0]}//{after}" if at else url
