"""``check-config``: is the file right, and with ``--online``, what do the credentials see."""

import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial

import click
from prometheus_client import CollectorRegistry

from exporter.api.client import ApiClient
from exporter.api.payload import SERVICE_ZONE
from exporter.api.throttle import Throttle
from exporter.cli.wiring import connect
from exporter.config import Config, ProjectConfig
from exporter.errors import ApiError
from exporter.model import Job
from exporter.telemetry import Telemetry
from exporter.watchlist import Watchlist

Row = tuple[str, str, str]


def summary(config: Config) -> str:
    """What the configuration comes to, in a line."""
    jobs, projects = len(config.jobs), len(config.projects)
    return f"{jobs} jobs, {projects} projects, {config.endpoint}, every {config.poll.interval:g} s"


def check_online(config: Config) -> bool:
    """Log in, ask for everything that is watched once, print a table; True if all of it is visible."""
    throttle = Throttle(config.poll.max_requests_per_minute)
    credentials, client = connect(config, Telemetry(CollectorRegistry()), throttle)
    answers = _ask(config, client)
    expires_at = credentials.expires_at()
    if expires_at is not None:
        expiry = datetime.fromtimestamp(expires_at, UTC).isoformat(timespec="seconds")
        click.echo(f"credentials: {credentials.kind}, valid until {expiry}")
    else:
        click.echo(f"credentials: {credentials.kind}")
    click.echo(_table([("WHAT", "ID", "ANSWER"), *(row for row, _ in answers)]))
    return all(visible for _, visible in answers)


def _ask(config: Config, client: ApiClient) -> list[tuple[Row, bool]]:
    """Ask for each job, project and the recycle bin once, with a bar on a terminal."""
    questions: list[Callable[[], tuple[Row, bool]]] = [
        *(partial(_ask_job, job, client) for job in Watchlist(config).jobs),
        *(partial(_ask_project, project, client) for project in config.projects),
    ]
    if config.recycle_bin.enabled:
        questions.append(partial(_ask_recycle_bin, client))
    with click.progressbar(
        questions, label="asking", file=sys.stderr, hidden=not sys.stderr.isatty()
    ) as asked:
        return [question() for question in asked]


def _ask_recycle_bin(client: ApiClient) -> tuple[Row, bool]:
    try:
        deleted = len(client.recycle_bin().jobs)
    except ApiError as error:
        return ("recycle bin", "", f"not visible: {error}"), False
    return ("recycle bin", "", f"visible, {deleted} jobs"), True


def _ask_project(project: ProjectConfig, client: ApiClient) -> tuple[Row, bool]:
    name = f"project {project.name or ''}".strip()
    try:
        jobs, size, _ = client.job_list(project.id, most=None, expected=0)
    except ApiError as error:
        return (name, project.id, f"not visible: {error}"), False
    wanted = sum(project.wants(job.names.name) for job in jobs.values())
    return (name, project.id, f"visible, {wanted} of {size} jobs are watched"), True


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
