"""How many series a job has under a configuration, counted by rendering one; pure.

They are those of OpenMetrics, which Prometheus asks for: ``_created`` among them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

from exporter.catalogue import Family, FleetView, JobView, job_families
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
    buckets: Buckets,
    extra: tuple[str, ...] = (),
    branches: int = 0,
    stages: int | None = None,
    *,
    plain: tuple[str, ...] = (),
) -> SeriesOfAJob:
    """Count them.

    Args:
        buckets: of the histograms.
        extra: labels of finished builds beside the result.
        branches: how many branches keep their name, beside ``other`` and ``plain``.
        stages: how many a build has; None where they are not measured.
        plain: the branches that are there from the start.
    """
    families = job_families(extra, plain, stages=True)
    usual = _ledger(buckets, (Result.SUCCESS, Result.FAILURE), ("",), ("",))
    triggers = tuple(Trigger) if "trigger" in extra else ("",)
    patterns = (f"{number}.*" for number in range(branches))
    names = tuple(dict.fromkeys((OTHER, *plain, *patterns))) if "branch" in extra else ("",)
    full = _ledger(buckets, tuple(Result), triggers, names)
    most = _rendered(full, families)
    one_more = _ledger(buckets, tuple(Result), triggers, (*names, "one more.*"))
    branch = _rendered(one_more, families) - most
    if stages is None:
        return SeriesOfAJob(_rendered(usual, families), most, branch)
    return SeriesOfAJob(
        usual=_rendered(_with_stages(usual, stages), families),
        most=_rendered(_with_stages(full, TOLD_APART + 1), families),
        branch=branch,
        stages=stages,
        stage=_rendered(_with_stages(full, 1), families) - most,
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


def _rendered(ledger: JobLedger, families: Sequence[Family[JobView]]) -> int:
    job = JobView(Job("job", "job", "project"), ledger, up=True, deleted=False, checked_ms=1)
    return _series(families, (job,)) - _series(families, ())


def _series(families: Sequence[Family[JobView]], jobs: tuple[JobView, ...]) -> int:
    renderer = Renderer(families, Format.OPENMETRICS)
    return renderer.render(FleetView(jobs=jobs), compress=False).series
