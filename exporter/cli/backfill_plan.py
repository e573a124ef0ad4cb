"""What a backfill is about, by the command line, the configuration, the service and running exporters."""

import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Final

import requests

from exporter.api.client import ApiClient
from exporter.backfill import (
    Counted,
    Notices,
    PastJob,
    Plan,
    counted,
    earliest,
    missing_names,
    moment_ms,
    watched_jobs,
)
from exporter.config import Config
from exporter.errors import BackfillError, ConfigError
from exporter.poller import service_ms

_SILENCE_S: Final = 30.0
_PIECE: Final = 1 << 16


def identity(config: Config, start: str, end: str, exporters: tuple[str, ...]) -> str:
    """What the answers in a spool depend on."""
    watched = [(job.id, job.name, job.project) for job in config.jobs]
    projects = [(one.id, one.name, one.include, one.exclude) for one in config.projects]
    shown = [_without_credentials(url) for url in exporters]
    return repr((config.endpoint, watched, projects, start, end, shown))


def settle(
    config: Config, start: str, end: str, exporters: tuple[str, ...], client: ApiClient, notices: Notices
) -> Plan:
    """Which jobs, from when to when; asks for their names, and running exporters for what they count.

    Raises:
        ExporterError: it cannot be known now, or the command line is wrong.
    """
    notices.say("asking for the jobs and their names")
    watched = watched_jobs(config, client, notices)
    now_ms = service_ms(time.time(), client.clock_offset_s)
    start_ms = _moment("--start", start, now_ms)
    end_ms = min(now_ms, _moment("--end", end, now_ms)) // 1000 * 1000
    live = earliest(counted(_metrics_of(url)) for url in exporters)
    if start_ms >= end_ms:
        raise ConfigError("--start must lie before the end")
    jobs: list[PastJob] = []
    for job in watched:
        one = live.get(job.id, Counted(job, end_ms, None))
        if exporters and job.id not in live:
            notices.say(f"no exporter counts job {job.id} yet: its past ends {shown(end_ms)}")
        if one.since_ms <= start_ms:
            notices.say(f"job {job.id} is counted since before --start: left out")
        else:
            baseline = one.baseline if one.since_ms <= end_ms else None
            jobs.append(PastJob(one.job, min(one.since_ms, end_ms), baseline))
    for line in missing_names(one.job for one in jobs):
        notices.say(line)
    return Plan(tuple(jobs), start_ms, end_ms, now_ms)


def shown(moment_ms: int) -> str:
    """A moment as a person reads it."""
    return f"{datetime.fromtimestamp(moment_ms / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"


def _moment(flag: str, text: str, now_ms: int) -> int:
    try:
        return moment_ms(text, now_ms)
    except ValueError as error:
        raise ConfigError(f"{flag}={text}: {error}") from None


def _metrics_of(url: str) -> Iterator[bytes]:
    """The lines of an exposition, as they come."""
    headers = {"Accept": "application/openmetrics-text"}
    try:
        with closing(requests.get(url, headers=headers, timeout=_SILENCE_S, stream=True)) as answer:
            if answer.status_code != HTTPStatus.OK:
                raise BackfillError(f"{_without_credentials(url)}: HTTP {answer.status_code}")
            yield from answer.iter_lines(_PIECE, delimiter=b"\n")
    except (requests.RequestException, ValueError) as error:
        raise BackfillError(f"{_without_credentials(url)}: no answer ({type(error).__name__})") from None


def _without_credentials(url: str) -> str:
    """An address as it may be shown and kept."""
    before, at, after = url.rpartition("@")
    return f"{before.partition('//')[0]}//{after}" if at else url
