"""The dashboard *Exporter*: whether the data is current and complete, and the cost of collecting it."""

from typing import Final

from grafana.generate.exporter_api import EACH, builds, errors, requests, throttling
from grafana.generate.frame import ROW_TO_JOB, Line, Section, dashboard
from grafana.generate.panels import DASHED_LIMIT, Json, Steps, graph, named, stat, table, timeline
from grafana.generate.promql import by_job, of_exporters, of_processes
from grafana.generate.targets import now, over_time

YES_OR_NO: Final = [
    {
        "type": "value",
        "options": {
            "0": {"index": 0, "text": "no", "color": "red"},
            "1": {"index": 1, "text": "yes", "color": "green"},
        },
    }
]
GOOD_OR_BAD: Final[Steps] = ((None, "red"), (1, "green"))
AGE: Final = f"time() - {by_job('max', 'job_last_poll_timestamp_seconds')}"


def exporter() -> Json:
    """Build the dashboard of all scraped exporters, or those selected by the variables."""
    return dashboard(
        "exporter",
        "The exporter itself: age of the data, API requests, errors, scrapes and resource usage.",
        [
            Section("Health", [_health()]),
            Section("Freshness", [_freshness(), _stale_jobs()]),
            Section("API", [requests(), throttling()]),
            Section("Errors and lost builds", [errors(), builds()]),
            Section("Scrapes and resources", [_scrapes(), _resources()]),
        ],
    )


def _health() -> Line:
    reloaded = of_exporters("exporter_config_last_reload_success_timestamp_seconds")
    return Line(
        4,
        [
            stat(
                (
                    "Exporters up",
                    "Share of exporters whose last scrape by Prometheus succeeded.",
                ),
                4,
                "percentunit",
                now(f"avg({of_processes('up')})"),
                steps=GOOD_OR_BAD,
            ),
            stat(
                (
                    "API available",
                    "Whether the last request to the API succeeded on every exporter. Throttled requests are "
                    "ignored.",
                ),
                4,
                "none",
                now(f"min({of_exporters('up')})"),
                mappings=YES_OR_NO,
            ),
            stat(
                (
                    "Job polls succeeding",
                    "Share of watched jobs whose last poll succeeded.",
                ),
                4,
                "percentunit",
                now(f"avg({by_job('max', 'job_up')})"),
                steps=((None, "red"), (0.9, "orange"), (1, "green")),
            ),
            stat(
                (
                    "Configuration valid",
                    "Whether the last reload of the configuration succeeded on every exporter. After a "
                    "failed reload, an exporter keeps its previous configuration.",
                ),
                4,
                "none",
                now(f"min({of_exporters('exporter_config_last_reload_successful')})"),
                mappings=YES_OR_NO,
            ),
            stat(
                ("Configuration age", "Time since the oldest configuration in use was loaded."),
                4,
                "dateTimeFromNow",
                now(f"1000 * min({reloaded})"),
            ),
            table(
                ("Versions", "Number of running exporters by version."),
                4,
                {
                    "Exporters": (
                        "short",
                        f"count by (version, revision) ({of_exporters('exporter_build_info')})",
                    )
                },
            ),
        ],
    )


def _freshness() -> Line:
    snapshot = of_exporters("exporter_snapshot_timestamp_seconds")
    return Line(
        8,
        [
            graph(
                (
                    "Age of the data",
                    "Time since jobs were last known to be up to date: the median and the maximum over all "
                    "jobs.",
                ),
                8,
                "s",
                over_time(f"max({AGE})", "oldest"),
                over_time(f"quantile(0.5, {AGE})", "median"),
            ),
            graph(
                (
                    "Poll lag",
                    "Delay of the most overdue poll of each exporter. If it keeps growing, the request "
                    "budget is too small for the number of jobs.",
                ),
                8,
                "s",
                over_time(f"max by (instance) ({of_exporters('exporter_poll_lag_seconds')})", EACH),
            ),
            graph(
                (
                    "Age of the snapshot",
                    "Time since the served metrics were last rendered.",
                ),
                8,
                "s",
                over_time(f"max by (instance) (time() - {snapshot})", EACH),
            ),
        ],
    )


def _stale_jobs() -> Line:
    trusted = of_exporters("exporter_job_lists_trusted")
    return Line(
        8,
        [
            table(
                (
                    "Jobs with the oldest data",
                    "The 20 jobs whose data is oldest, and whether their last poll succeeded.",
                ),
                12,
                {
                    "Age": ("s", f"topk(20, {AGE})"),
                    "Last poll succeeded": (
                        "bool_yes_no",
                        f"{by_job('max', 'job_up')} and on (project, job_name) topk(20, {AGE})",
                    ),
                },
                first="Age",
                overrides=[named("job_name", links=ROW_TO_JOB)],
            ),
            timeline(
                (
                    "Job lists trusted",
                    "Trusted job lists show which jobs have changed, at one request for 100 jobs. Otherwise "
                    "each job is polled individually, which costs many more requests.",
                ),
                12,
                over_time(f"min by (instance) ({trusted})", EACH),
                mappings=YES_OR_NO,
            ),
        ],
    )


def _scrapes() -> Line:
    sizes = of_exporters("exporter_snapshot_size_bytes")
    series = of_exporters("exporter_series")
    limit = of_exporters("exporter_series_limit")
    return Line(
        8,
        [
            graph(
                (
                    "Scrape duration",
                    "Time that Prometheus needs to fetch and parse the metrics. A scrape fails at its "
                    "scrape_timeout, by default 10 s.",
                ),
                8,
                "s",
                over_time(f"max by (instance) ({of_processes('scrape_duration_seconds')})", EACH),
            ),
            graph(
                (
                    "Size of the snapshot",
                    "Size of a scrape response by format and encoding. Prometheus usually requests gzip.",
                ),
                8,
                "bytes",
                over_time(
                    f"max by (instance, format, encoding) ({sizes})",
                    f"{EACH}: {{{{format}}}}, {{{{encoding}}}}",
                ),
                fillOpacity=0,
            ),
            graph(
                (
                    "Series and their limit",
                    "Series of jobs and of the recycle bin; dashed: the limit. Beyond it, builds are counted "
                    "under fewer label values.",
                ),
                8,
                "short",
                over_time(f"max by (instance) ({series})", f"{EACH}: series"),
                over_time(f"max by (instance) ({limit})", f"{EACH}: limit"),
                overrides=[DASHED_LIMIT],
            ),
        ],
    )


def _resources() -> Line:
    files_open = f"{of_processes('process_open_fds')} / {of_processes('process_max_fds')}"
    return Line(
        8,
        [
            graph(
                ("Memory", "Resident memory of each exporter."),
                8,
                "bytes",
                over_time(f"max by (instance) ({of_processes('process_resident_memory_bytes')})", EACH),
            ),
            graph(
                ("CPU", "CPU usage of each exporter; 100% is one core."),
                8,
                "percentunit",
                over_time(
                    f"sum by (instance) ({of_processes('process_cpu_seconds_total', '$__rate_interval')})",
                    EACH,
                ),
            ),
            graph(
                (
                    "Open files",
                    "Open files and connections of each exporter, as a share of its limit.",
                ),
                8,
                "percentunit",
                over_time(f"max by (instance) ({files_open})", EACH),
            ),
        ],
    )
