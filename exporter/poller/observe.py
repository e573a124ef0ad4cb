"""All that the poller asks the API, through protocols: polls, stages and job lists. No thread, no clock.

A poll returns observations and changes nothing; `job_state.fold` makes the next ledger of them.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Final, Generic, Protocol, TypeVar

from exporter.api.clock import ClockOffset
from exporter.api.parsers import SERVICE_ZONE
from exporter.errors import (
    ApiError,
    BackendError,
    CredentialsError,
    NotPublishedError,
    NotVisibleError,
    RejectedError,
    ThrottledError,
    UnreachableError,
)
from exporter.ledger import (
    PROBES,
    DetailAnswer,
    Failed,
    JobLedger,
    KnownStages,
    Refused,
    Stages,
    clamp_timestamps,
)
from exporter.model import DAY_MS, Build, BuildDetail, ListedJob, RecycleBin, Result, Stage
from exporter.poller.job_state import Rules, fold
from exporter.poller.tasks import ALL, PAGE, JobListsResult, Listing, Observations, StagesFetched, Work

Value = TypeVar("Value")

FAILED_IN_A_ROW: Final = 2


@dataclass(frozen=True, slots=True)
class Asked(Generic[Value]):
    """What came of asking for some builds.

    Attributes:
        answers: of each build that was asked for, in that order.
        error: why the others were not; None where there are none.
        failure: why the last of those that failed did, or ``error``; None where nothing failed.
        refusal: why the last of those that were refused was; None where none was.
    """

    answers: list[Value | Refused | Failed]
    error: ApiError | None = None
    failure: ApiError | None = None
    refusal: ApiError | None = None


def ask_each(numbers: Iterable[int], ask: Callable[[int], Value], trouble: type[ApiError]) -> Asked[Value]:
    """Ask for one build after another, until the API as a whole is in trouble.

    One answer that does not come is that build's own trouble; two in a row are the API's.

    Args:
        numbers: of the builds.
        ask: asks for one of them.
        trouble: what two of in a row end the asking.
    """
    answers: list[Value | Refused | Failed] = []
    failure: ApiError | None = None
    refusal: ApiError | None = None
    failed = 0
    for number in numbers:
        try:
            answers.append(ask(number))
        except (NotVisibleError, RejectedError) as error:
            answers.append(Refused(number))
            refusal = error
        except (CredentialsError, ThrottledError) as error:
            return Asked(answers, error, error, refusal)
        except ApiError as error:
            answers.append(Failed(number))
            failure = error
            failed = failed + 1 if isinstance(error, trouble) else 0
            if failed == FAILED_IN_A_ROW:
                return Asked(answers, error, error, refusal)
            continue
        failed = 0
    return Asked(answers, None, failure, refusal)


WINDOW_DAYS: Final = 29
"""Days between the two dates of a request: the API takes 30, and does not say whether it counts both ends."""

MARGIN: Final = timedelta(days=1)
"""Added at both ends: neither the zone of the dates nor whether the last one is included is documented."""

DETAILS_AT_ONCE: Final = 50
"""So many details are asked for in one poll; what was learnt is then committed."""

HISTORY_AGE_MS: Final = 5 * 60_000
"""While details are outstanding, history is not read again before it is so old."""

LOOKED_BACK: Final = 1000
LOOKED_BACK_AT_MOST: Final = 10_000
"""A look-back ends after so many builds if a success is among them, and after so many if none is."""

FORBIDDEN: Final = frozenset({"401", "403"})
"""Codes by which a detail is refused for good; under any other one, a replica may only lag behind history."""

Enough = Callable[[Sequence[Build]], bool]
"""Whether the records of the first pages will do."""


class JobApi(Protocol):
    """The questions about one job; `exporter.api.client.ApiClient` answers them."""

    def period_history(
        self, job_id: str, start: date, end: date, is_enough: Enough | None = None
    ) -> tuple[Build, ...]:
        """The builds of a job in those days, as far as needed."""

    def record_info(self, job_id: str, number: int) -> BuildDetail:
        """One build in detail."""

    def full_stages(self, record_id: str) -> tuple[Stage, ...]:
        """The stages of one build."""


class ListApi(Protocol):
    """The questions a sweep asks; `exporter.api.client.ApiClient` answers them."""

    def job_list(
        self, project_id: str, *, max_jobs: int | None, expected: int
    ) -> tuple[Mapping[str, ListedJob], int, bool]:
        """The jobs of a project, or with ``""`` of all; how many there are; whether these are all."""

    def project_names(self) -> Mapping[str, str]:
        """Names of projects by id."""


class Service(JobApi, ListApi, Protocol):
    """The questions of polls, of sweeps, and of nobody else; `exporter.api.client.ApiClient` answers them."""

    @property
    def clock(self) -> ClockOffset:
        """The service's clock against ours."""

    def recycle_bin(self) -> RecycleBin:
        """All deleted jobs that can still be restored."""


