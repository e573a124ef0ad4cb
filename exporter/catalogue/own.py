"""The exporter's own metrics: declared here, counted as things happen by `telemetry`."""

from typing import Final

from exporter.catalogue.families import Declared, Kind

UP: Final = Declared(
    "codearts_build_up",
    Kind.GAUGE,
    "1 if the API answered the last request as it should; throttled answers leave it as it was.",
    note='An answer that says "no such job" is as it should be, unless all requests are refused alike. '
    "Requests for stages count too: where they alone fail, it is 0 and 1 by turns, and the log says "
    "`stages_fail`. 0 before the first answer.",
)
API_REQUESTS: Final = Declared(
    "codearts_build_exporter_api_requests_total",
    Kind.COUNTER,
    "Requests sent to the API; code is the HTTP status, or timeout, connection, invalid.",
    ("operation", "code"),
)
API_REQUEST_DURATION: Final = Declared(
    "codearts_build_exporter_api_request_duration_seconds",
    Kind.HISTOGRAM,
    "How long the API took to answer.",
    ("operation",),
)
API_THROTTLED: Final = Declared(
    "codearts_build_exporter_api_throttled_total",
    Kind.COUNTER,
    "Answers of the API that said too many requests.",
    ("operation",),
)
API_BUDGET: Final = Declared(
    "codearts_build_exporter_api_budget_requests_per_minute",
    Kind.GAUGE,
    "Requests a minute that the throttle allows at present.",
)
PAYLOAD_ERRORS: Final = Declared(
    "codearts_build_exporter_payload_errors_total",
    Kind.COUNTER,
    "Records or answers that could not be read, each time they were read; unknown words too.",
    ("operation", "reason"),
    note="[Reasons](#reasons) explains them.",
)
POLL_LAG: Final = Declared(
    "codearts_build_exporter_poll_lag_seconds",
    Kind.GAUGE,
    "How late the most overdue job is.",
)
WATCHED_JOBS: Final = Declared(
    "codearts_build_exporter_watched_jobs",
    Kind.GAUGE,
    "Jobs that this process watches.",
    note="0 where no watched project shows a job to watch: the log says `project_shows_no_job` or "
    "`job_list_refused`. Each shard shows its own.",
)
LISTS_TRUSTED: Final = Declared(
    "codearts_build_exporter_job_lists_trusted",
    Kind.GAUGE,
    "1 while job lists tell which jobs to poll; 0 while every job is polled by itself.",
    note="Lists are not used where they are refused, hid a build, or would cost more than polls.",
)
CLOCK_OFFSET: Final = Declared(
    "codearts_build_exporter_clock_offset_seconds",
    Kind.GAUGE,
    "The service's clock minus this machine's, as most of the last five answers tell it; to the second.",
    note="Positive where this machine is behind. `NaN` before an answer told the time. Polls go by the "
    "service's clock; a day or more is used only if three answers agree.",
)
SERIES: Final = Declared(
    "codearts_build_exporter_series",
    Kind.GAUGE,
    "Series of jobs and of the fleet in the snapshot.",
    note="In the format that has most: OpenMetrics has `_created` too.",
)
SERIES_LIMIT: Final = Declared(
    "codearts_build_exporter_series_limit",
    Kind.GAUGE,
    "Series from which on builds of branches that are new to a job count under other.",
    note="That is `metrics.max_series`, and kept to roughly.",
)
CAPPED_BUILDS: Final = Declared(
    "codearts_build_exporter_capped_builds_total",
    Kind.COUNTER,
    "Builds whose branch counts under other because the limit of series was reached.",
)
SNAPSHOT_SIZE: Final = Declared(
    "codearts_build_exporter_snapshot_size_bytes",
    Kind.GAUGE,
    "Size of the snapshot in each format and encoding that is kept ready.",
    ("format", "encoding"),
    note="`format` is `text` or `openmetrics`, `encoding` is `identity` or `gzip`. A form that nobody asked "
    "for in the last 15 minutes is not kept.",
)
SNAPSHOT_TIMESTAMP: Final = Declared(
    "codearts_build_exporter_snapshot_timestamp_seconds",
    Kind.GAUGE,
    "When the snapshot was last known to show all that was committed.",
    note="Older than a few seconds, it is stale.",
)
STORE_ERRORS: Final = Declared(
    "codearts_build_exporter_store_errors_total",
    Kind.COUNTER,
    "Failures to read or write ledgers.",
    ("operation",),
    note="`operation` is `load`, `commit` or `prune`: to read, write or drop them; or `first_watched`: to "
    "keep when a job without a ledger was first watched. `restore` counts the checks that failed, or found "
    "older ledgers in the store than were committed; those are written again.",
)
CONFIG_RELOAD_SUCCESSFUL: Final = Declared(
    "codearts_build_exporter_config_last_reload_successful",
    Kind.GAUGE,
    "1 if the configuration was loaded the last time it was tried.",
)
CONFIG_RELOAD_TIMESTAMP: Final = Declared(
    "codearts_build_exporter_config_last_reload_success_timestamp_seconds",
    Kind.GAUGE,
    "When the configuration was last loaded.",
)
BUILD_INFO: Final = Declared(
    "codearts_build_exporter_build_info",
    Kind.GAUGE,
    "Version, revision and Python version of the exporter; always 1.",
    ("version", "revision", "pythonversion"),
    note="`revision` comes from the environment variable `EXPORTER_REVISION`.",
)

EXPORTER_METRICS: Final = (
    UP,
    API_REQUESTS,
    API_REQUEST_DURATION,
    API_THROTTLED,
    API_BUDGET,
    PAYLOAD_ERRORS,
    POLL_LAG,
    WATCHED_JOBS,
    LISTS_TRUSTED,
    CLOCK_OFFSET,
    SERIES,
    SERIES_LIMIT,
    CAPPED_BUILDS,
    SNAPSHOT_SIZE,
    SNAPSHOT_TIMESTAMP,
    STORE_ERRORS,
    CONFIG_RELOAD_SUCCESSFUL,
    CONFIG_RELOAD_TIMESTAMP,
    BUILD_INFO,
)
