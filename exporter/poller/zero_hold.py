"""New branches and rare results shown at 0 for a while, so that their first builds are an increase; pure.

Only labels that first appear with a count are held, so nothing falls. Times are monotonic seconds given by
the caller.
"""

from collections import deque
from collections.abc import Collection
from typing import Final

from exporter.ledger.build_labels import COMMON_RESULTS, OTHER, BuildLabels, LabelPolicy
from exporter.ledger.job_ledger import JobLedger
from exporter.poller.job_state import JobState, JobStates

HELD_S: Final = 90.0
"""More than a usual scrape interval, so that the 0 is scraped before the count."""


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
        if before is None or job.ledger is None or job.ledger.tallies == before.tallies:
            return
        appeared = self._labels(job.ledger) - self._labels(before)
        if new := frozenset(filter(self._is_held, appeared)):
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

    def _is_held(self, labels: BuildLabels) -> bool:
        """Return whether labels have no series before their first build."""
        if self._policy.lean and labels.result not in COMMON_RESULTS:
            return True
        return self._policy.branch is not None and labels.branch not in (OTHER, *self._policy.always)

    def _labels(self, ledger: JobLedger) -> set[BuildLabels]:
        trigger, branch = _shown_labels(self._policy)
        return {tally.labels.exposed(trigger=trigger, branch=branch) for tally in ledger.tallies}


def _shown_labels(policy: LabelPolicy) -> tuple[bool, bool]:
    """Return whether builds are shown by trigger, and by branch."""
    return policy.trigger, policy.branch is not None
