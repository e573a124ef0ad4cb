"""The requests of each task, above all of one poll of a job: history, then details.

They are sent through protocols, without threads or a clock of their own.
A poll returns observations and changes nothing; `job_state.fold` applies them to the ledger.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from functools import partial
from itertools import pairwise
from typing import Final, Protocol

from exporter.api.clock_offset import ClockOffset, with_settled_clock
from exporter.api.pagination import PAGE_SIZE, pages_of
from exporter.api.parsers import SERVICE_ZONE
from exporter.errors import ApiError, NotPublishedError, RefusalError
from exporter.ledger.fold_observations import DetailAnswer, Failed, clamp_timestamps
from exporter.ledger.job_ledger import PROBES, JobLedger
from exporter.ledger.settle_builds import IMPLAUSIBLE
from exporter.ledger.stages import KnownStages, Stages
from exporter.model import DAY_MS, Build, BuildDetail, ListedJob, RecycleBin, Result, Stage
from exporter.poller.bulk_details import DETAILS_AT_ONCE, RecordsApi, ask_many
from exporter.poller.details import Details, ask_details, ask_each, ask_listed, without_false_numbers
from exporter.poller.job_state import Rules, fold
from exporter.poller.tasks_and_results import (
    ALL,
    JOB_LISTS,
    RECYCLE_BIN,
    JobListsResult,
    Listing,
    Observations,
    StagesFetched,
    Work,
    is_stages_task,
)

WINDOW_DAYS: Final = 29
"""Days between the two dates of a request: the API allows 30, and may or may not count both ends."""

MARGIN: Final = timedelta(days=1)
"""Added at both ends: neither the zone of the dates nor whether the last one is included is documented."""

STAGES_AT_ONCE: Final = 10
"""Maximum number of builds in one step, so that a thread is soon free for a poll."""

HISTORY_AGE_MS: Final = 5 * 60_000
"""Age up to which history is not read again while details are outstanding."""

LOOKED_BACK: Final = 1000

LOOKED_BACK_AT_MOST: Final = 10_000
"""Builds after which a look-back ends, with a success among them and without."""

Enough = Callable[[Sequence[Build]], bool]
"""Decides whether the records of the first pages suffice."""

LEAST_WORTH: Final = 1000
"""The list of all jobs is read to its end if `ALL` is watched, if it has at most this many or twice as many
as are watched, or if that takes no more requests than the lists of the watched projects."""

NAMES_WAIT_S: Final = 5.0
"""Names that have to wait longer are requested another time, so that the lists need not wait for them."""


class JobApi(RecordsApi, Protocol):
    """The requests about one job; see `exporter.api.client.ApiClient`."""

    def wait_s(self, operation: str) -> float:
        """Seconds that a request of a side operation would have to wait now."""

    def period_history(
        self, job_id: str, start: date, end: date, is_enough: Enough | None = None
    ) -> tuple[Build, ...]:
        """Builds of a job on those days, as far as needed."""

    def record_info(self, job_id: str, number: int) -> BuildDetail:
        """Details of one build."""

    def full_stages(self, record_id: str) -> tuple[Stage, ...]:
        """Stages of one build."""


class ListApi(Protocol):
    """The requests that read job lists; see `exporter.api.client.ApiClient`."""

    def wait_s(self, operation: str) -> float:
        """Seconds that a request of a side operation would have to wait now."""

    def job_list(
        self, project_id: str, *, max_jobs: int | None, expected: int
    ) -> tuple[Mapping[str, ListedJob], int, bool]:
        """Jobs of a project, or with `""` all; their number; whether these are all."""

    def project_names(self) -> Mapping[str, str]:
        """Names of projects by id."""


class Service(JobApi, ListApi, Protocol):
    """All requests of the poller; see `exporter.api.client.ApiClient`."""

    @property
    def clock(self) -> ClockOffset:
        """The service's clock against ours."""

    def recycle_bin(self) -> RecycleBin:
        """All deleted jobs that can still be restored."""


def perform(
    work: Work,
    service: Service,
    rules: Rules,
    watched: int,
    waited_ms: Callable[[float | None], int],
) -> Observations | StagesFetched | RecycleBin | JobListsResult:
    """Send the requests of a task; raise an `ApiError` if it fails.

    ``watched`` is the number of watched jobs. ``waited_ms`` returns the milliseconds since a job was first
    watched, given `Work.watched_at`.
    """
    clock = service.clock

    def observe() -> Observations:
        began = partial(clock.service_ms, clock.monotonic())
        return observe_job(work, service, began, rules, waited_ms(work.watched_at))

    if work.task == RECYCLE_BIN:
        return replace(service.recycle_bin(), read_ms=clock.service_ms())
    if work.task == JOB_LISTS:
        return read_lists(service, work, watched, partial(clock.service_ms, clock.monotonic()))
    if is_stages_task(work.task):
        return fetch_stages(work.ledger, service, count_failures=work.count_failures)
    return with_settled_clock(observe, clock)


