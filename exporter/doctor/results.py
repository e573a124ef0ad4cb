"""Values of the doctor: answers of the API, the load replayed from them, and findings. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from exporter.errors import ApiError, CredentialsError, NotPublishedError, RefusalError
from exporter.model import Build, BuildDetail, RecycleBin, RecycledJob, Stage
from exporter.poller.tasks import ALL, Listing

RUN_AGAIN: Final = "run this again later"


class Mark(StrEnum):
    """Severity of a finding."""

    OK = "ok"
    NOTE = "note"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report.

    Attributes:
        text: a sentence without its full stop.
        todo: the remedy: always set for a problem, for a note where something could be better.
    """

    mark: Mark
    text: str
    todo: str = ""


@dataclass(frozen=True, slots=True)
class Section:
    """Findings on one subject."""

    title: str
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """All sections."""

    sections: tuple[Section, ...]

    def count(self, mark: Mark) -> int:
        """Return the number of findings with that mark."""
        return sum(finding.mark is mark for section in self.sections for finding in section.findings)

    @property
    def changes(self) -> tuple[str, ...]:
        """Suggestions of the notes."""
        findings = (finding for section in self.sections for finding in section.findings)
        return tuple(dict.fromkeys(f.todo for f in findings if f.mark is Mark.NOTE and f.todo))


def ok(text: str) -> Finding:
    """Make a finding that something is as it should be."""
    return Finding(Mark.OK, text)


def note(text: str, todo: str = "") -> Finding:
    """Make a finding worth knowing."""
    return Finding(Mark.NOTE, text, todo)


def problem(text: str, todo: str) -> Finding:
    """Make a finding that something is wrong."""
    return Finding(Mark.PROBLEM, text, todo)


@dataclass(frozen=True, slots=True)
class ListAnswer:
    """A job list as far as it was read; ``size`` is the number of jobs according to the service."""

    listing: Listing
    size: int


@dataclass(frozen=True, slots=True)
class DetailAnswer:
    """Answer to the request for one build's detail."""

    job_id: str
    number: int
    answer: BuildDetail | ApiError


@dataclass(frozen=True, slots=True)
class Answers:
    """Answers of the API; None, or a missing key, for requests that were not sent.

    Attributes:
        lists: job lists by project id, ``""`` for the list of all jobs.
        names: of projects, by id.
        histories: the latest builds, by job id.
        stages: of the build in `detail`.
        stopped: the error that ended the examination early.
        clock_offset_s: the service's clock minus ours; None where unknown.
        expires_at: of the credentials, seconds since the epoch; None where unknown.
        replaced_by: endpoints in use in place of those withdrawn, by operation.
    """

    lists: Mapping[str, ListAnswer | ApiError] = field(default_factory=dict)
    names: Mapping[str, str] | ApiError | None = None
    recycle_bin: RecycleBin | ApiError | None = None
    histories: Mapping[str, tuple[Build, ...] | ApiError] = field(default_factory=dict)
    detail: DetailAnswer | None = None
    stages: tuple[Stage, ...] | ApiError | None = None
    stopped: ApiError | None = None
    clock_offset_s: float | None = None
    expires_at: float | None = None
    replaced_by: Mapping[str, str] = field(default_factory=dict)

    @property
    def deleted(self) -> Mapping[str, RecycledJob]:
        """The jobs in the recycle bin, as far as it could be read."""
        return self.recycle_bin.jobs if isinstance(self.recycle_bin, RecycleBin) else {}

    @property
    def has_job_lists(self) -> bool:
        """The request for the list of all jobs was answered, possibly with a refusal."""
        answer = self.lists.get(ALL)
        return answer is not None and answer is not self.stopped

    @property
    def refusal(self) -> ApiError | None:
        """The error with which all of several operations were refused; None if any was not."""
        asked = bool(self.lists) + bool(self.histories) + (self.recycle_bin is not None)
        given = [answer for answer in self._of_operations if answer is not None]
        refused = [answer for answer in given if isinstance(answer, RefusalError | NotPublishedError)]
        is_same = len({(error.code, error.error_code) for error in refused}) == 1
        return refused[0] if asked > 1 and len(refused) == len(given) and is_same else None

    @property
    def where_stopped(self) -> str:
        """Refer to the section that says why the examination ended early."""
        return "see Credentials" if isinstance(self.stopped, CredentialsError) else "see Address"

    @property
    def has_value(self) -> bool:
        """At least one request succeeded."""
        answers = (*self._of_operations, self.stages)
        return any(answer is not None and not isinstance(answer, ApiError) for answer in answers)

    @property
    def _of_operations(self) -> tuple[object, ...]:
        return (*self.lists.values(), *self.histories.values(), self.recycle_bin, self.names)


@dataclass(frozen=True, slots=True)
class Load:
    """The cost of polling, as `planner_replay.load_of` replays it.

    Attributes:
        requests: a minute while nothing builds, by operation.
        lists_every_s: seconds between two readings of the job lists.
        per_build: additional requests for a short build.
        while_running: additional requests a minute for a build that runs for long.
        fresh_s: seconds after their end until 50 % and 95 % of short builds are counted.
        fresh_after_long_s: the same for builds that run for long.
        long_s: the duration of those builds.
        first_requests: until each job has a ledger or was refused.
        first_s: seconds that this takes within the request limit.
        idle_if_listed: `idle` if the list of all jobs could be read; None where other lists are used.
        polls_without_max: `polls` without ``poll.max_interval``; None where that has no effect.
    """

    requests: Mapping[str, float]
    lists_every_s: float
    per_build: float
    while_running: float
    fresh_s: tuple[float, float]
    fresh_after_long_s: tuple[float, float]
    long_s: float
    first_requests: int
    first_s: float
    idle_if_listed: float | None = None
    polls_without_max: float | None = None

    @property
    def idle(self) -> float:
        """Requests a minute while nothing builds."""
        return sum(self.requests.values())

    @property
    def lists(self) -> float:
        """Those for job lists."""
        return self.requests.get("job-list", 0.0) + self.requests.get("project-job-list", 0.0)

    @property
    def polls(self) -> float:
        """Those for polls of jobs."""
        return self.requests["period-history"]
