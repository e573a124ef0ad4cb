"""A ledger while it is being folded: mutable, alive for one call of the reducer, then frozen again."""

from bisect import bisect_right, insort
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from exporter.ledger.histogram import Exemplar
from exporter.ledger.runs import Recovery, Run
from exporter.ledger.stages import AwaitedStages
from exporter.ledger.state import LARGEST_STEP, RECENT_KEPT, JobLedger, LastBuild, RecentBuild
from exporter.ledger.tallies import BY_RESULT, BuildLabels, LabelPolicy, Tally
from exporter.ledger.waiting import Gap, OpenBuild
from exporter.model import DAY_MS, LONGEST_MS, Build, BuildDetail, Result, State, Trigger

Word = TypeVar("Word", Result, Trigger)

HISTORY_STEP_MS: Final = 1000
"""History dates builds by whole seconds, record-info by milliseconds."""

AHEAD_MS: Final = DAY_MS
"""A build that finished so long after the latest poll finished at a time that is not known."""

LARGEST_FIRST: Final = 10_000_000
"""A number above this is garbage even where no other is known."""

LOST_KEPT: Final = 100
"""So many ranges of lost numbers are remembered, for builds that turn up after all."""

TOO_MANY: Final = "too_many_open_builds"

MOST_ACTIVE: Final = 1000

MOST_WEAK: Final = 100
"""So many unfinished builds of a job are believed, and so many of which only a number is known."""


@dataclass(frozen=True, slots=True)
class FinishedBuild:
    """How a build ended, with nothing absurd left in it.

    Attributes:
        dated_ms: its finish, or if that is not known, the latest moment before it that is.
    """

    number: int
    result: Result
    finish_ms: int | None
    dated_ms: int | None
    duration_ms: int | None
    queue_ms: int | None
    trigger: Trigger
    branch: str


