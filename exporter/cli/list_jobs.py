"""``list-jobs``: print the jobs that the credentials can see, ready to paste into a configuration."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Final

from exporter.api.client import ApiClient
from exporter.app import connect
from exporter.cli import log_setup
from exporter.cli.safe_output import echo, warn
from exporter.config import Config
from exporter.config.problems import CONTROL_CHARACTERS
from exporter.doctor.api_reachability import stopped
from exporter.doctor.credentials import refused
from exporter.doctor.probe import REFUSALS
from exporter.doctor.report import columns
from exporter.errors import ApiError, CredentialsError, ExporterError, NotPublishedError, RefusalError
from exporter.humanize import format_utc, plural
from exporter.model import ALL, ListedJob
from exporter.redaction import clean

_PLAIN: Final = re.compile(
    r"(?!(?:null|true|false|yes|no|on|off|y|n)$)[a-z_][\w.-]*", re.ASCII | re.IGNORECASE
)
"""A text that YAML reads as itself without quotation marks."""


def list_jobs(config: Config, output: str) -> None:
    """Print all visible jobs as ``yaml``, ``table`` or ``json``, and their number on standard error.

    Raises:
        ExporterError: the API refuses the list, or it is empty.
    """
    log_setup.configure("error")
    _, client = connect(config, max_refusals=REFUSALS, isolates_operations=False)
    try:
        jobs = visible_jobs(client, [project.id for project in config.projects])
    except ApiError as error:
        raise ExporterError(_explain(config, error.cause or error)) from None
    if not jobs:
        raise ExporterError(
            "the list of jobs is empty: the user sees none, or the list was empty only for a moment"
        )
    for line in _LINES[output](jobs):
        echo(line)
    projects = len({job.names.project_id or job.names.project for job in jobs})
    warn(f"{plural(len(jobs), 'job')} in {plural(projects, 'project')}")


def _explain(config: Config, error: ApiError) -> str:
    """Explain why a list cannot be read, and say what to do."""
    if isinstance(error, CredentialsError):
        finding = refused(config, error, None)
        return f"the credentials are {finding.text}; {finding.todo.removesuffix(' (see Clock)')}"
    finding = stopped(error, has_value=False)
    return f"{finding.text}; {finding.todo}"


def visible_jobs(client: ApiClient, projects: Iterable[str]) -> list[ListedJob]:
    """Request the list of all jobs, or if that is refused, those of the ``projects``; sorted by names.

    Raises:
        ApiError: a list cannot be read.
    """
    listed: dict[str, ListedJob] = {}
    try:
        listed.update(client.job_list(ALL, max_jobs=None, expected=0)[0])
    except (RefusalError, NotPublishedError) as error:
        own = [project_id for project_id in projects if project_id != ALL]
        if not own and isinstance(error, NotPublishedError):
            raise
        if not own:
            raise ExporterError(
                f"the list of all jobs is refused: {error}; name projects in the configuration to list theirs"
            ) from None
        warn(
            f"the list of all jobs is refused: {error}; only jobs of the configuration's projects are listed"
        )
        for project_id in own:
            listed.update(client.job_list(project_id, max_jobs=None, expected=0)[0])
    jobs = list(listed.values())
    if any(job.names.project_id and not job.names.project for job in jobs):
        with suppress(ApiError):  # the ids are enough
            names = client.project_names()
            for index, job in enumerate(jobs):
                project = job.names.project or names.get(job.names.project_id, "")
                jobs[index] = replace(job, names=replace(job.names, project=project))
    return sorted(jobs, key=lambda job: (job.names.project, job.names.name, job.id))


def yaml_lines(jobs: Iterable[ListedJob]) -> Iterator[str]:
    """Format the section ``jobs`` of a configuration, a line for each job.

    The names of jobs that share them are comments, because a configuration refuses them as labels; so are
    names with control characters.
    """
    jobs = list(jobs)
    times = Counter(_names(job) for job in jobs)
    yield "jobs:"
    for job in jobs:
        names = {"name": job.names.name, "project": job.names.project}
        given = {key: text for key, text in names.items() if text}
        remarks = ["disabled"] if job.disabled else []
        if times[_names(job)] > 1 or any(map(CONTROL_CHARACTERS.search, given.values())):
            remarks.insert(0, json.dumps("/".join(reversed(given.values())), ensure_ascii=False))
            entry = job.id
        else:
            labels = "".join(f", {key}: {_scalar(text)}" for key, text in given.items())
            entry = f"{{id: {job.id}{labels}}}"
        yield f"  - {entry}{'  # ' if remarks else ''}{', '.join(remarks)}"


def _names(job: ListedJob) -> tuple[str, str]:
    return job.names.project, job.names.name


def _scalar(text: str) -> str:
    if _PLAIN.fullmatch(text):
        return text
    return json.dumps(text, ensure_ascii=False).replace("${", "$${")


def table_lines(jobs: Iterable[ListedJob]) -> Iterator[str]:
    """Format a table for a terminal, with the start of each last build."""
    rows = [("PROJECT", "NAME", "ID", "LAST BUILD")]
    for job in jobs:
        project = job.names.project or job.names.project_id
        built = format_utc(job.last_build_ms) or ("never" if job.never_built else "unknown")
        remark = " (disabled)" if job.disabled else ""
        rows.append((clean(project), clean(job.names.name), job.id, f"{built}{remark}"))
    widths = [max(map(columns, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (text + " " * (width - columns(text)) for text, width in zip(row, widths, strict=True))
        yield "  ".join(cells).rstrip()


def json_lines(jobs: Iterable[ListedJob]) -> Iterator[str]:
    """Format a JSON array, a line for each job."""
    objects = (
        {
            "id": job.id,
            "name": job.names.name,
            "project": job.names.project,
            "project_id": job.names.project_id,
            "last_build": format_utc(job.last_build_ms) or None,
            "disabled": job.disabled,
        }
        for job in jobs
    )
    lines = ",\n ".join(json.dumps(item, ensure_ascii=False) for item in objects)
    yield from f"[{lines}]".split("\n")


_LINES: Final = {"yaml": yaml_lines, "table": table_lines, "json": json_lines}
