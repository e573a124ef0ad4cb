"""Tasks that workers run, and their results. Plain values; the lowest module of the poller."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Final, NamedTuple

from exporter.errors import ApiError
from exporter.ledger.fold_observations import DetailAnswer, Failed, StageAnswer
from exporter.ledger.job_ledger import JobLedger
from exporter.ledger.stages import KnownStages
from exporter.model import ALL as ALL
from exporter.model import Build, BuildDetail, ListedJob, RecycleBin

JOB_LISTS: Final = "job-lists"
RECYCLE_BIN: Final = "recycle-bin"
"""The tasks that concern no single job; job ids have 32 characters."""

FLEET_TASKS: Final = (JOB_LISTS, RECYCLE_BIN)

_STAGES_PREFIX: Final = "stages:"


def stages_task(job_id: str) -> str:
    """Name of the task that fetches the stages of a job's builds."""
    return _STAGES_PREFIX + job_id


def is_stages_task(task: str) -> bool:
    """Return whether a task fetches stages."""
    return task.startswith(_STAGES_PREFIX)


def job_id_of(task: str) -> str:
    """Job id of a task that polls a job or fetches its stages; other tasks are returned unchanged."""
    return task.removeprefix(_STAGES_PREFIX)


class Priority(IntEnum):
    """Priority of a due task; the lowest value comes first.

    Attributes:
        NEWS: the job lists, the recycle bin, and polls that will probably show something new.
        ROUTINE: other polls; also for a backlog of details, since that takes many requests.
    """

    NEWS = 0
    ROUTINE = 1


class PollReason(StrEnum):
    """Reason for the time of a job's next poll."""

    FIRST = "not polled since the start"
    HINTED = "a hint said that it has news"
    CHANGED = "a job list shows a change"
    UNLISTED = "job lists do not cover it any more"
    BUILDING = "a build is unfinished"
    LISTED_AS_RUNNING = "a build is running; job lists will show its end sooner"
    DISAGREES = "a job list shows a build that its history does not show yet"
    VERIFIED = "nothing new in the job lists, which are verified now and then"
    QUIET = "nothing new; the interval grows with each such poll"
    MISSING = "build numbers are missing; the interval grows with each poll that does not find them"
    STUCK = "a build has been unfinished for over a day"
    MORE_DETAILS = "details of builds are still to be read"
    DENIED = "record-info does not know a build yet"
    REFUSED = "the API refuses the job; the interval grows with each refusal"
    FAILED = "the last poll failed; the interval grows with each failure"

    @property
    def priority(self) -> Priority:
        """Priority of a poll for this reason."""
        return Priority.NEWS if self in _NEWS else Priority.ROUTINE


_NEWS: Final = frozenset(
    {
        PollReason.HINTED,
        PollReason.CHANGED,
        PollReason.BUILDING,
        PollReason.DISAGREES,
        PollReason.DENIED,
    }
)


class PlannedPoll(NamedTuple):
    """The next poll of a job: seconds until it is due, None while it is under way, and why then."""

    in_s: float | None
    reason: PollReason


@dataclass(slots=True, eq=False)
class Timer:
    """The state of one task: it waits, is under way, or is idle.

    Each watched job has timers of its own. A late result belongs to a watched job only if the timer is still
    that job's.

    Attributes:
        due: when a waiting task is due; monotonic seconds.
        was_due: when a task that is under way was due; None if it is not under way.
        started: when the task was last taken.
        removed: it is under way, and must not be scheduled again.
        failures: failures in a row; this and the following are maintained by `StateChangeLog`.
        is_reported: the log says that it fails.
        has_bug: the log has the traceback of an unexpected exception.
        reason: of the due time, for a poll of a job.
    """

    task: str
    due: float | None = None
    was_due: float | None = None
    started: float | None = None
    removed: bool = False
    failures: int = 0
    is_reported: bool = False
    has_bug: bool = False
    reason: PollReason | None = None

    def keep_log(self, before: "Timer") -> None:
        """Copy what the log says of this task."""
        self.failures, self.is_reported, self.has_bug = before.failures, before.is_reported, before.has_bug

    @property
    def priority(self) -> Priority:
        """Priority of the task, for the reason of its due time."""
        return self.reason.priority if self.reason else Priority.NEWS

    @property
    def is_under_way(self) -> bool:
        """The task was taken and has not ended."""
        return self.was_due is not None

    @property
    def is_planned(self) -> bool:
        """The task waits, or is under way and may be scheduled again."""
        return self.due is not None or (self.is_under_way and not self.removed)


@dataclass(frozen=True, slots=True)
class Listing:
    """One job list, as far as it could be read.

    Attributes:
        project_id: `ALL` for the list of all jobs.
        jobs: by id.
        is_whole: it was read to its end.
    """

    project_id: str
    jobs: Mapping[str, ListedJob]
    is_whole: bool = True

    def lacks(self, job_id: str, project_id: str, *, even_empty: bool = False) -> bool:
        """Return whether the list should show a job of that project, and does not.

        An empty list is ignored unless `even_empty`: lists have been seen empty for a moment.
        """
        is_usable = self.is_whole and (even_empty or bool(self.jobs))
        return is_usable and self.project_id in (ALL, project_id) and job_id not in self.jobs