class LedgerBuilder:
    """The fields of a `JobLedger` as lists and dicts, and the steps that the reducer is made of."""

    def __init__(self, ledger: JobLedger, policy: LabelPolicy = BY_RESULT) -> None:
        self._breakdown = policy
        self.runs = list(ledger.runs)
        self.open = dict(ledger.open)
        self.gaps = list(ledger.gaps)
        self.lost = list(ledger.lost)
        self.tallies = {tally.labels: tally for tally in ledger.tallies}
        self._no_durations = ledger.no_durations
        self.queue = ledger.queue
        self.recovery = ledger.recovery
        self.polled_ms = ledger.polled_ms
        self.since_ms = ledger.since_ms
        self.last = ledger.last
        self.last_success_ms = ledger.last_success_ms
        self.lost_builds = ledger.lost_builds
        self.recovered_builds = ledger.recovered_builds
        self.names = ledger.names
        self.recent = list(ledger.recent)
        self.stages = ledger.stages
        self.baseline = ledger.baseline
        self.lost_ms = ledger.lost_ms
        self.other = ledger.other
        self._restarted_ms = ledger.restarted_ms
        self.faults: list[str] = []
        self.capped = 0

    def frozen(self) -> JobLedger:
        """The ledger that came of it."""
        return JobLedger(
            since_ms=self.since_ms,
            polled_ms=self.polled_ms,
            queue=self.queue,
            recovery=self.recovery,
            runs=tuple(self.runs),
            open=self.open,
            gaps=tuple(self.gaps),
            lost=tuple(self.lost[-LOST_KEPT:]),
            tallies=tuple(self.tallies[labels] for labels in sorted(self.tallies)),
            last=self.last,
            last_success_ms=self.last_success_ms,
            lost_builds=self.lost_builds,
            recovered_builds=self.recovered_builds,
            names=self.names,
            recent=tuple(self.recent[-RECENT_KEPT:]),
            stages=self.stages,
            baseline=self.baseline,
            lost_ms=self.lost_ms,
            other=self.other,
            restarted_ms=self._restarted_ms,
        )

    def plausible(self, builds: Iterable[Build], highest: int | None) -> dict[int, Build]:
        """One record for each build, ascending by number, without numbers that cannot be right."""
        known: dict[int, Build] = {}
        for build in builds:
            known[build.number] = join(known[build.number], build) if build.number in known else build
        ascending = dict(sorted(known.items()))
        active = sum(one.is_active for one in self.open.values())
        weak = sum(one.is_weak for one in self.open.values())
        for number in tuple(ascending):
            if number > (LARGEST_FIRST if highest is None else highest + LARGEST_STEP):
                self.faults.append("implausible_build_number")
                del ascending[number]
                continue
            one = OpenBuild(ascending[number], 0)
            is_new = one.is_active and number not in self.open and not self._is_settled(number)
            if is_new and (active >= MOST_ACTIVE or (one.is_weak and weak >= MOST_WEAK)):
                if TOO_MANY not in self.faults:
                    self.faults.append(TOO_MANY)
                del ascending[number]
                continue
            active, weak = active + is_new, weak + (is_new and one.is_weak)
            highest = max(highest or 0, number)
        return ascending

    def find(self, number: int, at_ms: int) -> OpenBuild | None:
        """The build as it is waited for, open, missing, lost or new; None where it is settled."""
        if number in self.open:
            return self.open[number]
        fresh = OpenBuild(Build(number), at_ms)
        if self._is_settled(number):
            return replace(fresh, recovered=True) if self._lost_range(number) else None
        gap = self.gap_of(number)
        return replace(fresh, counts=gap.counts) if gap else fresh

    def gap_of(self, number: int) -> Gap | None:
        """The gap that a number lies in."""
        return next((gap for gap in self.gaps if gap.first <= number <= gap.last), None)

    def settle(self, one: OpenBuild, detail: BuildDetail | None) -> None:
        """The build is finished and all that can be known of it is known: fold it in, once."""
        number = one.build.number
        outcome = self._finished_build(one.build, detail)
        counts = one.counts or self._finished_later(one, outcome.dated_ms)
        if one.counts is False and not counts:
            self.baseline = max(self.baseline or 0, number)
        if self._restarted_ms is not None and outcome.dated_ms is not None:
            counts = counts and outcome.dated_ms > self._restarted_ms
        self.open.pop(number, None)
        if self._is_settled(number):
            self._forget_lost(number)
        else:
            known_ms = outcome.finish_ms if counts or outcome.result is not Result.SUCCESS else None
            self._insert(Run.single(number, outcome.result, known_ms))
        if counts:
            self._count(outcome, recovered=one.recovered)
        if self._breakdown.stages and detail and detail.record_id:
            awaited = AwaitedStages(detail.record_id, outcome.finish_ms, counts)
            self.stages = self.stages.awaiting(number, awaited)
        if outcome.result is Result.SUCCESS and outcome.finish_ms is not None:
            self.last_success_ms = max(self.last_success_ms or 0, outcome.finish_ms)
        if self.last is None or number > self.last.number:
            self.last = LastBuild(
                number, outcome.result, outcome.finish_ms, outcome.duration_ms, outcome.queue_ms
            )
        insort(
            self.recent,
            RecentBuild(number, outcome.result, outcome.duration_ms, outcome.finish_ms),
            key=_number,
        )

    def lose(self, first: int, last: int, *, counts: bool | None, at_ms: int) -> None:
        """Give up on missing numbers; those that were perhaps there before counting began go silently."""
        if self._is_settled(first):
            return
        self._insert(Run.neutral(first, last))
        if counts:
            self.lost.append((first, last))
            self.lost_builds += last - first + 1
            self.lost_ms = max(self.lost_ms or 0, at_ms)

    def deny(self, numbers: Collection[int]) -> None:
        """Record-info does not know these missing numbers: set each apart, denied once more than before."""
        gaps: list[Gap] = []
        for gap in self.gaps:
            at = gap.first
            for number in sorted(number for number in numbers if gap.first <= number <= gap.last):
                if at < number:
                    gaps.append(replace(gap, first=at, last=number - 1))
                gaps.append(replace(gap, first=number, last=number, tries=gap.tries + 1))
                at = number + 1
            if at <= gap.last:
                gaps.append(replace(gap, first=at))
        self.gaps = gaps

    def find_gaps(self, at_ms: int, *, counts: bool | None) -> None:
        """Note the numbers that nothing is known of; those that were missing before keep their age."""
        before, at = self.gaps, 0
        self.gaps = []
        for first, last in self._missing():
            while at < len(before) and before[at].last < first:
                at += 1
            while at < len(before) and before[at].first <= last:
                gap = before[at]
                self._add_gap(Gap(first, gap.first - 1, at_ms, counts))
                self._add_gap(replace(gap, first=max(first, gap.first), last=min(last, gap.last)))
                first = min(last, gap.last) + 1
                if gap.last > last:
                    break
                at += 1
            self._add_gap(Gap(first, last, at_ms, counts))

    def _missing(self) -> Iterator[tuple[int, int]]:
        """Ranges of numbers that are neither settled nor open."""
        reach = -1
        for first, last in sorted([(run.first, run.last) for run in self.runs] + [(n, n) for n in self.open]):
            if first > reach + 1:
                yield reach + 1, first - 1
            reach = max(reach, last)

    def _add_gap(self, gap: Gap) -> None:
        """The gap after all others, as one with the last where they differ in nothing."""
        if gap.first > gap.last:
            return
        before = self.gaps[-1] if self.gaps else None
        if (
            before
            and before.last + 1 == gap.first
            and replace(gap, first=before.first) == replace(before, last=gap.last)
        ):
            self.gaps[-1] = replace(before, last=gap.last)
        else:
            self.gaps.append(gap)

    def close_gaps(self, through: int) -> None:
        """Take what is missing up to a number as settled before counting began."""
        self.find_gaps(self.since_ms, counts=None)
        for gap in self.gaps:
            if gap.first <= through:
                self._insert(Run.neutral(gap.first, min(gap.last, through)))

    def _finished_later(self, one: OpenBuild, dated_ms: int | None) -> bool:
        """Whether a build of which that was not known belongs to the time since counting began."""
        if one.counts is None and self.baseline is None:
            return dated_ms is None or dated_ms > self.since_ms
        if one.counts is None and one.build.number > (self.baseline or 0):
            return True
        ended_ms = one.build.finish_ms if one.counts is False else None
        if ended_ms is not None and ended_ms <= self.since_ms - HISTORY_STEP_MS:
            return False
        return dated_ms is not None and dated_ms > self.since_ms

    def _finished_build(self, build: Build, detail: BuildDetail | None) -> FinishedBuild:
        result = (detail.result if detail else None) or build.result or Result.UNKNOWN
        start_ms, finish_ms = build.start_ms, build.finish_ms
        queued_ms = detail.queued_ms if detail else None
        duration_ms = queue_ms = None
        if detail:
            start_ms = start_ms if detail.start_ms is None else detail.start_ms
            finish_ms = finish_ms if detail.finish_ms is None else detail.finish_ms
            duration_ms = detail.duration_ms
            if detail.start_ms is not None and queued_ms is not None:
                queue_ms = detail.start_ms - queued_ms
        if start_ms is None and duration_ms == 0:
            duration_ms = None
        if start_ms is not None and finish_ms is not None and start_ms > finish_ms:
            queue_ms = None
        if duration_ms is None and start_ms is not None and finish_ms is not None:
            duration_ms = finish_ms - start_ms
        if finish_ms is not None and finish_ms > self.polled_ms + AHEAD_MS:
            self.faults.append("absurd_finish")
            finish_ms = None
        trigger = _preferred(build.trigger, detail.trigger if detail else None, Trigger.UNKNOWN)
        return FinishedBuild(
            number=build.number,
            result=result,
            finish_ms=finish_ms,
            dated_ms=next((ms for ms in (finish_ms, start_ms, queued_ms) if ms is not None), None),
            duration_ms=self._sane(duration_ms, "duration"),
            queue_ms=self._sane(queue_ms, "queue_duration"),
            trigger=trigger or Trigger.UNKNOWN,
            branch=max(build.branch, detail.branch if detail else ""),
        )

    def _sane(self, length_ms: int | None, name: str) -> int | None:
        if length_ms is None or 0 <= length_ms <= LONGEST_MS:
            return length_ms
        self.faults.append(f"negative_{name}" if length_ms < 0 else f"absurd_{name}")
        return None

    def _count(self, outcome: FinishedBuild, *, recovered: bool) -> None:
        number, at_ms = outcome.number, outcome.finish_ms
        self.recovered_builds += recovered
        latest = None if at_ms is None else Exemplar(at_ms, number, 1)
        durations = None
        if outcome.duration_ms is not None:
            durations = self._no_durations.observed(outcome.duration_ms, number=number, at_ms=at_ms)
        one = Tally(self._labels(outcome), 1, durations, latest)
        so_far = self.tallies.get(one.labels)
        self.tallies[one.labels] = so_far.plus(one) if so_far else one
        if outcome.queue_ms is not None:
            self.queue = self.queue.observed(outcome.queue_ms, number=number, at_ms=at_ms)

    def _labels(self, outcome: FinishedBuild) -> BuildLabels:
        labels = self._breakdown.labels(outcome.result, outcome.trigger, outcome.branch)
        overflow_labels = self._breakdown.overflow_labels(labels)
        is_there = (
            labels in self.tallies or labels.branch in self._breakdown.always or labels == overflow_labels
        )
        if self._breakdown.has_room or is_there:
            return labels
        self.capped += 1
        return overflow_labels

    def _insert(self, run: Run) -> None:
        at = bisect_right(self.runs, run.first, key=lambda other: other.first)
        self.runs.insert(at, run)
        for left in (at, at - 1):
            if 0 <= left < len(self.runs) - 1 and self.runs[left].last + 1 == self.runs[left + 1].first:
                both, recovery = self.runs[left].joined(self.runs[left + 1])
                self.runs[left : left + 2] = [both]
                if recovery:
                    self._observe(recovery)

    def _observe(self, recovery: Recovery) -> None:
        if recovery.length_ms < 0:
            self.faults.append("negative_recovery_duration")
        else:
            self.recovery = self.recovery.observed(
                recovery.length_ms, number=recovery.number, at_ms=recovery.at_ms
            )

    def _is_settled(self, number: int) -> bool:
        at = bisect_right(self.runs, number, key=lambda run: run.first)
        return at > 0 and number <= self.runs[at - 1].last

    def _lost_range(self, number: int) -> tuple[int, int] | None:
        return next((kept for kept in self.lost if kept[0] <= number <= kept[1]), None)

    def _forget_lost(self, number: int) -> None:
        found = self._lost_range(number)
        if found:
            first, last = found
            at = self.lost.index(found)
            parts = ((first, number - 1), (number + 1, last))
            self.lost[at : at + 1] = [part for part in parts if part[0] <= part[1]]


def join(one: Build, other: Build) -> Build:
    """Two records of the same build as one, in either order: an end beats a state, running beats queued."""
    result = _preferred(one.result, other.result, Result.UNKNOWN)
    states = {one.state, other.state}
    state = State.RUNNING if State.RUNNING in states else State.QUEUED if State.QUEUED in states else None
    starts = [moment for moment in (one.start_ms, other.start_ms) if moment is not None]
    finishes = [moment for moment in (one.finish_ms, other.finish_ms) if moment is not None]
    return Build(
        number=one.number,
        result=result,
        state=None if result else state,
        start_ms=min(starts, default=None),
        finish_ms=max(finishes, default=None),
        branch=max(one.branch, other.branch),
        trigger=_preferred(one.trigger, other.trigger, Trigger.UNKNOWN) or Trigger.UNKNOWN,
    )


def _number(build: RecentBuild) -> int:
    return build.number


def _preferred(one: Word | None, other: Word | None, least: Word) -> Word | None:
    known = {word for word in (one, other) if word is not None}
    return min(known - {least}, default=least if known else None)
