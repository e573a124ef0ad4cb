"""Series and memory that a configuration will take. Pure.

They are those of OpenMetrics, which Prometheus asks for: ``_created`` among them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Final

from exporter.config import Config
from exporter.doctor.results import Answers, Section, note, ok
from exporter.doctor.watched import Watched
from exporter.exposition import Format, Renderer
from exporter.ledger import (
    OTHER,
    STAGE_NAMES_KEPT,
    AwaitedStages,
    Buckets,
    BuildLabels,
    Histogram,
    JobLedger,
    KnownStages,
    LabelPolicy,
    LastBuild,
    OpenBuild,
    Tally,
    apply_stages,
    baseline,
)
from exporter.metrics import Family, FleetView, JobView, job_families
from exporter.model import Build, Job, Result, Stage, State, Trigger
from exporter.text import plural


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
        most=_rendered(_with_stages(full, STAGE_NAMES_KEPT + 1), families),
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
    return apply_stages(waiting, (told,), policy=LabelPolicy(stages=True))


def _rendered(ledger: JobLedger, families: Sequence[Family[JobView]]) -> int:
    job = JobView(Job("job", "job", "project"), ledger, up=True, deleted=False, checked_ms=1)
    return _series(families, (job,)) - _series(families, ())


def _series(families: Sequence[Family[JobView]], jobs: tuple[JobView, ...]) -> int:
    renderer = Renderer(families, Format.OPENMETRICS)
    return renderer.render(FleetView(jobs=jobs), compress=False).series


_PROCESS_MB: Final = 58

_JOB_KB: Final = 30
"""Memory of a process, and of a job: 21 KB of snapshot and 9 KB of ledger (docs/performance.md)."""

_STAGE_SERIES_KB: Final = 0.2
"""What a series of a stage takes beside: the share that one of a job's 131 series has of its snapshot, and
a little of its ledger."""

_USUAL_STAGES: Final = 6
"""Where no build has told how many it has."""


def stages_of_a_build(config: Config, answers: Answers) -> int | None:
    """How many stages to reckon with: as many as were told; None where they are not measured."""
    if not config.metrics.stages:
        return None
    told = answers.stages if isinstance(answers.stages, tuple) else ()
    return len(told) or _USUAL_STAGES


def series_section(config: Config, seen: Watched, of_a_job: SeriesOfAJob) -> Section:
    """How many series there will be, and how much memory they take."""
    number = len(seen.jobs)
    if not number:
        return Section("Series and memory", (note("not estimated: no job is watched"),))
    most, limit = number * of_a_job.most, config.metrics.max_series
    text = (
        f"{number * of_a_job.usual:,} series for {plural(number, 'job')} that succeed and fail"
        f"{_in_stages(of_a_job)} ({of_a_job.usual} each), {most:,} with every {_labels(config)} "
        f"({of_a_job.most} each)"
    )
    findings = [ok(f"{text}; metrics.max_series = {limit:,}")]
    if most > limit and "branch" not in config.metrics.extra_labels:
        findings = [
            note(
                f"{text}: see whether Prometheus bears them; metrics.max_series holds back branches only",
                "set metrics.stages to false if Prometheus cannot bear its series" if of_a_job.stages else "",
            )
        ]
    elif most > limit:
        findings = [
            note(
                f"{text}: more than metrics.max_series = {limit:,}; beyond, new branches count under other",
                "raise metrics.max_series if Prometheus bears them, or tell fewer branches and labels apart",
            )
        ]
    if "branch" in config.metrics.extra_labels:
        findings.append(
            ok(
                "each of metrics.branches is taken for one branch; one more that an expression lets through "
                f"adds up to {of_a_job.branch} series a job"
            )
        )
    if of_a_job.stages:
        findings.append(
            ok(
                f"each stage adds {of_a_job.stage} series to a job; {STAGE_NAMES_KEPT} of a job keep their "
                "names, the others share one"
            )
        )
    of_job_kb = _JOB_KB + round(_STAGE_SERIES_KB * of_a_job.stages * of_a_job.stage)
    megabytes = round(_PROCESS_MB + number * of_job_kb / 1000)
    findings.append(ok(f"about {megabytes:,} MB of memory: {_PROCESS_MB} MB, and {of_job_kb} KB a job"))
    return Section("Series and memory", tuple(findings))


def _in_stages(of_a_job: SeriesOfAJob) -> str:
    return f" in {plural(of_a_job.stages, 'stage')}" if of_a_job.stages else ""


def _labels(config: Config) -> str:
    shown = {"trigger": "trigger", "branch": "branch of metrics.branches"}
    labels = ["result", *(shown[label] for label in config.metrics.extra_labels)]
    labels += ["stage"] if config.metrics.stages else []
    *first, last = labels
    return f"{', '.join(first)} and {last}" if first else last
