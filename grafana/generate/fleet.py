"""The dashboard *Fleet*: all watched jobs, and those that need attention."""

from typing import Final

from grafana.generate.frame import ROW_TO_JOB, TO_CONSOLE, Line, Section, dashboard
from grafana.generate.panels import Json, alert_list, bars, graph, heat_map, named, stat, table
from grafana.generate.promql import (
    BY_JOB,
    ON_JOB,
    by_job,
    counted,
    of_exporters,
    of_jobs,
    of_present_jobs,
    of_processes,
    of_rules,
    quantile,
    success_duration,
    success_ratio,
)
from grafana.generate.shared import (
    LEAN,
    QUEUED,
    builds_by_result,
    builds_per_hour,
    durations,
    finished,
    queue_times,
    success,
)
from grafana.generate.targets import now, over_time, rows

JOB: Final = "project, job_name"
PAGES: Final = f"max by (project, job_name, url) ({of_jobs('job_info')})"
LINKED: Final = named("job_name", links=ROW_TO_JOB)
STREAKS: Final = of_present_jobs(by_job("max", "consecutive_failures"))
FAILING: Final = f"{STREAKS} > 0"
UNFINISHED: Final = of_present_jobs(by_job("min", "oldest_active_build_timestamp_seconds"))
UNFINISHED_FOR: Final = f"time() - {UNFINISHED}"
USUAL: Final = success_duration(0.99)
STUCK: Final = f"{UNFINISHED_FOR} > 7200 unless {ON_JOB} {UNFINISHED_FOR} < 3 * {USUAL}"
NO_JOBS: Final = f"0 * count({of_jobs('job_up')})"
ALERT_NAMES: Final = "CodeArtsBuild"
_OURS: Final = (f'alertname=~"{ALERT_NAMES}.+"', 'alertstate="firing"')
FIRING: Final = f"count({of_rules('ALERTS', *_OURS)})"
EXPORTER_PROBLEMS: Final = (
    of_processes("up"),
    of_exporters("up"),
    of_exporters("exporter_config_last_reload_successful"),
)
"""Values that are 0 if there is one."""
BUSIEST: Final = f"topk(20, sum {BY_JOB} (increase({of_jobs('builds_total')}[$__range] @ end())))"


def fleet() -> Json:
    """Build the dashboard of all watched jobs, or those selected by the variables."""
    return dashboard(
        "fleet",
        "Overview of all watched build jobs: results, problems, durations, queue, recycle bin.",
        [
            Section("What to look at first", [_wrong_now(), _attention()]),
            Section("Results", [_counts(), _results(), _activity()]),
            Section("Durations", [_slowness(), Line(9, [durations(12), queue_times(12)])]),
            Section("Recycle bin", [_recycle_bin()]),
        ],
    )


def _wrong_now() -> Line:
    return Line(
        4,
        [
            _trouble(
                "Alerts firing",
                "Firing alerts of this exporter, of any severity. No data means that Prometheus has not "
                "loaded recording.yml and alerts.yml.",
                f"{FIRING} or 0 * count({of_rules('job_instance:codearts_build_scrape:up')})",
            ),
            _trouble(
                "Jobs failing now",
                "Jobs whose last build did not succeed, ignoring aborted builds. The table below lists "
                f"them. {_PRESENT}",
                f"sum({STREAKS} > bool 0)",
            ),
            _trouble(
                "Jobs with a stuck build",
                "Jobs with a build that has been unfinished for over two hours, and for over three times the "
                "99th percentile of their successful builds, or in lean detail their mean. The table below "
                f"has both. {_PRESENT}",
                f"count({STUCK}) or {NO_JOBS}",
            ),
            _trouble(
                "Jobs not visible",
                "Jobs whose last poll failed: refused, not found, or the API is down. Jobs in the recycle "
                "bin are excluded. If all jobs are affected, look at the dashboard Exporter.",
                f"count({by_job('max', 'job_up')} == 0 unless {ON_JOB} {by_job('max', 'job_deleted')} == 1) "
                f"or {NO_JOBS}",
            ),
            _trouble(
                "Exporters with problems",
                "Exporters that Prometheus cannot scrape, whose last request to the API failed, or whose "
                "last reload of the configuration failed. The dashboard Exporter shows which.",
                f"count({' or '.join(map(_by_exporter, EXPORTER_PROBLEMS))}) "
                f"or 0 * count({of_processes('up')})",
            ),
            stat(
                (
                    "Oldest data",
                    "Time since the job with the oldest data was known to be up to date. If it grows, other "
                    "panels show outdated values; see the dashboard Exporter.",
                ),
                4,
                "s",
                now(f"max(time() - {by_job('max', 'job_last_poll_timestamp_seconds')})"),
                steps=((None, "green"), (900, "orange"), (3600, "red")),
            ),
        ],
    )


