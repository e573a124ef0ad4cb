"""New branches of a job: shown at 0 for a while, so that their first builds are an increase; pure.

Only what comes by a count is held back, so nothing that was shown with a count ever is. Times are monotonic
seconds given by the caller.
"""

from collections import deque
from collections.abc import Collection, Mapping
from typing import Final

from exporter.ledger import OTHER, Breakdown, BuildLabels, JobLedger

HELD_S: Final = 90.0
"""More than a usual scrape interval, so that the 0 is scraped before the count."""

_Labels = frozenset[BuildLabels]


class Newcomers:
    """Which labels of which job are shown at 0, and until when.

    Args:
        breakdown: how finished builds are told apart.
    """

    def __init__(self, breakdown: Breakdown) -> None:
        self._breakdown = breakdown
        self._held: dict[str, _Labels] = {}
        self._ends: deque[tuple[float, str, _Labels]] = deque()

    def go_on_from(self, before: "Newcomers") -> None:
        """Hold what was held, unless builds have other labels now: those are new as they are."""
        if _shape(self._breakdown) == _shape(before._breakdown):
            self._held, self._ends = dict(before._held), before._ends.copy()

    def of(self, job_id: str) -> _Labels:
        """What is held of a job; the same object until that changes."""
        return self._held.get(job_id, _NONE)

    def see(self, before: Mapping[str, JobLedger], committed: Mapping[str, JobLedger], now: float) -> None:
        """Hold the labels that ledgers show for the first time; nothing of a job that had no ledger.

        Args:
            before: the ledgers as they were.
            committed: those that have changed.
            now: the present.
        """
        for job_id in committed.keys() & before.keys() if self._breakdown.branch else ():
            came = self._shown(committed[job_id]) - self._shown(before[job_id])
            new = frozenset(
                labels for labels in came if labels.branch not in {OTHER, *self._breakdown.always}
            )
            if new:
                self._held[job_id] = self.of(job_id) | new
                self._ends.append((now + HELD_S, job_id, new))

    def let_go(self, now: float) -> set[str]:
        """Hold no longer what has been held long enough; the jobs of which that is something."""
        changed: set[str] = set()
        while self._ends and self._ends[0][0] <= now:
            _, job_id, labels = self._ends.popleft()
            if left := self.of(job_id) - labels:
                self._held[job_id] = left
            else:
                self._held.pop(job_id, None)
            changed.add(job_id)
        return changed

    def wait(self, now: float) -> float:
        """Seconds until something is to be let go; an hour where nothing is held."""
        return max(0.0, self._ends[0][0] - now) if self._ends else 3600.0

    def drop(self, job_ids: Collection[str]) -> None:
        """Those jobs are not watched any more."""
        if self._held.keys() & job_ids:
            self._held = {job_id: labels for job_id, labels in self._held.items() if job_id not in job_ids}
            self._ends = deque(end for end in self._ends if end[1] not in job_ids)

    def _shown(self, ledger: JobLedger) -> set[BuildLabels]:
        trigger, branch = _shape(self._breakdown)
        return {tally.labels.shown(trigger=trigger, branch=branch) for tally in ledger.tallies}


_NONE: Final[_Labels] = frozenset()


def _shape(breakdown: Breakdown) -> tuple[bool, bool]:
    """Which labels builds are shown under: trigger, branch."""
    return breakdown.trigger, breakdown.branch is not None