def observe_job(
    work: Work, api: JobApi, began_ms: Callable[[], int], rules: Rules, waited_ms: int = 0
) -> Observations:
    """Read history since the oldest unsettled build, then the details that are needed, each build's once.

    ``work`` has the job's ledger when the task was taken; without one, the look-back is read, and the job was
    first watched ``waited_ms`` before this poll. ``began_ms`` returns when the poll began, by the service's
    clock, which the answers reveal. Raises an `ApiError` if history cannot be read.
    """
    job_id, ledger, now_ms = work.task, work.ledger, began_ms()
    asked = Details(partial(api.record_info, job_id))
    api.sources.known_builds[job_id] = (ledger and ledger.highest) or 1
    if ledger is None:
        builds = tuple(_look_back(job_id, api, now_ms, now_ms - waited_ms, rules))
        # Before its first answer, nothing is known of the service's clock, which dates the builds.
        now_ms = began_ms()
        after_gap = waited_ms > rules.gap_ms
        observed = Observations(now_ms, builds, is_first=True, waited_ms=waited_ms, after_gap=after_gap)
    elif work.more_details and 0 <= now_ms - ledger.polled_ms < HISTORY_AGE_MS:
        observed = Observations(now_ms, (), history_read=False)
    else:
        current = clamp_timestamps(ledger, at_ms=now_ms)
        after_gap = now_ms - max(current.polled_ms, work.confirmed_ms or 0) > rules.gap_ms
        first: list[BuildDetail] = []
        if work.listed and not after_gap:
            first, is_all = ask_listed(current, work.listed, asked, rules.policy, now_ms)
            if is_all:
                return Observations(now_ms, (), tuple(first), history_read=False, listed=work.listed)
        enough = None if current.is_due_for_lost_builds(now_ms) else current.is_covered_by
        builds = tuple(
            build
            for start, end in windows(current.unsettled_since_ms, now_ms)
            for build in api.period_history(job_id, start, end, enough)
        )
        known = without_false_numbers(builds, current, asked)
        faults = (IMPLAUSIBLE,) if len(known) < len(builds) else ()
        observed = Observations(now_ms, known, tuple(first), after_gap=after_gap, faults=faults)
    folded = fold(ledger, observed, rules, now_ms=now_ms)
    return _with_details(observed, folded.ledger, work, api, asked, rules) if folded else observed


def _with_details(
    observed: Observations, ledger: JobLedger, work: Work, api: JobApi, asked: Details, rules: Rules
) -> Observations:
    """Add the details that are needed now, given the ledger with what was observed in history."""
    wanted = ledger.wanted_details(rules.patience_ms, DETAILS_AT_ONCE if work.more_details else PROBES)
    if not wanted:
        return observed
    unconfirmed: list[int] = []

    def is_final(number: int) -> bool:
        build = ledger.open.get(number)
        if build is None or not build.has_ended or number in work.confirmed_denials:
            return True
        unconfirmed.append(number)
        return False

    def ask(numbers: Sequence[int]) -> tuple[list[DetailAnswer], ApiError | None]:
        return ask_details(numbers, asked, is_final)

    details, error = ask_many(work.task, wanted, ledger, api, ask, stages=rules.policy.stages)
    all_answered = not error and not any(isinstance(detail, Failed) for detail in details)
    answered = {detail.number for detail in details}
    found = {detail.number for detail in details if isinstance(detail, BuildDetail)}
    return replace(
        observed,
        details=(*observed.details, *details),
        error=error,
        unconfirmed_denials=tuple(unconfirmed),
        more_details=all_answered and not answered.issuperset(ledger.wanted_details(rules.patience_ms, 0)),
        found_missing=all_answered and not found <= ledger.open.keys(),
    )


def _look_back(job_id: str, api: JobApi, now_ms: int, since_ms: int, rules: Rules) -> list[Build]:
    """Read the builds since the job was first watched, and of the look-back until one succeeded.

    Of more than `LOOKED_BACK` builds, those since the day before that time suffice: older ones are rarely
    unfinished.
    """
    builds: list[Build] = []
    for start, end in reversed(windows(min(now_ms - rules.lookback_ms, since_ms), now_ms)):
        builds += api.period_history(job_id, start, end, lambda newest: _suffices(newest, since_ms))
        if start < _day(since_ms) and _ends_look_back(builds):
            break
    return builds