def observe_job(
    work: Work, api: JobApi, began_ms: Callable[[], int], rules: Rules, waited_ms: int = 0
) -> Observations:
    """Read history since the oldest unsettled build, then the details that are wanted.

    Args:
        work: names the job, with its ledger when the task was taken. A job without one was never polled:
            then the look-back is read.
        api: answers; at most one detail is asked for each build that is not settled.
        began_ms: when this poll began, by the service's clock as far as its answers have revealed it.
        rules: from the configuration.
        waited_ms: how long before this poll a job without a ledger was first watched.

    Raises:
        ApiError: history cannot be read.
    """
    job_id, ledger, now_ms = work.task, work.ledger, began_ms()
    if ledger is None:
        builds = tuple(_look_back(job_id, api, now_ms, now_ms - waited_ms, rules))
        # Before its first answer, nothing is known of the service's clock, which dates the builds.
        now_ms = began_ms()
        after_gap = waited_ms > rules.gap_ms
        seen = Observations(now_ms, builds, is_first=True, waited_ms=waited_ms, after_gap=after_gap)
    elif work.goes_on and 0 <= now_ms - ledger.polled_ms < HISTORY_AGE_MS:
        seen = Observations(now_ms, (), history_read=False)
    else:
        current = clamp_timestamps(ledger, at_ms=now_ms)
        enough = None if current.is_due_for_the_lost(now_ms) else current.is_covered_by
        builds = tuple(
            build
            for start, end in windows(current.unsettled_since_ms, now_ms)
            for build in api.period_history(job_id, start, end, enough)
        )
        after_gap = now_ms - max(current.polled_ms, work.confirmed_ms or 0) > rules.gap_ms
        seen = Observations(now_ms, builds, after_gap=after_gap)
    folded = fold(ledger, seen, rules, now_ms=now_ms)
    return _with_details(seen, folded.ledger, work, api, rules) if folded else seen


def _with_details(
    seen: Observations, ledger: JobLedger, work: Work, api: JobApi, rules: Rules
) -> Observations:
    """The same with the details that are wanted now.

    Args:
        seen: in history.
        ledger: with what was seen.
        work: names the job.
        api: answers.
        rules: from the configuration.
    """
    wanted = ledger.wanted_details(rules.patience_ms, DETAILS_AT_ONCE if work.goes_on else PROBES)
    doubted: list[int] = []

    def stands(number: int) -> bool:
        one = ledger.open.get(number)
        if one is None or not one.has_ended or number in work.denied:
            return True
        doubted.append(number)
        return False

    details, error = _ask_details(work.task, wanted[:DETAILS_AT_ONCE], api, stands)
    seen = replace(seen, details=tuple(details), error=error, doubted=tuple(doubted))
    if error or any(isinstance(detail, Failed) for detail in details):
        return seen
    missing_found = any(isinstance(one, BuildDetail) and one.number not in ledger.open for one in details)
    if not missing_found:
        rest = ledger.wanted_details(rules.patience_ms, 0)[DETAILS_AT_ONCE:]
        return replace(seen, more=bool(rest))
    folded = fold(ledger, replace(seen, builds=(), history_read=False), rules, now_ms=seen.at_ms)
    return replace(seen, more=bool(folded and folded.ledger.wanted_details(rules.patience_ms)))


def _look_back(job_id: str, api: JobApi, now_ms: int, since_ms: int, rules: Rules) -> list[Build]:
    """The builds since the job was first watched, and of the lookback until a success is among them.

    Of more than `LOOKED_BACK` builds, those since the day before that moment suffice: older ones rarely are
    unfinished.
    """
    builds: list[Build] = []
    for start, end in reversed(windows(min(now_ms - rules.lookback_ms, since_ms), now_ms)):
        builds += api.period_history(job_id, start, end, lambda newest: _shows_enough(newest, since_ms))
        if start < _day(since_ms) and (_has_success(builds) or len(builds) >= LOOKED_BACK_AT_MOST):
            break
    return builds


def _shows_enough(builds: Sequence[Build], since_ms: int) -> bool:
    """Whether records, if they are the newest, are all that the first poll needs."""
    oldest = builds[-1]
    return (
        len(builds) >= LOOKED_BACK
        and (_has_success(builds) or len(builds) >= LOOKED_BACK_AT_MOST)
        and oldest.start_ms is not None
        and since_ms - oldest.start_ms > DAY_MS
        and all(later.number > earlier.number for later, earlier in pairwise(builds))
    )


def _has_success(builds: Iterable[Build]) -> bool:
    return any(build.result is Result.SUCCESS for build in builds)


