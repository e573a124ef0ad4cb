"""Settles builds within one fold: counted, lost or given up, with gaps, limits and doubts."""

from bisect import bisect_right, insort
from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from operator import attrgetter
from typing import Final

from exporter.ledger.build_labels import BY_RESULT, BuildLabels, LabelPolicy
from exporter.ledger.histogram import Exemplar
from exporter.ledger.job_ledger import LARGEST_STEP, RECENT_KEPT, JobLedger, LastBuild, RecentBuild
from exporter.ledger.record_merge import FinishedBuild, finished_build, join
from exporter.ledger.stages import AwaitedStages
from exporter.ledger.streaks import Recovery, Run
from exporter.ledger.tallies import Tally
from exporter.ledger.unsettled import Gap, OpenBuild
from exporter.model import Build, BuildDetail, Result

HISTORY_STEP_MS: Final = 1000
"""Resolution of times in history; record-info has milliseconds."""

LARGEST_FIRST: Final = 10_000_000
"""A higher number is implausible even if no other is known."""

LOST_KEPT: Final = 100
"""Ranges of lost numbers that are remembered, for builds that turn up later."""

IMPLAUSIBLE: Final = "implausible_build_number"

TOO_MANY: Final = "too_many_open_builds"

MOST_ACTIVE: Final = 1000
"""Unfinished builds of a job beyond which new ones are ignored."""

MOST_WEAK: Final = 100
"""The same for unfinished builds of which only the number is known."""


