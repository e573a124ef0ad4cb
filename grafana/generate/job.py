"""The dashboard *Job*: the details of one job, or of several."""

from typing import Final

from grafana.generate.frame import TO_CONSOLE, Line, Section, dashboard
from grafana.generate.panels import (
    DASHED,
    TYPICAL,
    Json,
    bars,
    graph,
    named,
    stacked_bars,
    stat,
    table,
    timeline,
)
from grafana.generate.promql import (
    BY_JOB,
    ON_JOB,
    Histogram,
    by_job,
    mean,
    of_jobs,
    of_present_jobs,
    quantile,
)
from grafana.generate.results import COLOURS, LAST_RESULT, last_is, result_colours, result_mapping
from grafana.generate.shared import (
    LEAN,
    QUEUED,
    SUCCESSFUL,
    builds_by_result,
    builds_per_hour,
    durations,
    finished,
    lost_and_recovered,
    queue_times,
    success,
)
from grafana.generate.targets import now, over_time

QUANTILES: Final = {"p50": 0.5, "p90": 0.9, "p99": 0.99}
NAMED: Final = "{{project}} / {{job_name}}"
RECOVERED: Final = Histogram("recovery_duration_seconds")
SINCE_SUCCESS: Final = f"time() - {by_job('max', 'last_success_timestamp_seconds')}"
OLDEST: Final = of_present_jobs(by_job("min", "oldest_active_build_timestamp_seconds"))
UNFINISHED: Final = f"time() - {OLDEST}"

STAGES_ARE_OFF: Final = (
    "Without data until a build finishes while the exporter measures stages: set metrics.stages to true in "
    "its configuration, at one more request per build."
)


def job() -> Json:
    """Build the dashboard of the selected jobs; counts and durations aggregate over all of them."""
    return dashboard(
        "job",
        "Details of one build job: results, duration compared with last week, stages, queue, recovery.",
        [
            Section("Now", [_stats(), _last_build()]),
            Section(
                "Results",
                [_result_over_time(), _each_build(), Line(8, [builds_per_hour(16), builds_by_result(8)])],
            ),
            Section("Duration", [_duration()]),
            Section("Stages", [_stages()]),
            Section("Queue", [_queue()]),
            Section("Streaks and recovery", [_streaks(), _recovery()]),
        ],
        of_one_job=True,
    )


def _stats() -> Line:
    return Line(
        4,
        [
            success(4),
            finished(4),
            _mean(
                "Mean duration",
                "Mean time from start to finish of the builds that finished in the time range, without the "
                "queue.",
                "duration_seconds",
            ),
            _mean(
                "Mean queue time",
                "Mean time from entering the queue to the start, of the builds that finished in the time "
                "range.",
                "queue_duration_seconds",
            ),
            _mean(
                "Mean time to recovery",
                "Mean time from the finish of a streak's first failure to the finish of the success that "
                "ended it, for streaks that ended in the time range. No data means that there are none.",
                "recovery_duration_seconds",
            ),
            stat(
                (
                    "Oldest unfinished build",
                    "Age of the oldest queued or running build. No data means that there is none, or that "
                    "the job was deleted or not found by polls for an hour.",
                ),
                4,
                "s",
                now(f"max({UNFINISHED})"),
            ),
        ],
    )


def _mean(title: str, description: str, histogram: str) -> Json:
    return stat((title, f"{description} {LEAN}"), 4, "s", now(mean(Histogram(histogram))))


def _last_build() -> Line:
    ended = by_job("max", "last_build_finish_timestamp_seconds")
    return Line(
        6,
        [
            table(
                (
                    "Last build",
                    "The finished build with the highest number of each job, the current state of the job, "
                    "its id, and if configured its page in the console.",
                ),
                24,
                {
                    "Result": ("none", LAST_RESULT),
                    "Number": ("none", by_job("max", "last_build_number")),
                    "Finished": ("dateTimeFromNow", f"1000 * {ended}"),
                    "Duration": ("s", by_job("max", "last_build_duration_seconds")),
                    "Queue time": ("s", by_job("max", "last_build_queue_duration_seconds")),
                    "Failures in a row": ("short", by_job("max", "consecutive_failures")),
                    "Since last success": ("s", SINCE_SUCCESS),
                    "Unfinished for": ("s", UNFINISHED),
                    "Job id": ("", f"max by (project, job_name, job_id, url) ({of_jobs('job_info')})"),
                },
                overrides=[
                    named("Result", mappings=result_mapping(), custom__cellOptions={"type": "color-text"}),
                    named("url", displayName="Console", links=TO_CONSOLE),
                ],
            )
        ],
    )


def _result_over_time() -> Line:
    return Line(
        7,
        [
            timeline(
                (
                    "Result of the last build",
                    "The result of the last build over time. Consecutive builds with the same result form "
                    "one bar; the panel below shows them separately.",
                ),
                24,
                over_time(LAST_RESULT, NAMED),
            )
        ],
    )


