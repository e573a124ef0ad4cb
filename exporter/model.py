"""Domain model: jobs, builds, the recycle bin.

Times are integer milliseconds since the epoch; durations are integer milliseconds. Exposition uses seconds.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple
from urllib.parse import quote

HOUR_MS: Final = 3_600_000
DAY_MS: Final = 86_400_000

ALL: Final = ""
"""Stands for all visible jobs, among project ids."""

LONGEST_MS: Final = 31 * DAY_MS
"""A longer duration is clock trouble; the service stops builds after hours."""


class Result(StrEnum):
    """Result of a finished build; the values of the label ``result``."""

    SUCCESS = "success"
    FAILURE = "failure"
    ABORTED = "aborted"
    TIMEOUT = "timeout"
    SCHEDULE_FAILURE = "schedule_failure"
    UNKNOWN = "unknown"


class State(StrEnum):
    """State of an unfinished build; the values of the label ``state``."""

    QUEUED = "queued"
    RUNNING = "running"


class Trigger(StrEnum):
    """Cause of a build."""

    MANUAL = "manual"
    SCHEDULE = "schedule"
    CODE_CHANGE = "code_change"
    PIPELINE = "pipeline"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Job:
    """A watched build definition; ``name`` and ``project`` are labels, an empty ``project_id`` is unknown."""

    id: str
    name: str
    project: str
    project_id: str = ""


@dataclass(frozen=True, slots=True)
class ConsoleLinks:
    """URL templates of pages in the console; an empty one makes no links.

    They may contain ``{project_id}`` and ``{job_id}``, and ``build_url`` ``{build_number}``.
    """

    job_url: str = ""
    build_url: str = ""

    def job(self, job: Job) -> str:
        """Return the URL of a job's page; empty without a template, or while the project's id is unknown."""
        return _filled(self.job_url, job)

    def build(self, job: Job, number: int) -> str:
        """Return the URL of a build's page, under the same conditions."""
        return _filled(self.build_url, job).replace("{build_number}", str(number))


def _filled(template: str, job: Job) -> str:
    if not template or ("{project_id}" in template and not job.project_id):
        return ""
    ids = {"{project_id}": job.project_id, "{job_id}": job.id}
    for placeholder, value in ids.items():
        template = template.replace(placeholder, quote(value, safe="", errors="replace"))
    return template


@dataclass(frozen=True, slots=True)
class JobNames:
    """The names of a job in the API; empty while unknown."""

    name: str = ""
    project: str = ""
    project_id: str = ""


@dataclass(frozen=True, slots=True)
class ListedJob:
    """A job in a job list, with what lists report of its last build.

    Attributes:
        last_build_ms: start of the last build; None if there was none.
        is_finished: None if the list does not say.
        status: the list's own word.
        number: the last build's number, if reported.
        state: the last build's state, if it is unfinished and reported.
        build_project_id: stands for the job in requests for records; empty if the list lacks it.
        disabled: whether the job is disabled, and cannot be built; None if the list does not say.
    """

    id: str
    names: JobNames
    last_build_ms: int | None = None
    is_finished: bool | None = None
    status: str = ""
    number: int | None = None
    state: State | None = None
    build_project_id: str = ""
    disabled: bool | None = None

    @property
    def mark(self) -> tuple[object, ...]:
        """Everything that changes when the list reports a new event."""
        return (self.last_build_ms, self.is_finished, self.status, self.number, self.state)

    @property
    def never_built(self) -> bool:
        """True if the list reports that there was no build yet."""
        return self.last_build_ms is None and self.number in (None, 0) and self.status == "none"


@dataclass(frozen=True, slots=True)
class Build:
    """One execution of a job, as period-history reports it.

    It has a ``result`` if it ended, a ``state`` if it did not, and neither if only its detail can tell.
    """

    number: int
    result: Result | None = None
    state: State | None = None
    start_ms: int | None = None
    finish_ms: int | None = None
    branch: str = ""
    trigger: Trigger = Trigger.UNKNOWN


@dataclass(frozen=True, slots=True)
class BuildDetail:
    """One execution of a job, as record-info reports it; ``duration_ms`` excludes the queue.

    ``build_project_id`` stands for the job in requests for records.
    """

    number: int
    result: Result | None = None
    state: State | None = None
    queued_ms: int | None = None
    start_ms: int | None = None
    finish_ms: int | None = None
    duration_ms: int | None = None
    branch: str = ""
    trigger: Trigger = Trigger.UNKNOWN
    record_id: str = ""
    project_id: str = ""
    build_project_id: str = ""

    @property
    def has_exact_duration(self) -> bool:
        """The duration is known to the millisecond, or follows from the times."""
        is_in_ms = any((time_ms or 0) % 1000 for time_ms in (self.start_ms, self.finish_ms))
        return self.duration_ms is not None or is_in_ms


class Stage(NamedTuple):
    """A stage of a build that ran; names are unique within a build."""

    name: str
    duration_ms: int


@dataclass(frozen=True, slots=True)
class RecycledJob:
    """A deleted job in the recycle bin."""

    id: str
    name: str
    project_id: str
    deleted_ms: int | None


@dataclass(frozen=True, slots=True)
class RecycleBin:
    """The whole recycle bin: its jobs by id, how long they are kept, and when it was read."""

    retention_ms: int | None
    jobs: Mapping[str, RecycledJob]
    read_ms: int | None = None