def _trouble(title: str, description: str, expr: str) -> Json:
    """Build a number that should be 0."""
    steps = ((None, "green"), (1, "red"))
    return stat((title, description), 4, "short", now(expr), steps=steps, decimals=0)


def _by_exporter(problem: str) -> str:
    return f"max by (job, instance) ({problem} == 0)"


def _counts() -> Line:
    return Line(
        4,
        [
            success(6),
            finished(6),
            stat(
                ("Running builds", f"Builds that were running at the last poll of their job. {_PRESENT}"),
                6,
                "short",
                now(_unfinished("running")),
            ),
            stat(
                (
                    "Queued builds",
                    f"Builds that were waiting for a machine at the last poll of their job. {_PRESENT}",
                ),
                6,
                "short",
                now(_unfinished("queued")),
            ),
        ],
    )


def _unfinished(state: str) -> str:
    matcher = f'state="{state}"'
    return f"sum({of_present_jobs(by_job('max', 'active_builds', matcher))})"


def _results() -> Line:
    return Line(
        8,
        [
            builds_per_hour(9),
            builds_by_result(5),
            graph(
                (
                    "Success ratio, by project",
                    "Share of successful builds, ignoring aborted builds. There is no point for times "
                    "without builds.",
                ),
                10,
                "percentunit",
                over_time(success_ratio("project", "$__rate_interval"), "{{project}}"),
                coarse=True,
                calcs=("mean", "min"),
                spanNulls=True,
                fillOpacity=0,
            ),
        ],
    )


def _activity() -> Line:
    builds = counted(of_jobs("builds_total"), JOB, "$__rate_interval")
    return Line(
        10,
        [
            heat_map(
                (
                    "Activity of the busiest jobs",
                    "Finished builds of the 20 jobs with the most builds in the time range. A darker colour "
                    "means more builds.",
                ),
                24,
                "short",
                rows(f"{builds} and {ON_JOB} {BUSIEST}", "{{project}} / {{job_name}}"),
            )
        ],
    )


def _attention() -> Line:
    since = f"time() - {by_job('max', 'last_success_timestamp_seconds')}"
    return Line(
        9,
        [
            alert_list(
                (
                    "Firing and pending alerts",
                    "Alerts of this exporter in every Prometheus that Grafana knows, about all projects and "
                    "exporters. A pending alert fires if its condition lasts.",
                ),
                6,
                ALERT_NAMES,
            ),
            table(
                (
                    "Failing jobs",
                    "Jobs whose last builds failed: the number of failures in a row, and the time since the "
                    f"last success. Aborted builds are ignored. {_PRESENT}",
                ),
                10,
                {
                    "Failures in a row": ("short", FAILING),
                    "Since last success": ("s", f"({since}) and {ON_JOB} ({FAILING})"),
                    "Console": ("", f"{PAGES} and {ON_JOB} ({FAILING})"),
                },
                first="Failures in a row",
                overrides=[
                    LINKED,
                    named("Since last success", mappings=_UNKNOWN),
                    named("url", displayName="Console", links=TO_CONSOLE),
                ],
            ),
            table(
                (
                    "Stuck builds",
                    "Age of the oldest unfinished build of each job, and the 99th percentile of the duration "
                    "of the job's successful builds, or in lean detail their mean. A build that is much "
                    f"older has probably hung. {_PRESENT}",
                ),
                8,
                {
                    "Unfinished for": ("s", f"topk(20, {UNFINISHED_FOR})"),
                    "p99 duration": ("s", f"({USUAL}) and {ON_JOB} {UNFINISHED}"),
                },
                first="Unfinished for",
                overrides=[LINKED, named("p99 duration", mappings=_UNKNOWN)],
            ),
        ],
    )


