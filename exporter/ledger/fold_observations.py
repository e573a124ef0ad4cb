"""Functions that fold observations into a ledger: each takes a ledger and returns the next one."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from exporter.ledger.build_labels import BY_RESULT, BuildLabels, LabelPolicy
from exporter.ledger.histogram import Buckets, Histogram
from exporter.ledger.job_ledger import LOST_TRIES, JobLedger
from exporter.ledger.record_merge import AHEAD_MS, join
from exporter.ledger.settle_builds import HISTORY_STEP_MS, LedgerBuilder
from exporter.ledger.stages import KnownStages
from exporter.ledger.streaks import Run
from exporter.ledger.tallies import Tally
from exporter.ledger.unexpected_numbers import SKIPPED, confirm_jump, drop_before_restart, find_other_numbers
from exporter.ledger.unsettled import OpenBuild, clamped
from exporter.model import Build, BuildDetail, Result

DETAIL_TRIES: Final = 10
"""Failed requests after which a build is counted without its detail, or settled without its stages."""

DENIED_IN_A_ROW: Final = 1000
"""Denied missing numbers in a row, after which those below are not requested."""

BASELINE_GAPS: Final = 10
"""Numbers missing so close below the newest build may belong to unfinished builds not listed yet."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The service refuses this answer for good: the build is deleted, unknown or forbidden."""

    number: int


@dataclass(frozen=True, slots=True)
class Failed:
    """The request failed this time."""

    number: int


DetailAnswer = BuildDetail | Refused | Failed

StageAnswer = KnownStages | Refused | Failed


@dataclass(frozen=True, slots=True)
class Folded:
    """The next ledger, and what was noticed while folding.

    Attributes:
        faults: a snake_case reason for each implausible observation.
        capped: builds that were counted under ``other`` because of the series limit.
    """

    ledger: JobLedger
    faults: tuple[str, ...] = ()
    capped: int = 0


def baseline(
    builds: Iterable[Build],
    *,
    at_ms: int,
    buckets: Buckets,
    since_ms: int | None = None,
    after_gap: bool = False,
) -> Folded:
    """Create the ledger of a job from its first poll (rule 3).

    Args:
        builds: all builds in period-history, in any order.
        at_ms: time of the poll.
        buckets: bounds of the histograms.
        since_ms: when the job was first watched; None for now.
        after_gap: that was so long ago that builds finished since then count as recovered.
    """
    empty = JobLedger(
        since_ms=at_ms if since_ms is None else since_ms,
        polled_ms=at_ms,
        queue=Histogram.empty(buckets.queue),
        recovery=Histogram.empty(buckets.recovery),
        runs=(Run.baseline(0),),
        tallies=tuple(
            Tally(BuildLabels(result), durations=Histogram.empty(buckets.duration))
            for result in (Result.FAILURE, Result.SUCCESS)
        ),
    )
    builder = LedgerBuilder(empty)
    builds_by_number = builder.plausible(builds, highest=None)
    if builds_by_number:
        _add_first_builds(builder, builds_by_number, at_ms, after_gap=after_gap)
    return _folded(builder)


def _add_first_builds(
    builder: LedgerBuilder, builds: dict[int, Build], at_ms: int, *, after_gap: bool
) -> None:
    """Divide the builds of the first poll into baseline, counted ones, and those that need their detail.

    A build finished without a time, or in the second in which counting began, belongs to the baseline
    unless its detail proves a later finish. Only the newest few details are requested.
    """
    since_ms, highest = builder.since_ms, max(builds)
    builder.runs = [Run.baseline(min(builds) - 1)]
    ended = [build for build in builds.values() if build.result]
    newest = max((build.number for build in ended), default=None)
    later = {build.number for build in ended if _dated_ms(build, at_ms) > since_ms}
    surely_before_ms = since_ms - HISTORY_STEP_MS
    builder.baseline = max(
        (b.number for b in ended if b.finish_ms is not None and b.finish_ms <= surely_before_ms), default=None
    )
    base = builder.baseline or 0
    undated_from = max(base + 1, highest + 1 - BASELINE_GAPS)
    for number, build in builds.items():
        counts = number in later if build.result else True if build.state else None
        open_build = OpenBuild(build, at_ms, counts=counts, recovered=after_gap and number in later)
        if counts is False and number != newest and number < undated_from:
            builder.settle(open_build, None)
        else:
            builder.open[number] = open_build
    first_later = min(later, default=highest)
    base = builder.baseline or 0
    builder.close_gaps(through=min(highest - BASELINE_GAPS, max(base, first_later - 1)))
    builder.find_gaps(at_ms, counts=None)
    counted_above = max(base, first_later)
    builder.gaps = [replace(gap, counts=True) if gap.first > counted_above else gap for gap in builder.gaps]


