"""Ledgers as a fleet has them after some weeks: every result, a streak, a gap, builds under way."""

from collections.abc import Mapping, Sequence
from random import Random
from typing import Final

from exporter.ledger import Buckets, JobLedger, apply_details, apply_history, baseline
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
    """So many jobs' ledgers; a hundred different ones, dealt out in turn.

    Args:
        jobs: how many.
        results: how their builds ended; each that has occurred adds a histogram.
    """
    dice = Random(1)
    kinds = [_ledger(dice, results) for _ in range(_KINDS)]
    return {f"{ordinal:032x}": kinds[ordinal % _KINDS] for ordinal in range(jobs)}


def some(fleet: Mapping[str, JobLedger], changed: int) -> dict[str, JobLedger]:
    """A round of polls that changed so many of them, spread over the fleet."""
    return {job_id: fleet[job_id] for job_id in list(fleet)[:: max(1, len(fleet) // changed)][:changed]}


def _ledger(dice: Random, results: Sequence[Result]) -> JobLedger:
    first = dice.randint(1, 5000)
    known = [Build(first, Result.SUCCESS, start_ms=START_MS - 9000, finish_ms=START_MS - 1000)]
    ledger = baseline(known, at_ms=START_MS, buckets=BUCKETS).ledger
    now_ms = START_MS
    for number in range(first + 1, first + _BUILDS):
        now_ms += dice.randint(60_000, 3_600_000)
        result = dice.choices(results, _WEIGHTS[: len(results)])[0]
        start_ms, finish_ms = now_ms, now_ms + dice.randint(5_000, 1_800_000)
        build = Build(number, result, start_ms=start_ms, finish_ms=finish_ms, branch="main")
        detail = BuildDetail(
            number,
            result,
            queued_ms=start_ms - dice.randint(0, 90_000),
            start_ms=start_ms,
            finish_ms=finish_ms,
        )
        ledger = apply_history(ledger, [build], at_ms=now_ms).ledger
        ledger = apply_details(ledger, [detail], at_ms=now_ms).ledger
    under_way = [
        Build(first + _BUILDS + ahead, state=State.RUNNING, start_ms=now_ms, branch="release/2024.11")
        for ahead in range(1, dice.randint(1, 4))
    ]
    return apply_history(ledger, under_way, at_ms=now_ms).ledger