def _suffices(builds: Sequence[Build], since_ms: int) -> bool:
    """Return whether the newest records are all that the first poll needs."""
    oldest = builds[-1]
    return (
        len(builds) >= LOOKED_BACK
        and _ends_look_back(builds)
        and oldest.start_ms is not None
        and since_ms - oldest.start_ms > DAY_MS
        and all(later.number > earlier.number for later, earlier in pairwise(builds))
    )


def _ends_look_back(builds: Sequence[Build]) -> bool:
    return len(builds) >= LOOKED_BACK_AT_MOST or any(build.result is Result.SUCCESS for build in builds)


def windows(since_ms: int, now_ms: int) -> list[tuple[date, date]]:
    """Split a time into date ranges that the API accepts, oldest first; the last one has the full length.

    The dates are the service's calendar days (UTC+8), a day wider at both ends than the times. Ranges share a
    day, which would otherwise be missing if the API excludes the last day of a range.
    """
    start = _day(since_ms) - MARGIN
    end = _day(now_ms) + MARGIN
    ranges: list[tuple[date, date]] = []
    while start < end:
        first = max(start, end - timedelta(days=WINDOW_DAYS))
        ranges.append((first, end))
        end = first
    return ranges[::-1]


def _day(time_ms: int) -> date:
    return datetime.fromtimestamp(time_ms / 1000, UTC).astimezone(SERVICE_ZONE).date()


def fetch_stages(ledger: JobLedger | None, api: JobApi, *, count_failures: bool) -> StagesFetched:
    """Request the stages of the builds that wait for them, as many as one step takes.

    A step ends before a request that would have to wait, so that it keeps no thread from a poll. With
    ``count_failures``, every failure is a try of its build. Otherwise it is one only if the API answered
    about another build afterwards: the API as a whole may be failing.
    """
    stages = ledger.stages if ledger else Stages()

    def ask(number: int) -> KnownStages:
        return KnownStages(number, api.full_stages(stages.awaited[number].record_id))

    def until_held() -> Iterator[int]:
        for number in stages.wanted()[:STAGES_AT_ONCE]:
            if api.wait_s("full-stages") > 0:
                return
            yield number

    batch = ask_each(until_held(), ask, ApiError)
    answers = list(batch.answers)
    while answers and isinstance(answers[-1], Failed) and not count_failures:
        answers.pop()
    return StagesFetched(tuple(answers), batch.failure, batch.refusal)


def read_lists(api: ListApi, work: Work, watched: int, began_ms: Callable[[], int]) -> JobListsResult:
    """Read job lists, and the names of projects that are not known yet.

    If the list of all jobs is refused or too long, the watched projects' own lists are read at once, since no
    other list shows their jobs. The number of `watched` jobs decides how long a list is worth reading.
    `began_ms` returns when this began, by the service's clock, which the answers reveal. Raises an `ApiError`
    if a list cannot be read for another reason than a refusal.
    """
    own_size = PAGE_SIZE * sum(map(pages_of, work.own_lists.values()))
    max_jobs = None if ALL in work.own_lists else max(LEAST_WORTH, 2 * watched, own_size)
    listings, refused, too_large = _read(api, work.lists, max_jobs)
    if ALL in refused or ALL in too_large:
        own_lists = {key: expected for key, expected in work.own_lists.items() if key != ALL}
        own, own_refused, _ = _read(api, own_lists, max_jobs)
        listings += own
        refused |= own_refused
    names: Mapping[str, str] = {}
    if work.unnamed and api.wait_s("projects") <= NAMES_WAIT_S:
        with suppress(ApiError):
            names = api.project_names()
    return JobListsResult(tuple(listings), refused, too_large, names, began_ms())


def _read(
    api: ListApi, sizes: Mapping[str, int], max_jobs: int | None
) -> tuple[list[Listing], dict[str, ApiError], dict[str, int]]:
    """Return the lists that could be read, errors of refused ones, and sizes of those too large."""
    listings: list[Listing] = []
    refused: dict[str, ApiError] = {}
    too_large: dict[str, int] = {}
    for project_id, expected in sizes.items():
        limit = None if project_id else max_jobs
        try:
            jobs, size, is_whole = api.job_list(project_id, max_jobs=limit, expected=expected)
        except (RefusalError, NotPublishedError) as error:
            refused[project_id] = error
            continue
        listings.append(Listing(project_id, jobs, is_whole))
        if not is_whole:
            too_large[project_id] = size
    return listings, refused, too_large
