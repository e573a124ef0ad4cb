"""The dashboard *Fleet*: is everything all right, and if not, where."""

from typing import Final

from grafana.generate.frame import ROW_TO_JOB, Line, Section, dashboard
from grafana.generate.panels import Json, bars, graph, heat_map, named, stat, table
from grafana.generate.promql import (
    BY_JOB,
    ON_JOB,
    by_job,
    counted,
    of_exporters,
    of_jobs,
    of_present_jobs,
    quantile,
    success_ratio,
)
from grafana.generate.shared import (
    QUEUED,
    SUCCESSFUL,
    builds_by_result,
    builds_per_hour,
    durations,
    finished,
    queue_times,
    success,
)
from grafana.generate.targets import now, over_time, rows

JOB: Final = "project, job_name"
LINKED: Final = named("job_name", links=ROW_TO_JOB)
STREAKS: Final = of_present_jobs(by_job("max", "consecutive_failures"))
FAILING: Final = f"{STREAKS} > 0"
UNFINISHED: Final = of_present_jobs(by_job("min", "oldest_active_build_timestamp_seconds"))
BUSIEST: Final = f"topk(20, sum {BY_JOB} (increase({of_jobs('builds_total')}[$__range] @ end())))"


def fleet() -> Json:
    """All watched jobs, or those that the variables choose."""
    return dashboard(
        "fleet",
        "All watched build jobs at a glance: results, what needs attention, durations, queue, recycle bin.",
        [
            Section("At a glance", [_glance()]),
            Section("Results", [_results(), _activity()]),
            Section("Needs attention", [_attention(), _slowness()]),
            Section("Durations", [Line(9, [durations(12), queue_times(12)])]),
            Section("Recycle bin", [_recycle_bin()]),
        ],
    )


def _glance() -> Line:
    return Line(
        4,
        [
            success(4),
            finished(4),
            stat(
                (
                    "Jobs failing now",
                    "Jobs whose newest build, aborted ones aside, did not succeed. The table below names "
                    f"them. {_PRESENT}",
                ),
                4,
                "short",
                now(f"sum({STREAKS} > bool 0)"),
                steps=((None, "green"), (1, "red")),
                decimals=0,
            ),
            stat(
                ("Running builds", f"Builds that were running at the last poll of their job. {_PRESENT}"),
                4,
                "short",
                now(_unfinished("running")),
            ),
            stat(
                (
                    "Queued builds",
                    f"Builds that were waiting for a machine at the last poll of their job. {_PRESENT}",
                ),
                4,
                "short",
                now(_unfinished("queued")),
            ),
            stat(
                (
                    "Oldest data",
                    "How long ago the job that was not polled for the longest time was last known to be up "
                    "to date. When this grows, everything else here is old news; see the dashboard "
                    "Exporter.",
                ),
                4,
                "s",
                now(f"max(time() - {by_job('max', 'job_last_poll_timestamp_seconds')})"),
                steps=((None, "green"), (900, "orange"), (3600, "red")),
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
                    "Successful builds to all but the aborted ones. A project without builds at that time "
                    "has no point.",
                ),
                10,
                "percentunit",
                over_time(success_ratio("project", "$__rate_interval"), "{{project}}"),
                coarse=True,
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
                    "Finished builds of the 20 jobs that built most within the time range. A stronger "
                    "colour means more builds; a row that fades is a job that has gone quiet.",
                ),
                24,
                "short",
                rows(f"{builds} and {ON_JOB} {BUSIEST}", "{{project}} / {{job_name}}"),
            )
        ],
    )


def _attention() -> Line:
    since = f"time() - {by_job('max', 'last_success_timestamp_seconds')}"
    usual = quantile(0.99, SUCCESSFUL, JOB, "$__range")
    return Line(
        9,
        [
            table(
                (
                    "Failing jobs",
                    "Jobs whose newest builds failed: how many in a row, and how long ago the last success "
                    f"was. Aborted builds are left out of the count. {_PRESENT}",
                ),
                12,
                {
                    "Failures in a row": ("short", FAILING),
                    "Since last success": ("s", f"({since}) and {ON_JOB} ({FAILING})"),
                },
                first="Failures in a row",
                overrides=[LINKED, named("Since last success", mappings=_NONE_KNOWN)],
            ),
            table(
                (
                    "Stuck builds",
                    "The oldest unfinished build of each job, longest first, beside the time within which "
                    "99 of 100 successful builds of that job ended. One that is far beyond it has probably "
                    f"hung. {_PRESENT}",
                ),
                12,
                {
                    "Unfinished for": ("s", f"topk(20, time() - {UNFINISHED})"),
                    "Usually within": ("s", f"({usual}) and {ON_JOB} {UNFINISHED}"),
                },
                first="Unfinished for",
                overrides=[LINKED, named("Usually within", mappings=_NONE_KNOWN)],
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
                    "The 90th percentile of the duration of successful builds within the time range, queue "
                    "not included. Percentiles are estimated within the buckets of a histogram.",
                ),
                12,
                {"p90 duration": ("s", f"topk(10, {quantile(0.9, SUCCESSFUL, JOB, '$__range')})")},
                first="p90 duration",
                overrides=[LINKED, named("p90 duration", custom__cellOptions=_GAUGE, min=0)],
            ),
            table(
                (
                    "Longest queue",
                    "The 90th percentile of the time that builds waited for a machine within the time "
                    "range. Builds whose details the service refuses are missing here.",
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
                ("Jobs in the recycle bin", "Deleted jobs that can still be brought back, of all projects."),
                4,
                "short",
                now(f"max({of_exporters('recycle_bin_jobs')})"),
            ),
            stat(
                (
                    "Next purge in",
                    "When the job that was deleted first will be gone for good. No data means that the "
                    "recycle bin is empty or was not read.",
                ),
                4,
                "s",
                now(f"{oldest} + {kept} - time()"),
                steps=((None, "red"), (86400, "orange"), (259200, "green")),
            ),
            stat(
                (
                    "Recycle bin read",
                    "How long ago the recycle bin was last read. When this grows, what stands beside it is "
                    "old news. No data means that it was not read.",
                ),
                4,
                "s",
                now(f"time() - {read}"),
                steps=((None, "green"), (1800, "orange"), (3600, "red")),
            ),
            bars(
                ("Recycle bin, by project", "Deleted jobs that can still be brought back."),
                6,
                "short",
                now(f"max by (project) ({in_projects})", "{{project}}"),
            ),
            table(
                (
                    "Watched jobs in the recycle bin",
                    "Jobs that the exporter is told to watch and that somebody has deleted.",
                ),
                6,
                {"Deleted": ("bool_yes_no", f"{by_job('max', 'job_deleted')} == 1")},
                overrides=[LINKED],
            ),
        ],
    )


_PRESENT: Final = "Jobs that were deleted, or that polls have not found for an hour, are left out."
_NONE_KNOWN: Final = [
    {"type": "special", "options": {"match": "null+nan", "result": {"index": 0, "text": "none known"}}}
]
_GAUGE: Final = {"type": "gauge", "mode": "basic", "valueDisplayMode": "text"}
