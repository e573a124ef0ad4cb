"""The ledgers in ``tests/fixtures/state-v1.db``; ``python -m tests.store.kept_file PATH`` writes such a file.

The file stays as it is: it stands for those that users have. A new schema or row version adds another one.
"""

import sys
from typing import Final

from exporter.ledger import Gap, Histogram, JobLedger, LastBuild, OpenBuild, Run
from exporter.model import Build, Result, State, Trigger
from exporter.store import SqliteStore

_SECONDS: Final = (1000, 60_000)

BUSY: Final = JobLedger(
    since_ms=1_700_000_000_000,
    polled_ms=1_700_003_600_000,
    queue=Histogram(_SECONDS, (3, 1, 0), 7_250),
    recovery=Histogram((300_000,), (0, 1), 900_001),
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
    counts={Result.SUCCESS: 3, Result.FAILURE: 2},
    durations={
        Result.SUCCESS: Histogram(_SECONDS, (0, 2, 1), 80_000),
        Result.FAILURE: Histogram(_SECONDS, (2, 0, 0), 900),
    },
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
    durations={result: Histogram.empty(_SECONDS) for result in (Result.SUCCESS, Result.FAILURE)},
)
KEPT: Final = {"f9d6c8466d614a9788e9a0acf6c15f46": BUSY, "48c66c6002964721be537cdc6ce0297b": QUIET}

if __name__ == "__main__":
    store = SqliteStore(sys.argv[1])
    store.commit(KEPT)
    store.close()
