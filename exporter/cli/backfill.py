"""``backfill``: what is asked for on the command line, told on standard error while it goes on."""

import hashlib
import re
import shutil
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

import click
import requests
from prometheus_client import CollectorRegistry

from exporter.api.client import ApiClient
from exporter.api.throttle import Throttle
from exporter.backfill import (
    Collection,
    PastFamily,
    PastJob,
    Period,
    Plan,
    Replay,
    Size,
    Spool,
    counted,
    moment_ms,
    past_families,
    planned,
    size,
    streamed,
    watched_jobs,
    write_files,
)
from exporter.catalogue import job_families
from exporter.cli.wiring import connect, rules
from exporter.config import Config
from exporter.errors import BackfillError, ConfigError
from exporter.poller import Intervals
from exporter.telemetry import Telemetry

Step = TypeVar("Step")

_SPOOL: Final = "backfill.db"
_STREAM_SPOOL: Final = "codearts-build-backfill.db"
_WRITTEN: Final = "written"
_SENT: Final = "sent"
_TENTHS: Final = 10


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command line asks for.

    Attributes:
        start: how long ago, or when, the past begins.
        end: the same of its end; empty for now.
        exporter: URL of a running exporter's metrics; where it begins to count a job, the past of it ends.
        step_s: from one sample to the next.
        output: a folder, ``-`` for standard output, or empty.
        remote_write: a URL, or empty.
        headers: for remote write.
        labels: that every series gets.
        details: whether each build is asked for.
        max_requests_per_minute: None for what the configuration says.
        spool: where answers are kept; None for the usual place.
    """

    start: str
    end: str
    exporter: str
    step_s: float
    output: str
    remote_write: str
    headers: Mapping[str, str]
    labels: Mapping[str, str]
    details: bool
    max_requests_per_minute: int | None
    spool: Path | None


def backfill(config: Config, asked: Asked) -> None:
    """Ask for the past, then write or send it; goes on where the same command was stopped before.

    Raises:
        ExporterError: it could not be done, or not for all jobs; what the API has told is kept.
    """
    _check_labels(config, asked.labels)
    throttle = Throttle(asked.max_requests_per_minute or config.poll.max_requests_per_minute)
    _, client = connect(config, Telemetry(CollectorRegistry()), throttle)
    with closing(Spool(_spool(asked))) as spool:
        plan = planned(spool, _request(config, asked), lambda: _settle(config, asked, client))
        period = plan.period(round(asked.step_s * 1000))
        collection = Collection(plan.jobs, period, spool)
        _collect(collection, client, config.poll.concurrency, throttle, details=asked.details)
        if spool.without_detail():
            _say(f"{spool.without_detail():,} builds have no details: they count without queue time")
        if collection.jobs:
            _put_out(config, asked, collection.jobs, period, spool)
    if collection.failed:
        raise BackfillError(_told_of(collection))


def _check_labels(config: Config, labels: Mapping[str, str]) -> None:
    taken = {label for family in job_families(config.metrics.extra_labels) for label in family.labels}
    for name in labels:
        if not re.fullmatch("[a-zA-Z_][a-zA-Z0-9_]*", name) or name.startswith("__"):
            raise ConfigError(f"--label: {name} is no name of a label")
        if name in taken or name == "le":
            raise ConfigError(f"--label: the metrics have a label {name} of their own")


def _spool(asked: Asked) -> Path:
    if asked.spool:
        return asked.spool
    if asked.remote_write or asked.output == "-":
        return Path(_STREAM_SPOOL)
    folder = Path(asked.output)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BackfillError(f"{folder}: cannot make the folder: {error.strerror}") from None
    return folder / _SPOOL


def _request(config: Config, asked: Asked) -> str:
    """What the answers in a spool depend on."""
    watched = [(job.id, job.name, job.project) for job in config.jobs]
    projects = [(one.id, one.name, one.include, one.exclude) for one in config.projects]
    return repr((config.endpoint, watched, projects, asked.start, asked.end, asked.exporter))


def _settle(config: Config, asked: Asked, client: ApiClient) -> Plan:
    """Which jobs, from when to when; asks for their names, or a running exporter for what it watches."""
    now_ms = round(time.time() * 1000)
    start_ms = _moment("--start", asked.start, now_ms)
    end_ms = min(now_ms, _moment("--end", asked.end, now_ms)) // 1000 * 1000
    jobs = [PastJob(job, end_ms) for job in watched_jobs(config, client)]
    if asked.exporter:
        live = counted(_metrics_of(asked.exporter))
        missing = [one.job.id for one in jobs if one.job.id not in live]
        if missing:
            raise BackfillError(f"{asked.exporter} does not show these jobs (yet): {', '.join(missing)}")
        jobs = [PastJob(*live[one.job.id]) for one in jobs]
        end_ms = max(one.end_ms for one in jobs)
    if start_ms >= min((one.end_ms for one in jobs), default=end_ms):
        raise ConfigError("--start must lie before the end")
    return Plan(tuple(jobs), start_ms, end_ms)


def _moment(flag: str, text: str, now_ms: int) -> int:
    try:
        return moment_ms(text, now_ms)
    except ValueError as error:
        raise ConfigError(f"{flag}={text}: {error}") from None


def _metrics_of(url: str) -> str:
    try:
        answer = requests.get(url, headers={"Accept": "application/openmetrics-text"}, timeout=30)
        answer.raise_for_status()
    except requests.RequestException as error:
        raise BackfillError(f"{url}: {error}") from None
    return answer.text


def _collect(
    collection: Collection, client: ApiClient, concurrency: int, throttle: Throttle, *, details: bool
) -> None:
    windows = len(collection.windows())
    if windows:
        _say(f"{windows:,} requests for history, {_takes(windows, throttle)}")
        _follow(collection.ask_histories(client, concurrency), windows, "history")
    builds = sum(1 for _ in collection.builds())
    if builds and details:
        _say(f"{builds:,} requests for builds one by one, {_takes(builds, throttle)}; or --no-details")
        _follow(collection.ask_details(client, concurrency), builds, "builds")


def _put_out(config: Config, asked: Asked, jobs: list[PastJob], period: Period, spool: Spool) -> None:
    families = past_families(job_families(config.metrics.extra_labels), asked.labels)
    its_rules = rules(config, Intervals(config.poll.interval, config.poll.max_interval, None).longest)
    expected = size(jobs, families, period, its_rules)
    _say(f"{expected.series:,} series, {expected.samples:,} samples, about {_bytes(expected.bytes)} as text")
    if asked.output == "-":
        again = lambda one: Replay([one], period, its_rules, spool)  # noqa: E731
        for text in streamed(families, jobs, again, period.end_ms + 1):
            sys.stdout.write(text)
        return
    replay = Replay(jobs, period, its_rules, spool)
    chunks = period.chunks(expected.series)
    same = (period, jobs, asked.labels, asked.remote_write, config.metrics, spool.contents())
    stamp = hashlib.sha256(repr(same).encode()).hexdigest()
    if asked.remote_write:
        _send(replay, chunks, families, asked, spool, stamp)
    else:
        _write(replay, chunks, families, Path(asked.output), spool, stamp, expected)
    for reason, times in sorted(replay.faults.items()):
        _say(f"{times:,} times {reason}: the build is counted, that value is not")


def _write(
    replay: Replay,
    chunks: list[tuple[int, int]],
    families: list[PastFamily],
    folder: Path,
    spool: Spool,
    stamp: str,
    expected: Size,
) -> None:
    """Files of another backfill go first; those of this one stay."""
    files = set(folder.glob("*.om"))
    if spool.recall(_WRITTEN) != stamp:
        for file in files:
            file.unlink()
        spool.note(_WRITTEN, stamp)
    there = sum(file.stat().st_size for file in folder.glob("*.om"))
    free = shutil.disk_usage(folder).free
    if expected.bytes - there > free:
        raise BackfillError(
            f"{folder}: {_bytes(expected.bytes - there)} will be written, {_bytes(free)} are free; "
            "a larger --step writes less, --remote-write needs no disk"
        )
    _follow(write_files(replay, chunks, families, folder), len(chunks), "files")
    _say("Make blocks of them in Prometheus's storage.tsdb.path, as the user that it runs as:")
    _say(f'  for file in {folder}/*.om; do promtool tsdb create-blocks-from openmetrics "$file" PATH; done')


def _send(
    replay: Replay,
    chunks: list[tuple[int, int]],
    families: list[PastFamily],
    asked: Asked,
    spool: Spool,
    stamp: str,
) -> None:
    try:
        from exporter.backfill.remote_write import RemoteWrite, send_all
    except ImportError:
        raise ConfigError(
            "--remote-write needs the extra: pip install 'codearts-build-exporter[remote-write]'"
        ) from None
    receiver = RemoteWrite(asked.remote_write, asked.headers, requests.Session())
    known, _, before = (spool.recall(_SENT) or "").partition(" ")
    done = send_all(replay, chunks, families, receiver, int(before) if known == stamp else 0)
    _follow(_noted(done, spool, stamp), len(chunks), "sending")


def _noted(done: Iterable[int], spool: Spool, stamp: str) -> Iterator[int]:
    for before_ms in done:
        spool.note(_SENT, f"{stamp} {before_ms}")
        yield before_ms


def _follow(steps: Iterable[object], length: int, label: str) -> None:
    """Do all steps; a bar tells how far it is, or without a terminal a line for each tenth."""
    if sys.stderr.isatty():
        with click.progressbar(length=length, label=label, file=sys.stderr) as bar:
            for _ in steps:
                bar.update(1)
        return
    tenths = 0
    for done, _ in enumerate(steps, 1):
        if _TENTHS * done // length > tenths:
            tenths = _TENTHS * done // length
            _say(f"{label}: {done:,} of {length:,}")


def _takes(questions: int, throttle: Throttle) -> str:
    minutes = questions / throttle.requests_per_minute
    length = f"{minutes / 60:.1f} hours" if minutes > 90 else f"{max(1, round(minutes))} min"
    return f"about {length} at {throttle.requests_per_minute:g} a minute"


def _told_of(collection: Collection) -> str:
    lines = [
        f"the history of job {job_id} could not be had: {why}" for job_id, why in collection.failed.items()
    ]
    return "\n".join([*lines, "all other jobs are there; the same command tries these again"])


def _bytes(size: int) -> str:
    return f"{size / 1e9:,.1f} GB" if size >= 1e8 else f"{size / 1e6:,.1f} MB"


def _say(text: str) -> None:
    click.echo(text, err=True)
