"""What a configuration will cost in series and memory; pure."""

from typing import Final

from exporter.config import Config
from exporter.doctor.answers import Answers
from exporter.doctor.findings import Section, note, ok
from exporter.doctor.series import SeriesOfAJob
from exporter.doctor.text import plural
from exporter.doctor.watched import Watched
from exporter.ledger import TOLD_APART

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
                f"each stage adds {of_a_job.stage} series to a job; {TOLD_APART} of a job keep their names, "
                "the others share one"
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
