"""How many series a job has under a configuration, counted by rendering one; pure.

They are those of OpenMetrics, which Prometheus asks for: ``_created`` among them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

from exporter.catalogue import FleetView, JobView, job_families
from exporter.exposition import Format, Renderer
from exporter.ledger import (
    OTHER,
    TOLD_APART,
    AwaitedStages,
    Breakdown,
    Buckets,
    BuildLabels,
    Histogram,
    JobLedger,
    KnownStages,
    LastBuild,
    OpenBuild,
    Tally,
    baseline,
    see_stages,
)
from exporter.model import Build, Job, Result, Stage, State, Trigger


@dataclass(frozen=True, slots=True)
class SeriesOfAJob:
    """Series of one job.

    Attributes:
        usual: once it has had a success and a failure, and some builds with that many stages.
        most: once it has had every result, under every trigger, every branch and every stage that is told
            apart.
        branch: what each branch more adds to that.
        stages: how many stages ``usual`` has.
        stage: what each stage adds.
    """

    usual: int
    most: int
    branch: int
    stages: int = 0
    stage: int = 0


def series_of_a_job(
    buckets: Buckets, extra: tuple[str, ...] = (), branches: int = 0, stages: int | None = None
) -> SeriesOfAJob:
    """Count them.

    Args:
        buckets: of the histograms.
        extra: labels of finished builds beside the result.
        branches: how many branches keep their name, beside ``other``.
        stages: how many a build has; None where they are not measured.
    """
    usual = _ledger(buckets, (Result.SUCCESS, Result.FAILURE), ("",), ("",))
    triggers = tuple(Trigger) if "trigger" in extra else ("",)
    names = (OTHER, *(f"branch-{number}" for number in range(branches))) if "branch" in extra else ("",)
    full = _ledger(buckets, tuple(Result), triggers, names)
    most = _rendered(full, extra)
    branch = _rendered(_ledger(buckets, tuple(Result), triggers, (*names, "one-more")), extra) - most
    if stages is None:
        return SeriesOfAJob(_rendered(usual, extra), most, branch)
    return SeriesOfAJob(
        usual=_rendered(_with_stages(usual, stages), extra),
        most=_rendered(_with_stages(full, TOLD_APART + 1), extra),
        branch=branch,
        stages=stages,
        stage=_rendered(_with_stages(full, 1), extra) - most,
    )


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


def _with_stages(ledger: JobLedger, number: int) -> JobLedger:
    """The same once a build has shown so many stages."""
    told = KnownStages(1, tuple(Stage(f"stage-{index}", 1) for index in range(number)))
    waiting = replace(ledger, stages=ledger.stages.awaiting(1, AwaitedStages("record")))
    return see_stages(waiting, (told,), breakdown=Breakdown(stages=True))


def _rendered(ledger: JobLedger, extra: tuple[str, ...]) -> int:
    job = JobView(Job("job", "job", "project"), ledger, up=True, deleted=False, checked_ms=1)
    return _series(extra, (job,)) - _series(extra, ())


def _series(extra: tuple[str, ...], jobs: tuple[JobView, ...]) -> int:
    renderer = Renderer(job_families(extra, stages=True), Format.OPENMETRICS)
    return renderer.render(FleetView(jobs=jobs), compress=False).series