def _slowness() -> Line:
    return Line(
        9,
        [
            table(
                (
                    "Slowest jobs",
                    "90th percentile of the duration of successful builds in the time range, without the "
                    "queue time, estimated from the buckets of a histogram; in lean detail, the mean.",
                ),
                12,
                {"p90 duration": ("s", f"topk(10, {success_duration(0.9)})")},
                first="p90 duration",
                overrides=[LINKED, named("p90 duration", custom__cellOptions=_GAUGE, min=0)],
            ),
            table(
                (
                    "Longest queue",
                    "90th percentile of the time that builds waited for a machine in the time range. Builds "
                    f"whose details the service refuses are missing. {LEAN}",
                ),
                12,
                {"p90 queue time": ("s", f"topk(10, {quantile(0.9, QUEUED, JOB, '$__range')})")},
                first="p90 queue time",
                overrides=[LINKED, named("p90 queue time", custom__cellOptions=_GAUGE, min=0)],
            ),
        ],
    )


def _recycle_bin() -> Line:
    oldest = f"max({of_exporters('recycle_bin_oldest_deletion_timestamp_seconds')})"
    kept = f"max({of_exporters('recycle_bin_retention_seconds')})"
    read = f"max({of_exporters('recycle_bin_last_read_timestamp_seconds')})"
    in_projects = of_exporters("recycle_bin_project_jobs", 'project=~"$project"')
    return Line(
        7,
        [
            stat(
                ("Jobs in the recycle bin", "Deleted jobs of all projects that can still be restored."),
                4,
                "short",
                now(f"max({of_exporters('recycle_bin_jobs')})"),
            ),
            stat(
                (
                    "Next purge in",
                    "Time until the job that was deleted first is purged. No data means that the recycle bin "
                    "is empty or was not read.",
                ),
                4,
                "s",
                now(f"{oldest} + {kept} - time()"),
                steps=((None, "red"), (86400, "orange"), (259200, "green")),
            ),
            stat(
                (
                    "Recycle bin age",
                    "Time since the recycle bin was last read. If it grows, the other panels of this row are "
                    "outdated. No data means that it was not read.",
                ),
                4,
                "s",
                now(f"time() - {read}"),
                steps=((None, "green"), (1800, "orange"), (3600, "red")),
            ),
            bars(
                ("Recycle bin, by project", "Deleted jobs that can still be restored."),
                6,
                "short",
                now(f"max by (project) ({in_projects})", "{{project}}"),
            ),
            table(
                (
                    "Watched jobs in the recycle bin",
                    "Jobs that the exporter watches and that were deleted in CodeArts Build.",
                ),
                6,
                {"Deleted": ("bool_yes_no", f"{by_job('max', 'job_deleted')} == 1")},
                overrides=[LINKED],
            ),
        ],
    )


_PRESENT: Final = "Jobs that were deleted, or that polls have not found for an hour, are excluded."
_UNKNOWN: Final = [
    {"type": "special", "options": {"match": "null+nan", "result": {"index": 0, "text": "unknown"}}}
]
_GAUGE: Final = {"type": "gauge", "mode": "basic", "valueDisplayMode": "text"}
