"""The published view of the jobs, with new branches shown at 0 for a while; pure.

The 0 makes the first builds of a branch an increase. Only labels that first appear with a count are held, so
nothing falls. Times are monotonic seconds given by the caller.
"""

from collections import deque
from collections.abc import Collection, Iterable
from typing import Final

from exporter.ledger import OTHER, BuildLabels, JobLedger, LabelPolicy
from exporter.metrics import FleetView, JobView
from exporter.model import Job, RecycleBin
from exporter.poller.job_state import JobState, JobStates
from exporter.poller.watchlist import Watchlist

HELD_S: Final = 90.0
"""More than a usual scrape interval, so that the 0 is scraped before the count."""


class Views:
    """Builds the view of the fleet; only changed jobs are built again.

    Attributes:
        recycle_bin: as last read; None if it was not read yet.
    """

    def __init__(self, watchlist: Watchlist, *, shows_fleet: bool) -> None:
        self._watchlist = watchlist
        self._shows_fleet = shows_fleet
        self._jobs: tuple[Job, ...] | None = None
        self.recycle_bin: RecycleBin | None = None

    def build(self, changed: Iterable[str] | None, *, is_complete: bool) -> FleetView:
        """Build the view after those jobs have changed, or all."""
        jobs = self._watchlist.jobs
        if changed is None or jobs is not self._jobs:
            self._jobs = jobs
            self._views = {job.id: self._view(job) for job in jobs}
            self._projects = self._watchlist.project_names
        else:
            for job_id in changed:
                if job_id in self._views:
                    self._views[job_id] = self._view(self._views[job_id].job)
        return FleetView(
            jobs=tuple(self._views.values()),
            recycle_bin=self.recycle_bin if self._shows_fleet else None,
            projects=self._projects,
            is_complete=is_complete,
        )

    def _view(self, job: Job) -> JobView:
        state = self._watchlist.states[job.id]
        ledger, confirmed_ms = state.ledger, state.lists.confirmed_ms
        return JobView(
            job=job,
            ledger=ledger,
            up=(True if confirmed_ms else None) if state.up is None else state.up,
            deleted=None if self.recycle_bin is None else job.id in self.recycle_bin.jobs,
            checked_ms=max(ledger.polled_ms, confirmed_ms or 0) if ledger else None,
            held=state.zero_hold,
        )


class ZeroHold:
    """Holds the new labels of jobs (`JobState.zero_hold`) at 0 for a while."""

    def __init__(self, policy: LabelPolicy) -> None:
        self._policy = policy
        self._ends: deque[tuple[float, JobState, frozenset[BuildLabels]]] = deque()

    def carry_over(self, before: "ZeroHold", jobs: JobStates) -> None:
        """Hold what was held of those jobs, unless builds have other labels now: then all are new alike."""
        if _shown_labels(self._policy) != _shown_labels(before._policy):
            return
        for end, previous, labels in before._ends:
            if job := jobs.get(previous.id):
                job.zero_hold |= labels
                self._ends.append((end, job, labels))

    def hold_new(self, job: JobState, before: JobLedger | None, now: float) -> None:
        """Hold the labels that a job's ledger has for the first time; none if it had no ledger."""
        if not self._policy.branch or before is None or job.ledger is None:
            return
        appeared = self._labels(job.ledger) - self._labels(before)
        always = {OTHER, *self._policy.always}
        new = frozenset(labels for labels in appeared if labels.branch not in always)
        if new:
            job.zero_hold |= new
            self._ends.append((now + HELD_S, job, new))

    def release(self, now: float) -> set[str]:
        """Release labels that have been held long enough; return the ids of the jobs that this changes."""
        changed: set[str] = set()
        while self._ends and self._ends[0][0] <= now:
            _, job, labels = self._ends.popleft()
            job.zero_hold -= labels
            changed.add(job.id)
        return changed

    def wait(self, now: float) -> float:
        """Return the seconds until labels are to be released; an hour if none are held."""
        return max(0.0, self._ends[0][0] - now) if self._ends else 3600.0

    def drop(self, jobs: Collection[JobState]) -> None:
        """Forget jobs that are not watched any more."""
        if jobs:
            self._ends = deque(end for end in self._ends if end[1] not in jobs)

    def _labels(self, ledger: JobLedger) -> set[BuildLabels]:
        trigger, branch = _shown_labels(self._policy)
        return {tally.labels.exposed(trigger=trigger, branch=branch) for tally in ledger.tallies}


def _shown_labels(policy: LabelPolicy) -> tuple[bool, bool]:
    """Return whether builds are shown by trigger, and by branch."""
    return policy.trigger, policy.branch is not None
