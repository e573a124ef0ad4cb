"""How a ledger changes: each function takes a ledger and what was seen, and gives the next ledger."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from exporter.ledger.builder import AHEAD_MS, HISTORY_STEP_MS, LedgerBuilder, join
from exporter.ledger.histogram import Buckets, Histogram
from exporter.ledger.numbering import SKIPPED, doubt, resolve, without_earlier
from exporter.ledger.runs import Run
from exporter.ledger.stages import KnownStages
from exporter.ledger.state import LOST_TRIES, JobLedger
from exporter.ledger.tallies import BY_RESULT, BuildLabels, LabelPolicy, Tally
from exporter.ledger.waiting import OpenBuild
from exporter.model import Build, BuildDetail, Result

DETAIL_TRIES: Final = 10
"""After so many failed requests for its detail, a build is counted from its history record.

After as many for its stages, it goes without them.
"""

DENIED_IN_A_ROW: Final = 1000
"""When so many missing numbers in a row were denied, those below them are not asked for."""

BASELINE_GAPS: Final = 10
"""Numbers missing so close below the newest build may belong to builds that still run unseen."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The service will never tell this of the build: it is deleted, unknown or forbidden."""

    number: int


@dataclass(frozen=True, slots=True)
class Failed:
    """The service did not tell this of the build this time."""

    number: int


DetailAnswer = BuildDetail | Refused | Failed

StageAnswer = KnownStages | Refused | Failed


