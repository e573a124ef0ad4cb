"""Section Series and memory: the series in OpenMetrics and with native histograms, and the memory. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product, starmap
from typing import Final

from exporter.config import Config
from exporter.doctor.probe_answers import Answers
from exporter.doctor.report import Finding, Section, note, ok
from exporter.exposition import Format, Renderer
from exporter.humanize import plural
from exporter.ledger.build_labels import OTHER, BuildLabels, LabelPolicy
from exporter.ledger.fold_observations import apply_stages, baseline
from exporter.ledger.histogram import Buckets, Histogram
from exporter.ledger.job_ledger import JobLedger, LastBuild
from exporter.ledger.stages import STAGE_NAMES_KEPT, AwaitedStages, KnownStages
from exporter.ledger.tallies import Tally
from exporter.ledger.unsettled import OpenBuild
from exporter.metrics import FleetView, JobView, job_families
from exporter.model import Build, Job, Result, Stage, State, Trigger

_PROCESS_MB: Final = 58
_JOB_KB: Final = 32
"""Memory of a process, and of a job: 19 KB of snapshot and 13 KB of ledger (docs/performance.md)."""

_STAGE_SERIES_KB: Final = 0.2
"""Memory of a series of a stage: its share of a job's snapshot (131 series), and a little of the ledger."""

_USUAL_STAGES: Final = 6
"""Number of stages where no build could be asked for them."""


@dataclass(frozen=True, slots=True)
class SeriesOfAJob:
    """Number of series of one job.

    Attributes:
        usual: after a success, a failure, and builds with `stages` stages.
        native: the same where Prometheus stores native histograms.
        most: after every result, under every trigger, branch and stage that has labels of its own.
        branch: added to that by each further branch.
        project: series of a project, as ``usual``; 0 unless in lean detail.
        stages: number of stages in ``usual``.
        stage: added by each stage.
    """

    usual: int
    native: int
    most: int
    branch: int
    project: int = 0
    stages: int = 0
    stage: int = 0


def series_of_a_job(
    buckets: Buckets,
    extra: tuple[str, ...] = (),
    branches: int = 0,
    stages: int | None = None,
    *,
    plain: tuple[str, ...] = (),
    created_series: bool = False,
    lean: bool = False,
) -> SeriesOfAJob:
    """Count the series of rendered jobs.

    Args:
        buckets: of the histograms.
        extra: labels of finished builds beside the result.
        branches: number of branches with a label of their own, beside ``other`` and ``plain``.
        stages: number of stages of a build; None where stages are not measured.
        plain: branches that have series from the start.
        created_series: whether there are series of creation times.
        lean: whether histograms are those of projects.
    """
    families = job_families(extra, plain, stages=True, lean=lean)
    lines = Renderer(families, Format.OPENMETRICS, created_series=created_series)
    native = Renderer(families, Format.PROTOBUF)
    usual = _ledger(buckets, (Result.SUCCESS, Result.FAILURE), ("",), ("",))
    triggers = tuple(Trigger) if "trigger" in extra else ("",)
    patterns = (f"{number}.*" for number in range(branches))
    names = tuple(dict.fromkeys((OTHER, *plain, *patterns))) if "branch" in extra else ("",)
    full = _ledger(buckets, tuple(Result), triggers, names)
    most = _rendered(full, lines)
    branch = _rendered(_ledger(buckets, tuple(Result), triggers, (*names, "another.*")), lines) - most
    stage = _rendered(_with_stages(full, 1), lines) - most
    if stages is not None:
        usual = _with_stages(usual, stages)
        most = _rendered(_with_stages(full, STAGE_NAMES_KEPT + 1), lines)
    return SeriesOfAJob(
        usual=_rendered(usual, lines),
        native=_rendered(usual, native),
        most=most,
        branch=branch,
        project=_rendered(usual, lines, of_project=True),
        stages=stages or 0,
        stage=stage if stages is not None else 0,
    )


def _ledger(
    buckets: Buckets, results: Sequence[Result], triggers: Sequence[str], branches: Sequence[str]
) -> JobLedger:
    """Make a ledger with every series that those labels can have."""
    durations = Histogram.empty(buckets.duration)
    labels = starmap(BuildLabels, product(results, triggers, branches))
    return replace(
        baseline((), at_ms=0, buckets=buckets).ledger,
        tallies=tuple(Tally(combination, 1, durations) for combination in labels),
        last=LastBuild(1, Result.SUCCESS, 1, 1, 1),
        last_success_ms=1,
        open={2: OpenBuild(Build(2, state=State.RUNNING), first_seen_ms=1)},
    )


