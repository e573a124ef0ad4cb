"""A past build, which builds are missing, and how one enters a ledger. Pure.

The ledger is the one that counts live builds, so labels, buckets and every rule are the same. The difference
is that all is known from the beginning: which numbers are missing, and when each build finished.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final, NamedTuple

from exporter.ledger import (
    Folded,
    JobLedger,
    KnownStages,
    Refused,
    Run,
    apply_details,
    apply_history,
    apply_stages,
    baseline,
    settle_uncounted,
)
from exporter.ledger.builder import LARGEST_FIRST
from exporter.ledger.state import LARGEST_STEP
from exporter.model import DAY_MS, Build, BuildDetail, Result, Stage, State
from exporter.poller import Rules

_AT_ONCE: Final = 100
"""A ledger remembers only so many builds that wait for their stages."""


@dataclass(frozen=True, slots=True)
class PastBuild:
    """A build as it is known now.

    Attributes:
        build: as history tells it; a number alone where history does not.
        detail: None where there is none; the build is then counted from its history record.
        stages: None where they were not asked for, or not told.
    """

    build: Build
    detail: BuildDetail | None = None
    stages: tuple[Stage, ...] | None = None

    @property
    def told(self) -> Build:
        """The history record, completed by the detail; what has ended has a result."""
        build, detail = self.build, self.detail or BuildDetail(self.build.number)
        finish_ms = detail.finish_ms if build.finish_ms is None else build.finish_ms
        state = build.state or detail.state
        unsaid = Result.UNKNOWN if finish_ms is not None and state is None else None
        result = build.result or detail.result or unsaid
        start_ms = detail.start_ms if build.start_ms is None else build.start_ms
        return replace(
            build, result=result, state=None if result else state, start_ms=start_ms, finish_ms=finish_ms
        )

    @property
    def dated_ms(self) -> int | None:
        """When it finished, or failing that began; None for one that has not ended or that nobody can date.

        The detail's finish is the more exact one, as long as it is not another day than history's.
        """
        told = self.told
        if told.result is None:
            return None
        exact = self.detail.finish_ms if self.detail else None
        if exact is not None and told.finish_ms is not None and abs(exact - told.finish_ms) < DAY_MS:
            return exact
        return told.start_ms if told.finish_ms is None else told.finish_ms


def begin(
    before: Sequence[Build],
    later: Iterable[int],
    missing: Iterable[tuple[int, int]],
    at_ms: int,
    rules: Rules,
) -> JobLedger:
    """The ledger of a job at the moment from which its builds are counted.

    Args:
        before: what is known of builds that had finished by then.
        later: the numbers that are counted.
        missing: ranges of numbers that nobody knows anything of.
        at_ms: that moment.
        rules: from the configuration.
    """
    numbers = sorted(later)
    newest = max((build.number for build in before), default=numbers[0] + 1 if numbers else 0)
    under_way = [Build(number, state=State.RUNNING) for number in numbers if number < newest]
    # Their details date these builds before that moment; their history records, less exact, may not.
    since_ms = max((at_ms, *(one.finish_ms or one.start_ms or 0 for one in before)))
    known = [*before, *under_way]
    ledger = baseline(known, at_ms=at_ms, since_ms=since_ms, buckets=rules.buckets).ledger
    if before:
        refused = [Refused(number) for number, one in ledger.open.items() if one.counts is False]
        ledger = apply_details(ledger, refused, at_ms=at_ms, policy=rules.policy).ledger
    elif numbers:
        ledger = replace(ledger, runs=(Run.baseline(numbers[0] - 1),))
    return replace(settle_uncounted(ledger, missing), since_ms=at_ms)


def grow(ledger: JobLedger, builds: Sequence[PastBuild], at_ms: int, rules: Rules) -> Folded:
    """The same job when those builds have finished too."""
    faults: tuple[str, ...] = ()
    for some in _batches(builds):
        seen = apply_history(ledger, [one.told for one in some], at_ms=at_ms)
        answers = [_answer(one) for one in some]
        told = apply_details(seen.ledger, answers, at_ms=at_ms, policy=rules.policy)
        stages = [_stages(one) for one in some]
        ledger = apply_stages(told.ledger, stages, policy=rules.policy)
        faults += seen.faults + told.faults
    return Folded(ledger, faults)


def heralded(ledger: JobLedger, after: JobLedger) -> JobLedger:
    """A ledger with what the next one counts under new labels, at 0: the first build is then an increase."""
    known = {tally.labels for tally in ledger.tallies}
    new = [tally.emptied() for tally in after.tallies if tally.labels not in known]
    if not new:
        return ledger
    return replace(ledger, tallies=tuple(sorted((*ledger.tallies, *new), key=lambda tally: tally.labels)))


def _batches(builds: Sequence[PastBuild]) -> Iterable[Sequence[PastBuild]]:
    return (builds[at : at + _AT_ONCE] for at in range(0, len(builds), _AT_ONCE))


def _answer(one: PastBuild) -> BuildDetail | Refused:
    """A detail without a result has nothing that ends the build; what history and it tell together may."""
    if one.detail is None or one.detail.result is None:
        return Refused(one.build.number)
    return one.detail


def _stages(one: PastBuild) -> KnownStages | Refused:
    number = one.build.number
    return Refused(number) if one.stages is None else KnownStages(number, one.stages)


NEAR_MS: Final = 2000
"""History dates builds to the second: one so close to an end of the period may lie within it."""

PROBED: Final = 1000
"""So many of a job's missing numbers are asked for; the others are taken for deleted."""


class Known(NamedTuple):
    """A build number that has been seen.

    Attributes:
        dated_ms: when the build finished, as far as that is known.
        is_listed: history told of it.
        is_asked: record-info was asked for it.
    """

    number: int
    dated_ms: int | None
    is_listed: bool
    is_asked: bool


def plausible(known: Iterable[Known]) -> list[Known]:
    """Those ascending numbers that are no garbage, by the rules of the ledger."""
    kept: list[Known] = []
    for one in known:
        if one.number <= (kept[-1].number + LARGEST_STEP if kept else LARGEST_FIRST):
            kept.append(one)
    return kept


def missing(known: Sequence[Known]) -> list[tuple[int, int]]:
    """Ranges of numbers between those that are known."""
    return [
        (low.number + 1, high.number - 1) for low, high in pairwise(known) if low.number + 1 < high.number
    ]


def numbers_to_ask(known: Sequence[Known], start_ms: int, end_ms: int) -> Iterator[int]:
    """The builds to ask record-info for: those of the period, those missing, and the one after the newest.

    That one is missing too where the newest record of history could not be read.

    Args:
        known: plausible ones, ascending.
        start_ms: of the period.
        end_ms: of the past of the job.
    """
    for one in known:
        is_near = one.dated_ms is None or start_ms - NEAR_MS <= one.dated_ms <= end_ms + NEAR_MS
        if is_near and not one.is_asked:
            yield one.number
    left = PROBED - sum(not one.is_listed for one in known)
    for first, last in missing(known):
        yield from range(first, min(last, first + left - 1) + 1)
        left = max(0, left - (last - first + 1))
    newest = max((one.number for one in known if one.is_listed), default=None)
    if newest is not None and all(one.number != newest + 1 for one in known):
        yield newest + 1