@dataclass(frozen=True, slots=True)
class Folded:
    """The next ledger, and what was noticed on the way.

    Attributes:
        faults: a snake_case word for each thing that was seen but could not be right.
        capped: builds that were counted under ``other`` because there was no room for their labels.
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
    """The ledger that the first poll of a job gives (rule 3).

    A build that has ended without a time, or in the very second, is of the baseline, unless its detail proves
    that it ended later; that is asked of the newest few.

    Args:
        builds: what period-history shows, in any order.
        at_ms: when it was asked.
        buckets: bounds of the histograms.
        since_ms: when the job was first watched; None for just now.
        after_gap: that was so long ago that what has finished since counts as recovered.
    """
    since_ms = at_ms if since_ms is None else since_ms
    tallies = tuple(
        Tally(BuildLabels(result), durations=Histogram.empty(buckets.duration))
        for result in (Result.FAILURE, Result.SUCCESS)
    )
    builder = LedgerBuilder(
        JobLedger(
            since_ms=since_ms,
            polled_ms=at_ms,
            queue=Histogram.empty(buckets.queue),
            recovery=Histogram.empty(buckets.recovery),
            runs=(Run.baseline(0),),
            tallies=tallies,
        )
    )
    known = builder.plausible(builds, highest=None)
    if known:
        builder.runs = [Run.baseline(min(known) - 1)]
        ended = [build for build in known.values() if build.result]
        newest = max((build.number for build in ended), default=None)
        later = {build.number for build in ended if _dated_ms(build, at_ms) > since_ms}
        surely_ms = since_ms - HISTORY_STEP_MS
        before = (one.number for one in ended if one.finish_ms is not None and one.finish_ms <= surely_ms)
        builder.baseline = max(before, default=None)
        undated_from = max((builder.baseline or 0) + 1, max(known) + 1 - BASELINE_GAPS)
        for number, build in known.items():
            counts = number in later if build.result else True if build.state else None
            one = OpenBuild(build, at_ms, counts=counts, recovered=after_gap and number in later)
            if counts is False and number != newest and number < undated_from:
                builder.settle(one, None)
            else:
                builder.open[number] = one
        first_later = min(later, default=max(known))
        builder.close_gaps(
            through=min(max(known) - BASELINE_GAPS, max(builder.baseline or 0, first_later - 1))
        )
        builder.find_gaps(at_ms, counts=None)
        among = max(builder.baseline or 0, first_later)
        builder.gaps = [replace(gap, counts=True) if gap.first > among else gap for gap in builder.gaps]
    return _folded(builder)


def clamp_timestamps(ledger: JobLedger, *, at_ms: int) -> JobLedger:
    """Nothing was noted later than now: what a clock that was ahead has dated is dated now.

    To be called before a poll is folded. Everything else takes the latest moment it is told, so that order
    does not matter.
    """
    if ledger.polled_ms <= at_ms:
        return ledger
    other, restarted_ms = ledger.other, ledger.restarted_ms
    return replace(
        ledger,
        since_ms=min(ledger.since_ms, at_ms),
        polled_ms=at_ms,
        open={number: _clamp_open(one, at_ms) for number, one in ledger.open.items()},
        gaps=tuple(replace(gap, since_ms=min(gap.since_ms, at_ms)) for gap in ledger.gaps),
        lost_ms=None if ledger.lost_ms is None else min(ledger.lost_ms, at_ms),
        other=other and replace(other, seen_ms=min(other.seen_ms, at_ms)),
        restarted_ms=None if restarted_ms is None else min(restarted_ms, at_ms),
    )


def apply_history(
    ledger: JobLedger, builds: Iterable[Build], *, at_ms: int, after_gap: bool = False
) -> Folded:
    """Fold what one poll of period-history showed.

    Where no build was known so far, all count but those whose times prove that they finished before counting
    began.

    Args:
        ledger: what was known before.
        builds: all that the poll showed, from `JobLedger.unsettled_since_ms` on, in any order.
        at_ms: when it was asked. That may be before the latest poll: what a newer one has not
            shown since is not seen again, and what began later is not missing.
        after_gap: the poll before was so long ago that what has finished since counts as recovered.
    """
    builds = without_earlier(ledger, builds)
    builder = LedgerBuilder(ledger)
    builder.other, builder.faults = doubt(ledger, builds, at_ms)
    is_first = not ledger.highest and ledger.restarted_ms is None
    counts = None if is_first else True
    known = builder.plausible(builds, highest=ledger.highest or None)
    if known and is_first:
        builder.runs = [Run.baseline(max(0, min(known) - 1 - BASELINE_GAPS))]
    is_late = at_ms < ledger.polled_ms
    for number, build in known.items():
        one = builder.find(number, at_ms)
        if one is None:
            continue
        unseen_since_ms = one.unseen_since_ms if is_late else None
        if number not in builder.open:
            unseen_since_ms = ledger.polled_ms if is_late and build.state else None
            fresh = one.counts and counts
            recovered = one.recovered or (after_gap and not build.state)
            one = replace(one, counts=True if build.state else fresh, recovered=recovered)
        tries = 0 if one.is_active and build.state else one.tries  # it is there, whatever record-info says
        builder.open[number] = replace(
            one, build=join(one.build, build), unseen_since_ms=unseen_since_ms, tries=tries
        )
    for number, one in builder.open.items():
        is_missing = number not in known and one.first_seen_ms <= at_ms
        if one.is_active and is_missing and one.unseen_since_ms is None:
            builder.open[number] = replace(one, unseen_since_ms=at_ms)
    builder.polled_ms = max(builder.polled_ms, at_ms)
    builder.find_gaps(at_ms, counts=counts)
    return _folded(builder)


def apply_details(
    ledger: JobLedger, answers: Iterable[DetailAnswer], *, at_ms: int, policy: LabelPolicy = BY_RESULT
) -> Folded:
    """Fold what record-info answered for single builds, whether they were asked for or not."""
    answers = list(answers)
    asked = ledger.other and ledger.other.asked
    ledger, faults = resolve(ledger, answers, at_ms)
    builder = LedgerBuilder(ledger, policy)
    builder.faults = faults
    denied: set[int] = set()
    for answer in answers:
        one = None if answer.number == asked else builder.find(answer.number, at_ms)
        if one is None:
            continue
        if isinstance(answer, BuildDetail):
            _see_detail(builder, one, answer, at_ms)
        elif answer.number in builder.open:
            _see_no_detail(builder, one, at_ms, refused=isinstance(answer, Refused))
        elif isinstance(answer, Refused):
            denied.add(answer.number)
    builder.deny(denied)
    builder.find_gaps(at_ms, counts=True)
    return _folded(builder)


def give_up(ledger: JobLedger, *, at_ms: int, patience_ms: int, policy: LabelPolicy = BY_RESULT) -> Folded:
    """Stop waiting for what record-info denies and history has not shown for all of ``patience_ms``.

    A number that had only been announced is forgotten. If higher ones are known, it is missing from now on.
    """
    builder = LedgerBuilder(ledger, policy)
    denied, above = 0, None
    for gap in reversed(ledger.gaps):
        denied = gap.size * bool(gap.tries) + (denied if above == gap.last + 1 else 0)
        above = gap.first
        if at_ms - gap.since_ms < patience_ms:
            continue
        if gap.tries == 0 and denied >= DENIED_IN_A_ROW:
            builder.lose(gap.first, gap.last, counts=False, at_ms=at_ms)
            builder.faults.append(SKIPPED)
        if gap.tries >= LOST_TRIES:
            builder.lose(gap.first, gap.last, counts=gap.counts, at_ms=at_ms)
    for number, one in ledger.open.items():
        if one.is_active:
            since_ms = one.unseen_since_ms
            if since_ms is not None and one.tries >= LOST_TRIES and at_ms - since_ms >= patience_ms:
                del builder.open[number]
                if not one.is_weak:
                    builder.lose(number, number, counts=one.counts, at_ms=at_ms)
        elif one.build.result is None and at_ms - one.first_seen_ms >= patience_ms:
            builder.settle(one, None)
    builder.find_gaps(at_ms, counts=True)
    return _folded(builder)


def settle_uncounted(ledger: JobLedger, ranges: Iterable[tuple[int, int]]) -> JobLedger:
    """Settle numbers that nobody will ever tell anything of, without counting them as lost."""
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
    """Fold what the service answered about the stages of single builds (rule 9).

    Where stages are not measured any more, nothing waits for them.
    """
    stages = ledger.stages if policy.stages else ledger.stages.waiting_for_none()
    for answer in answers:
        if answer.number not in stages.awaited:
            continue
        if isinstance(answer, KnownStages):
            stages = stages.seen(answer, ledger.no_durations)
        elif isinstance(answer, Refused):
            stages = stages.refused(answer.number)
        else:
            stages = stages.failed(answer.number, DETAIL_TRIES)
    return ledger if stages is ledger.stages else replace(ledger, stages=stages)


def _dated_ms(build: Build, at_ms: int) -> int:
    """When a build ended, or else began, by its history record; 0 where neither is known or can be right."""
    moments = (build.finish_ms, build.start_ms)
    return next((ms for ms in moments if ms is not None and ms <= at_ms + AHEAD_MS), 0)


def _clamp_open(one: OpenBuild, at_ms: int) -> OpenBuild:
    return replace(
        one,
        first_seen_ms=min(one.first_seen_ms, at_ms),
        unseen_since_ms=None if one.unseen_since_ms is None else min(one.unseen_since_ms, at_ms),
        asked_ms=None if one.asked_ms is None else min(one.asked_ms, at_ms),
    )


def _see_detail(builder: LedgerBuilder, one: OpenBuild, detail: BuildDetail, at_ms: int) -> None:
    ended = one.build.result is not None
    if detail.result is not None or (ended and detail.state is None):
        builder.settle(one, detail)
    elif detail.state is not None and not ended:
        told = Build(detail.number, state=detail.state, start_ms=detail.start_ms)
        build = join(replace(one.build, state=None, finish_ms=None), told)
        builder.open[detail.number] = replace(
            one, build=build, counts=True, tries=0, unseen_since_ms=None, asked_ms=at_ms
        )
    else:
        _try_again(builder, one)


def _see_no_detail(builder: LedgerBuilder, one: OpenBuild, at_ms: int, *, refused: bool) -> None:
    if one.is_active:
        builder.open[one.build.number] = replace(one, tries=one.tries + refused, asked_ms=at_ms)
    elif refused and one.has_ended:
        builder.settle(one, None)
    else:
        _try_again(builder, one)


def _try_again(builder: LedgerBuilder, one: OpenBuild) -> None:
    tried = replace(one, tries=one.tries + 1)
    if tried.tries >= DETAIL_TRIES and tried.has_ended:
        builder.settle(tried, None)
    else:
        builder.open[one.build.number] = tried


def _folded(builder: LedgerBuilder) -> Folded:
    return Folded(builder.frozen(), tuple(builder.faults), builder.capped)
