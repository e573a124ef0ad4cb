"""The ledger of a job in the past: its beginning, and the builds that it takes up. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

from exporter.backfill.past_build import PastBuild
from exporter.ledger.fold_observations import (
    Folded,
    Refused,
    apply_details,
    apply_history,
    apply_stages,
    baseline,
    settle_uncounted,
)
from exporter.ledger.job_ledger import JobLedger
from exporter.ledger.stages import KnownStages
from exporter.ledger.streaks import Run
from exporter.model import Build, BuildDetail, State
from exporter.poller import Rules

_BATCH: Final = 100
"""A ledger keeps a limited number of builds whose stages are pending."""


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
