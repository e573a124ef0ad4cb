"""The ledgers in ``tests/fixtures/state-v*.db``; ``python -m tests.store.kept_file PATH`` writes the latest.

They stay as they are: they stand for those that users have. A new schema or row version adds another one.
"""

import sys
from dataclasses import replace
from functools import reduce
from typing import Final

from exporter.ledger.build_labels import BuildLabels
from exporter.ledger.histogram import Exemplar, Histogram, NativeBuckets
from exporter.ledger.job_ledger import JobLedger, LastBuild
from exporter.ledger.stages import AwaitedStages, LastStages, Stages
from exporter.ledger.streaks import Run
from exporter.ledger.tallies import Tally
from exporter.ledger.unsettled import Gap, OpenBuild
from exporter.model import Build, Result, State, Trigger
from exporter.store import SqliteStore

_SECONDS: Final = (1000, 60_000)


def _histogram(
    bounds: tuple[int, ...], counts: tuple[int, ...], sum_ms: int, exemplars: tuple[Exemplar, ...] = ()
) -> Histogram:
    """Return a histogram as rows before version 4 are read: its native buckets are spread."""
    return Histogram(bounds, counts, sum_ms, exemplars, NativeBuckets.spread(bounds, counts))


BUSY: Final = JobLedger(
    since_ms=1_700_000_000_000,
    polled_ms=1_700_003_600_000,
    queue=_histogram(_SECONDS, (3, 1, 0), 7_250),
    recovery=_histogram((300_000,), (0, 1), 900_001),
    runs=(Run(0, 532, succeeded=True, tail_failures=2, tail_failure_ms=1_700_003_000_000), Run(536, 536)),
    open={
        534: OpenBuild(Build(534, state=State.RUNNING, branch="发布/一"), 1_700_003_500_000),
        535: OpenBuild(
            Build(535, Result.TIMEOUT, None, 1_700_003_400_000, 1_700_003_500_000, "main", Trigger.PIPELINE),
            first_seen_ms=1_700_003_500_000,
            counts=None,
            recovered=True,
            tries=3,
            unseen_since_ms=1_700_003_600_000,
        ),
    },
    gaps=(Gap(533, 533, 1_700_003_500_000, tries=1),),
    lost=((17, 19), (400, 400)),
    tallies=(
        Tally(BuildLabels(Result.FAILURE), 2, _histogram(_SECONDS, (2, 0, 0), 900)),
        Tally(BuildLabels(Result.SUCCESS), 3, _histogram(_SECONDS, (0, 2, 1), 80_000)),
    ),
    last=LastBuild(536, Result.ABORTED, 1_700_003_590_000, None, 250),
    last_success_ms=1_700_002_000_000,
    lost_builds=4,
    recovered_builds=1,
)
QUIET: Final = JobLedger(
    since_ms=1_700_000_000_001,
    polled_ms=1_700_003_600_000,
    queue=Histogram.empty(_SECONDS),
    recovery=Histogram.empty((300_000,)),
    runs=(Run.baseline(0),),
    tallies=tuple(
        Tally(BuildLabels(result), durations=Histogram.empty(_SECONDS))
        for result in (Result.FAILURE, Result.SUCCESS)
    ),
)
KEPT_V1: Final = {"f9d6c8466d614a9788e9a0acf6c15f46": BUSY, "48c66c6002964721be537cdc6ce0297b": QUIET}
"""What version 1 could keep."""

_TOLD_APART: Final = replace(
    BUSY,
    queue=_histogram(_SECONDS, (3, 1, 0), 7_250, (Exemplar(1_700_003_000_000, 531, 4_000),)),
    runs=(replace(BUSY.runs[0], lead_success_ms=1_700_001_000_000, lead_success=7), Run(536, 536)),
    tallies=(
        *BUSY.tallies,
        Tally(
            BuildLabels(Result.TIMEOUT, "code_change", "发布/一"),
            5,
            _histogram(_SECONDS, (0, 0, 5), 400_000, (Exemplar(1_700_002_000_000, 500, 90_000),)),
            Exemplar(1_700_002_000_000, 500, 1),
        ),
    ),
)
KEPT_V2: Final = {**KEPT_V1, "1f3a3b9d0c5e4b6f8a7d2e1c0b9a8f7e": _TOLD_APART}

_MEASURED: Final = replace(
    _TOLD_APART,
    stages=Stages(
        awaited={
            529: AwaitedStages("94baa8ec-fd3f-4cae-81af-b24385a7220f", counts=False),
            532: AwaitedStages("2cc26382-b2cb-4234-8eb0-b37d362f4d4c", 1_700_003_000_000, tries=3),
        },
        durations={
            "Code CheckOut": Histogram.empty(_SECONDS),
            "执行shell命令": _histogram(
                _SECONDS, (1, 1, 0), 44_762, (Exemplar(1_700_002_000_000, 500, 381),)
            ),
        },
        last=LastStages(531, {"执行shell命令": 44_381, "Code CheckOut": 0}),
    ),
)
KEPT_V3: Final = {**KEPT_V2, "5d0c6f1be2a94c1f8b7e3a2d9c4f6e80": _MEASURED}

FIRST_WATCHED_V4: Final = {"7c1e9a52d0b84f6ea3c5f8d2b6e40917": 1_700_003_600_000}
"""Of a job without a ledger; the ledgers are those of version 3."""

_OBSERVED: Final = replace(
    _MEASURED, queue=reduce(Histogram.observed, (0, 250, 3_000, 4_000), Histogram.empty(_SECONDS))
)
"""Its native buckets say more than the classic ones, and there is one for 0."""

KEPT_V5: Final = {**KEPT_V3, "0b6e2c7f4d1a4f3c9a8e5d7b2c1f0e94": _OBSERVED}

if __name__ == "__main__":
    store = SqliteStore(sys.argv[1])
    store.commit(KEPT_V5)
    store.first_watched(FIRST_WATCHED_V4, next(iter(FIRST_WATCHED_V4.values())))
    store.close()
