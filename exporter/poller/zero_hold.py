"""New branches of a job: shown at 0 for a while, so that their first builds are an increase; pure.

Only what comes by a count is held back, so nothing that was shown with a count ever is. Times are monotonic
seconds given by the caller.
"""

from collections import deque
from collections.abc import Collection
from typing import Final

from exporter.ledger import OTHER, BuildLabels, JobLedger, LabelPolicy
from exporter.poller.job_state import JobState, JobStates

HELD_S: Final = 90.0
"""More than a usual scrape interval, so that the 0 is scraped before the count."""


class ZeroHold:
    """Until when the new labels of a job (`JobState.zero_hold`) are shown at 0.

    Args:
        policy: how finished builds are told apart.
    """

    def __init__(self, policy: LabelPolicy) -> None:
        self._breakdown = policy
        self._ends: deque[tuple[float, JobState, frozenset[BuildLabels]]] = deque()

    def carry_over(self, before: "ZeroHold", jobs: JobStates) -> None:
        """Hold what was held of those jobs, unless builds have other labels now: then all are new alike."""
        if _shape(self._breakdown) != _shape(before._breakdown):
            return
        for end, held, labels in before._ends:
            if job := jobs.get(held.id):
                job.zero_hold |= labels
                self._ends.append((end, job, labels))

    def see(self, job: JobState, before: JobLedger | None, now: float) -> None:
        """Hold the labels that a job's ledger shows for the first time; none where it had no ledger."""
        if not self._breakdown.branch or before is None or job.ledger is None:
            return
        appeared = self._shown(job.ledger) - self._shown(before)
        always = {OTHER, *self._breakdown.always}
        new = frozenset(labels for labels in appeared if labels.branch not in always)
        if new:
            job.zero_hold |= new
            self._ends.append((now + HELD_S, job, new))

    def release(self, now: float) -> set[str]:
        """Hold no longer what has been held long enough; the ids of the jobs that this changes."""
        changed: set[str] = set()
        while self._ends and self._ends[0][0] <= now:
            _, job, labels = self._ends.popleft()
            job.zero_hold -= labels
            changed.add(job.id)
        return changed

    def wait(self, now: float) -> float:
        """Seconds until something is to be released; an hour where nothing is held."""
        return max(0.0, self._ends[0][0] - now) if self._ends else 3600.0

    def drop(self, jobs: Collection[JobState]) -> None:
        """Those jobs are not watched any more."""
        if jobs:
            self._ends = deque(end for end in self._ends if end[1] not in jobs)

    def _shown(self, ledger: JobLedger) -> set[BuildLabels]:
        trigger, branch = _shape(self._breakdown)
        return {tally.labels.exposed(trigger=trigger, branch=branch) for tally in ledger.tallies}


def _shape(policy: LabelPolicy) -> tuple[bool, bool]:
    """Which labels builds are shown under: trigger, branch."""
    return policy.trigger, policy.branch is not None
