"""The reducer: what was seen of a job's builds → the job's ledger, in which every build counts once.

1. A build is ``(job_id, number)``. It is counted when it is finished and its detail is known, or when the
   detail has been given up on; then never again.
2. The same observations, twice, in any order, in any split, give the same ledger. Sums are integer
   milliseconds; seconds appear at exposition.
3. What had finished when a job was first watched is its baseline: it sets the gauges and is settled without
   being counted. All that finishes later is counted, also if the first poll comes minutes after. While no
   build is known, the baseline is 0: a build counts unless its times prove that it is older.
4. Numbers are contiguous in principle, so a ledger needs no list of all builds: gapless runs of settled
   ones, the open ones, the gaps. It stays small however long it lives.
5. A number missing between two known ones is waited for, then counted as lost. A lost one that turns up is
   counted, and counted as recovered.
6. A ledger is committed to the store before its values are published: `store` and `poller` see to that.
7. Detail that cannot be had never blocks: the build is counted from its history record, without queue time.
8. Clock trouble never makes a negative or absurd observation: those are not observed, but reported as faults.
   What a clock that was ahead has dated is dated anew at the first poll after it was set back.
9. Stages never hold up counting. A settled build waits for them apart, is asked for until they are known,
   refused or given up on, and is folded in once. Rule 2 holds for them while a job has no more names than are
   kept apart.

What depends on the order of builds, streaks of failures and recoveries, is summed up in `runs.Run`, which
joins in any order. Everything else is sums, maxima and unions.
"""

from exporter.ledger.apply import (
    DETAIL_TRIES,
    DetailAnswer,
    Failed,
    Folded,
    Refused,
    StageAnswer,
    apply_details,
    apply_history,
    apply_stages,
    baseline,
    clamp_timestamps,
    give_up,
    settle_uncounted,
)
from exporter.ledger.histogram import Buckets, Exemplar, Histogram
from exporter.ledger.runs import Run
from exporter.ledger.stages import (
    AWAITED_KEPT,
    TOLD_APART,
    AwaitedStages,
    KnownStages,
    LastStages,
    Stages,
)
from exporter.ledger.state import (
    PROBES,
    RECENT_KEPT,
    JobLedger,
    LastBuild,
    RecentBuild,
)
from exporter.ledger.tallies import BY_RESULT, OTHER, BuildLabels, LabelPolicy, Tally
from exporter.ledger.waiting import Gap, OpenBuild, OtherNumbers

__all__ = [
    "AWAITED_KEPT",
    "BY_RESULT",
    "DETAIL_TRIES",
    "OTHER",
    "PROBES",
    "RECENT_KEPT",
    "TOLD_APART",
    "AwaitedStages",
    "Buckets",
    "BuildLabels",
    "DetailAnswer",
    "Exemplar",
    "Failed",
    "Folded",
    "Gap",
    "Histogram",
    "JobLedger",
    "KnownStages",
    "LabelPolicy",
    "LastBuild",
    "LastStages",
    "OpenBuild",
    "OtherNumbers",
    "RecentBuild",
    "Refused",
    "Run",
    "StageAnswer",
    "Stages",
    "Tally",
    "apply_details",
    "apply_history",
    "apply_stages",
    "baseline",
    "clamp_timestamps",
    "give_up",
    "settle_uncounted",
]
