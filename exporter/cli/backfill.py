"""``backfill``: what is asked for on the command line, told on standard error while it goes on."""

import re
import time
from collections.abc import Generator, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Final

import requests
from prometheus_client import CollectorRegistry

from exporter.api.client import ApiClient
from exporter.api.throttle import Throttle
from exporter.backfill import (
    Collection,
    Counted,
    PastJob,
    Plan,
    Spool,
    counted,
    moment_ms,
    planned,
    watched_jobs,
)
from exporter.cli.backfill_output import Destination, Output, receiver_of
from exporter.cli.telling import follow, say, takes
from exporter.cli.wiring import connect, families_of
from exporter.config import Config
from exporter.errors import BackfillError, ConfigError
from exporter.poller import service_ms
from exporter.telemetry import Telemetry

_SPOOL: Final = "backfill.db"
_STREAM_SPOOL: Final = "codearts-build-backfill.db"
_TOLD: Final = 20


@dataclass(frozen=True, slots=True)
class Request:
    """What the command line asks for.

    Attributes:
        start: how long ago, or when, the past begins.
        end: the same of its end; empty for now.
        exporters: URLs of running exporters' metrics; where one begins to count a job, the past of it ends.
        step_s: from one sample to the next.
        to: where it goes.
        details: whether each build is asked for.
        max_requests_per_minute: None for what the configuration says.
        spool: where answers are kept; None for the usual place.
    """

    start: str
    end: str
    exporters: tuple[str, ...]
    step_s: float
    to: Destination
    details: bool
    max_requests_per_minute: int | None
    spool: Path | None


def backfill(config: Config, asked: Request) -> None:
    """Ask for the past, then write or send it; goes on where the same command was stopped before.

    Raises:
        ExporterError: it could not be done, or not for all jobs; what the API has told is kept.
    """
    _check_labels(config, asked.to.labels)
    receiver = receiver_of(asked.to)
    throttle = Throttle(asked.max_requests_per_minute or config.poll.max_requests_per_minute)
    _, client = connect(config, Telemetry(CollectorRegistry()), throttle)
    with closing(Spool(_spool(asked))) as spool:
        plan = planned(spool, _identity(config, asked), lambda: _settle(config, asked, client))
        period = plan.period(round(asked.step_s * 1000))
        say(f"builds that finished from {_shown(period.start_ms)} to {_shown(period.end_ms)}")
        collection = Collection(plan.jobs, period, plan.start_ms, spool)
        _collect(collection, client, config, throttle, details=asked.details)
        _tell_what_is_unknown(spool)
        if collection.jobs:
            Output(config, collection.jobs, period, spool, asked.to, receiver).put()
    if collection.failed:
        raise BackfillError(_told_of(collection))


def _tell_what_is_unknown(spool: Spool) -> None:
    if without_detail := spool.without_detail():
        say(f"{without_detail:,} builds have no details: they count without queue time")
    if undated := spool.undated():
        say(f"{undated:,} builds have ended at a time that nobody tells: they do not count")


def _shown(moment_ms: int) -> str:
    return f"{datetime.fromtimestamp(moment_ms / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"


def _check_labels(config: Config, labels: Mapping[str, str]) -> None:
    taken = {label for family in families_of(config) for label in family.labels}
    for name in labels:
        if not re.fullmatch("[a-zA-Z_][a-zA-Z0-9_]*", name) or name.startswith("__"):
            raise ConfigError(f"--label: {name} is no name of a label")
        if name in taken or name == "le":
            raise ConfigError(f"--label: the metrics have a label {name} of their own")


def _spool(asked: Request) -> Path:
    if asked.spool:
        return asked.spool
    if asked.to.remote_write or asked.to.output == "-":
        return Path(_STREAM_SPOOL)
    return Path(asked.to.output) / _SPOOL


def _identity(config: Config, asked: Request) -> str:
    """What the answers in a spool depend on."""
    watched = [(job.id, job.name, job.project) for job in config.jobs]
    projects = [(one.id, one.name, one.include, one.exclude) for one in config.projects]
    exporters = [_without_credentials(url) for url in asked.exporters]
    return repr((config.endpoint, watched, projects, asked.start, asked.end, exporters))


def _settle(config: Config, asked: Request, client: ApiClient) -> Plan:
    """Which jobs, from when to when; asks for their names, and running exporters for what they count."""
    watched = watched_jobs(config, client)
    now_ms = service_ms(time.time(), client.clock_offset_s)
    start_ms = _moment("--start", asked.start, now_ms)
    end_ms = min(now_ms, _moment("--end", asked.end, now_ms)) // 1000 * 1000
    live: dict[str, Counted] = {}
    for url in asked.exporters:
        live |= counted(_metrics_of(url))
    if start_ms >= end_ms:
        raise ConfigError("--start must lie before the end")
    jobs: list[PastJob] = []
    for job in watched:
        one = live.get(job.id, Counted(job, end_ms, None))
        if asked.exporters and job.id not in live:
            say(f"no exporter counts job {job.id} yet: its past ends now")
        if one.since_ms <= start_ms:
            say(f"job {job.id} is counted since before --start: left out")
        else:
            baseline = one.baseline if one.since_ms <= end_ms else None
            jobs.append(PastJob(one.job, min(one.since_ms, end_ms), baseline))
    return Plan(tuple(jobs), start_ms, end_ms)


def _moment(flag: str, text: str, now_ms: int) -> int:
    try:
        return moment_ms(text, now_ms)
    except ValueError as error:
        raise ConfigError(f"{flag}={text}: {error}") from None


def _metrics_of(url: str) -> str:
    try:
        answer = requests.get(url, headers={"Accept": "application/openmetrics-text"}, timeout=30)
    except (requests.RequestException, ValueError) as error:
        raise BackfillError(f"{_without_credentials(url)}: no answer ({type(error).__name__})") from None
    if answer.status_code != HTTPStatus.OK:
        raise BackfillError(f"{_without_credentials(url)}: HTTP {answer.status_code}")
    return answer.text


def _without_credentials(url: str) -> str:
    """An address as it may be shown and kept."""
    before, at, after = url.rpartition("@")
    return f"{before.partition('//')[0]}//{after}" if at else url


def _collect(
    collection: Collection, client: ApiClient, config: Config, throttle: Throttle, *, details: bool
) -> None:
    """Ask for all that is not known yet; what it takes is told before each kind of question."""
    concurrency = config.poll.concurrency

    def ask(what: str, questions: int, answers: Generator[object]) -> None:
        if questions:
            say(f"{what}: {questions:,} questions, {takes(questions, throttle.requests_per_minute)}")
        with closing(answers):
            follow(answers, questions, what)

    ask("history", len(collection.windows()), collection.ask_histories(client, concurrency))
    if details:
        ask("builds", _count(collection.builds()), collection.ask_details(client, concurrency))
    if details and config.metrics.stages:
        ask("stages", _count(collection.stages()), collection.ask_stages(client, concurrency))


def _count(things: Iterable[object]) -> int:
    return sum(1 for _ in things)


def _told_of(collection: Collection) -> str:
    """The first few of what could not be had."""
    lines = [f"{what} could not be had: {why}" for what, why in collection.failed.items()]
    more = [f"… and {len(lines) - _TOLD:,} more"] if len(lines) > _TOLD else []
    return "\n".join([*lines[:_TOLD], *more, "all else is there; the same command asks for these again"])