def windows(since_ms: int, now_ms: int) -> list[tuple[date, date]]:
    """The days to ask for, oldest first, in stretches the API takes; the last one is as long as it may be.

    The dates are the service's calendar days (UTC+8), a day wider at both ends than the times say. Stretches
    share a day, which would fall between them if the last one of a stretch were not included.
    """
    start = _day(since_ms) - MARGIN
    end = _day(now_ms) + MARGIN
    stretches: list[tuple[date, date]] = []
    while start < end:
        first = max(start, end - timedelta(days=WINDOW_DAYS))
        stretches.append((first, end))
        end = first
    return stretches[::-1]


def _day(moment_ms: int) -> date:
    return datetime.fromtimestamp(moment_ms / 1000, UTC).astimezone(SERVICE_ZONE).date()


def _ask_details(
    job_id: str, numbers: tuple[int, ...], api: JobApi, denial_stands: Callable[[int], bool]
) -> tuple[list[DetailAnswer], ApiError | None]:
    """The details of those builds; those that an API in trouble did not tell do not count as tries.

    History has answered just now, so a single one that cannot be reached does, and so does a denial that does
    not stand.
    """

    def ask(number: int) -> BuildDetail:
        try:
            return api.record_info(job_id, number)
        except NotVisibleError as error:
            if error.code in FORBIDDEN or denial_stands(number):
                raise
            raise BackendError(str(error), code=error.code, error_code=error.error_code) from None

    asked = ask_each(numbers, ask, UnreachableError)
    if isinstance(asked.error, UnreachableError):
        return asked.answers[:-FAILED_IN_A_ROW], asked.error
    return asked.answers, asked.error


LEAST_WORTH: Final = 1000
"""A list of all jobs is read to its end if it has no more than these, or twice as many as are watched, or if
that takes no more requests than the lists of the watched projects would."""


def read_lists(service: ListApi, work: Work, watched: int, began_ms: Callable[[], int]) -> JobListsResult:
    """Read job lists, and the names of projects that are not known yet.

    Where the list of all jobs is refused or too long to be read, the watched projects' own lists are read at
    once, since no other list shows their jobs.

    Args:
        service: answers.
        work: which lists and names are wanted.
        watched: how many jobs are watched; decides how long a list is worth reading.
        began_ms: when this began, by the service's clock, which the answers reveal.

    Raises:
        ApiError: a list cannot be read, for another reason than a refusal.
    """
    own_pages = sum(max(1, -(-expected // PAGE)) for expected in work.own_lists.values())
    most = max(LEAST_WORTH, 2 * watched, PAGE * own_pages)
    listings, refused, too_large = _read(service, work.lists, most)
    if ALL in refused or ALL in too_large:
        own, own_refused, _ = _read(service, work.own_lists, most)
        listings += own
        refused |= own_refused
    names = _names(service, work.unnamed)
    refusal = next(iter(refused.values()), None)
    return JobListsResult(tuple(listings), tuple(refused), too_large, names, began_ms(), refusal)


def _read(
    service: ListApi, wanted: Mapping[str, int], most: int
) -> tuple[list[Listing], dict[str, ApiError], dict[str, int]]:
    """What those lists show, why others are refused, and how long that of all jobs is if ``most`` is less."""
    listings: list[Listing] = []
    refused: dict[str, ApiError] = {}
    too_large: dict[str, int] = {}
    for project_id, expected in wanted.items():
        try:
            jobs, size, is_whole = service.job_list(
                project_id, max_jobs=None if project_id else most, expected=expected
            )
        except (NotVisibleError, RejectedError, NotPublishedError) as error:
            refused[project_id] = error
            continue
        listings.append(Listing(project_id, jobs, is_whole))
        if not is_whole:
            too_large[project_id] = size
    return listings, refused, too_large


def _names(service: ListApi, unnamed: Collection[str]) -> Mapping[str, str]:
    if not unnamed:
        return {}
    try:
        return service.project_names()
    except ApiError:
        return {}


STAGES_AT_ONCE: Final = 10
"""So many builds are asked about in one step: a thread is soon free for a poll, what was learnt soon kept."""


def ask_stages(ledger: JobLedger | None, api: JobApi, *, failures_count: bool) -> StagesFetched:
    """Ask for the stages of the builds that wait, as many as one step takes.

    Args:
        ledger: of the job, as committed.
        api: is asked.
        failures_count: whatever fails is a try of its build. Otherwise it is one only if the API answered
            about another build afterwards: the API as a whole may be in trouble.
    """
    stages = ledger.stages if ledger else Stages()

    def ask(number: int) -> KnownStages:
        return KnownStages(number, api.full_stages(stages.awaited[number].record_id))

    asked = ask_each(stages.wanted()[:STAGES_AT_ONCE], ask, ApiError)
    answers = list(asked.answers)
    while answers and isinstance(answers[-1], Failed) and not failures_count:
        answers.pop()
    return StagesFetched(tuple(answers), asked.failure, asked.refusal)
