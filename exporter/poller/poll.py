"""One poll of one job: what to ask, in which order, and how the answers are folded. No threads, no clock."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Final, Protocol

from exporter.api.payload import SERVICE_ZONE
from exporter.errors import ApiError, BackendError, NotVisibleError, UnreachableError
from exporter.ledger import (
    BY_RESULT,
    PROBES,
    Breakdown,
    Buckets,
    DetailAnswer,
    Failed,
    Folded,
    JobLedger,
    baseline,
    give_up,
    see_details,
    see_history,
    see_stages,
    set_back,
)
from exporter.model import DAY_MS, Build, BuildDetail, Result, Stage
from exporter.poller.asking import FAILED_IN_A_ROW, ask_each

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


class Api(Protocol):
    """The questions about one job; `exporter.api.client.ApiClient` answers them."""

    def period_history(
        self, job_id: str, start: date, end: date, enough: Enough | None = None
    ) -> tuple[Build, ...]:
        """The builds of a job in those days, as far as needed."""

    def record_info(self, job_id: str, number: int) -> BuildDetail:
        """One build in detail."""

    def full_stages(self, record_id: str) -> tuple[Stage, ...]:
        """The stages of one build."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What the configuration says about polls; lengths in milliseconds.

    Attributes:
        gap_ms: a poll so long after the one before it recovers what finished in between.
        patience_ms: how long a missing build is waited for.
        breakdown: how closely finished builds are looked at.
    """

    buckets: Buckets
    lookback_ms: int
    gap_ms: int
    patience_ms: int
    breakdown: Breakdown = BY_RESULT

    def crowded(self) -> "Rules":
        """The same where no label combination may come that was not there before."""
        return replace(self, breakdown=replace(self.breakdown, has_room=False))


@dataclass(frozen=True, slots=True)
class Polled:
    """What a poll brought.

    Attributes:
        ledger: to be committed, then published.
        faults: a word for each thing that was told but cannot be right.
        capped: builds counted under ``other`` for want of room.
        error: why the poll stopped early; what was learnt before it is in the ledger.
        is_doubtful: a build that history shows was denied for the first time; ask again some seconds later.
        more: details are still wanted, and can be asked for at once: what failed waits its turn.
        found: history showed a build that was not known before.
        found_ms: when the newest such build began, if that is told.
        project_id: of the job's project, as a detail told it; empty where none did.
    """

    ledger: JobLedger
    faults: tuple[str, ...] = ()
    capped: int = 0
    error: ApiError | None = None
    is_doubtful: bool = False
    more: bool = False
    found: bool = False
    found_ms: int | None = None
    project_id: str = ""


def poll_job(
    job_id: str,
    ledger: JobLedger | None,
    api: Api,
    began_ms: Callable[[], int],
    rules: Rules,
    *,
    assured_ms: int | None = None,
    waited_ms: int = 0,
    goes_on: bool = False,
    denial_stands: Callable[[int], bool] = lambda _number: True,
) -> Polled:
    """Read history since the oldest unsettled build, then the details that are wanted; fold them.

    Args:
        job_id: the job.
        ledger: as committed; None if the job was never polled.
        api: is asked; at most one detail for each build that is not settled.
        began_ms: when this poll began, by the service's clock as far as its answers have told it.
        rules: from the configuration.
        assured_ms: when a job list last showed that there was nothing new.
        waited_ms: how long before this poll the job was first watched, if it was never polled.
        goes_on: the poll before left details to ask for, so that history need not be read again yet.
        denial_stands: whether "no such record" is to be believed of a build that history shows.

    Raises:
        ApiError: history could not be had; nothing is to be changed.
    """
    now_ms = began_ms()
    builds: list[Build] = []
    if ledger is None:
        builds = _look_back(job_id, api, now_ms, now_ms - waited_ms, rules)
        # Before its first answer, nothing is known of the service's clock, which dates the builds.
        now_ms = began_ms()
        folded = baseline(
            builds,
            at_ms=now_ms,
            buckets=rules.buckets,
            since_ms=now_ms - waited_ms,
            after_gap=waited_ms > rules.gap_ms,
        )
    elif goes_on and 0 <= now_ms - ledger.polled_ms < HISTORY_AGE_MS:
        folded = Folded(ledger)
    else:
        ledger = set_back(ledger, at_ms=now_ms)
        enough = None if ledger.is_due_for_the_lost(now_ms) else ledger.is_covered_by
        builds = [
            build
            for start, end in windows(ledger.unsettled_since_ms, now_ms)
            for build in api.period_history(job_id, start, end, enough)
        ]
        after_gap = now_ms - max(ledger.polled_ms, assured_ms or 0) > rules.gap_ms
        folded = see_history(ledger, builds, at_ms=now_ms, after_gap=after_gap)
    wanted = folded.ledger.wanted_details(rules.patience_ms, DETAILS_AT_ONCE if goes_on else PROBES)
    doubted: list[int] = []

    def stands(number: int) -> bool:
        one = folded.ledger.open.get(number)
        if one is None or not one.has_ended or denial_stands(number):
            return True
        doubted.append(number)
        return False

    answers, error = _ask_details(job_id, wanted[:DETAILS_AT_ONCE], api, stands)
    detailed = see_details(folded.ledger, answers, at_ms=now_ms, breakdown=rules.breakdown)
    settled = give_up(detailed.ledger, at_ms=now_ms, patience_ms=rules.patience_ms, breakdown=rules.breakdown)
    newest = max(builds, key=lambda build: build.number, default=None)
    found = newest is not None and newest.number > (ledger.highest if ledger else 0)
    known = [answer for answer in answers if isinstance(answer, BuildDetail)]
    missing_found = any(answer.number not in folded.ledger.open for answer in known)
    rest = settled.ledger.wanted_details(rules.patience_ms) if missing_found else wanted[DETAILS_AT_ONCE:]
    return Polled(
        ledger=see_stages(settled.ledger, (), breakdown=rules.breakdown),
        faults=folded.faults + detailed.faults + settled.faults,
        capped=detailed.capped + settled.capped,
        error=error,
        is_doubtful=bool(doubted),
        more=error is None and bool(rest) and not any(isinstance(answer, Failed) for answer in answers),
        found=found,
        found_ms=newest.start_ms if newest and found else None,
        project_id=next((answer.project_id for answer in known if answer.project_id), ""),
    )


def _look_back(job_id: str, api: Api, now_ms: int, since_ms: int, rules: Rules) -> list[Build]:
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
    job_id: str, numbers: tuple[int, ...], api: Api, denial_stands: Callable[[int], bool]
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
