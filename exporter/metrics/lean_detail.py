"""Lean detail: few series for each job, and histograms of projects. Pure."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from exporter.ledger.histogram import Histogram
from exporter.ledger.job_ledger import JobLedger
from exporter.metrics.family_types import Family, Kind, Samples, counter, single
from exporter.metrics.views import JobView
from exporter.model import Result


def lean_families(families: Iterable[Family[JobView]]) -> tuple[Family[JobView], ...]:
    """Return families of jobs as they are in lean detail, with `LEAN_FAMILIES`."""
    kept = (family for family in families if family.name != "codearts_build_baseline_build_number")
    return (*map(_lean, kept), *LEAN_FAMILIES)


def _lean(family: Family[JobView]) -> Family[JobView]:
    """Return a family as it is in lean detail."""
    if family.name == "codearts_build_last_build_result":
        return replace(family, samples=_current_result)
    if family.kind is Kind.HISTOGRAM or family.name == "codearts_build_recovered_builds_total":
        return replace(family, labels=tuple(label for label in family.labels if label != "job_name"))
    return family


def _current_result(view: JobView) -> Samples:
    if view.ledger and view.ledger.last:
        yield (view.ledger.last.result,), 1


def _success_durations(ledger: JobLedger) -> list[Histogram]:
    return [
        tally.durations
        for tally in ledger.tallies
        if tally.durations and tally.labels.result == Result.SUCCESS
    ]


LEAN_FAMILIES: Final[tuple[Family[JobView], ...]] = (
    counter(
        "codearts_build_success_duration_seconds_total",
        "Sum of the durations of successful builds, from start to finish.",
        lambda ledger: single(sum(durations.sum_ms for durations in _success_durations(ledger)) / 1000),
    ),
    counter(
        "codearts_build_timed_successes_total",
        "Successful builds whose duration is known.",
        lambda ledger: single(sum(durations.count for durations in _success_durations(ledger))),
    ),
    counter(
        "codearts_build_recoveries_total",
        "Streaks of failures that a success has ended.",
        lambda ledger: single(ledger.recovery.count),
    ),
)
"""What is left of the histograms of a job in lean detail: what alerts need."""
