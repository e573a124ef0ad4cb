"""What the poller hands to a worker, and what comes back. Plain values; the lowest module of the poller."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from exporter.errors import ApiError
from exporter.ledger import DetailAnswer, Failed, JobLedger, KnownStages, StageAnswer
from exporter.model import Build, BuildDetail, ListedJob, RecycleBin

JOB_LISTS: Final = "job-lists"
RECYCLE_BIN: Final = "recycle-bin"
"""The tasks that concern no single job; job ids have 32 characters."""

ALL: Final = ""
"""Stands for the list of all jobs that the credentials see, among project ids."""

PAGE: Final = 100
"""Jobs on one page of a job list."""

_STAGES_PREFIX: Final = "stages:"


def stages_of(job_id: str) -> str:
    """The task of fetching the stages of a job's builds."""
    return _STAGES_PREFIX + job_id


def is_of_stages(task: str) -> bool:
    """Whether a task fetches stages."""
    return task.startswith(_STAGES_PREFIX)


def job_of(task: str) -> str:
    """The job id of a task that polls a job or fetches its stages; any other task as it is."""
    return task.removeprefix(_STAGES_PREFIX)


@dataclass(slots=True, eq=False)
class Timer:
    """When one task is due: it waits, is under way, or is idle; never two of these at once.

    Each watched job has one of its own, so a result that comes late belongs to a watched job only if its
    timer is still that job's.

    Attributes:
        due: it waits until then; monotonic seconds.
        was_due: when a task that is under way was due; None where it is not under way.
        started: when the task was last taken.
        removed: it is under way, and must not be scheduled again.
        ended_with: how the task ended last: True for an answer, the error for a refusal; None for anything
            else so far.
        failures: how often it failed in a row; this and what follows is kept by `StateChangeLog`.
        is_reported: the log says that it fails.
        has_bug: the log has the traceback of an exception that nobody expected.
    """

    task: str
    due: float | None = None
    was_due: float | None = None
    started: float | None = None
    removed: bool = False
    ended_with: ApiError | Literal[True] | None = None
    failures: int = 0
    is_reported: bool = False
    has_bug: bool = False

    def keep_log(self, before: "Timer") -> None:
        """Go on with what the log says of this task."""
        self.failures, self.is_reported = before.failures, before.is_reported
        self.has_bug = before.has_bug

    @property
    def is_under_way(self) -> bool:
        """The task was taken and has not ended."""
        return self.was_due is not None

    @property
    def is_planned(self) -> bool:
        """The task waits, or is under way and will be scheduled again."""
        return self.due is not None or (self.is_under_way and not self.removed)

    @property
    def next_due(self) -> float | None:
        """When the task is due, or was due if it is under way; None where it is idle."""
        return self.was_due if self.due is None else self.due


@dataclass(frozen=True, slots=True)
class Listing:
    """One job list, as far as it could be read.

    Attributes:
        project_id: of the project it lists; empty for the list of all jobs.
        jobs: by id.
        is_whole: it was read to its end.
    """

    project_id: str
    jobs: Mapping[str, ListedJob]
    is_whole: bool = True

    def lacks(self, job_id: str, project_id: str, *, even_empty: bool = False) -> bool:
        """Whether the list is good and would show a job of that project, but does not.

        An empty list is not good by itself: lists have been seen to come back empty for a moment.
        """
        is_good = self.is_whole and (even_empty or bool(self.jobs))
        return is_good and self.project_id in ("", project_id) and job_id not in self.jobs


@dataclass(frozen=True, slots=True)
class Work:
    """A task, and all that a worker needs to know to do it.

    Attributes:
        timer: of the task; workers only pass it on.
        ledger: of the job, as it was when the task was taken.
        confirmed_ms: when a job list last confirmed that nothing was new with the job.
        lists: for the job lists, those to read, and how long they were before.
        own_lists: the lists of the watched projects, to read where the list of all jobs does not serve.
        unnamed: the projects whose names to ask for.
        failures_count: for stages, whether what fails counts as a try.
        goes_on: the poll before left details to ask for, so that history need not be read again yet.
        denied: builds that history shows and record-info has denied long enough to be believed.
        watched_at: when a job without a ledger was first watched; monotonic seconds.
    """

    timer: Timer
    ledger: JobLedger | None = None
    confirmed_ms: int | None = None
    lists: Mapping[str, int] = field(default_factory=dict)
    own_lists: Mapping[str, int] = field(default_factory=dict)
    unnamed: frozenset[str] = frozenset()
    failures_count: bool = False
    goes_on: bool = False
    denied: frozenset[int] = frozenset()
    watched_at: float | None = None

    @property
    def task(self) -> str:
        """What to do."""
        return self.timer.task


