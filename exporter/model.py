"""What the rest of the program speaks of: jobs, builds, the recycle bin.

Times are integer milliseconds since the epoch, UTC; lengths are integer milliseconds. Seconds appear
only at exposition.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple


class Result(StrEnum):
    """How a build ended; the values of the label ``result``."""

    SUCCESS = "success"
    FAILURE = "failure"
    ABORTED = "aborted"
    TIMEOUT = "timeout"
    SCHEDULE_FAILURE = "schedule_failure"
    UNKNOWN = "unknown"


class State(StrEnum):
    """Where an unfinished build is; the values of the label ``state``."""

    QUEUED = "queued"
    RUNNING = "running"


class Trigger(StrEnum):
    """What started a build."""

    MANUAL = "manual"
    SCHEDULE = "schedule"
    CODE_CHANGE = "code_change"
    PIPELINE = "pipeline"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Job:
    """A build definition that is watched.

    Attributes:
        id: 32 characters, ``[0-9a-z]``.
        name: label ``job_name``.
        project: label ``project``, a name.
        project_id: the CodeArts project's id; empty while unknown.
    """

    id: str
    name: str
    project: str
    project_id: str = ""


@dataclass(frozen=True, slots=True)
class JobNames:
    """What the API calls a job; empty where it has not told."""

    name: str = ""
    project: str = ""
    project_id: str = ""


@dataclass(frozen=True, slots=True)
class ListedJob:
    """A job as a job list shows it, with the little that lists tell of its last build.

    Attributes:
        last_build_ms: when the last build began; None where there never was one.
        is_finished: whether that build is over; None where the list does not say.
        status: the list's own word for how it stands.
        number: its number, as far as the list tells it.
        state: where it is, if it is not finished and the list says so.
    """

    id: str
    names: JobNames
    last_build_ms: int | None = None
    is_finished: bool | None = None
    status: str = ""
    number: int | None = None
    state: State | None = None

    @property
    def mark(self) -> tuple[object, ...]:
        """Changes whenever the list shows that something happened."""
        return (self.last_build_ms, self.is_finished, self.status, self.number, self.state)

    @property
    def never_built(self) -> bool:
        """The list is sure that there was no build yet."""
        return self.last_build_ms is None and self.number in (None, 0) and self.status == "none"


@dataclass(frozen=True, slots=True)
class Build:
    """One execution of a job, as period-history tells it.

    Exactly one of three things is known: ``result`` (it ended so), ``state`` (it has not ended), or
    neither (the record does not say; only its detail can).
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
    """One execution of a job, as record-info tells it.

    ``result`` and ``state`` read as in `Build`. ``duration_ms`` is start to finish, without the queue.
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


class Stage(NamedTuple):
    """A part of a build that ran; its name is told once in a build."""

    name: str
    duration_ms: int


@dataclass(frozen=True, slots=True)
class RecycledJob:
    """A deleted job that is kept for a while."""

    id: str
    name: str
    project_id: str
    deleted_ms: int | None


@dataclass(frozen=True, slots=True)
class RecycleBin:
    """The whole recycle bin.

    Attributes:
        retention_ms: None where the answer did not say.
        jobs: by job id.
        read_ms: when it was read, by the service's clock; None where nobody keeps it.
    """

    retention_ms: int | None
    jobs: Mapping[str, RecycledJob]
    read_ms: int | None = None


HOUR_MS: Final = 3_600_000
DAY_MS: Final = 86_400_000

LONGEST_MS: Final = 31 * DAY_MS
"""A length above this is clock trouble; the service stops builds after hours."""