@dataclass(frozen=True, slots=True)
class Work:
    """A task with everything that a worker needs for it.

    Attributes:
        ledger: of the job, when the task was taken.
        confirmed_ms: when a job list last confirmed that the job had no new build.
        lists: for the job lists, those to read, and their last sizes.
        own_lists: lists of the watched projects, to read where the list of all jobs is refused or too long.
        unnamed: projects whose names to request.
        count_failures: for stages, whether every failure counts as a try of its build.
        more_details: the poll before left details to request, so history need not be read again yet.
        confirmed_denials: builds that record-info has denied for so long that the denial is final.
        watched_at: when a job without a ledger was first watched; monotonic seconds.
        listed: what the lists show of the job, if the poll may begin with record-info instead of history.
    """

    timer: Timer
    ledger: JobLedger | None = None
    confirmed_ms: int | None = None
    lists: Mapping[str, int] = field(default_factory=dict)
    own_lists: Mapping[str, int] = field(default_factory=dict)
    unnamed: frozenset[str] = frozenset()
    count_failures: bool = False
    more_details: bool = False
    confirmed_denials: frozenset[int] = frozenset()
    watched_at: float | None = None
    listed: ListedJob | None = None

    @property
    def task(self) -> str:
        """Name of the task."""
        return self.timer.task


@dataclass(frozen=True, slots=True)
class Observations:
    """Answers to one poll of a job; `job_state.fold` applies them to its ledger.

    Attributes:
        at_ms: when the poll began, by the service's clock.
        builds: from period-history, in any order.
        details: from record-info.
        is_first: the job had no ledger; `builds` are those of the look-back.
        waited_ms: how long before `at_ms` such a job was first watched.
        after_gap: builds that finished since the previous poll, long ago, count as recovered.
        error: why the poll stopped early.
        unconfirmed_denials: builds that history shows and record-info denied; requested again soon.
        more_details: more known builds are to be requested at once.
        found_missing: a missing build was found; others of its gap may be requested at once.
        history_read: history was read; not if the poll only continued with details, or needed no more.
        listed: what the lists show, if record-info alone was asked for it, and `details` are the whole poll.
        faults: a snake_case reason for records that were left out.
    """

    at_ms: int
    builds: tuple[Build, ...]
    details: tuple[DetailAnswer, ...] = ()
    is_first: bool = False
    waited_ms: int = 0
    after_gap: bool = False
    error: ApiError | None = None
    unconfirmed_denials: tuple[int, ...] = ()
    more_details: bool = False
    found_missing: bool = False
    history_read: bool = True
    listed: ListedJob | None = None
    faults: tuple[str, ...] = ()

    def newest_up_to(self, highest: int) -> Build | BuildDetail | None:
        """Return the build with the highest number in history and details that is not above ``highest``."""
        details = (answer for answer in self.details if isinstance(answer, BuildDetail))
        seen: list[Build | BuildDetail] = [*self.builds, *details]
        accepted = (build for build in seen if build.number <= highest)
        return max(accepted, key=lambda build: build.number, default=None)

    @property
    def project_id(self) -> str:
        """Id of the job's project, from a detail; empty if none shows it."""
        details = (answer for answer in self.details if isinstance(answer, BuildDetail))
        return next((detail.project_id for detail in details if detail.project_id), "")


@dataclass(frozen=True, slots=True)
class StagesFetched:
    """Answers to one step that fetched stages; failures among them count as tries of their builds."""

    answers: tuple[StageAnswer, ...]
    failure: ApiError | None = None
    refusal: ApiError | None = None

    @property
    def has_answers(self) -> bool:
        """The API answered or refused at least one request."""
        return any(not isinstance(answer, Failed) for answer in self.answers)

    @property
    def has_stages(self) -> bool:
        """The stages of at least one build were returned."""
        return any(isinstance(answer, KnownStages) for answer in self.answers)


@dataclass(frozen=True, slots=True)
class JobListsResult:
    """Result of reading the job lists.

    Attributes:
        listings: the lists that could be read.
        refused: errors of the lists that were refused, by project id.
        too_large: sizes of lists that were not read to their end, by project id.
        project_names: by id, if requested.
        read_ms: when reading began, by the service's clock.
    """

    listings: tuple[Listing, ...]
    refused: Mapping[str, ApiError]
    too_large: Mapping[str, int]
    project_names: Mapping[str, str]
    read_ms: int

    @property
    def was_answered(self) -> bool:
        """The API answered a request; with no list to read, none is sent."""
        return bool(self.listings or self.refused or self.project_names)


@dataclass(frozen=True, slots=True)
class TaskResult:
    """Result of a task, or the error that ended it."""

    timer: Timer
    value: Observations | StagesFetched | RecycleBin | JobListsResult | None = None
    error: Exception | None = None

    @property
    def task(self) -> str:
        """Name of the task."""
        return self.timer.task

    @property
    def job_id(self) -> str:
        """The job that the task is for, or the task itself."""
        return job_id_of(self.task)

    @property
    def failure(self) -> Exception | None:
        """The error of the task, or of a part of it that ended it; None if it was answered."""
        if isinstance(self.value, Observations):
            return self.value.error
        if isinstance(self.value, JobListsResult) and not (self.value.listings or self.value.project_names):
            return next(iter(self.value.refused.values()), None)
        return self.error
