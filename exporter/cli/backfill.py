"""``backfill``: what is asked for on the command line, told on standard error while it goes on."""

import re
from collections.abc import Generator, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry

from exporter.api.client import ApiClient
from exporter.api.request_queue import Throttle
from exporter.app import connect, families_of
from exporter.backfill import Collection, Notices, Spool, planned
from exporter.cli.backfill_output import Destination, Output, receiver_of
from exporter.cli.backfill_plan import identity, settle
from exporter.cli.progress import follow, say, takes
from exporter.config import Config
from exporter.doctor import plural
from exporter.errors import BackfillError, ConfigError
from exporter.metrics.exporter_metrics import Telemetry
from exporter.redaction import register_header, register_url
from exporter.text import minute as shown

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
        include_uncounted: whether jobs that no exporter counts have a past up to the end all the same.
    """

    start: str
    end: str
    exporters: tuple[str, ...]
    step_s: float
    to: Destination
    details: bool
    max_requests_per_minute: int | None
    spool: Path | None
    include_uncounted: bool = False


def backfill(config: Config, asked: Request) -> None:
    """Ask for the past, then write or send it; goes on where the same command was stopped before.

    Raises:
        ExporterError: it could not be done, or not for all jobs; what the API has told is kept.
    """
    _check_labels(config, asked.to.labels)
    for url in (asked.to.remote_write, *asked.exporters):
        register_url(url)
    for name, value in asked.to.headers.items():
        register_header(name, value)
    notices = Notices(say)
    receiver = receiver_of(asked.to, notices)
    throttle = Throttle(asked.max_requests_per_minute or config.poll.max_requests_per_minute)
    _, client = connect(config, Telemetry(CollectorRegistry()), throttle, isolates_operations=False)
    period_of = (asked.start, asked.end, asked.exporters)
    with closing(Spool(_spool(asked))) as spool:
        plan, was_begun = planned(
            spool,
            identity(config, *period_of),
            lambda: settle(config, *period_of, client, notices, include_uncounted=asked.include_uncounted),
        )
        if was_begun:
            begun = shown(plan.begun_ms)
            say(f"goes on with the backfill that was begun on {begun}; remove {spool.path} to begin anew")
        period = plan.period(round(asked.step_s * 1000))
        say(f"builds that finished from {shown(period.start_ms)} to {shown(period.end_ms)}")
        collection = Collection(plan.jobs, period, plan.start_ms, spool, notices)
        _collect(collection, client, config, throttle, details=asked.details)
        _tell_what_is_unknown(spool)
        if collection.jobs:
            Output(config, collection.jobs, period, spool, asked.to, receiver).put()
    if collection.failed:
        raise BackfillError(_told_of(collection))


def _tell_what_is_unknown(spool: Spool) -> None:
    again = f"remove {spool.path} to ask again"
    if without_detail := spool.without_detail():
        say(f"{plural(without_detail, 'build')} without details, counted without queue time; {again}")
    if refused := spool.refused_stages():
        say(f"{plural(refused, 'build')} whose stages are refused, counted without them; {again}")
    if undated := spool.undated():
        say(f"{plural(undated, 'build')} not counted, as nobody tells the time of the end")
    if unreadable := spool.unreadable():
        say(
            f"{plural(unreadable, 'record')} in histories cannot be read: "
            "such builds count only where their numbers had details"
        )


def _check_labels(config: Config, labels: Mapping[str, str]) -> None:
    taken = {label for family in families_of(config) for label in family.labels}
    for name, value in labels.items():
        if not re.fullmatch("[a-zA-Z_][a-zA-Z0-9_]*", name) or name.startswith("__"):
            raise ConfigError(f"--label: {name} is no name of a label")
        if not value:
            raise ConfigError(f"--label: {name} has no value, which is the same as no label")
        if name in taken or name == "le":
            raise ConfigError(f"--label: the metrics have a label {name} of their own")


def _spool(asked: Request) -> Path:
    if asked.spool:
        return asked.spool
    if asked.to.remote_write or asked.to.output == "-":
        return Path(_STREAM_SPOOL)
    return Path(asked.to.output) / _SPOOL


def _collect(
    collection: Collection, client: ApiClient, config: Config, throttle: Throttle, *, details: bool
) -> None:
    """Ask for all that is not known yet; what it takes is told before each kind of question."""
    concurrency = config.poll.concurrency

    def ask(what: str, questions: int, answers: Generator[object]) -> None:
        if questions:
            say(f"{what}: {takes(questions, throttle.requests_per_minute)}")
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
