"""``check-config``: load a configuration, and test it against the API."""

import os
import sys
import time
from pathlib import Path

import click

from exporter import startup
from exporter.cli.credential_warnings import credential_warnings
from exporter.cli.safe_output import echo, echo_styled, warn
from exporter.config import Config, load
from exporter.humanize import plural
from exporter.model import ALL


def check_config(path: Path, *, online: bool) -> bool:
    """Load a configuration and print what is to say about it; False if a test against the API fails.

    Raises:
        ConfigError: it is not valid.
    """
    config = load(path)
    echo(f"{path} is valid: {summary(config)}")
    for line in credential_warnings(config, path):
        warn(f"note: {line}")
    if config.metrics.branches and "branch" not in config.metrics.extra_labels:
        warn("note: metrics.branches has no effect, because metrics.extra_labels lacks branch")
    return not online or _check_online(config)


def _check_online(config: Config) -> bool:
    """Test the configuration against the API and print the report; True if there is no problem."""
    with startup.slow_imports():
        from exporter.app import connect
        from exporter.cli import log_setup
        from exporter.doctor.probe import REFUSALS
        from exporter.doctor.probe_plan import announced, at_most
        from exporter.doctor.report import Mark, lines_of, wrapped
        from exporter.doctor.run import examine

    def coloured(mark: Mark, word: str) -> str:
        colours = {Mark.OK: "green", Mark.NOTE: "yellow", Mark.PROBLEM: "red"}
        return click.style(word, fg=colours[mark], bold=mark is Mark.PROBLEM)

    log_setup.configure("error")
    for line in wrapped(announced(config)):
        echo(line)
    credentials, client = connect(config, max_refusals=REFUSALS)
    with click.progressbar(
        length=at_most(config), label="asking", file=sys.stderr, hidden=not sys.stderr.isatty()
    ) as bar:
        report = examine(config, client, credentials, now=time.time, done=lambda: bar.update(1))
    has_colours = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    for line in lines_of(report, coloured) if has_colours else lines_of(report):
        echo_styled(line)
    return not report.count(Mark.PROBLEM)


def summary(config: Config) -> str:
    """Summarize the configuration in a line."""
    watched = [plural(len(config.jobs), "job")] if config.jobs else []
    if any(project.id == ALL for project in config.projects):
        watched.append("all projects")
    elif config.projects:
        watched.append(plural(len(config.projects), "project"))
    return f"{', '.join(watched)}, {config.endpoint}, every {config.poll.interval:g} s"
