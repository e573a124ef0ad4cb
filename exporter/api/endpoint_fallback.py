"""Knowledge of the endpoints: the one to ask for an operation, and how far records can be used. Pure."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from exporter.errors import ApiError, NotPublishedError, RefusalError

HISTORY: Final = "period-history"
RECORD_INFO: Final = "record-info"

ENDPOINTS: Final[Mapping[str, tuple[str, str]]] = {
    HISTORY: ("v3/period-history", "v1/records"),
    RECORD_INFO: ("v4/record-info", "v1/record-info"),
}
"""The older and the newer endpoint of each operation that has two."""

ENOUGH_JOBS: Final = 3
"""Jobs, or answers about all jobs that were asked, after which a 404 is no longer about a single job."""

FIRST_PAUSE_S: Final = 60.0
LONGEST_PAUSE_S: Final = 3600.0
"""Time between two tries of an endpoint that is not in use; it doubles each time."""

AGREEMENTS: Final = 3
"""Builds of which records and record-info must report the same before records are used for details."""

DISAGREES: Final = "disagrees_with_record_info"


@dataclass(slots=True)
class RecordsTrust:
    """Decides if details may be taken from records instead of record-info.

    Counts and sums must not depend on which of the two was asked, so a single difference ends the use.

    Attributes:
        agreed: builds of which both reported the same.
        ended: why records are not used for details any more; empty while they may be.
    """

    agreed: int = 0
    ended: str = ""

    @property
    def is_proven(self) -> bool:
        """Details may be taken from records."""
        return not self.ended and self.agreed >= AGREEMENTS

    @property
    def to_compare(self) -> int:
        """Builds of the next answer to compare with record-info; once proven, still one of each answer."""
        return max(1, AGREEMENTS - self.agreed)

    def compared(self, *, agreed: bool) -> None:
        """Record a comparison of one build."""
        self.agreed += agreed
        if not agreed:
            self.end(DISAGREES)

    def end(self, reason: str) -> None:
        """Stop the use; the first reason stays."""
        self.ended = self.ended or reason


@dataclass(slots=True)
class Endpoint:
    """The endpoint of one operation: the older one, or a newer one while that is withdrawn.

    A withdrawn endpoint answers APIGW.0101, 404 or 410 for every job. One job's 404 is about the job: several
    jobs must have been answered so, or all that were asked, unless the answer is not the service's own. Then
    the newer endpoint is tried; only its answer proves the withdrawal. Times are monotonic seconds.

    Attributes:
        older: name of the endpoint that is preferred.
        newer: name of the endpoint that replaces it.
        is_withdrawn: the newer one is in use.
    """

    older: str
    newer: str
    is_withdrawn: bool = False
    _asked: set[str] = field(default_factory=set)
    _gone: set[str] = field(default_factory=set)
    _strikes: int = 0
    _next_at: float = 0.0
    _pause_s: float = FIRST_PAUSE_S

    @property
    def in_use(self) -> str:
        """Name of the endpoint in use."""
        return self.newer if self.is_withdrawn else self.older

    def asks_older(self, now: float) -> bool:
        """Return whether to ask the older endpoint; now and then although it is withdrawn."""
        return not self.is_withdrawn or self._is_due(now)

    def answered(self, job_id: str) -> None:
        """Record any answer of the older endpoint that a withdrawn one cannot give."""
        self._asked.add(job_id)
        self._gone.clear()
        self._strikes = 0
        self._next_at, self._pause_s = 0.0, FIRST_PAUSE_S
        self.is_withdrawn = False

    def failed(self, job_id: str, error: ApiError, now: float, *, others_answer: bool) -> bool:
        """Record a failure of the older endpoint about a job; return whether to try the newer one.

        It is tried only while `others_answer`: other requests are answered, so not everything is wrong.
        """
        if not is_gone(error):
            if isinstance(error, RefusalError):
                self.answered(job_id)
            return False
        self._asked.add(job_id)
        self._gone.add(job_id)
        self._strikes += 1
        is_everywhere = len(self._gone) >= ENOUGH_JOBS or (
            self._strikes >= ENOUGH_JOBS and self._gone >= self._asked
        )
        suspects = others_answer and (is_everywhere or is_missing(error))
        return suspects and not self.is_withdrawn and self._is_due(now)

    def forget(self, job_ids: Iterable[str]) -> None:
        """Forget jobs that are not asked about any more, so that no withdrawal waits for them."""
        self._asked.difference_update(job_ids)
        self._gone.difference_update(job_ids)

    def undecided(self) -> None:
        """Let the next failure try the newer endpoint, since this job or build cannot prove it."""
        self._next_at, self._pause_s = 0.0, FIRST_PAUSE_S

    def withdraw(self, now: float) -> None:
        """Use the newer endpoint, which has answered in place of the older one."""
        self.is_withdrawn = True
        self._pause_s = FIRST_PAUSE_S
        self._next_at = now + self._pause_s

    def _is_due(self, now: float) -> bool:
        """Return whether to try the endpoint that is not in use; then not again for a growing time."""
        if self._next_at - LONGEST_PAUSE_S <= now < self._next_at:
            return False
        self._next_at = now + self._pause_s
        self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)
        return True


def is_gone(error: ApiError) -> bool:
    """Return whether an endpoint that does not exist could have answered so."""
    return isinstance(error, NotPublishedError) or error.status in (404, 410)


def is_missing(error: ApiError) -> bool:
    """Return whether it was not the service itself that answered so: its refusals have codes of their own."""
    return is_gone(error) and (isinstance(error, NotPublishedError) or not error.error_code)


@dataclass(slots=True)
class Sources:
    """Knowledge of the endpoints, from all answers so far.

    Attributes:
        records: whether details may be taken from records.
        build_projects: ids that stand for jobs in requests for records, by job id.
        known_builds: the number of a build of each job, whose detail shows that id.
        listed_builds: the highest number of a build that a job list has shown, by job id.
        endpoints: by operation, where there is more than one.
        has_answered: any request was answered, or refused by the service itself.
    """

    records: RecordsTrust = field(default_factory=RecordsTrust)
    build_projects: dict[str, str] = field(default_factory=dict)
    known_builds: dict[str, int] = field(default_factory=dict)
    listed_builds: dict[str, int] = field(default_factory=dict)
    endpoints: dict[str, Endpoint] = field(
        default_factory=lambda: {operation: Endpoint(*names) for operation, names in ENDPOINTS.items()}
    )
    has_answered: bool = False

    @property
    def withdrawn(self) -> frozenset[str]:
        """Operations whose older endpoint is withdrawn."""
        return frozenset(operation for operation, each in self.endpoints.items() if each.is_withdrawn)

    def learn(self, job_id: str, build_project_id: str) -> None:
        """Keep the id of a job in requests for records, if an answer has it."""
        if build_project_id:
            self.build_projects[job_id] = build_project_id

    def forget(self, job_ids: Collection[str]) -> None:
        """Forget jobs that are no longer watched; lists and answers bring back what is needed again."""
        for endpoint in self.endpoints.values():
            endpoint.forget(job_ids)
        for job_id in job_ids:
            for known in (self.build_projects, self.known_builds, self.listed_builds):
                known.pop(job_id, None)
