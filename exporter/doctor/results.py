"""What the doctor works on: findings and sections that come out, answers that went in. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from exporter.errors import ApiError, NotPublishedError, NotVisibleError, RejectedError
from exporter.model import Build, BuildDetail, RecycleBin, RecycledJob, Stage
from exporter.poller.tasks import ALL, Listing


class Mark(StrEnum):
    """How a finding is to be taken."""

    OK = "ok"
    NOTE = "note"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was found.

    Attributes:
        text: a sentence for a person, without its full stop.
        todo: what to do about it: of a problem always there, of a note where something could be better.
    """

    mark: Mark
    text: str
    todo: str = ""


@dataclass(frozen=True, slots=True)
class Section:
    """Findings about one thing."""

    title: str
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """All that was found."""

    sections: tuple[Section, ...]

    def count(self, mark: Mark) -> int:
        """How many findings have that mark."""
        return sum(finding.mark is mark for section in self.sections for finding in section.findings)

    @property
    def changes(self) -> tuple[str, ...]:
        """What could be better, as the notes have it."""
        notes = (finding for section in self.sections for finding in section.findings)
        return tuple(dict.fromkeys(note.todo for note in notes if note.mark is Mark.NOTE and note.todo))


def ok(text: str) -> Finding:
    """Something is as it should be."""
    return Finding(Mark.OK, text)


def note(text: str, todo: str = "") -> Finding:
    """Something is worth to be known."""
    return Finding(Mark.NOTE, text, todo)


def problem(text: str, todo: str) -> Finding:
    """Something is wrong."""
    return Finding(Mark.PROBLEM, text, todo)


def is_refused(answer: object) -> bool:
    """Whether an answer says that what was asked for is not to be had."""
    return isinstance(answer, NotVisibleError | RejectedError)


@dataclass(frozen=True, slots=True)
class ListAnswer:
    """A job list that could be read.

    Attributes:
        listing: its jobs, as far as they were read.
        size: how many jobs the service says there are.
    """

    listing: Listing
    size: int


@dataclass(frozen=True, slots=True)
class DetailAnswer:
    """What became of the question for one build's detail."""

    job_id: str
    number: int
    answer: BuildDetail | ApiError


@dataclass(frozen=True, slots=True)
class Answers:
    """The answers; None, or absent by its key, is what was not asked.

    Attributes:
        lists: job lists by project id, ``""`` for the list of all jobs.
        names: of projects, by id.
        histories: the latest builds, by job id.
        stages: of the build whose detail was asked for.
        stopped: why asking ended early.
        clock_offset_s: the service's clock minus ours; None where no answer told it.
        expires_at: of the credentials, seconds since the epoch; None where unknown.
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

    @property
    def deleted(self) -> Mapping[str, RecycledJob]:
        """The jobs in the recycle bin, as far as it could be read."""
        return self.recycle_bin.jobs if isinstance(self.recycle_bin, RecycleBin) else {}

    @property
    def has_job_lists(self) -> bool:
        """The question for the list of all jobs was answered, if only by a refusal."""
        answer = self.lists.get(ALL)
        return answer is not None and answer is not self.stopped

    @property
    def refusal(self) -> ApiError | None:
        """The refusal that several operations were answered with, all alike; None where any was not."""
        told = (*self.lists.values(), self.recycle_bin, *self.histories.values(), self.names)
        errors = [one for one in told if one is not None]
        asked = bool(self.lists) + bool(self.histories) + (self.recycle_bin is not None)
        refused = [
            one for one in errors if isinstance(one, NotVisibleError | RejectedError | NotPublishedError)
        ]
        alike = {(one.code, one.error_code) for one in refused}
        return refused[0] if asked > 1 and len(refused) == len(errors) and len(alike) == 1 else None

    @property
    def has_value(self) -> bool:
        """Whether anything was answered as it should be."""
        told: tuple[object, ...] = (
            *self.lists.values(),
            *self.histories.values(),
            self.recycle_bin,
            self.names,
            self.stages,
        )
        return any(each is not None and not isinstance(each, ApiError) for each in told)


@dataclass(frozen=True, slots=True)
class Load:
    """What polling takes, as `load.load_of` replays it.

    Attributes:
        requests: a minute while nothing builds, by operation.
        lists_every_s: seconds between two readings of the job lists.
        per_build: additional requests for a short build.
        while_running: additional requests a minute for a build that runs for long.
        fresh_s: seconds from their end until 50 % and 95 % of short builds are counted.
        fresh_after_long_s: the same for builds that run for long.
        first_requests: until each job has a ledger or was refused.
        first_s: how long that takes within the request limit, in seconds.
        idle_if_listed: ``idle`` if the list of all jobs could be read; None where other lists serve.
        polls_without_max: ``polls`` without ``poll.max_interval``; None where that has no effect.
    """

    requests: Mapping[str, float]
    lists_every_s: float
    per_build: float
    while_running: float
    fresh_s: tuple[float, float]
    fresh_after_long_s: tuple[float, float]
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
