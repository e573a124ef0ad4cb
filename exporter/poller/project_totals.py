"""Totals of projects: the sums of what their jobs have counted, for histograms by project; pure.

A total grows with each commit, by what that adds to the ledgers of jobs, under the label `project` that they
have then. So it never falls: a job that leaves, or moves to another project or shard, takes nothing with it,
and one that comes brings only what follows. A total has the form of a ledger, and a row of its own in the
store, which is written in the same transaction as the ledgers of the jobs.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from typing import Final, NamedTuple

from exporter.ledger.build_labels import OTHER
from exporter.ledger.fold_observations import baseline
from exporter.ledger.histogram import Buckets, Histogram
from exporter.ledger.job_ledger import JobLedger
from exporter.ledger.stages import STAGE_NAMES_KEPT
from exporter.ledger.tallies import Tally
from exporter.poller.job_state import JobState

_PREFIX: Final = "project/"
"""Begins the keys of totals in the store; ids of jobs have no slash."""


class Growth(NamedTuple):
    """The project of a job, and its ledger before and after a commit."""

    project: str
    before: JobLedger | None
    after: JobLedger

    def with_buckets(self, buckets: Buckets) -> "Growth":
        """Move both ledgers to other buckets."""
        before = self.before and self.before.with_buckets(buckets)
        return Growth(self.project, before, self.after.with_buckets(buckets))


class ProjectTotals:
    """The totals of the projects that one shard has watched.

    Args:
        shard: index of the shard; each has totals of its own, as Prometheus adds up what shards expose.
        buckets: bounds of the histograms.
        kept: what the store has, by key; only totals of this shard are taken from it.
        now_ms: the present by the service's clock.

    Attributes:
        states: all totals by key.
    """

    def __init__(
        self, shard: int, buckets: Buckets, kept: Mapping[str, JobLedger], now_ms: Callable[[], int]
    ) -> None:
        self._prefix = f"{_PREFIX}{shard}/"
        self._buckets = buckets
        self._now_ms = now_ms
        self.states = {
            key: JobState(key, ledger=ledger.with_buckets(buckets))
            for key, ledger in kept.items()
            if key.startswith(self._prefix)
        }

    def carry_over(self, before: "ProjectTotals") -> dict[str, JobLedger]:
        """Continue with totals that were published; return those that the store has otherwise."""
        stale: dict[str, JobLedger] = {}
        for key, previous in before.states.items():
            total = self.states.setdefault(key, JobState(key))
            published = previous.ledger and previous.ledger.with_buckets(self._buckets)
            if published and published != total.ledger:
                total.ledger = stale[key] = published
        return stale

    def key_of(self, project: str) -> str:
        """Return the key in the store of a project's total."""
        return self._prefix + project

    def of(self, project: str) -> JobState:
        """Return the total of a project; a new one begins at 0."""
        key = self.key_of(project)
        if key not in self.states:
            empty = baseline((), at_ms=self._now_ms(), buckets=self._buckets).ledger
            self.states[key] = JobState(key, ledger=empty)
        return self.states[key]

    def grown(self, growth: Iterable[Growth]) -> dict[JobState, JobLedger]:
        """Return the totals that ledgers of jobs make grow, as they are afterwards."""
        totals: dict[JobState, JobLedger] = {}
        for project, before, after in growth:
            if before is None or _counted(before) != _counted(after):
                state = self.of(project)
                if total := totals.get(state, state.ledger):
                    totals[state] = _plus(total, before, after)
        return totals


def totals_of(projects: Collection[str], keys: Iterable[str]) -> set[str]:
    """Return those keys in a store that belong to totals of these projects, of whichever shard."""
    return {key for key in keys if key.startswith(_PREFIX) and key.split("/", 2)[-1] in projects}


def _counted(ledger: JobLedger) -> tuple[object, ...]:
    return ledger.tallies, ledger.queue, ledger.recovery, ledger.recovered_builds, ledger.stages.durations


def _plus(total: JobLedger, before: JobLedger | None, after: JobLedger) -> JobLedger:
    """Add to a total what one state of a ledger has more than an earlier one."""
    earlier = {tally.labels: tally for tally in before.tallies} if before else {}
    tallies = {tally.labels: tally for tally in total.tallies}
    for tally in after.tallies:
        new, known = _tally_since(tally, earlier.get(tally.labels)), tallies.get(tally.labels)
        if known or new.builds:
            tallies[tally.labels] = known.plus(new) if known else new
    stages = dict(total.stages.durations)
    for name, durations in after.stages.durations.items():
        kept = name if name in stages or len(stages.keys() - {OTHER}) < STAGE_NAMES_KEPT else OTHER
        new_durations = durations.since(before.stages.durations.get(name) if before else None)
        stages[kept] = stages[kept].plus(new_durations) if kept in stages else new_durations
    recovered = after.recovered_builds - (before.recovered_builds if before else 0)
    return replace(
        total,
        polled_ms=max(total.polled_ms, after.polled_ms),
        tallies=tuple(tallies[labels] for labels in sorted(tallies)),
        queue=total.queue.plus(after.queue.since(before.queue if before else None)),
        recovery=total.recovery.plus(after.recovery.since(before.recovery if before else None)),
        recovered_builds=total.recovered_builds + max(0, recovered),
        stages=replace(total.stages, durations=dict(sorted(stages.items()))),
    )


def _tally_since(tally: Tally, before: Tally | None) -> Tally:
    durations: Histogram | None = None
    if tally.durations:
        durations = tally.durations.since(before.durations if before else None)
    return Tally(tally.labels, max(0, tally.builds - (before.builds if before else 0)), durations)
