"""Numbers that do not go on from those that are known: a jump far ahead, or a start from 1 again.

One strange record is garbage. What three polls of history show alike, and record-info confirms, is believed.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

from exporter.ledger.builder import LARGEST_FIRST, LedgerBuilder
from exporter.ledger.runs import Run
from exporter.ledger.state import LARGEST_STEP, JobLedger
from exporter.ledger.waiting import AGREEING, OtherNumbers
from exporter.model import Build, BuildDetail

CLEARLY_MS: Final = 60_000
"""A build that began so long after all others had finished is none of them."""

ASKED_AGAIN: Final = 60
"""After so many more polls, record-info is asked again about strange numbers that it did not confirm."""

FIRST_FEW: Final = 10
"""Numbers that start again at so low a one have started at 1; those below it are missing."""

REUSED: Final = "reused_build_number"
SKIPPED: Final = "skipped_build_numbers"


def without_earlier(ledger: JobLedger, builds: Iterable[Build]) -> list[Build]:
    """The builds of a poll, without those of the time before numbers started again.

    Only those above all present numbers are left out: the numbers between are not missing for their sake.
    """
    shown, restarted_ms = list(builds), ledger.restarted_ms
    if restarted_ms is None:
        return shown

    def is_earlier(build: Build) -> bool:
        dated_ms = build.start_ms if build.finish_ms is None else build.finish_ms
        return dated_ms is not None and dated_ms <= restarted_ms

    top = max((ledger.highest, *(build.number for build in shown if not is_earlier(build))))
    return [build for build in shown if build.number <= top or not is_earlier(build)]


def doubt(ledger: JobLedger, builds: Sequence[Build], at_ms: int) -> tuple[OtherNumbers | None, list[str]]:
    """The strange numbers that a poll of history showed, as far as nothing contradicts them; and faults."""
    if not ledger.highest:
        return None, []
    reused = _reused(ledger, builds, at_ms)
    faults = [REUSED] * len(reused)
    top = ledger.highest + LARGEST_STEP
    if any(ledger.highest < build.number <= top for build in builds):
        return None, faults
    numbers = reused or [build.number for build in builds if top < build.number <= LARGEST_FIRST]
    if not numbers:
        return None, faults
    before, shown = ledger.other, OtherNumbers(min(numbers), max(numbers), at_ms)
    if before and before.first == shown.first:
        is_later = at_ms > before.seen_ms
        shown = replace(shown, polls=before.polls + is_later, seen_ms=max(at_ms, before.seen_ms))
    return shown, faults


def resolve(ledger: JobLedger, answers: Iterable[object], at_ms: int) -> tuple[JobLedger, list[str]]:
    """The ledger after record-info was asked for one of the strange numbers, if it was."""
    other = ledger.other
    if other is None or other.asked is None:
        return ledger, []
    for answer in answers:
        if getattr(answer, "number", None) != other.asked:
            continue
        if isinstance(answer, BuildDetail) and (answer.result or answer.state):
            if other.first > ledger.highest:
                return _jumped(ledger, other.first, at_ms), [SKIPPED]
            if answer.start_ms is not None and answer.start_ms > _ended_ms(ledger) + CLEARLY_MS:
                return _restarted(ledger, other.first), []
        return replace(ledger, other=replace(other, polls=AGREEING - ASKED_AGAIN)), []
    return ledger, []


def _reused(ledger: JobLedger, builds: Sequence[Build], at_ms: int) -> list[int]:
    """Settled numbers under which history shows builds that began after everything known had finished."""
    builder, ended_ms = LedgerBuilder(ledger), _ended_ms(ledger)
    undated = {one.number for one in ledger.recent if one.finish_ms is None}
    later = [
        build
        for build in builds
        if build.start_ms is not None
        and min(build.start_ms, build.finish_ms or build.start_ms) > ended_ms
        and build.number not in undated
        and builder.find(build.number, at_ms) is None
    ]
    clearly = any(build.start_ms and build.start_ms > ended_ms + CLEARLY_MS for build in later)
    return [build.number for build in later] if clearly else []


def _ended_ms(ledger: JobLedger) -> int:
    """When the last of all settled builds finished."""
    latest = (tally.latest.at_ms for tally in ledger.tallies if tally.latest)
    recent = (one.finish_ms for one in ledger.recent if one.finish_ms is not None)
    return max((ledger.since_ms, ledger.last_success_ms or 0, *latest, *recent))


def _jumped(ledger: JobLedger, first: int, at_ms: int) -> JobLedger:
    """Go on with a much higher number; those between never were."""
    builder = LedgerBuilder(ledger)
    builder.lose(ledger.highest + 1, first - 1, counts=False, at_ms=at_ms)
    builder.find_gaps(at_ms, counts=True)
    return replace(builder.frozen(), other=None)


def _restarted(ledger: JobLedger, first: int) -> JobLedger:
    """Go on with a number that was there before. What had not ended is lost; counters and streak go on."""
    failures, failing_since_ms = 0, None
    for run in reversed(ledger.runs):
        failures += run.tail_failures
        failing_since_ms = failing_since_ms if run.tail_failure_ms is None else run.tail_failure_ms
        if run.succeeded:
            break
    lost = sum(1 for one in ledger.open.values() if one.counts)
    base = first - 1 if first > FIRST_FEW else 0
    return replace(
        ledger,
        runs=(replace(Run.baseline(base), tail_failures=failures, tail_failure_ms=failing_since_ms),),
        open={},
        gaps=(),
        lost=(),
        lost_builds=ledger.lost_builds + lost,
        last=None,
        recent=(),
        stages=replace(ledger.stages, awaited={}, last=None),
        baseline=base,
        other=None,
        restarted_ms=_ended_ms(ledger),
    )
