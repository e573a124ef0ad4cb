"""Build numbers that do not continue the known ones: a jump far ahead, or a restart from 1.

A single record may be wrong. Numbers are accepted once three polls of history show them and record-info
confirms them; a few that are only some way ahead, unless record-info denies them.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import takewhile
from typing import Final, Protocol, TypeVar

from exporter.ledger.job_ledger import LARGEST_STEP, JobLedger
from exporter.ledger.settle_builds import LARGEST_FIRST, LedgerBuilder
from exporter.ledger.streaks import Run
from exporter.ledger.unsettled import AGREEING, OtherNumbers
from exporter.model import Build, BuildDetail

CLEARLY_MS: Final = 60_000
"""A build that began so long after all others had finished is certainly a new one."""

POLLS_BETWEEN: Final = 60
"""Polls until record-info is requested again for numbers that it did not confirm."""

FIRST_FEW: Final = 10
"""A restart at or below this number is taken as one from 1, with the numbers below it missing."""

DOUBTED_STEP: Final = 20

ENOUGH_AHEAD: Final = 3
"""Fewer records, so far above all others, are doubted; more prove each other."""


class Numbered(Protocol):
    """Something that was observed of a build."""

    @property
    def number(self) -> int:
        """The build's number."""


Observed = TypeVar("Observed", bound=Numbered)

REUSED: Final = "reused_build_number"

SKIPPED: Final = "skipped_build_numbers"


def drop_before_restart(
    ledger: JobLedger, observed: Iterable[Observed], unsettled: Iterable[Build] = ()
) -> list[Observed]:
    """Leave out builds, or details of them, from before the numbers restarted.

    Left out are only those above all current numbers, so that the numbers between do not become gaps, and
    those with the number of a later build, observed or ``unsettled``, which they would be merged with.
    """
    every = list(observed)
    if ledger.restarted_ms is None:
        return every
    known: list[Numbered] = [*every, *unsettled]
    current = {build.number for build in known if not _is_before_restart(ledger, build)}
    highest = max((ledger.highest, *current))
    return [
        build
        for build in every
        if not _is_before_restart(ledger, build) or (build.number <= highest and build.number not in current)
    ]


def _is_before_restart(ledger: JobLedger, build: object) -> bool:
    """Return whether a build, or details of one, is dated before the numbers restarted."""
    if ledger.restarted_ms is None or not isinstance(build, Build | BuildDetail):
        return False
    dated_ms = build.start_ms if build.finish_ms is None else build.finish_ms
    return dated_ms is not None and dated_ms <= ledger.restarted_ms


def doubtful_numbers(ledger: JobLedger, builds: Iterable[Build]) -> list[list[int]]:
    """Return groups of a few numbers of history that are far above all others, the highest group first.

    Numbers are contiguous: if many builds were missed, history has most of them. Steps of more than
    `LARGEST_STEP` are for `find_other_numbers`.
    """
    if not ledger.highest:
        return []
    current = drop_before_restart(ledger, builds)
    new = {build.number for build in current if 0 < build.number - ledger.highest <= LARGEST_STEP}
    groups = [[ledger.highest]]
    for number in sorted(new):
        if number - groups[-1][-1] > DOUBTED_STEP:
            groups.append([])
        groups[-1].append(number)
    return list(takewhile(lambda group: len(group) < ENOUGH_AHEAD, reversed(groups[1:])))


def find_other_numbers(
    ledger: JobLedger, builds: Sequence[Build], at_ms: int
) -> tuple[OtherNumbers | None, list[str]]:
    """Return the numbers of a poll that do not continue the known ones, unless others do; and faults."""
    if not ledger.highest:
        return None, []
    reused = _reused(ledger, builds, at_ms)
    faults = [REUSED] * len(reused)
    limit = ledger.highest + LARGEST_STEP
    if any(ledger.highest < build.number <= limit for build in builds):
        return None, faults
    numbers = reused or [build.number for build in builds if limit < build.number <= LARGEST_FIRST]
    if not numbers:
        return None, faults
    before, other = ledger.other, OtherNumbers(min(numbers), max(numbers), at_ms)
    if before and before.first == other.first:
        polls = before.polls + (at_ms > before.seen_ms)
        other = replace(other, polls=polls, seen_ms=max(at_ms, before.seen_ms))
    return other, faults


def confirm_jump(ledger: JobLedger, answers: Iterable[object], at_ms: int) -> tuple[JobLedger, list[str]]:
    """Continue with other numbers if record-info confirms them; return the ledger and faults."""
    other = ledger.other
    if other is None or other.to_confirm is None:
        return ledger, []
    for answer in answers:
        if getattr(answer, "number", None) != other.to_confirm:
            continue
        is_earlier = _is_before_restart(ledger, answer)
        if isinstance(answer, BuildDetail) and (answer.result or answer.state) and not is_earlier:
            if other.first > ledger.highest:
                return _jumped(ledger, other.first, at_ms), [SKIPPED]
            if answer.start_ms is not None and answer.start_ms > _ended_ms(ledger) + CLEARLY_MS:
                return _restarted(ledger, other.first), []
        return replace(ledger, other=replace(other, polls=AGREEING - POLLS_BETWEEN)), []
    return ledger, []


def _reused(ledger: JobLedger, builds: Sequence[Build], at_ms: int) -> list[int]:
    """Return settled numbers of builds that began after everything known had finished."""
    builder, ended_ms = LedgerBuilder(ledger), _ended_ms(ledger)
    undated = {build.number for build in ledger.recent if build.finish_ms is None}
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
    """Return when the last of all settled builds finished."""
    latest = (tally.latest.at_ms for tally in ledger.tallies if tally.latest)
    recent = (build.finish_ms for build in ledger.recent if build.finish_ms is not None)
    return max((ledger.since_ms, ledger.last_success_ms or 0, *latest, *recent))


def _jumped(ledger: JobLedger, first: int, at_ms: int) -> JobLedger:
    """Continue with a much higher number; those between were never used."""
    builder = LedgerBuilder(ledger)
    builder.lose(ledger.highest + 1, first - 1, counts=False, at_ms=at_ms)
    builder.find_gaps(at_ms, counts=True)
    return replace(builder.frozen(), other=None)


def _restarted(ledger: JobLedger, first: int) -> JobLedger:
    """Continue with a reused number: open builds are lost, counters and the streak are kept."""
    failures, failing_since_ms = 0, None
    for run in reversed(ledger.runs):
        failures += run.tail_failures
        failing_since_ms = failing_since_ms if run.tail_failure_ms is None else run.tail_failure_ms
        if run.succeeded:
            break
    lost = sum(1 for build in ledger.open.values() if build.counts)
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
