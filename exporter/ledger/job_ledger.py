"""The ledger of one job: its frozen state, and values derived from it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Final, NamedTuple

from exporter.ledger.histogram import Buckets, Histogram
from exporter.ledger.stages import NO_STAGES, Stages
from exporter.ledger.streaks import Run
from exporter.ledger.tallies import Tally
from exporter.ledger.unsettled import PAGED_FOR_MS, Gap, OpenBuild, OtherNumbers
from exporter.model import DAY_MS, HOUR_MS, Build, JobNames, ListedJob, Result, State

PROBES: Final = 5
"""Missing numbers that are requested per poll."""

BACKOFF_STEPS: Final = 64
"""A build that record-info denies is requested again after 1, 3, 7, 15 … 64ths of the patience."""

LOST_TRIES: Final = 2
"""Denials by record-info before a number may be lost."""

LARGEST_STEP: Final = 100_000
"""A build number so far above all known ones is implausible, unless history and record-info agree on it."""

STUCK_MS: Final = DAY_MS
"""A build unfinished for longer does not keep its job busy, and history is not read back for it."""

LOST_READINGS: Final = 6
"""All of history is read 1, 2, 4, 8, 16 and 32 hours after builds were lost, since it may show them again."""

SAME_START_MS: Final = 2000
"""Largest difference between two statements of the start of one build."""

RECENT_KEPT: Final = 20
"""Settled builds that are remembered individually, for the status page."""

NAMELESS: Final = JobNames()


@dataclass(frozen=True, slots=True)
class LastBuild:
    """The settled build with the highest number."""

    number: int
    result: Result
    finish_ms: int | None
    duration_ms: int | None
    queue_ms: int | None

    @property
    def began_ms(self) -> int | None:
        """Its start; None if it is unknown."""
        if self.finish_ms is None or self.duration_ms is None:
            return None
        return self.finish_ms - self.duration_ms


class RecentBuild(NamedTuple):
    """A settled build that is remembered for a while; unknown or implausible values are None."""

    number: int
    result: Result
    duration_ms: int | None
    finish_ms: int | None


@dataclass(frozen=True, slots=True)
class JobLedger:
    """Folded state of one job's builds.

    Attributes:
        since_ms: when the job was first watched, and counting began. All times are by the service's clock if
            it is known, else by ours.
        polled_ms: the last successful poll.
        runs: gapless ranges of settled numbers, ascending; the first begins at 0.
        open: unsettled builds by number.
        gaps: missing numbers, ascending.
        lost: the latest ranges of numbers given up on.
        tallies: counted builds, ascending by their labels; success and failure are always there.
        last_success_ms: when the latest success finished.
        lost_builds: all numbers given up on; those that turn up later stay counted here.
        lost_ms: when the latest of them was given up on; None if unknown.
        other: numbers in history that are not accepted yet.
        restarted_ms: when the last build had finished before numbers restarted; None if they never did.
        recovered_builds: builds counted after a gap, or after they had been given up on.
        names: the job's latest names in the API.
        recent: the settled builds with the highest numbers, ascending, including the baseline.
        stages: of settled builds, if stages are measured.
        baseline: highest number of a build that had finished when counting began; None if none was known.
        gone: the job was discovered, and dropped because of job lists or the recycle bin.
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
        """Counted builds by result, without results that never occurred."""
        counts: Counter[Result] = Counter()
        for tally in self.tallies:
            counts[tally.labels.result] += tally.builds
        return dict(+counts)

    @property
    def no_durations(self) -> Histogram:
        """Histogram without observations, with the bounds of durations."""
        return next(tally.durations.emptied() for tally in self.tallies if tally.durations is not None)

    @property
    def highest(self) -> int:
        """Highest known build number, 0 if there is none."""
        return max((self.runs[-1].last, *self.open))

    @property
    def consecutive_failures(self) -> int:
        """Finished builds since the last success, without aborted ones."""
        failures = 0
        for run in reversed(self.runs):
            failures += run.tail_failures
            if run.succeeded:
                break
        return failures

    def active(self, state: State) -> int:
        """Count the builds in a state."""
        return sum(1 for build in self.open.values() if build.is_active and build.build.state is state)

    @property
    def oldest_active_ms(self) -> int | None:
        """Start of the oldest unfinished build, or when it was first seen; None if all are finished."""
        return min((build.began_ms for build in self.open.values() if build.is_active), default=None)

    @property
    def stuck(self) -> frozenset[int]:
        """Open builds that have been unfinished for so long that history is not read back for them.

        If record-info denies one, history is read back once more before it is given up.
        """
        return frozenset(
            number
            for number, build in self.open.items()
            if build.is_active and not build.tries and self.polled_ms - build.known_since_ms > STUCK_MS
        )

    @property
    def stuck_rest_until_ms(self) -> int | None:
        """Earliest next request to record-info for a stuck build; None if none was requested before."""
        stuck = [self.open[number] for number in self.stuck]
        return min((build.rests_until_ms for build in stuck if build.asked_ms is not None), default=None)

    @property
    def unsettled_since_ms(self) -> int:
        """Time from which on history has to be read; older builds are settled or left to record-info."""
        unfinished = (build.known_since_ms for build in self._awaited().values())
        return min((self.polled_ms, *unfinished, *(gap.since_ms for gap in self._young_gaps())))

    def _awaited(self) -> dict[int, OpenBuild]:
        """Return the open builds whose result is expected from history."""
        stuck = self.stuck
        return {
            number: build
            for number, build in self.open.items()
            if build.build.result is None and number not in stuck
        }

    def _young_gaps(self) -> list[Gap]:
        return [gap for gap in self.gaps if self.polled_ms - gap.since_ms <= PAGED_FOR_MS]

    def with_names(self, names: JobNames) -> "JobLedger":
        """Set the names of a watched job."""
        return self if names == self.names and not self.gone else replace(self, names=names, gone=False)

    def as_removed(self, names: JobNames) -> "JobLedger":
        """Set the names of a job, and mark it as gone."""
        return replace(self, names=names, gone=True)

    def differs_in_time_alone(self, other: "JobLedger") -> bool:
        """Return whether only the time of the last poll differs."""
        return replace(self, polled_ms=other.polled_ms) == other

    def agrees_with(self, listed: ListedJob) -> bool:
        """Return whether everything a job list shows is settled here, or stuck."""
        stuck = self.stuck
        if self.open.keys() - stuck or self.gaps:
            return False
        if listed.is_finished is False:
            return listed.number in stuck and listed.number == self.highest
        if self.last is None:
            return listed.never_built and self.highest == 0
        if listed.number is not None and listed.number == self.last.number:
            return True
        if self.last.began_ms is None or listed.last_build_ms is None:
            return False
        return abs(self.last.began_ms - listed.last_build_ms) <= SAME_START_MS

    def is_covered_by(self, builds: Sequence[Build]) -> bool:
        """Return whether records, newest first, contain everything that is expected from history.

        Builds that earlier polls did not show may still be missing.
        """
        limit = self.highest + LARGEST_STEP
        numbers = [build.number for build in builds if build.number <= limit]
        if not numbers or any(later <= earlier for later, earlier in pairwise(numbers)):
            return False
        paged_from_ms = self.polled_ms - PAGED_FOR_MS
        awaited = {
            number: build
            for number, build in self._awaited().items()
            if build.tries or build.known_since_ms >= paged_from_ms
        }
        new = range(self.highest + 1, numbers[0] + 1)
        if len(new) > len(numbers):
            return False
        expected = {number for number, build in awaited.items() if build.unseen_since_ms is None}
        waited_for = (*awaited, *new[:1], *(gap.first for gap in self._young_gaps()))
        lowest = min(waited_for, default=numbers[-1] + 1)
        return numbers[-1] < lowest and expected.union(new) <= set(numbers)

    def is_due_for_lost_builds(self, now_ms: int) -> bool:
        """Return whether to read all of history, since lost builds may have turned up there.

        This becomes rarer, and ends; lost builds that ordinary polls show later are counted all the same.
        """
        return bool(self.lost) and self._lost_readings(now_ms) > self._lost_readings(self.polled_ms)

    def _lost_readings(self, at_ms: int) -> int:
        if self.lost_ms is None:
            return 0
        return min((max(0, at_ms - self.lost_ms) // HOUR_MS).bit_length(), LOST_READINGS)

    def with_buckets(self, buckets: Buckets) -> "JobLedger":
        """Move all observations to other buckets; counts and sums stay exact."""
        changed = replace(
            self,
            tallies=tuple(tally.with_buckets(buckets.duration) for tally in self.tallies),
            queue=self.queue.with_buckets(buckets.queue),
            recovery=self.recovery.with_buckets(buckets.recovery),
            stages=self.stages.with_buckets(buckets.duration),
        )
        return self if changed == self else changed

    def wanted_details(self, patience_ms: int, probes: int = PROBES) -> tuple[int, ...]:
        """List the builds to request from record-info: finished ones first, then up to ``probes`` missing."""
        ended: list[int] = []
        vanished: list[int] = []
        for number, build in sorted(self.open.items()):
            if not build.is_active:
                ended.append(number)
            elif self.polled_ms >= build.rests_until_ms and self._is_vanished(build, patience_ms):
                vanished.append(number)
        gaps = [gap for gap in self.gaps if self._is_due_for_probes(gap, patience_ms)]
        gaps.sort(key=lambda gap: (gap.tries, -gap.last))
        missing = [number for gap in gaps[:probes] for number in gap.probes(probes)]
        other = [self.other.to_confirm] if self.other and self.other.to_confirm else []
        return (*ended, *vanished, *missing[:probes], *other)

    def _is_vanished(self, build: OpenBuild, patience_ms: int) -> bool:
        since_ms = build.unseen_since_ms
        return since_ms is not None and self._is_due(since_ms, build.tries, patience_ms)

    def _is_due_for_probes(self, gap: Gap, patience_ms: int) -> bool:
        """Return whether to request numbers of a gap; large gaps only until they can be lost."""
        is_open = gap.tries < LOST_TRIES or gap.size <= PROBES
        return (
            is_open and gap.since_ms < self.polled_ms and self._is_due(gap.since_ms, gap.tries, patience_ms)
        )

    def _is_due(self, since_ms: int, tries: int, patience_ms: int) -> bool:
        waited_ms = self.polled_ms - since_ms
        return waited_ms * BACKOFF_STEPS >= patience_ms * ((1 << min(tries, 16)) - 1)
