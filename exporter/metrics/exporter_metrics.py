"""The exporter's own metrics: their declarations, and the counters and gauges that count."""

import math
import platform
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.samples import Sample

from exporter import __version__
from exporter.metrics.families import Declared, Kind

UP: Final = Declared(
    "codearts_build_up",
    Kind.GAUGE,
    "1 if the API answered the last request as it should; throttled answers leave it as it was.",
    note='An answer that says "no such job" is as it should be, unless all requests are refused alike. '
    "Requests for stages count too: where they alone fail, it is 0 and 1 by turns, and the log says "
    "`stages_failed`. 0 before the first answer.",
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

OPERATIONS = (
    "period-history",
    "record-info",
    "full-stages",
    "recycling-jobs",
    "job-list",
    "project-job-list",
    "projects",
)

_REFUSED = "everything refused"


@dataclass(frozen=True, slots=True)
class Readings:
    """What the exporter's own metrics say at one moment, as far as people ask for it.

    Attributes:
        api_up: the API answered the last request as it should; None before the first one.
        api_trouble: why it did not, in a few words; empty where it did.
        config_ok: the last attempt to load the configuration succeeded.
        config_loaded_ms: when the configuration in force was loaded; None where nobody said.
        budget_per_minute: requests that the throttle allows.
        poll_lag_s: how late the most overdue job is.
        snapshot_bytes: the largest snapshot; None before the first.
        snapshot_gzip_bytes: the largest compressed one.
    """

    version: str
    revision: str
    api_up: bool | None
    api_trouble: str
    config_ok: bool
    config_loaded_ms: int | None
    budget_per_minute: float
    poll_lag_s: float
    snapshot_bytes: float | None
    snapshot_gzip_bytes: float | None


class Telemetry:
    """Counts what the exporter does; one for each process, on a registry of its own."""

    def __init__(self, registry: CollectorRegistry, revision: str = "unknown") -> None:
        disable_created_metrics()
        self.registry = registry
        self._revision = revision
        self.up = _gauge(UP, registry)
        self._refuses_everything = False
        self._api_trouble = ""
        self.requests = _counter(API_REQUESTS, registry)
        self.request_duration = Histogram(
            API_REQUEST_DURATION.name,
            API_REQUEST_DURATION.help,
            API_REQUEST_DURATION.labels,
            registry=registry,
        )
        self.throttled = _counter(API_THROTTLED, registry)
        self.budget = _gauge(API_BUDGET, registry)
        self.payload_errors = _counter(PAYLOAD_ERRORS, registry)
        self.poll_lag = _gauge(POLL_LAG, registry)
        self.watched_jobs = _gauge(WATCHED_JOBS, registry)
        self.lists_trusted = _gauge(LISTS_TRUSTED, registry)
        self.clock_offset = _gauge(CLOCK_OFFSET, registry)
        self.clock_offset.set(math.nan)
        self.series = _gauge(SERIES, registry)
        self.series_limit = _gauge(SERIES_LIMIT, registry)
        self.capped_builds = _counter(CAPPED_BUILDS, registry)
        self.snapshot_size = _gauge(SNAPSHOT_SIZE, registry)
        self.snapshot_timestamp = _gauge(SNAPSHOT_TIMESTAMP, registry)
        self.store_errors = _counter(STORE_ERRORS, registry)
        self.reload_successful = _gauge(CONFIG_RELOAD_SUCCESSFUL, registry)
        self.reload_timestamp = _gauge(CONFIG_RELOAD_TIMESTAMP, registry)
        self.build_info = _gauge(BUILD_INFO, registry)
        self.build_info.labels(__version__, revision, platform.python_version()).set(1)
        for operation in OPERATIONS:
            self.throttled.labels(operation)
        for operation in ("load", "commit", "first_watched", "prune", "restore"):
            self.store_errors.labels(operation)
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)

    def api_failed(self, brief: str, code: str = "") -> None:
        """The API did not answer as it should."""
        self.up.set(0)
        self._api_trouble = brief if code in ("", "invalid") else f"{brief} ({code})"

    def api_refused(self) -> None:
        """The API refused one request, which is an answer as it should be, unless it refuses everything."""
        if self._refuses_everything:
            self.api_failed(_REFUSED)
        else:
            self.up.set(1)

    def everything_refused(self, is_so: bool) -> None:
        """Whether the API refuses whatever it is asked; the next good answer tells that it is up again."""
        self._refuses_everything = is_so
        if is_so:
            self.api_failed(_REFUSED)

    def payload_fault(self, operation: str, reason: str) -> None:
        """Something in an answer could not be read or could not be right."""
        self.payload_errors.labels(operation, reason).inc()

    def readings(self) -> Readings:
        """What they say now."""
        loaded_s = _value(self.reload_timestamp)
        sizes = list(_samples(self.snapshot_size))
        return Readings(
            version=__version__,
            revision=self._revision,
            api_up=_value(self.up) == 1 if any(_samples(self.requests)) else None,
            api_trouble="" if _value(self.up) == 1 else self._api_trouble,
            config_ok=_value(self.reload_successful) == 1,
            config_loaded_ms=round(loaded_s * 1000) if loaded_s else None,
            budget_per_minute=_value(self.budget),
            poll_lag_s=_value(self.poll_lag),
            snapshot_bytes=_largest(sizes, "identity"),
            snapshot_gzip_bytes=_largest(sizes, "gzip"),
        )


def _samples(metric: Gauge | Counter) -> Iterable[Sample]:
    return (sample for family in metric.collect() for sample in family.samples)


def _value(gauge: Gauge) -> float:
    return next(iter(_samples(gauge))).value


def _largest(sizes: Iterable[Sample], encoding: str) -> float | None:
    return max((one.value for one in sizes if one.labels["encoding"] == encoding), default=None)


def _gauge(declared: Declared, registry: CollectorRegistry) -> Gauge:
    return Gauge(declared.name, declared.help, declared.labels, registry=registry)


def _counter(declared: Declared, registry: CollectorRegistry) -> Counter:
    return Counter(declared.name, declared.help, declared.labels, registry=registry)