def _each_build() -> Line:
    zero = f"0 * {by_job('max', 'last_build_number')}"
    build_duration = f"({by_job('max', 'last_build_duration_seconds')} or {zero})"
    number = f"max {BY_JOB} ({of_jobs('last_build_number')}"
    new = f"{number}) != {number} offset $__interval)"
    results = {
        result: f"{build_duration} and {ON_JOB} (max {BY_JOB} ({last_is(result)}) == 1) and {ON_JOB} ({new})"
        for result in COLOURS
    }
    return Line(
        9,
        [
            graph(
                (
                    "Individual builds",
                    "Duration and result of each finished build. A build without a duration, such as one "
                    "that was never assigned a machine, is at zero. Of several builds between two points in "
                    "time, only the last one is shown: zoom in to see all.",
                ),
                24,
                "s",
                *(over_time(expr, f"{{{{job_name}}}}: {result}") for result, expr in results.items()),
                overrides=result_colours(),
                calcs=TYPICAL,
                drawStyle="points",
                pointSize=6,
                showPoints="always",
            )
        ],
    )


def _duration() -> Line:
    today = [over_time(quantile(share, SUCCESSFUL), name) for name, share in QUANTILES.items()]
    before = [
        over_time(quantile(share, SUCCESSFUL, ago="1w"), f"{name}, the week before")
        for name, share in QUANTILES.items()
    ]
    return Line(
        10,
        [
            graph(
                (
                    "Duration of successful builds",
                    "Percentiles; dashed: a week earlier. They are estimated from the buckets of a "
                    f"histogram. Failed builds are excluded, because they often end early. {LEAN}",
                ),
                14,
                "s",
                *today,
                *before,
                overrides=[DASHED],
                coarse=True,
                spanNulls=True,
                fillOpacity=0,
            ),
            durations(10),
        ],
    )


def _stages() -> Line:
    stages = mean(Histogram("stage_duration_seconds"), "stage", "$__rate_interval")
    return Line(
        9,
        [
            stacked_bars(
                (
                    "Mean duration of stages",
                    "Mean duration of each stage including waiting, of builds that finished at that time and "
                    f"reached the stage. {LEAN} {STAGES_ARE_OFF}",
                ),
                14,
                "s",
                over_time(stages, "{{stage}}"),
            ),
            bars(
                (
                    "Stages of the last build",
                    "Duration of each stage including waiting, in the finished build with the highest number "
                    f"whose stages are known. {STAGES_ARE_OFF}",
                ),
                10,
                "s",
                now(
                    f"max by (project, job_name, stage) ({of_jobs('last_build_stage_duration_seconds')})",
                    "{{job_name}}: {{stage}}",
                ),
            ),
        ],
    )


def _queue() -> Line:
    return Line(
        9,
        [
            graph(
                (
                    "Queue time",
                    "Percentiles of the time that builds waited for a machine, estimated from the buckets of "
                    f"a histogram. {LEAN}",
                ),
                9,
                "s",
                *(over_time(quantile(share, QUEUED), name) for name, share in QUANTILES.items()),
                coarse=True,
                spanNulls=True,
                fillOpacity=0,
            ),
            queue_times(8),
            graph(
                (
                    "Unfinished builds",
                    "Builds queued or running at the last poll. Builds that start and end between two polls "
                    "are not shown, nor are jobs that were deleted or that polls have not found for an hour.",
                ),
                7,
                "short",
                over_time(f"sum by (state) ({of_present_jobs(of_jobs('active_builds'))})", "{{state}}"),
                stacking={"mode": "normal", "group": "A"},
                lineInterpolation="stepAfter",
            ),
        ],
    )


def _streaks() -> Line:
    return Line(
        8,
        [
            graph(
                (
                    "Failures in a row",
                    "Failed builds since the last success. Aborted builds neither extend nor end the streak.",
                ),
                12,
                "short",
                over_time(by_job("max", "consecutive_failures"), NAMED),
                lineInterpolation="stepAfter",
            ),
            graph(
                (
                    "Since the last success",
                    "Time since the last successful build. A line that only rises is a job that keeps "
                    "failing or no longer builds.",
                ),
                12,
                "s",
                over_time(SINCE_SUCCESS, NAMED),
                fillOpacity=0,
            ),
        ],
    )


def _recovery() -> Line:
    return Line(
        8,
        [
            graph(
                (
                    "Time to recovery",
                    "Time from the finish of a streak's first failure to the finish of the success that ends "
                    f"it, shown when it ends. {LEAN}",
                ),
                12,
                "s",
                *(over_time(quantile(QUANTILES[name], RECOVERED), name) for name in ("p50", "p90")),
                coarse=True,
                spanNulls=True,
                showPoints="always",
            ),
            lost_and_recovered(12),
        ],
    )
