"""What a backfill is about, by the command line, the configuration, the service and running exporters."""

import time
from collections.abc import Callable, Iterable, Iterator
from http import HTTPStatus
from typing import Final
from urllib.parse import urljoin

import requests
from requests.utils import get_auth_from_url

from exporter.api.client import ApiClient
from exporter.backfill import (
    Counted,
    Notices,
    PastJob,
    Plan,
    counted,
    earliest,
    few,
    missing_names,
    moment_ms,
    watched_jobs,
)
from exporter.config import Config
from exporter.errors import BackfillError, ConfigError
from exporter.poller import service_ms
from exporter.text import minute as shown

_SILENCE_S: Final = 30.0

_PIECE: Final = 1 << 16

_LONGEST_LINE: Final = 1 << 20

_PAUSE_S: Final = 2.0

_TRIES: Final = 5
"""An exporter that has just been started takes a moment to listen."""


def identity(config: Config, start: str, end: str, exporters: tuple[str, ...]) -> str:
    """What the answers in a spool depend on."""
    watched = [(job.id, job.name, job.project) for job in config.jobs]
    projects = [(one.id, one.name, one.include, one.exclude) for one in config.projects]
    shown = [_without_credentials(url) for url in exporters]
    return repr((config.endpoint, watched, projects, start, end, shown))


def settle(
    config: Config,
    start: str,
    end: str,
    exporters: tuple[str, ...],
    client: ApiClient,
    notices: Notices,
    sleep: Callable[[float], object] = time.sleep,
    *,
    include_uncounted: bool = False,
) -> Plan:
    """Which jobs, from when to when; asks for their names, and running exporters for what they count.

    Exporters that are starting are waited for. With a baseline the past ends at a number, whatever the clocks
    say, unless ``end`` cuts it off before. A job that none of the exporters counts may be counted by another,
    so its past ends at ``end`` only with ``include_uncounted``.

    Raises:
        ExporterError: it cannot be known now, or the command line is wrong.
    """
    notices.say("asking for the jobs and their names")
    watched = watched_jobs(config, client, notices)
    for url in exporters:
        _await_ready(url, notices, sleep)
    live = earliest(counted(_metrics_of(url)) for url in exporters)
    now_ms = service_ms(time.time(), client.clock.trusted)
    start_ms, cut_ms = _moment("--start", start, now_ms), _moment("--end", end, now_ms)
    end_ms = min(now_ms, cut_ms) // 1000 * 1000
    if start_ms >= end_ms:
        raise ConfigError("--start must lie before the end")
    if exporters and (uncounted := [job.id for job in watched if job.id not in live]):
        if not include_uncounted:
            raise BackfillError(
                f"no exporter given counts these jobs: {few(uncounted)}\n"
                "if another exporter counts them, their past would be written over its counters: name it by "
                "another --exporter, choose where the past ends with --end, or give --include-uncounted"
            )
        notices.say(
            f"no exporter counts these jobs yet, so their past ends {shown(end_ms)}: {few(uncounted)}"
        )
    jobs: list[PastJob] = []
    for job in watched:
        one = live.get(job.id, Counted(job, end_ms, None))
        if one.since_ms <= start_ms:
            notices.say(f"job {job.id} is counted since before --start: left out")
        else:
            baseline = None if cut_ms < min(one.since_ms, now_ms) else one.baseline
            jobs.append(PastJob(one.job, min(one.since_ms, end_ms), baseline))
    for line in missing_names(one.job for one in jobs):
        notices.say(line)
    return Plan(tuple(jobs), start_ms, end_ms, now_ms)


def _moment(flag: str, text: str, now_ms: int) -> int:
    try:
        return moment_ms(text, now_ms)
    except ValueError as error:
        raise ConfigError(f"{flag}={text}: {error}") from None


def _await_ready(url: str, notices: Notices, sleep: Callable[[float], object]) -> None:
    """Until an exporter has polled all its jobs; one that does not answer is told of by whoever asks next."""
    tries = 0
    while tries < _TRIES:
        try:
            with _get(urljoin(url, "/-/ready")) as answer:
                status = answer.status_code
        except (requests.RequestException, ValueError):
            tries += 1
        else:
            if status != HTTPStatus.SERVICE_UNAVAILABLE:
                return
        notices.trouble("exporter", f"{_without_credentials(url)}: not all jobs are polled yet: waiting")
        sleep(_PAUSE_S)


def _metrics_of(url: str) -> Iterator[bytes]:
    """The lines of an exposition, as they come."""
    try:
        with _get(url) as answer:
            if answer.status_code != HTTPStatus.OK:
                raise BackfillError(f"{_without_credentials(url)}: HTTP {answer.status_code}")
            yield from _lines(url, answer.iter_content(_PIECE))
    except (requests.RequestException, ValueError) as error:
        raise BackfillError(f"{_without_credentials(url)}: no answer ({type(error).__name__})") from None


def _get(url: str) -> requests.Response:
    """Begin an answer, which is read as far as it is of use. The URL's user goes before that of ~/.netrc."""
    user = get_auth_from_url(url)
    headers = {"Accept": "application/openmetrics-text"}
    return requests.get(
        url, headers=headers, timeout=_SILENCE_S, stream=True, auth=user if any(user) else None
    )


def _lines(url: str, pieces: Iterable[bytes]) -> Iterator[bytes]:
    rest = b""
    for piece in pieces:
        *whole, rest = (rest + piece).split(b"\n")
        yield from whole
        if len(rest) > _LONGEST_LINE:
            raise BackfillError(f"{_without_credentials(url)}: a line of more than {_LONGEST_LINE:,} bytes")
    yield rest


def _without_credentials(url: str) -> str:
    """An address as it may be shown and kept."""
    before, at, after = url.rpartition("@")
    return f"{before.partition('//')[0]}//{after}" if at else url
