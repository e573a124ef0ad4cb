"""The ledger of a job: observations of its builds are folded into it, and each build counts once.

1. A build is ``(job_id, number)``. It is counted once it is finished and its detail is known, or the detail
   has been given up on; then never again.
2. The same observations, repeated, in any order and in any split, give the same ledger. Sums are integer
   milliseconds; they become seconds in the exposition.
3. Builds that had finished when a job was first watched are its baseline: they set the gauges and are settled
   without being counted. Everything that finishes later is counted, even if the first poll comes minutes
   later. While no build is known, the baseline is 0: a build counts unless its times prove that it is older.
4. Numbers are contiguous, so a ledger does not list all builds, only gapless runs of settled ones, the open
   ones, and the gaps. Its size does not depend on its age.
5. A missing number between two known ones is waited for, then counted as lost. A lost build that turns up
   later is counted, and also counted as recovered; it stays out of streaks.
6. A ledger is committed to the store before its values are published; `store` and `poller` ensure that.
7. A missing detail never blocks: the build is counted from its history record, without queue time.
8. Clock errors never cause a negative or absurd observation: those are left out and reported as faults.
   Timestamps from a clock that was ahead are clamped at the first poll after its correction.
9. Stages never delay counting. A settled build waits for them separately; they are requested until they are
   known, refused or given up on, and folded in once. Rule 2 applies to them as long as a job has no more
   stage names than are kept.

Streaks of failures and recoveries depend on the order of builds; `runs.Run` summarises them so that runs can
be joined in any order. Everything else is sums, maxima and unions.
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
from exporter.ledger.histogram import NATIVE_SCHEMA, Buckets, Exemplar, Histogram, NativeBuckets
from exporter.ledger.job_list_evidence import (
    apply_listed,
    is_guessed,
    is_reached,
    next_running,
    numbers_to_ask,
    shows_running,
)
from exporter.ledger.record_merge import contradicts, counts_alike
from exporter.ledger.settled_runs import Run
from exporter.ledger.stages import (
    AWAITED_KEPT,
    STAGE_NAMES_KEPT,
    AwaitedStages,
    KnownStages,
    LastStages,
    Stages,
)
from exporter.ledger.state import PROBES, RECENT_KEPT, JobLedger, LastBuild, RecentBuild
from exporter.ledger.tallies import BY_RESULT, COMMON_RESULTS, OTHER, BuildLabels, LabelPolicy, Tally
from exporter.ledger.unsettled import Gap, OpenBuild

__all__ = [
    "AWAITED_KEPT",
    "BY_RESULT",
    "COMMON_RESULTS",
    "DETAIL_TRIES",
    "NATIVE_SCHEMA",
    "OTHER",
    "PROBES",
    "RECENT_KEPT",
    "STAGE_NAMES_KEPT",
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
    "NativeBuckets",
    "OpenBuild",
    "RecentBuild",
    "Refused",
    "Run",
    "StageAnswer",
    "Stages",
    "Tally",
    "apply_details",
    "apply_history",
    "apply_listed",
    "apply_stages",
    "baseline",
    "clamp_timestamps",
    "contradicts",
    "counts_alike",
    "give_up",
    "is_guessed",
    "is_reached",
    "next_running",
    "numbers_to_ask",
    "settle_uncounted",
    "shows_running",
]