class LedgerBuilder:
    """The fields of a `JobLedger` as lists and dicts, and the steps of a fold."""

    def __init__(self, ledger: JobLedger, policy: LabelPolicy = BY_RESULT) -> None:
        self._ledger = ledger
        self._policy = policy
        self.since_ms = ledger.since_ms
        self.polled_ms = ledger.polled_ms
        self.runs = list(ledger.runs)
        self.open = dict(ledger.open)
        self.gaps = list(ledger.gaps)
        self.lost = list(ledger.lost)
        self.tallies = {tally.labels: tally for tally in ledger.tallies}
        self.queue = ledger.queue
        self.recovery = ledger.recovery
        self.last = ledger.last
        self.last_success_ms = ledger.last_success_ms
        self.lost_builds = ledger.lost_builds
        self.recovered_builds = ledger.recovered_builds
        self.recent = list(ledger.recent)
        self.stages = ledger.stages
        self.baseline = ledger.baseline
        self.lost_ms = ledger.lost_ms
        self.other = ledger.other
        self.faults: list[str] = []
        self.capped = 0

    def frozen(self) -> JobLedger:
        """Return the resulting ledger."""
        return replace(
            self._ledger,
            polled_ms=self.polled_ms,
            runs=tuple(self.runs),
            open=self.open,
            gaps=tuple(self.gaps),
            lost=tuple(self.lost[-LOST_KEPT:]),
            tallies=tuple(self.tallies[labels] for labels in sorted(self.tallies)),
            queue=self.queue,
            recovery=self.recovery,
            last=self.last,
            last_success_ms=self.last_success_ms,
            lost_builds=self.lost_builds,
            recovered_builds=self.recovered_builds,
            recent=tuple(self.recent[-RECENT_KEPT:]),
            stages=self.stages,
            baseline=self.baseline,
            gone=False,
            lost_ms=self.lost_ms,
            other=self.other,
        )

    def plausible(self, builds: Iterable[Build], highest: int | None) -> dict[int, Build]:
        """Merge records by build, ascending by number, and leave out implausible numbers."""
        merged: dict[int, Build] = {}
        for build in builds:
            merged[build.number] = join(merged[build.number], build) if build.number in merged else build
        plausible: dict[int, Build] = {}
        active = sum(open_build.is_active for open_build in self.open.values())
        weak = sum(open_build.is_weak for open_build in self.open.values())
        for number, build in sorted(merged.items()):
            if number > (LARGEST_FIRST if highest is None else highest + LARGEST_STEP):
                self.faults.append(IMPLAUSIBLE)
                continue
            if number not in self.open and not self._is_settled(number):
                new = OpenBuild(build, 0)
                if (new.is_active and active >= MOST_ACTIVE) or (new.is_weak and weak >= MOST_WEAK):
                    if TOO_MANY not in self.faults:
                        self.faults.append(TOO_MANY)
                    continue
                active, weak = active + new.is_active, weak + new.is_weak
            plausible[number] = build
            highest = max(highest or 0, number)
        return plausible

    def find(self, number: int, at_ms: int) -> OpenBuild | None:
        """Return the build if it is open, missing, lost or new; None if it is settled."""
        if number in self.open:
            return self.open[number]
        if self._is_settled(number):
            return OpenBuild(Build(number), at_ms, recovered=True) if self._lost_range(number) else None
        gap = next((gap for gap in self.gaps if gap.first <= number <= gap.last), None)
        return OpenBuild(Build(number), at_ms, counts=gap.counts if gap else True)

    def settle(self, open_build: OpenBuild, detail: BuildDetail | None) -> None:
        """Fold in a finished build, once all that can be known of it is known."""
        build = finished_build(open_build.build, detail, self.polled_ms)
        number = build.number
        self.faults += build.faults
        counts = open_build.counts or self._finished_later(open_build, build.dated_ms)
        if open_build.counts is False and not counts:
            self.baseline = max(self.baseline or 0, number)
        restarted_ms = self._ledger.restarted_ms
        if restarted_ms is not None and build.dated_ms is not None:
            counts = counts and build.dated_ms > restarted_ms
        self.open.pop(number, None)
        if self._is_settled(number):
            self._forget_lost(number)
        else:
            finish_ms = build.finish_ms if counts or build.result is not Result.SUCCESS else None
            self._insert(Run.single(number, build.result, finish_ms))
        if counts:
            self._count(build)
            self.recovered_builds += open_build.recovered
        if self._policy.stages and detail and detail.record_id:
            awaited = AwaitedStages(detail.record_id, build.finish_ms, counts)
            self.stages = self.stages.awaiting(number, awaited)
        if build.result is Result.SUCCESS and build.finish_ms is not None:
            self.last_success_ms = max(self.last_success_ms or 0, build.finish_ms)
        if self.last is None or number > self.last.number:
            self.last = LastBuild(
                number=number,
                result=build.result,
                finish_ms=build.finish_ms,
                duration_ms=build.duration_ms,
                queue_ms=build.queue_ms,
            )
        recent = RecentBuild(number, build.result, build.duration_ms, build.finish_ms)
        insort(self.recent, recent, key=attrgetter("number"))

    def lose(self, first: int, last: int, *, counts: bool | None, at_ms: int) -> None:
        """Give up on missing numbers; those possibly older than the ledger are not counted as lost."""
        if self._is_settled(first):
            return
        self._insert(Run.neutral(first, last))
        if counts:
            self.lost.append((first, last))
            self.lost_builds += last - first + 1
            self.lost_ms = max(self.lost_ms or 0, at_ms)

    def deny(self, numbers: Collection[int]) -> None:
        """Split missing numbers that record-info denied from their gaps, with one try more."""
        gaps: list[Gap] = []
        for gap in self.gaps:
            first = gap.first
            for number in sorted(number for number in numbers if gap.first <= number <= gap.last):
                if first < number:
                    gaps.append(replace(gap, first=first, last=number - 1))
                gaps.append(replace(gap, first=number, last=number, tries=gap.tries + 1))
                first = number + 1
            if first <= gap.last:
                gaps.append(replace(gap, first=first))
        self.gaps = gaps

    def find_gaps(self, at_ms: int, *, counts: bool | None) -> None:
        """Note all missing numbers; those that were missing before keep their age."""
        before, index = self.gaps, 0
        self.gaps = []
        for first, last in self._missing():
            while index < len(before) and before[index].last < first:
                index += 1
            while index < len(before) and before[index].first <= last:
                gap = before[index]
                self._add_gap(Gap(first, gap.first - 1, at_ms, counts))
                self._add_gap(replace(gap, first=max(first, gap.first), last=min(last, gap.last)))
                first = min(last, gap.last) + 1
                if gap.last > last:
                    break
                index += 1
            self._add_gap(Gap(first, last, at_ms, counts))

    def close_gaps(self, through: int) -> None:
        """Settle missing numbers up to ``through`` as older than the ledger."""
        self.find_gaps(self.since_ms, counts=None)
        for gap in self.gaps:
            if gap.first <= through:
                self._insert(Run.neutral(gap.first, min(gap.last, through)))

    def _missing(self) -> Iterator[tuple[int, int]]:
        """Yield ranges of numbers that are neither settled nor open."""
        highest = -1
        settled = [(run.first, run.last) for run in self.runs]
        for first, last in sorted(settled + [(number, number) for number in self.open]):
            if first > highest + 1:
                yield highest + 1, first - 1
            highest = max(highest, last)

    def _add_gap(self, gap: Gap) -> None:
        """Append a gap, or extend the last one if they adjoin and are otherwise equal."""
        if gap.first > gap.last:
            return
        last = self.gaps[-1] if self.gaps else None
        if (
            last
            and last.last + 1 == gap.first
            and replace(gap, first=last.first) == replace(last, last=gap.last)
        ):
            self.gaps.pop()
            gap = replace(gap, first=last.first)
        self.gaps.append(gap)

    def _finished_later(self, open_build: OpenBuild, dated_ms: int | None) -> bool:
        """Return whether a build of undecided age finished after counting began."""
        if open_build.counts is None and self.baseline is None:
            return dated_ms is None or dated_ms > self.since_ms
        if open_build.counts is None and open_build.build.number > (self.baseline or 0):
            return True
        finish_ms = open_build.build.finish_ms if open_build.counts is False else None
        if finish_ms is not None and finish_ms <= self.since_ms - HISTORY_STEP_MS:
            return False
        return dated_ms is not None and dated_ms > self.since_ms

    def _count(self, build: FinishedBuild) -> None:
        number, at_ms = build.number, build.finish_ms
        labels, latest = self._labels(build), None if at_ms is None else Exemplar(at_ms, number, 1)
        tally = self.tallies.get(labels, Tally(labels)).plus(Tally(labels, 1, latest=latest))
        if build.duration_ms is not None:
            durations = tally.durations or self._ledger.no_durations
            durations = durations.observed(build.duration_ms, number=number, at_ms=at_ms)
            tally = replace(tally, durations=durations)
        self.tallies[labels] = tally
        if build.queue_ms is not None:
            self.queue = self.queue.observed(build.queue_ms, number=number, at_ms=at_ms)

    def _labels(self, build: FinishedBuild) -> BuildLabels:
        """Return the labels of a build, or those of the overflow if the series limit was reached."""
        policy = self._policy
        labels = policy.labels(build.result, build.trigger, build.branch)
        overflow = policy.overflow_labels(labels)
        if policy.has_room or labels in self.tallies or labels.branch in policy.always or labels == overflow:
            return labels
        self.capped += 1
        return overflow

    def _insert(self, run: Run) -> None:
        index = bisect_right(self.runs, run.first, key=attrgetter("first"))
        self.runs.insert(index, run)
        for left in (index, index - 1):
            if 0 <= left < len(self.runs) - 1 and self.runs[left].last + 1 == self.runs[left + 1].first:
                both, recovery = self.runs[left].joined(self.runs[left + 1])
                self.runs[left : left + 2] = [both]
                if recovery:
                    self._observe(recovery)

    def _observe(self, recovery: Recovery) -> None:
        length_ms = recovery.length_ms
        if length_ms < 0:
            self.faults.append("negative_recovery_duration")
        else:
            self.recovery = self.recovery.observed(length_ms, number=recovery.number, at_ms=recovery.at_ms)

    def _is_settled(self, number: int) -> bool:
        index = bisect_right(self.runs, number, key=attrgetter("first"))
        return index > 0 and number <= self.runs[index - 1].last

    def _lost_range(self, number: int) -> tuple[int, int] | None:
        return next((lost for lost in self.lost if lost[0] <= number <= lost[1]), None)

    def _forget_lost(self, number: int) -> None:
        lost = self._lost_range(number)
        if lost:
            index = self.lost.index(lost)
            parts = ((lost[0], number - 1), (number + 1, lost[1]))
            self.lost[index : index + 1] = [part for part in parts if part[0] <= part[1]]
