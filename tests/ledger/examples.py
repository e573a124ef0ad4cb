"""Example builds and ledgers; times are minutes after the job was first watched."""

from functools import cache
from typing import Final

from exporter.ledger.fold_observations import (
    DetailAnswer,
    Refused,
    apply_details,
    apply_history,
    baseline,
    give_up,
)
from exporter.ledger.histogram import Buckets, Histogram
from exporter.ledger.job_ledger import JobLedger
from exporter.model import Build, BuildDetail, Result, State

START_MS: Final = 1_700_000_000_000
MINUTE_MS: Final = 60_000
PATIENCE_MS: Final = 60 * MINUTE_MS
BUCKETS: Final = Buckets.of_seconds((10, 60, 600), (1, 60), (300, 3600))


def at(minute: float) -> int:
    return START_MS + round(minute * MINUTE_MS)


def running(number: int, minute: float = 0) -> Build:
    return Build(number, state=State.RUNNING, start_ms=at(minute))


def finished(
    number: int, result: Result = Result.SUCCESS, *, start: float = 1, finish: float | None = None
) -> Build:
    """A history record; by default a build takes a minute."""
    return Build(
        number, result=result, start_ms=at(start), finish_ms=at(start + 1 if finish is None else finish)
    )


def detail(
    number: int,
    result: Result | None = Result.SUCCESS,
    *,
    queued: float | None = None,
    start: float = 1,
    finish: float | None = None,
) -> BuildDetail:
    """A record-info answer; by default a build waits a second and takes a minute."""
    start_ms, finish_ms = at(start), at(start + 1 if finish is None else finish)
    return BuildDetail(
        number,
        result=result,
        queued_ms=start_ms - 1000 if queued is None else at(queued),
        start_ms=start_ms,
        finish_ms=finish_ms,
        duration_ms=finish_ms - start_ms,
    )


def watched(*builds: Build) -> JobLedger:
    """The ledger of a job whose history showed these builds when it was first watched."""
    return baseline(builds, at_ms=START_MS, buckets=BUCKETS).ledger


@cache
def idle() -> JobLedger:
    """The ledger of a job whose build 1 is its baseline; every later build counts."""
    ledger = watched(finished(1, start=-10))
    return apply_details(ledger, [detail(1, start=-10)], at_ms=START_MS).ledger


def history(ledger: JobLedger, *builds: Build, minute: float = 1, after_gap: bool = False) -> JobLedger:
    return apply_history(ledger, builds, at_ms=at(minute), after_gap=after_gap).ledger


def details(ledger: JobLedger, *answers: DetailAnswer, minute: float = 1) -> JobLedger:
    return apply_details(ledger, answers, at_ms=at(minute)).ledger


def counted(ledger: JobLedger, number: int, result: Result = Result.SUCCESS, **times: float) -> JobLedger:
    """The ledger after one more finished build with its detail."""
    ledger = history(ledger, finished(number, result, **times))
    return details(ledger, detail(number, result, **times))


def patient(ledger: JobLedger, minute: float) -> JobLedger:
    return give_up(ledger, at_ms=at(minute), patience_ms=PATIENCE_MS).ledger


def denied(ledger: JobLedger, *minutes: float) -> JobLedger:
    """The ledger after polls without news, with every request to record-info denied."""
    for minute in minutes:
        ledger = history(ledger, minute=minute)
        answers = [Refused(number) for number in ledger.wanted_details(PATIENCE_MS)]
        ledger = patient(details(ledger, *answers, minute=minute), minute)
    return ledger


def durations_by_result(ledger: JobLedger) -> dict[Result, Histogram]:
    """Durations by result, whatever the other labels."""
    durations: dict[Result, Histogram] = {}
    for tally in ledger.tallies:
        if tally.durations:
            before = durations.get(tally.labels.result)
            durations[tally.labels.result] = before.plus(tally.durations) if before else tally.durations
    return durations
