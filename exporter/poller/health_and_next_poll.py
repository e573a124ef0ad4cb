"""The end of a poll: health of its job, and the time of its next poll; pure."""

import sys

from exporter.errors import ExporterError, RefusalError
from exporter.poller.job_state import SECOND_TRY_S, JobState
from exporter.poller.planner import PollPlanner
from exporter.poller.tasks_and_results import Observations, PollReason, TaskResult


def poll_ended(
    job: JobState, result: TaskResult, planner: PollPlanner, now: float, *, highest: int, patience_ms: int
) -> bool:
    """Update health and schedule of a job after a poll; True if it shows that lists cannot be trusted.

    The job has the ledger that the result was folded into. ``highest`` is the highest build number that was
    known before the poll, and ``patience_ms`` is how long a missing build is waited for.
    """
    error, hid = result.failure, False
    observed = result.value if isinstance(result.value, Observations) else None
    job.up, job.failure = error is None, _in_words(error)
    job.more_details = False
    if observed is None or error:
        planner.poll_failed(job, now, refused=isinstance(error, RefusalError))
    elif job.uncommitted is None and _has_more_details(job, observed, patience_ms):
        job.more_details = True  # not where commits fail: what cannot be kept needs no more requests
        planner.poll_again(job, now)
    else:
        # A number that the ledger does not accept is no new build that the lists could have shown.
        newest = observed.newest_up_to(job.latest.highest if job.latest else 0)
        found = newest if newest and newest.number > highest else None
        hid = planner.poll_succeeded(job, now, found, verified=observed.history_read)
    if observed:
        if observed.unconfirmed_denials:
            planner.schedule.hasten(job.poll, now + SECOND_TRY_S, PollReason.DENIED)
        job.deny(observed.unconfirmed_denials, now)
    return hid


def _has_more_details(job: JobState, observed: Observations, patience_ms: int) -> bool:
    if not observed.found_missing or job.latest is None:
        return observed.more_details
    return bool(job.latest.wanted_details(patience_ms))


def _in_words(error: Exception | None) -> str:
    """Describe why a poll failed; many jobs often share a text, which is then kept once."""
    if error is None:
        return ""
    return sys.intern(str(error) if isinstance(error, ExporterError) else "unexpected error; see the log")
