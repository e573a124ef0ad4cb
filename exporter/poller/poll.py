"""One poll of one job: what to ask, in which order, and how the answers are folded. No threads, no clock."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final, Protocol

from exporter.api.payload import SERVICE_ZONE
from exporter.errors import (
    ApiError,
    CredentialsError,
    NotVisibleError,
    RejectedError,
    ThrottledError,
    UnreachableError,
)
from exporter.ledger import (
    Buckets,
    DetailAnswer,
    Failed,
    JobLedger,
    Refused,
    baseline,
    give_up,
    see_details,
    see_history,
)
from exporter.model import Build, BuildDetail

WINDOW_DAYS: Final = 29
"""Days between the two dates of a request: the API takes 30, and does not say whether it counts both ends."""

MARGIN: Final = timedelta(days=1)
"""Added at both ends: neither the zone of the dates nor whether the last one is included is documented."""

DETAILS_AT_ONCE: Final = 50
"""So many details are asked for in one poll; what was learnt is then committed before the next."""


class Api(Protocol):
    """The questions a poll asks; `exporter.api.client.ApiClient` answers them."""

    def period_history(self, job_id: str, start: date, end: date) -> tuple[Build, ...]:
        """The builds of a job in those days."""

    def record_info(self, job_id: str, number: int) -> BuildDetail:
        """One build in detail."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What the configuration says about polls; lengths in milliseconds.

    Attributes:
        gap_ms: a poll so long after the one before it recovers what finished in between.
        patience_ms: how long a missing build is waited for.
    """

    buckets: Buckets
    lookback_ms: int
    gap_ms: int
    patience_ms: int


@dataclass(frozen=True, slots=True)
class Polled:
    """What a poll brought.

    Attributes:
        ledger: to be committed, then published.
        faults: a word for each thing that was told but cannot be right.
        error: why the poll stopped early; what was learnt before it is in the ledger.
        more: details are still wanted, and can be asked for at once: none has failed, which waits its turn.
    """

    ledger: JobLedger
    faults: tuple[str, ...] = ()
    error: ApiError | None = None
    more: bool = False


def poll_job(job_id: str, ledger: JobLedger | None, api: Api, now_ms: int, rules: Rules) -> Polled:
    """Read history since the oldest unsettled build, then the details that are wanted, and fold them.

    Args:
        job_id: the job.
        ledger: as committed; None if the job was never polled, which makes this its baseline.
        api: is asked; at most one detail for each build that is not settled.
        now_ms: by the service's clock, as far as it is known.
        rules: from the configuration.

    Raises:
        ApiError: history could not be had; nothing is to be changed.
    """
    since_ms = now_ms - rules.lookback_ms if ledger is None else ledger.unsettled_since_ms
    builds = [
        build for start, end in windows(since_ms, now_ms) for build in api.period_history(job_id, start, end)
    ]
    if ledger is None:
        folded = baseline(builds, at_ms=now_ms, buckets=rules.buckets)
    else:
        after_gap = now_ms - ledger.polled_ms > rules.gap_ms
        folded = see_history(ledger, builds, at_ms=now_ms, after_gap=after_gap)
    wanted = folded.ledger.wanted_details(rules.patience_ms)
    answers, error = _ask_details(job_id, wanted[:DETAILS_AT_ONCE], api)
    detailed = see_details(folded.ledger, answers, at_ms=now_ms)
    settled = give_up(detailed.ledger, at_ms=now_ms, patience_ms=rules.patience_ms)
    return Polled(
        ledger=settled.ledger,
        faults=folded.faults + detailed.faults + settled.faults,
        error=error,
        more=error is None
        and len(wanted) > DETAILS_AT_ONCE
        and not any(isinstance(answer, Failed) for answer in answers),
    )


def windows(since_ms: int, now_ms: int) -> Iterator[tuple[date, date]]:
    """The days to ask for, oldest first, in stretches the API takes.

    The dates are the service's calendar days (UTC+8), a day wider at both ends than the times say. Stretches
    share a day, which would fall between them if the last one of a stretch were not included.
    """
    start = _day(since_ms) - MARGIN
    last = _day(now_ms) + MARGIN
    while start < last:
        end = min(last, start + timedelta(days=WINDOW_DAYS))
        yield start, end
        start = end


def _day(moment_ms: int) -> date:
    return datetime.fromtimestamp(moment_ms / 1000, UTC).astimezone(SERVICE_ZONE).date()


def _ask_details(
    job_id: str, numbers: tuple[int, ...], api: Api
) -> tuple[list[DetailAnswer], ApiError | None]:
    """Ask for one detail after another, until the API as a whole is in trouble."""
    answers: list[DetailAnswer] = []
    for number in numbers:
        try:
            answers.append(api.record_info(job_id, number))
        except (NotVisibleError, RejectedError):
            answers.append(Refused(number))
        except (CredentialsError, ThrottledError, UnreachableError) as error:
            return answers, error
        except ApiError:
            answers.append(Failed(number))
    return answers, None
