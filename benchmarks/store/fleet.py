"""Made-up ledgers of a fleet with some weeks of history: all results, streaks, gaps, running builds."""

from collections.abc import Mapping, Sequence
from random import Random
from typing import Final

from exporter.ledger.fold_observations import apply_details, apply_history, baseline
from exporter.ledger.histogram import Buckets
from exporter.ledger.job_ledger import JobLedger
from exporter.model import Build, BuildDetail, Result, State

START_MS: Final = 1_700_000_000_000
BUCKETS: Final = Buckets.of_seconds(
    (10, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400),
    (1, 5, 10, 30, 60, 120, 300, 600, 1800, 3600),
    (300, 900, 1800, 3600, 7200, 14400, 28800, 86400, 259200),
)
_KINDS: Final = 100
_BUILDS: Final = 60
_WEIGHTS: Final = (80, 12, 4, 2, 1, 1)


def ledgers(jobs: int, results: Sequence[Result] = tuple(Result)) -> dict[str, JobLedger]:
    """Return ledgers by job id: a hundred different ones, assigned in turn.

    Args:
        jobs: number of ledgers.
        results: possible results of builds; each that occurs adds a histogram.
    """
    rng = Random(1)
    kinds = [_ledger(rng, results) for _ in range(_KINDS)]
    return {f"{ordinal:032x}": kinds[ordinal % _KINDS] for ordinal in range(jobs)}


def selection(fleet: Mapping[str, JobLedger], changed: int) -> dict[str, JobLedger]:
    """Return the given number of ledgers, spread over the fleet, as a round of polls would change them."""
    return {job_id: fleet[job_id] for job_id in list(fleet)[:: max(1, len(fleet) // changed)][:changed]}


def _ledger(rng: Random, results: Sequence[Result]) -> JobLedger:
    first = rng.randint(1, 5000)
    known = [Build(first, Result.SUCCESS, start_ms=START_MS - 9000, finish_ms=START_MS - 1000)]
    ledger = baseline(known, at_ms=START_MS, buckets=BUCKETS).ledger
    now_ms = START_MS
    for number in range(first + 1, first + _BUILDS):
        now_ms += rng.randint(60_000, 3_600_000)
        result = rng.choices(results, _WEIGHTS[: len(results)])[0]
        start_ms, finish_ms = now_ms, now_ms + rng.randint(5_000, 1_800_000)
        build = Build(number, result, start_ms=start_ms, finish_ms=finish_ms, branch="main")
        detail = BuildDetail(
            number,
            result,
            queued_ms=start_ms - rng.randint(0, 90_000),
            start_ms=start_ms,
            finish_ms=finish_ms,
        )
        ledger = apply_history(ledger, [build], at_ms=now_ms).ledger
        ledger = apply_details(ledger, [detail], at_ms=now_ms).ledger
    unfinished = [
        Build(first + _BUILDS + ahead, state=State.RUNNING, start_ms=now_ms, branch="release/2024.11")
        for ahead in range(1, rng.randint(1, 4))
    ]
    return apply_history(ledger, unfinished, at_ms=now_ms).ledger
