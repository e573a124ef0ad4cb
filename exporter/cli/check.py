"""``check-config``: is the file right, and with ``--online``, what do the credentials see."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import click
from prometheus_client import CollectorRegistry

from exporter.api.client import ApiClient
from exporter.api.payload import SERVICE_ZONE
from exporter.cli.wiring import connect
from exporter.config import Config
from exporter.errors import ApiError
from exporter.model import Job
from exporter.telemetry import Telemetry
from exporter.watchlist import watched_jobs

Row = tuple[str, str, str]


def summary(config: Config) -> str:
    """What the configuration comes to, in a line."""
    jobs, projects = len(config.jobs), len(config.projects)
    return f"{jobs} jobs, {projects} projects, {config.endpoint}, every {config.poll.interval:g} s"


def check_online(config: Config) -> bool:
    """Log in, ask for each job and the recycle bin once, print a table; True if all of it is visible."""
    credentials, client = connect(config, Telemetry(CollectorRegistry()))
    answers = list(_ask(config, client))
    expires_at = credentials.expires_at()
    if expires_at is not None:
        expiry = datetime.fromtimestamp(expires_at, UTC).isoformat(timespec="seconds")
        click.echo(f"credentials: {credentials.kind}, valid until {expiry}")
    else:
        click.echo(f"credentials: {credentials.kind}")
    click.echo(_table([("WHAT", "ID", "ANSWER"), *(row for row, _ in answers)]))
    return all(visible for _, visible in answers)


def _ask(config: Config, client: ApiClient) -> Iterator[tuple[Row, bool]]:
    for job in watched_jobs(config):
        yield _ask_job(job, client)
    if config.recycle_bin.enabled:
        try:
            deleted = len(client.recycle_bin().jobs)
            yield ("recycle bin", "", f"visible, {deleted} jobs"), True
        except ApiError as error:
            yield ("recycle bin", "", f"not visible: {error}"), False


def _ask_job(job: Job, client: ApiClient) -> tuple[Row, bool]:
    today = datetime.now(SERVICE_ZONE).date()
    name = f"{job.project}/{job.name}" if job.name != job.id else "job"
    try:
        builds = client.period_history(job.id, today - timedelta(days=7), today + timedelta(days=1))
    except ApiError as error:
        return (name, job.id, f"not visible: {error}"), False
    newest = max((build.number for build in builds), default=None)
    told = "no builds in the last 7 days" if newest is None else f"last build {newest}"
    return (name, job.id, f"visible, {told}"), True


def _table(rows: list[Row]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)
