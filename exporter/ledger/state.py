"""The ledger of one job: frozen values, and what can be read off them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Final, NamedTuple

from exporter.ledger.histogram import Buckets, Histogram
from exporter.ledger.runs import Run
from exporter.ledger.stages import NO_STAGES, Stages
from exporter.ledger.tallies import Tally
from exporter.ledger.waiting import PAGED_FOR_MS, Gap, OpenBuild, OtherNumbers
from exporter.model import DAY_MS, HOUR_MS, Build, JobNames, ListedJob, Result, State

PROBES: Final = 5
"""So many missing numbers are asked for at one poll."""

BACKOFF_STEPS: Final = 64
"""A build that record-info does not know is asked for again after 1, 3, 7, 15 … 64ths of the patience."""

LOST_TRIES: Final = 2
"""A number is lost when record-info denied it so often, and patience is over."""

LARGEST_STEP: Final = 100_000
"""A build number so far above all known ones is garbage, not a build, as long as little speaks for it."""

STUCK_MS: Final = DAY_MS
"""A build that has been unfinished for longer does not keep its job busy, nor history read back to it."""

LOST_READINGS: Final = 6
"""History is read to its end 1, 2, 4, 8, 16 and 32 hours after builds were lost: they may turn up there."""

SAME_START_MS: Final = 2000
"""Two statements of a start that are no further apart mean the same build."""

RECENT_KEPT: Final = 20
"""So many settled builds are remembered one by one, for the status page."""

NAMELESS: Final = JobNames()


@dataclass(frozen=True, slots=True)
class LastBuild:
    """The settled build with the highest number."""

    number: int
    result: Result
    finish_ms: int | None
    duration_ms: int | None
    queue_ms: int | None


class RecentBuild(NamedTuple):
    """A settled build as it is remembered for a while; what was absurd or never told is None."""

    number: int
    result: Result
    duration_ms: int | None
    finish_ms: int | None


@dataclass(frozen=True, slots=True)
class JobLedger:
    """Everything known of one job's builds, folded.

    Attributes:
        since_ms: when the job was first watched, and counting began. This and all other moments are by the
            service's clock where it is known, else by ours.
        polled_ms: the last successful poll.
        runs: gapless ranges of settled numbers, ascending; the first begins at 0.
        open: builds not settled, by number.
        gaps: numbers waited for, ascending.
        lost: ranges of numbers given up on, the latest few.
        tallies: the builds counted, ascending by their labels; success and failure are always there.
        last_success_ms: when the latest success finished.
        lost_builds: numbers given up on, in all; one that turns up later stays counted here too.
        lost_ms: when the latest of them was given up on; None where that is not known.
        other: numbers that history shows and that are not believed yet.
        restarted_ms: when the last build had finished before numbers started again; None if they never did.
        recovered_builds: builds counted after a gap, or after they had been given up on.
        names: what the API called the job last.
        recent: the settled builds with the highest numbers, ascending, those of the baseline too.
        stages: of settled builds, as far as they were asked for.
        baseline: the highest number of a build that had finished when counting began; None where none was
            known.
        gone: it had been discovered, and was dropped for what lists or the recycle bin showed.
    """

    since_ms: int
    polled_ms: int
    queue: Histogram
    recovery: Histogram
    runs: tuple[Run, ...]
    open: Mapping[int, OpenBuild] = field(default_factory=dict)
    gaps: tuple[Gap, ...] = ()
    lost: tuple[tuple[int, int], ...] = ()
    tallies: tuple[Tally, ...] = ()
    last: LastBuild | None = None
    last_success_ms: int | None = None
    lost_builds: int = 0
    recovered_builds: int = 0
    names: JobNames = NAMELESS
    recent: tuple[RecentBuild, ...] = ()
    stages: Stages = NO_STAGES
    baseline: int | None = None
    gone: bool = False
    lost_ms: int | None = None
    other: OtherNumbers | None = None
    restarted_ms: int | None = None

    @property
    def counts(self) -> dict[Result, int]:
        """Builds counted by result; results without one are absent."""
        counts: Counter[Result] = Counter()
        for tally in self.tallies:
            counts[tally.labels.result] += tally.builds
        return {result: builds for result, builds in counts.items() if builds}

    @property
    def durations(self) -> dict[Result, Histogram]:
        """By result; results of which no duration was observed are absent, but success and failure."""
        durations: dict[Result, Histogram] = {}
        for tally in self.tallies:
            if tally.durations:
                before = durations.get(tally.labels.result)
                durations[tally.labels.result] = before.plus(tally.durations) if before else tally.durations
        return durations

    @property
    def no_durations(self) -> Histogram:
        """A histogram without observations, with the bounds of durations."""
        return next(tally.durations.emptied() for tally in self.tallies if tally.durations is not None)

    @property
    def highest(self) -> int:
        """The highest build number known, 0 where there is none."""
        return max((self.runs[-1].last, *self.open))

    @property
    def consecutive_failures(self) -> int:
        """Finished builds since the last success that were not one; blind to unfinished ones."""
        failures = 0
        for run in reversed(self.runs):
            failures += run.tail_failures
            if run.succeeded:
                break
        return failures

    def active(self, state: State) -> int:
        """How many builds are in that state."""
        return sum(1 for one in self.open.values() if one.is_active and one.build.state is state)

    @property
    def oldest_active_ms(self) -> int | None:
        """Start, or first sight, of the oldest unfinished build; None where all are finished."""
        return min((one.began_ms for one in self.open.values() if one.is_active), default=None)

    @property
    def stuck(self) -> frozenset[int]:
        """The open builds that have been unfinished for so long that history is not read back for them.

        Where record-info denies one, history is read back once more before it is given up.
        """
        return frozenset(
            number
            for number, one in self.open.items()
            if one.is_active and not one.tries and self.polled_ms - one.known_since_ms > STUCK_MS
        )

    @property
    def stuck_rest_until_ms(self) -> int | None:
        """When record-info may be asked again about a stuck build; None where none was asked for."""
        stuck = [self.open[number] for number in self.stuck]
        return min((one.rests_until_ms for one in stuck if one.asked_ms is not None), default=None)

    @property
    def unsettled_since_ms(self) -> int:
        """What began before this is settled, or left to record-info; history from here on tells the rest."""
        unfinished = (one.known_since_ms for one in self._awaited().values())
        return min((self.polled_ms, *unfinished, *(gap.since_ms for gap in self._young_gaps())))

    def _awaited(self) -> dict[int, OpenBuild]:
        """The open builds whose end history is to tell."""
        stuck = self.stuck
        return {
            number: one
            for number, one in self.open.items()
            if one.build.result is None and number not in stuck
        }

    def _young_gaps(self) -> list[Gap]:
        return [gap for gap in self.gaps if self.polled_ms - gap.since_ms <= PAGED_FOR_MS]

    def with_names(self, names: JobNames) -> "JobLedger":
        """The same ledger under these names, of a job that is watched."""
        return self if names == self.names and not self.gone else replace(self, names=names, gone=False)

    def as_removed(self, names: JobNames) -> "JobLedger":
        """The same ledger under these names, of a job that is gone."""
        return replace(self, names=names, gone=True)

    def differs_in_time_alone(self, other: "JobLedger") -> bool:
        """Whether a poll that brought nothing lies between them."""
        return replace(self, polled_ms=other.polled_ms) == other

    def agrees_with(self, listed: ListedJob) -> bool:
        """Whether a job list shows nothing that is not settled here, or stuck."""
        stuck = self.stuck
        if self.open.keys() - stuck or self.gaps:
            return False
        if listed.is_finished is False:
            return listed.number in stuck and listed.number == self.highest
        if self.last is None:
            return listed.never_built and self.highest == 0
        if listed.number is not None and listed.number == self.last.number:
            return True
        if self.last.finish_ms is None or self.last.duration_ms is None or listed.last_build_ms is None:
            return False
        return abs(self.last.finish_ms - self.last.duration_ms - listed.last_build_ms) <= SAME_START_MS

    def next_running(self, listed: ListedJob) -> Build | None:
        """The build that a list shows to be under way, if its number is certain and all others are stuck."""
        if listed.is_finished is not False or listed.number is None or self.gaps or not self.highest:
            return None
        others = self.open.keys() - self.stuck - {listed.number}
        is_known = listed.number in self.open
        if others or listed.number != self.highest + (not is_known):
            return None
        start_ms = listed.last_build_ms if listed.state is State.RUNNING else None
        return Build(listed.number, state=listed.state or State.QUEUED, start_ms=start_ms)

    def is_covered_by(self, builds: Sequence[Build]) -> bool:
        """Whether records, the newest first, reach below all that history is to tell, and show it.

        What history has failed to show before may still be missing.
        """
        top = self.highest + LARGEST_STEP
        numbers = [build.number for build in builds if build.number <= top]
        if not numbers or any(later <= earlier for later, earlier in pairwise(numbers)):
            return False
        paged_from_ms = self.polled_ms - PAGED_FOR_MS
        awaited = {
            n: one for n, one in self._awaited().items() if one.tries or one.known_since_ms >= paged_from_ms
        }
        fresh = range(self.highest + 1, numbers[0] + 1)
        if len(fresh) > len(numbers):
            return False
        expected = {number for number, one in awaited.items() if one.unseen_since_ms is None}
        waited_for = (*awaited, *fresh[:1], *(gap.first for gap in self._young_gaps()))
        lowest = min(waited_for, default=numbers[-1] + 1)
        return numbers[-1] < lowest and expected.union(fresh) <= set(numbers)

    def is_due_for_the_lost(self, now_ms: int) -> bool:
        """Whether to read history to its end, since lost builds may have turned up there.

        That becomes ever rarer, and ends; later, what ordinary polls show is counted all the same.
        """
        return bool(self.lost) and self._readings_for_the_lost(now_ms) > self._readings_for_the_lost(
            self.polled_ms
        )

    def _readings_for_the_lost(self, at_ms: int) -> int:
        if self.lost_ms is None:
            return 0
        return min((max(0, at_ms - self.lost_ms) // HOUR_MS).bit_length(), LOST_READINGS)

    def with_buckets(self, buckets: Buckets) -> "JobLedger":
        """The same ledger with histograms of these buckets; counts and sums stay exact."""
        durations = {tally.durations.bounds for tally in self.tallies if tally.durations}
        others = (self.queue.bounds, self.recovery.bounds)
        stages = self.stages.with_buckets(buckets.duration)
        if (
            stages is self.stages
            and durations == {buckets.duration}
            and others == (buckets.queue, buckets.recovery)
        ):
            return self
        return replace(
            self,
            tallies=tuple(tally.with_buckets(buckets.duration) for tally in self.tallies),
            queue=self.queue.with_buckets(buckets.queue),
            recovery=self.recovery.with_buckets(buckets.recovery),
            stages=stages,
        )

    def wanted_details(self, patience_ms: int, probes: int = PROBES) -> tuple[int, ...]:
        """The builds to ask record-info for now: surely finished ones first, ``probes`` missing ones last."""
        ended: list[int] = []
        vanished: list[int] = []
        for number, one in sorted(self.open.items()):
            if not one.is_active:
                ended.append(number)
            elif self.polled_ms >= one.rests_until_ms and self._is_vanished(one, patience_ms):
                vanished.append(number)
        gaps = [gap for gap in self.gaps if self._is_due_for_probes(gap, patience_ms)]
        gaps.sort(key=lambda gap: (gap.tries, -gap.last))
        missing = [number for gap in gaps[:probes] for number in gap.probes(probes)]
        strange = [self.other.asked] if self.other and self.other.asked else []
        return (*ended, *vanished, *missing[:probes], *strange)

    def _is_vanished(self, one: OpenBuild, patience_ms: int) -> bool:
        return one.unseen_since_ms is not None and self._due(one.unseen_since_ms, one.tries, patience_ms)

    def _is_due_for_probes(self, gap: Gap, patience_ms: int) -> bool:
        """Many numbers at once are asked for no more often than it takes to lose them."""
        is_open = gap.tries < LOST_TRIES or gap.size <= PROBES
        return is_open and gap.since_ms < self.polled_ms and self._due(gap.since_ms, gap.tries, patience_ms)

    def _due(self, since_ms: int, tries: int, patience_ms: int) -> bool:
        waited_ms = self.polled_ms - since_ms
        return waited_ms * BACKOFF_STEPS >= patience_ms * ((1 << min(tries, 16)) - 1)
