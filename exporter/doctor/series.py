"""How many series a job has under a configuration, counted by rendering one; pure.

They are those of OpenMetrics, which Prometheus asks for: ``_created`` among them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Final

from exporter.catalogue import FleetView, JobView, job_families
from exporter.exposition import Format, Renderer
from exporter.ledger import (
    OTHER,
    Buckets,
    BuildLabels,
    Histogram,
    JobLedger,
    LastBuild,
    OpenBuild,
    Tally,
    baseline,
)
from exporter.model import Build, Job, Result, State, Trigger

STAGES_AT_MOST: Final = 31
"""Stages of a build that are told apart, ``other`` among them."""


@dataclass(frozen=True, slots=True)
class SeriesOfAJob:
    """Series of one job.

    Attributes:
        usual: once it has had a success and a failure.
        most: once it has had every result, under every trigger and every branch that is told apart.
        branch: what each branch more adds to that.
    """

    usual: int
    most: int
    branch: int


def series_of_a_job(
    buckets: Buckets, extra: tuple[str, ...] = (), branches: int = 0, *, stages: bool = False
) -> SeriesOfAJob:
    """Count them.

    Args:
        buckets: of the histograms.
        extra: labels of finished builds beside the result.
        branches: how many branches keep their name, beside ``other``.
        stages: whether stages are measured.
    """
    usual = _rendered(_ledger(buckets, (Result.SUCCESS, Result.FAILURE), ("",), ("",)), extra)
    triggers = tuple(Trigger) if "trigger" in extra else ("",)
    names = (OTHER, *(f"branch-{number}" for number in range(branches))) if "branch" in extra else ("",)
    most = _rendered(_ledger(buckets, tuple(Result), triggers, names), extra)
    more = _rendered(_ledger(buckets, tuple(Result), triggers, (*names, "one-more")), extra)
    of_stages = STAGES_AT_MOST * (len(buckets.duration) + 3) if stages else 0
    return SeriesOfAJob(usual, most + of_stages, more - most)


def _ledger(
    buckets: Buckets, results: Sequence[Result], triggers: Sequence[str], branches: Sequence[str]
) -> JobLedger:
    """One that shows all that a ledger can show, of those labels."""
    empty = baseline((), at_ms=0, buckets=buckets).ledger
    durations = Histogram.empty(buckets.duration)
    labels = [BuildLabels(*one) for one in product(results, triggers, branches)]
    return replace(
        empty,
        tallies=tuple(Tally(one, 1, durations) for one in labels),
        last=LastBuild(1, Result.SUCCESS, 1, 1, 1),
        last_success_ms=1,
        open={2: OpenBuild(Build(2, state=State.RUNNING), first_seen_ms=1)},
    )


def _rendered(ledger: JobLedger, extra: tuple[str, ...]) -> int:
    job = JobView(Job("job", "job", "project"), ledger, up=True, deleted=False, checked_ms=1)
    return _series(extra, (job,)) - _series(extra, ())


def _series(extra: tuple[str, ...], jobs: tuple[JobView, ...]) -> int:
    renderer = Renderer(job_families(extra), Format.OPENMETRICS)
    return renderer.render(FleetView(jobs=jobs), compress=False).series