def clamp_timestamps(ledger: JobLedger, *, at_ms: int) -> JobLedger:
    """Clamp ledger timestamps to ``at_ms``, after the service clock was corrected.

    To be called before a poll is folded: everything else keeps the latest of several times, so that the
    order does not matter.
    """
    if ledger.polled_ms <= at_ms:
        return ledger
    other = ledger.other
    return replace(
        ledger,
        since_ms=min(ledger.since_ms, at_ms),
        polled_ms=at_ms,
        open={number: open_build.clamped(at_ms) for number, open_build in ledger.open.items()},
        gaps=tuple(replace(gap, since_ms=min(gap.since_ms, at_ms)) for gap in ledger.gaps),
        lost_ms=clamped(ledger.lost_ms, at_ms),
        other=other and replace(other, seen_ms=min(other.seen_ms, at_ms)),
        restarted_ms=clamped(ledger.restarted_ms, at_ms),
    )


def apply_history(
    ledger: JobLedger, builds: Iterable[Build], *, at_ms: int, after_gap: bool = False
) -> Folded:
    """Fold one poll of period-history.

    If no build was known before, all count except those whose times prove that they finished before
    counting began.

    Args:
        ledger: the ledger before the poll.
        builds: all builds of the poll, from `JobLedger.unsettled_since_ms` on, in any order.
        at_ms: time of the poll. It may be before the latest poll: what a newer poll did not show is then not
            seen again, and what began later is not missing.
        after_gap: the poll before was so long ago that builds finished since then count as recovered.
    """
    builds = drop_before_restart(ledger, builds, [open_build.build for open_build in ledger.open.values()])
    builder = LedgerBuilder(ledger)
    builder.other, builder.faults = find_other_numbers(ledger, builds, at_ms)
    is_first = not ledger.highest and ledger.restarted_ms is None
    counts = None if is_first else True
    builds_by_number = builder.plausible(builds, highest=ledger.highest or None)
    if builds_by_number and is_first:
        builder.runs = [Run.baseline(max(0, min(builds_by_number) - 1 - BASELINE_GAPS))]
    is_late = at_ms < ledger.polled_ms
    for number, build in builds_by_number.items():
        before = builder.find(number, at_ms)
        if before is None:
            continue
        after = replace(
            before.proven,
            build=join(before.proven.build, build),
            unseen_since_ms=before.unseen_since_ms if is_late else None,
            # The build exists, whatever record-info says.
            tries=0 if before.is_active and build.state else before.tries,
        )
        if number not in builder.open:
            after = replace(
                after,
                counts=True if build.state else before.counts and counts,
                recovered=before.recovered or (after_gap and not build.state),
                unseen_since_ms=ledger.polled_ms if is_late and build.state else None,
            )
        builder.open[number] = after
    for number, open_build in builder.open.items():
        is_missing = number not in builds_by_number and open_build.first_seen_ms <= at_ms
        if open_build.is_active and is_missing and open_build.unseen_since_ms is None:
            builder.open[number] = replace(open_build, unseen_since_ms=at_ms)
    builder.polled_ms = max(builder.polled_ms, at_ms)
    builder.find_gaps(at_ms, counts=counts)
    return _folded(builder)


def apply_details(
    ledger: JobLedger, answers: Iterable[DetailAnswer], *, at_ms: int, policy: LabelPolicy = BY_RESULT
) -> Folded:
    """Fold answers of record-info for single builds, requested or not."""
    answers = list(answers)
    to_confirm = ledger.other and ledger.other.to_confirm
    ledger, faults = confirm_jump(ledger, answers, at_ms)
    answers = drop_before_restart(ledger, answers)
    if not answers:
        return Folded(ledger, tuple(faults))
    builder = LedgerBuilder(ledger, policy)
    builder.faults = faults
    denied: set[int] = set()
    for answer in answers:
        open_build = None if answer.number == to_confirm else builder.find(answer.number, at_ms)
        if open_build is None:
            continue
        if isinstance(answer, BuildDetail):
            _apply_detail(builder, open_build, answer, at_ms)
        elif answer.number in builder.open:
            _apply_no_detail(builder, open_build, at_ms, refused=isinstance(answer, Refused))
        elif isinstance(answer, Refused):
            denied.add(answer.number)
    builder.deny(denied)
    builder.find_gaps(at_ms, counts=True)
    return _folded(builder)


