"""Past builds, the build numbers that are missing, and how builds enter a ledger. Pure.

The ledger is the one that counts live builds, so labels, buckets and every rule are the same. The difference
is that everything is known from the start: which numbers are missing, and when each build finished.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final, NamedTuple

from exporter.ledger.apply import (
    Folded,
    Refused,
    apply_details,
    apply_history,
    apply_stages,
    baseline,
    settle_uncounted,
)
from exporter.ledger.settle_builds import LARGEST_FIRST
from exporter.ledger.stages import KnownStages
from exporter.ledger.state import LARGEST_STEP, JobLedger
from exporter.ledger.streaks import Run
from exporter.model import DAY_MS, Build, BuildDetail, Result, Stage, State
from exporter.poller import Rules

_BATCH: Final = 100
"""A ledger keeps a limited number of builds whose stages are pending."""


@dataclass(frozen=True, slots=True)
class PastBuild:
    """A build as the API reports it now.

    Attributes:
        build: the history record; only a number if history has none.
        detail: None if there is none; the build is then counted from its history record.
        stages: None if not requested or refused.
    """

    build: Build
    detail: BuildDetail | None = None
    stages: tuple[Stage, ...] | None = None

    @property
    def merged(self) -> Build:
        """The history record, completed by the detail; a finished build always has a result."""
        build, detail = self.build, self.detail or BuildDetail(self.build.number)
        finish_ms = detail.finish_ms if build.finish_ms is None else build.finish_ms
        state = build.state or detail.state
        default = Result.UNKNOWN if finish_ms is not None and state is None else None
        result = build.result or detail.result or default
        start_ms = detail.start_ms if build.start_ms is None else build.start_ms
        return replace(
            build, result=result, state=None if result else state, start_ms=start_ms, finish_ms=finish_ms
        )

    @property
    def dated_ms(self) -> int | None:
        """Finish time, or start time without one; None if the build has not finished or has neither.

        The detail's finish is more exact, and is used if it lies within a day of history's.
        """
        merged = self.merged
        if merged.result is None:
            return None
        exact = self.detail.finish_ms if self.detail else None
        if exact is not None and merged.finish_ms is not None and abs(exact - merged.finish_ms) < DAY_MS:
            return exact
        return merged.start_ms if merged.finish_ms is None else merged.finish_ms


def as_listed(detail: BuildDetail) -> Build:
    """Return the history record of a build: the same, but for times in whole seconds."""
    start_ms, finish_ms = (
        None if time_ms is None else time_ms // 1000 * 1000 for time_ms in (detail.start_ms, detail.finish_ms)
    )
    return Build(
        detail.number, detail.result, detail.state, start_ms, finish_ms, detail.branch, detail.trigger
    )


def initial_ledger(
    before: Sequence[Build],
    counted: Iterable[int],
    missing: Iterable[tuple[int, int]],
    at_ms: int,
    rules: Rules,
) -> JobLedger:
    """Return the ledger of a job at ``at_ms``, when counting begins and the builds ``before`` had finished.

    ``counted`` are the numbers that are counted later, ``missing`` ranges of numbers without any record.
    """
    numbers = sorted(counted)
    newest = max((build.number for build in before), default=numbers[0] + 1 if numbers else 0)
    running = [Build(number, state=State.RUNNING) for number in numbers if number < newest]
    # Their details date these builds before that moment; their history records, less exact, may not.
    since_ms = max((at_ms, *(build.finish_ms or build.start_ms or 0 for build in before)))
    ledger = baseline([*before, *running], at_ms=at_ms, since_ms=since_ms, buckets=rules.buckets).ledger
    if before:
        refused = [Refused(number) for number, entry in ledger.open.items() if entry.counts is False]
        ledger = apply_details(ledger, refused, at_ms=at_ms, policy=rules.policy).ledger
    elif numbers:
        ledger = replace(ledger, runs=(Run.baseline(numbers[0] - 1),))
    return replace(settle_uncounted(ledger, missing), since_ms=at_ms)


def apply_finished(ledger: JobLedger, builds: Sequence[PastBuild], at_ms: int, rules: Rules) -> Folded:
    """Apply builds that have finished to a ledger."""
    faults: tuple[str, ...] = ()
    for start in range(0, len(builds), _BATCH):
        batch = builds[start : start + _BATCH]
        history = apply_history(ledger, [past.merged for past in batch], at_ms=at_ms)
        details = apply_details(history.ledger, map(_detail, batch), at_ms=at_ms, policy=rules.policy)
        ledger = apply_stages(details.ledger, map(_stages, batch), policy=rules.policy)
        faults += history.faults + details.faults
    return Folded(ledger, faults)


def with_new_series_at_zero(ledger: JobLedger, after: JobLedger) -> JobLedger:
    """Add the series that the next ledger introduces, at 0, so that the first build is an increase."""
    known = {tally.labels for tally in ledger.tallies}
    new = [tally.emptied() for tally in after.tallies if tally.labels not in known]
    if not new:
        return ledger
    return replace(ledger, tallies=tuple(sorted((*ledger.tallies, *new), key=lambda tally: tally.labels)))


def _detail(past: PastBuild) -> BuildDetail | Refused:
    # A detail without a result cannot end the build, but history together with it may.
    if past.detail is None or past.detail.result is None:
        return Refused(past.build.number)
    return past.detail


def _stages(past: PastBuild) -> KnownStages | Refused:
    number = past.build.number
    return Refused(number) if past.stages is None else KnownStages(number, past.stages)


class KnownBuild(NamedTuple):
    """A build number in the spool: whether history lists it, and whether record-info was fetched."""

    number: int
    dated_ms: int | None
    is_listed: bool
    is_fetched: bool


def plausible(known: Iterable[KnownBuild]) -> list[KnownBuild]:
    """Drop garbage from ascending numbers, by the rules of the ledger."""
    kept: list[KnownBuild] = []
    for build in known:
        if build.number <= (kept[-1].number + LARGEST_STEP if kept else LARGEST_FIRST):
            kept.append(build)
    return kept


def missing_builds(known: Sequence[KnownBuild]) -> list[tuple[int, int]]:
    """Ranges of numbers between known ones."""
    return [
        (low.number + 1, high.number - 1) for low, high in pairwise(known) if low.number + 1 < high.number
    ]