@dataclass(frozen=True, slots=True)
class Observations:
    """What one poll of a job saw; `job_state.fold` makes the next ledger of it.

    Attributes:
        at_ms: when it was asked, by the service's clock.
        history_read: history was read; a poll that goes on with the details of another does not.
        builds: what period-history showed, in any order.
        details: what record-info answered.
        is_first: the job had no ledger; `builds` are those of the look-back.
        waited_ms: how long before `at_ms` such a job was first watched.
        after_gap: the poll before was so long ago that what has finished since counts as recovered.
        error: why the poll stopped early.
        doubted: builds that history shows and record-info denied; to be asked for again some seconds later.
        more: further details can be asked for at once; those that failed wait for their turn.
    """

    at_ms: int
    builds: tuple[Build, ...]
    details: tuple[DetailAnswer, ...] = ()
    is_first: bool = False
    waited_ms: int = 0
    after_gap: bool = False
    error: ApiError | None = None
    doubted: tuple[int, ...] = ()
    more: bool = False
    history_read: bool = True

    @property
    def newest(self) -> Build | None:
        """The build with the highest number that history showed."""
        return max(self.builds, key=lambda build: build.number, default=None)

    @property
    def project_id(self) -> str:
        """The id of the job's project, as a detail gives it; empty where none does."""
        details = (answer for answer in self.details if isinstance(answer, BuildDetail))
        return next((detail.project_id for detail in details if detail.project_id), "")


@dataclass(frozen=True, slots=True)
class StagesFetched:
    """What one step that fetches stages brought.

    Attributes:
        answers: for the builds that were asked about; a failure is here only if it counts as a try.
        failure: the last failure; None where nothing failed.
        refusal: the last refusal; None where nothing was refused.
    """

    answers: tuple[StageAnswer, ...]
    failure: ApiError | None = None
    refusal: ApiError | None = None

    @property
    def is_well(self) -> bool:
        """Nothing failed; the next builds can be asked about at once."""
        return self.failure is None

    @property
    def is_empty(self) -> bool:
        """Nothing was asked."""
        return not self.answers and self.failure is None

    @property
    def helps(self) -> bool:
        """It brought something, if only a refusal."""
        return any(not isinstance(answer, Failed) for answer in self.answers)

    @property
    def has_stages(self) -> bool:
        """It brought the stages of a build."""
        return any(isinstance(answer, KnownStages) for answer in self.answers)


@dataclass(frozen=True, slots=True)
class JobListsResult:
    """What reading the job lists brought.

    Attributes:
        listings: the lists that could be read.
        refused: ids of projects whose list is refused.
        refusal: why one of them is; None where none was refused.
        too_large: sizes of lists that were not read to their end.
        project_names: names by id, where they were asked for.
        read_ms: when reading began, by the service's clock.
    """

    listings: tuple[Listing, ...]
    refused: tuple[str, ...]
    too_large: Mapping[str, int]
    project_names: Mapping[str, str]
    read_ms: int
    refusal: ApiError | None = None

    @property
    def was_refused(self) -> bool:
        """The API refused whatever was asked."""
        return bool(self.refused) and not self.listings and not self.project_names

    @property
    def was_answered(self) -> bool:
        """The API answered something; where there is no list to read, nothing is asked."""
        return bool(self.listings or self.refused or self.project_names)


@dataclass(frozen=True, slots=True)
class TaskResult:
    """What a task brought, or why it failed."""

    timer: Timer
    value: Observations | StagesFetched | RecycleBin | JobListsResult | None = None
    error: Exception | None = None

    @property
    def task(self) -> str:
        """What was done."""
        return self.timer.task

    @property
    def job_id(self) -> str:
        """The job that the task is for; the task itself where it is for none."""
        return job_of(self.task)
