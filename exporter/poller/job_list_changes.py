"""Changes that job lists show of the watched jobs, compared with polls and ledgers; pure."""

from dataclasses import dataclass

from exporter.ledger.job_list_evidence import next_running
from exporter.model import Build
from exporter.poller.job_state import UNLISTED_AFTER, JobState, JobStates
from exporter.poller.tasks_and_results import Listing


@dataclass(frozen=True, slots=True)
class JobListChanges:
    """Changes of ledgers that follow from reading the lists.

    Attributes:
        never_built: jobs without a ledger that certainly have no builds and need no poll.
        running: running builds that the lists show, by job id.
    """

    never_built: frozenset[str]
    running: dict[str, Build]


def apply_listing(jobs: JobStates, listing: Listing, read_ms: int) -> list[str]:
    """Record what a list shows of the watched jobs; return the ids of jobs that lists cover no longer."""
    for job_id, listed in listing.jobs.items():
        if job := jobs.get(job_id):
            job.lists.shown(listed, read_ms)
    uncovered: list[str] = []
    for job_id, job in jobs.items():
        last_shown = job.lists.last_shown
        if last_shown is not None and listing.lacks(job_id, last_shown.names.project_id):
            job.lists.misses += 1
            if job.lists.misses == UNLISTED_AFTER:
                uncovered.append(job_id)
    return uncovered


def expire_listed(jobs: JobStates, before_ms: float) -> list[str]:
    """Ignore what lists showed before that time; return the ids of jobs that lists cover no longer."""
    expired = [
        job
        for job in jobs.values()
        if job.lists.listed and job.lists.seen_ms is not None and job.lists.seen_ms < before_ms
    ]
    for job in expired:
        job.lists.misses = UNLISTED_AFTER
    return [job.id for job in expired]


def changed_jobs(jobs: JobStates) -> list[JobState]:
    """Jobs that lists show differently than when they were polled, the latest build first."""
    changed = [job for job in jobs.values() if job.lists.has_changed]

    def last_build_ms(job: JobState) -> int:
        return (job.lists.listed and job.lists.listed.last_build_ms) or 0

    return sorted(changed, key=last_build_ms, reverse=True)


def compare_with_ledgers(jobs: JobStates, *, trusted: bool) -> tuple[dict[str, Build], list[JobState]]:
    """Compare the lists with the ledgers.

    Returns:
        The running builds that lists show, by job id, and the jobs to poll now.
    """
    running: dict[str, Build] = {}
    to_poll: list[JobState] = []
    changed = changed_jobs(jobs)
    for job in changed:
        listed, ledger = job.lists.listed, job.latest
        if listed is None or ledger is None or job.poll.is_under_way:
            continue
        build = next_running(ledger, listed) if trusted else None
        if build:
            running[job.id] = build
        if build or ledger.agrees_with(listed):
            job.lists.polled(listed.mark)
            job.lists.confirm()
        elif trusted:
            to_poll.append(job)
    if trusted:
        changed_ids = {job.id for job in changed}
        for job in jobs.values():
            if job.id not in changed_ids and job.lists.listed is not None:
                job.lists.confirm()
    return running, to_poll
