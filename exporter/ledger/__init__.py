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

Streaks of failures and recoveries depend on the order of builds; `streaks.Run` summarises them so that runs
can be joined in any order. Everything else is sums, maxima and unions.

`fold_observations` has the functions that fold, `job_ledger` the ledger itself.
"""
