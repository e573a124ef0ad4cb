"""``backfill``: downloads and writes build history, with progress on standard error."""

import sys
from collections.abc import Generator, Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click

from exporter.api.client import ApiClient
from exporter.api.throttle import Throttle
from exporter.app import connect, families_of
from exporter.backfill import (
    Destination,
    Download,
    Notices,
    Output,
    Selection,
    Spool,
    gaps,
    load_or_make_plan,
    past_families,
    prepare,
)
from exporter.cli.safe_output import cannot_write, warn
from exporter.config import Config
from exporter.humanize import format_utc, plural
from exporter.poller import Rules
from exporter.redaction import register_header, register_url

_SPOOL: Final = "backfill.db"
_SPOOL_WITHOUT_FOLDER: Final = "codearts-build-backfill.db"
_CLEAR_LINE: Final = "\r\x1b[K"


@dataclass(frozen=True, slots=True)
class Options:
    """The options of the command; None stands for the default."""

    selection: Selection
    step_s: float
    to: Destination
    details: bool
    max_requests_per_minute: int | None
    spool: Path | None

    @property
    def spool_path(self) -> Path:
        """The spool that is given, or beside the files, or in the working directory."""
        if self.spool:
            return self.spool
        has_folder = not self.to.remote_write and self.to.output != "-"
        return Path(self.to.output) / _SPOOL if has_folder else Path(_SPOOL_WITHOUT_FOLDER)


def backfill(config: Config, options: Options) -> None:
    """Download build history, then write or send it; resumes an interrupted run of the same command.

    Raises:
        ExporterError: it failed, or failed for some jobs; the API's replies are kept.
    """
    to = options.to
    families = families_of(config)
    to.check_labels(label for family in families for label in family.labels)
    for url in (to.remote_write, *options.selection.exporters):
        register_url(url)
    for name, value in to.headers.items():
        register_header(name, value)
    options.selection.check()
    notices = Notices(say)
    receiver = prepare(to, notices)
    throttle = Throttle(options.max_requests_per_minute or config.poll.max_requests_per_minute)
    _, client = connect(config, throttle=throttle, isolates_operations=False)
    with closing(Spool(options.spool_path)) as spool:
        plan, resumed = load_or_make_plan(spool, config, options.selection, client, notices)
        if resumed:
            say(f"resuming the backfill begun {format_utc(plan.begun_ms)}; remove {spool.path} to start over")
        period = plan.period(round(options.step_s * 1000))
        say(f"builds that finished from {format_utc(period.start_ms)} to {format_utc(period.end_ms)}")
        download = Download(plan.jobs, period, plan.start_ms, spool, notices)
        _download(download, client, config, throttle, details=options.details)
        for line in gaps(spool):
            say(line)
        if jobs := download.jobs:
            Output(
                jobs=jobs,
                period=period,
                rules=Rules.of(config),
                families=past_families(families, to.labels),
                spool=spool,
                to=to,
                receiver=receiver,
                settings=config.metrics,
                say=say,
                follow=follow,
                write_stdout=_write_stdout,
            ).write()
    download.check()


def _download(
    download: Download, client: ApiClient, config: Config, throttle: Throttle, *, details: bool
) -> None:
    """Download what is missing; announce the number of requests before each kind."""
    concurrency = config.poll.concurrency

    def run(label: str, operation: str, requests: int, replies: Generator[object], note: str = "") -> None:
        if requests:
            say(f"{label}: {estimate(requests, throttle.requests_per_minute(operation))}{note}")
        with closing(replies):
            follow(replies, requests, label)

    if details:
        note = ", and one more for every 100 builds of a job"
        records = download.fetch_records(client, concurrency, stages=config.metrics.stages)
        run("records", "records", len(download.records()), records, note)
    run("history", "period-history", len(download.windows()), download.fetch_histories(client, concurrency))
    if details:
        download.use_records()
        run("builds", "record-info", _count(download.builds()), download.fetch_details(client, concurrency))
    if details and config.metrics.stages:
        run("stages", "full-stages", _count(download.stages()), download.fetch_stages(client, concurrency))


def _count(items: Iterable[object]) -> int:
    return sum(1 for _ in items)


def estimate(requests: int, per_minute: float) -> str:
    """Describe how long requests take without retries."""
    minutes = requests / per_minute
    if minutes < 1:
        length = "less than a minute"
    else:
        length = f"at least {minutes / 60:.1f} hours" if minutes > 90 else f"at least {round(minutes)} min"
    return f"{plural(requests, 'request')}, {length} at {per_minute:g} a minute"


def say(text: str) -> None:
    """Print a line in place of the progress bar, which is redrawn below it."""
    warn(text, before=_CLEAR_LINE if sys.stderr.isatty() else "")


def follow(steps: Iterable[object], length: int, label: str) -> None:
    """Run all steps with a progress bar, or without a terminal with a line for each tenth."""
    if sys.stderr.isatty():
        with click.progressbar(length=length, label=label, file=sys.stderr) as bar:
            for _ in steps:
                bar.update(1)
        return
    tenths = 0
    for done, _ in enumerate(steps, 1):
        if 10 * done // length > tenths:
            tenths = 10 * done // length
            say(f"{label}: {done:,} of {length:,}")


def _write_stdout(pieces: Iterable[str]) -> None:
    try:
        for text in pieces:
            sys.stdout.buffer.write(text.encode())
        sys.stdout.buffer.flush()
    except OSError as error:
        raise cannot_write(error) from None
