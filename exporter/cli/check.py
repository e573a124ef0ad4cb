"""``check-config``: is the file right, and with ``--online``, will the exporter do well with it."""

import os
import sys
import time
from typing import Final

import click
from prometheus_client import CollectorRegistry

from exporter.api.throttle import Throttle
from exporter.cli.wiring import buckets_of, connect
from exporter.config import Config
from exporter.doctor import REFUSALS, Mark, announced, at_most, examine, lines_of, plural, wrapped
from exporter.telemetry import Telemetry

_COLOURS: Final = {Mark.OK: "green", Mark.NOTE: "yellow", Mark.PROBLEM: "red"}


def summary(config: Config) -> str:
    """What the configuration comes to, in a line."""
    jobs, projects = plural(len(config.jobs), "job"), plural(len(config.projects), "project")
    return f"{jobs}, {projects}, {config.endpoint}, every {config.poll.interval:g} s"


def check_online(config: Config) -> bool:
    """Examine what the configuration leads to, print the report; True if there is no problem."""
    for line in wrapped(announced(config)):
        click.echo(line)
    throttle = Throttle(config.poll.max_requests_per_minute)
    credentials, client = connect(config, Telemetry(CollectorRegistry()), throttle, REFUSALS)
    with click.progressbar(
        length=at_most(config), label="asking", file=sys.stderr, hidden=not sys.stderr.isatty()
    ) as bar:
        report = examine(
            config, client, credentials, buckets_of(config), now=time.time, done=lambda: bar.update(1)
        )
    colourful = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    for line in lines_of(report, _coloured) if colourful else lines_of(report):
        click.echo(line)
    return not report.count(Mark.PROBLEM)


def _coloured(mark: Mark, word: str) -> str:
    return click.style(word, fg=_COLOURS[mark], bold=mark is Mark.PROBLEM)
