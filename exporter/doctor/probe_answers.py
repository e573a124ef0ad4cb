"""Answers of the API to the doctor's questions. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from exporter.errors import ApiError, CredentialsError, RefusalError
from exporter.model import Build, BuildDetail, RecycleBin, RecycledJob, Stage
from exporter.poller.tasks_and_results import ALL, Listing


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
        stopped: the error that ended the examination early, or that left it without any valid answer.
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
        refused = [answer for answer in given if isinstance(answer, RefusalError)]
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
