"""``check-config --online``: test the configuration against the API."""

import os
import sys
import time
from typing import Final

import click

from exporter.app import connect
from exporter.cli import log_setup
from exporter.cli.terminal import echo, echo_styled
from exporter.config import Config
from exporter.doctor.format_report import lines_of, wrapped
from exporter.doctor.probe import REFUSALS
from exporter.doctor.probe_plan import announced, at_most
from exporter.doctor.results import Mark
from exporter.doctor.run import examine

_COLOURS: Final = {Mark.OK: "green", Mark.NOTE: "yellow", Mark.PROBLEM: "red"}


def check_online(config: Config) -> bool:
    """Test the configuration against the API and print the report; True if there is no problem."""
    log_setup.configure("error")
    for line in wrapped(announced(config)):
        echo(line)
    credentials, client = connect(config, max_refusals=REFUSALS)
    with click.progressbar(
        length=at_most(config), label="asking", file=sys.stderr, hidden=not sys.stderr.isatty()
    ) as bar:
        report = examine(config, client, credentials, now=time.time, done=lambda: bar.update(1))
    has_colours = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    for line in lines_of(report, _coloured) if has_colours else lines_of(report):
        echo_styled(line)
    return not report.count(Mark.PROBLEM)


def _coloured(mark: Mark, word: str) -> str:
    return click.style(word, fg=_COLOURS[mark], bold=mark is Mark.PROBLEM)