def give_up(ledger: JobLedger, *, at_ms: int, patience_ms: int, policy: LabelPolicy = BY_RESULT) -> Folded:
    """Stop waiting for builds that record-info denies and history has not shown for ``patience_ms``.

    A build of which only the number was known is forgotten; if higher numbers are known, it becomes a gap.
    One that only a list has shown is forgotten at once.
    """
    builder = LedgerBuilder(ledger, policy)
    denied, next_first = 0, None
    for gap in reversed(ledger.gaps):
        denied = gap.size * bool(gap.tries) + (denied if next_first == gap.last + 1 else 0)
        next_first = gap.first
        if at_ms - gap.since_ms < patience_ms:
            continue
        if gap.tries == 0 and denied >= DENIED_IN_A_ROW:
            builder.lose(gap.first, gap.last, counts=False, at_ms=at_ms)
            builder.faults.append(SKIPPED)
        if gap.tries >= LOST_TRIES:
            builder.lose(gap.first, gap.last, counts=gap.counts, at_ms=at_ms)
    for number, open_build in ledger.open.items():
        if open_build.is_active:
            since_ms, tries = open_build.unseen_since_ms, open_build.tries
            is_late = since_ms is not None and tries >= LOST_TRIES and at_ms - since_ms >= patience_ms
            if is_late or (open_build.only_listed and since_ms is not None and tries):
                del builder.open[number]
                if not open_build.is_weak:
                    builder.lose(number, number, counts=open_build.counts, at_ms=at_ms)
        elif open_build.build.result is None and at_ms - open_build.first_seen_ms >= patience_ms:
            builder.settle(open_build, None)
    builder.find_gaps(at_ms, counts=True)
    return _folded(builder)


def settle_uncounted(ledger: JobLedger, ranges: Iterable[tuple[int, int]]) -> JobLedger:
    """Settle numbers of which nothing will ever be known, without counting them as lost."""
    builder = LedgerBuilder(ledger)
    for first, last in ranges:
        for run in tuple(builder.runs):
            if first <= run.last and run.first <= last:
                if first < run.first:
                    builder.lose(first, run.first - 1, counts=False, at_ms=ledger.polled_ms)
                first = run.last + 1
        if first <= last:
            builder.lose(first, last, counts=False, at_ms=ledger.polled_ms)
    builder.find_gaps(ledger.polled_ms, counts=True)
    return builder.frozen()


def apply_stages(
    ledger: JobLedger, answers: Iterable[StageAnswer], *, policy: LabelPolicy = BY_RESULT
) -> JobLedger:
    """Fold answers about the stages of single builds (rule 9).

    If stages are not measured any more, no build waits for them.
    """
    stages = ledger.stages
    if stages.awaited and not policy.stages:
        stages = replace(stages, awaited={})
    for answer in answers:
        if answer.number not in stages.awaited:
            continue
        if isinstance(answer, KnownStages):
            stages = stages.observed(answer, ledger.no_durations)
        elif isinstance(answer, Refused):
            stages = stages.refused(answer.number)
        else:
            stages = stages.failed(answer.number, DETAIL_TRIES)
    return ledger if stages is ledger.stages else replace(ledger, stages=stages)


def _dated_ms(build: Build, at_ms: int) -> int:
    """Return the plausible finish, or else the plausible start, of a history record; 0 if there is none."""
    times = (build.finish_ms, build.start_ms)
    return next((ms for ms in times if ms is not None and ms <= at_ms + AHEAD_MS), 0)


def _apply_detail(builder: LedgerBuilder, open_build: OpenBuild, detail: BuildDetail, at_ms: int) -> None:
    ended = open_build.build.result is not None
    if detail.result is not None or (ended and detail.state is None):
        builder.settle(open_build.proven, detail)
    elif detail.state is not None and not ended:
        reported = Build(detail.number, state=detail.state, start_ms=detail.start_ms)
        build = join(replace(open_build.proven.build, state=None, finish_ms=None), reported)
        builder.open[detail.number] = replace(
            open_build.proven, build=build, counts=True, tries=0, unseen_since_ms=None, asked_ms=at_ms
        )
    else:
        _count_try(builder, open_build)


def _apply_no_detail(builder: LedgerBuilder, open_build: OpenBuild, at_ms: int, *, refused: bool) -> None:
    if open_build.is_active:
        tried = replace(open_build, tries=open_build.tries + refused, asked_ms=at_ms)
        builder.open[open_build.build.number] = tried
    elif refused and open_build.has_ended:
        builder.settle(open_build, None)
    else:
        _count_try(builder, open_build)


def _count_try(builder: LedgerBuilder, open_build: OpenBuild) -> None:
    tried = replace(open_build, tries=open_build.tries + 1)
    if tried.tries >= DETAIL_TRIES and tried.has_ended:
        builder.settle(tried, None)
    else:
        builder.open[open_build.build.number] = tried


def _folded(builder: LedgerBuilder) -> Folded:
    return Folded(builder.frozen(), tuple(builder.faults), builder.capped)
