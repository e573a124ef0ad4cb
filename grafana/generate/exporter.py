"""The dashboard *Exporter*: can what the other two show be trusted, and what does it cost."""

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
    """Every exporter that is scraped, or those that the variables choose."""
    return dashboard(
        "exporter",
        "The exporter itself: fresh or not, what it asks of the API, what it could not learn, what it costs.",
        [
            Section("Health", [_health()]),
            Section("Freshness", [_freshness(), _stale_jobs()]),
            Section("API", [requests(), throttling()]),
            Section("What could not be learnt", [errors(), builds()]),
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
                    "The share of exporters that Prometheus could scrape the last time it tried.",
                ),
                4,
                "percentunit",
                now(f"avg({of_processes('up')})"),
                steps=GOOD_OR_BAD,
            ),
            stat(
                (
                    "API answers",
                    "Whether every exporter got from the API what it asked for the last time. Being told to "
                    "slow down counts neither way.",
                ),
                4,
                "none",
                now(f"min({of_exporters('up')})"),
                mappings=YES_OR_NO,
            ),
            stat(
                (
                    "Jobs polled well",
                    "The share of watched jobs whose last poll succeeded.",
                ),
                4,
                "percentunit",
                now(f"avg({by_job('max', 'job_up')})"),
                steps=((None, "red"), (0.9, "orange"), (1, "green")),
            ),
            stat(
                (
                    "Configuration loaded",
                    "Whether every exporter could load its configuration the last time it tried. If not, it "
                    "goes on with the one before.",
                ),
                4,
                "none",
                now(f"min({of_exporters('exporter_config_last_reload_successful')})"),
                mappings=YES_OR_NO,
            ),
            stat(
                ("Configuration as of", "When the configuration that is longest in use was loaded."),
                4,
                "dateTimeFromNow",
                now(f"1000 * min({reloaded})"),
            ),
            table(
                ("Versions", "Which versions are running, and how many exporters of each."),
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
                    "How long ago jobs were last known to be up to date: half of them less than the median, "
                    "all of them less than the oldest.",
                ),
                8,
                "s",
                over_time(f"max({AGE})", "oldest"),
                over_time(f"quantile(0.5, {AGE})", "median"),
            ),
            graph(
                (
                    "Poll lag",
                    "How late the most overdue poll of each exporter is. A lag that keeps growing means "
                    "that there are more jobs than the request budget allows for.",
                ),
                8,
                "s",
                over_time(f"max by (instance) ({of_exporters('exporter_poll_lag_seconds')})", EACH),
            ),
            graph(
                (
                    "Age of the snapshot",
                    "How long ago the bytes that a scrape gets were last made.",
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
                    "Stalest jobs",
                    "The jobs that were not known to be up to date for the longest time, and whether their "
                    "last poll succeeded.",
                ),
                12,
                {
                    "Last known": ("s", f"topk(20, {AGE})"),
                    "Polled well": (
                        "bool_yes_no",
                        f"{by_job('max', 'job_up')} and on (project, job_name) topk(20, {AGE})",
                    ),
                },
                first="Last known",
                overrides=[named("job_name", links=ROW_TO_JOB)],
            ),
            timeline(
                (
                    "Job lists trusted",
                    "While job lists tell which jobs to poll, one request covers 100 jobs. Otherwise each "
                    "job is polled by itself, which costs many more requests.",
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
                    "How long Prometheus needed to fetch and read the metrics. It gives up at its "
                    "scrape_timeout, 10 s unless set otherwise.",
                ),
                8,
                "s",
                over_time(f"max by (instance) ({of_processes('scrape_duration_seconds')})", EACH),
            ),
            graph(
                (
                    "Size of the snapshot",
                    "Bytes that one scrape transfers, by format and encoding; Prometheus usually asks for "
                    "gzip.",
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
                    "Series of jobs and of the recycle bin, and as dashes how many there may be. Past the "
                    "limit builds are counted under fewer label values.",
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
                ("Memory", "What each exporter holds in memory."),
                8,
                "bytes",
                over_time(f"max by (instance) ({of_processes('process_resident_memory_bytes')})", EACH),
            ),
            graph(
                ("CPU", "Seconds of processor time that each exporter uses in a second."),
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
                    "Files and connections that each exporter has open, as a share of how many it may have.",
                ),
                8,
                "percentunit",
                over_time(f"max by (instance) ({files_open})", EACH),
            ),
        ],
    )
