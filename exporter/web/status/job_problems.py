"""The problems that a job can have."""

from enum import StrEnum
from typing import Final

from exporter.ledger.job_ledger import JobLedger
from exporter.metrics import JobView

STUCK_FACTOR: Final = 3
"""A build is stuck after this many times the longest duration of recent builds."""

MIN_DURATIONS: Final = 5
"""With fewer known durations, the longest of them means little."""

DEFAULT_STUCK_MS: Final = 2 * 3_600_000
"""Limit without enough durations; the alert for stuck builds uses it too."""

MIN_STUCK_MS: Final = 120_000
"""Lower limit for jobs with short builds."""


class Problem(StrEnum):
    """A reason to look at a job, worst first."""

    FAILING = "failing"
    STUCK = "stuck"
    DELETED = "deleted"
    NOT_VISIBLE = "not visible"
    STALE = "stale"


SEVERITY: Final = {problem: rank for rank, problem in enumerate(Problem)}

EXPLANATIONS: Final = {
    Problem.FAILING: "no success since the last failure",
    Problem.STUCK: "a build has been queued or running for far longer than usual",
    Problem.DELETED: "the job is in the recycle bin",
    Problem.NOT_VISIBLE: "the last poll of the job failed: refused, not found, or the API is down",
    Problem.STALE: "not polled recently",
}


def find_problems(view: JobView, now_ms: int, stale_after_ms: int) -> tuple[Problem, ...]:
    """Return all problems of a job, worst first."""
    ledger, checked_ms = view.ledger, view.checked_ms
    found = {
        Problem.FAILING: ledger is not None and ledger.consecutive_failures > 0,
        # As of the last poll: the build may have finished since.
        Problem.STUCK: ledger is not None and _is_stuck(ledger, now_ms if checked_ms is None else checked_ms),
        Problem.DELETED: view.deleted,
        Problem.NOT_VISIBLE: view.up is False,
        Problem.STALE: checked_ms is not None and now_ms - checked_ms > stale_after_ms,
    }
    return tuple(problem for problem in Problem if found[problem])


def _is_stuck(ledger: JobLedger, checked_ms: int) -> bool:
    since_ms = ledger.oldest_active_ms
    if since_ms is None:
        return False
    durations = [build.duration_ms for build in ledger.recent if build.duration_ms is not None]
    limit_ms = max(durations) * STUCK_FACTOR if len(durations) >= MIN_DURATIONS else DEFAULT_STUCK_MS
    return checked_ms - since_ms > max(limit_ms, MIN_STUCK_MS)