def _with_stages(ledger: JobLedger, number: int) -> JobLedger:
    """Add a build with so many stages."""
    known = KnownStages(1, tuple(Stage(f"stage-{index}", 1) for index in range(number)))
    waiting = replace(ledger, stages=ledger.stages.awaiting(1, AwaitedStages("record")))
    return apply_stages(waiting, (known,), policy=LabelPolicy(stages=True))


def _rendered(ledger: JobLedger, renderer: Renderer, *, of_project: bool = False) -> int:
    """Count the series of a job with that ledger, or those of a project."""
    views = (
        JobView(Job("job", "job", "project"), ledger, up=True, deleted=False, disabled=False, checked_ms=1),
    )
    view = FleetView(totals=views) if of_project else FleetView(jobs=views)
    filled, empty = (renderer.render(each, compress=False).series for each in (view, FleetView()))
    return filled - empty


def series_section(config: Config, answers: Answers, jobs: int, buckets: Buckets) -> Section:
    """Report the expected series and memory for a number of watched jobs."""
    if not jobs:
        return Section("Series and memory", (note("not estimated: no job is watched"),))
    metrics, stages = config.metrics, None
    if metrics.stages:
        stages = (len(answers.stages) if isinstance(answers.stages, tuple) else 0) or _USUAL_STAGES
    plain, patterns = metrics.plain_branches, len(metrics.branches) - len(metrics.plain_branches)
    full, lean = (
        series_of_a_job(
            buckets,
            metrics.extra_labels,
            patterns,
            stages,
            plain=plain,
            created_series=metrics.created_series,
            lean=is_lean,
        )
        for is_lean in (False, True)
    )
    findings = _findings(config, jobs, lean if metrics.is_lean else full)
    other = ok(f"with metrics.detail: lean, {lean.usual} each, and {lean.project} for a project")
    if metrics.is_lean:
        other = ok(
            f"and {lean.project} for each project; with metrics.detail: full, {full.usual} for each job"
        )
    return Section("Series and memory", (*findings, other))


def _findings(config: Config, jobs: int, of_a_job: SeriesOfAJob) -> Iterator[Finding]:
    has_branches = "branch" in config.metrics.extra_labels
    most, limit = jobs * of_a_job.most, config.metrics.max_series
    in_stages = f" in {plural(of_a_job.stages, 'stage')}" if of_a_job.stages else ""
    verbs = "succeeds and fails" if jobs == 1 else "succeed and fail"
    text = (
        f"{jobs * of_a_job.usual:,} series for {plural(jobs, 'job')} that {verbs}"
        f"{in_stages} ({of_a_job.usual} each), {most:,} with every {_labels(config)} ({of_a_job.most} each)"
    )
    if most <= limit:
        yield ok(f"{text}; metrics.max_series = {limit:,}")
    elif has_branches:
        yield note(
            f"{text}: more than metrics.max_series = {limit:,}; beyond it, new branches count under other",
            "raise metrics.max_series if Prometheus can take it, or give fewer branches and extra_labels",
        )
    else:
        yield note(
            f"{text}: check that Prometheus can take them; metrics.max_series limits branches only",
            "set metrics.stages to false if Prometheus cannot take its series" if of_a_job.stages else "",
        )
    if of_a_job.native < of_a_job.usual:
        yield ok(
            f"{of_a_job.native} instead of {of_a_job.usual} each where Prometheus stores native histograms"
        )
    if has_branches:
        yield ok(
            "each expression of metrics.branches is counted as one branch; every further branch that matches "
            f"adds up to {of_a_job.branch} series a job"
        )
    if of_a_job.stages:
        yield ok(
            f"each stage adds {of_a_job.stage} series to a job; {STAGE_NAMES_KEPT} of a job have names of "
            "their own, the others share one"
        )
    job_kb = _JOB_KB + round(_STAGE_SERIES_KB * of_a_job.stages * of_a_job.stage)
    megabytes = round(_PROCESS_MB + jobs * job_kb / 1000)
    yield ok(f"about {megabytes:,} MB of memory: {_PROCESS_MB} MB, and {job_kb} KB a job")


def _labels(config: Config) -> str:
    names = {"trigger": "trigger", "branch": "branch of metrics.branches"}
    labels = ["result", *(names[label] for label in config.metrics.extra_labels)]
    *first, last = [*labels, "stage"] if config.metrics.stages else labels
    return f"{', '.join(first)} and {last}" if first else last
