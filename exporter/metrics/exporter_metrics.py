"""The exporter's own metrics, each defined once, as an attribute of `Telemetry`."""

import math
import platform
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Generic, TypeVar

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
from exporter.api.endpoint_fallback import ENDPOINTS
from exporter.metrics.family_types import Declared, Kind

OPERATIONS: Final = (
    "period-history",
    "record-info",
    "records",
    "full-stages",
    "recycling-jobs",
    "job-list",
    "project-job-list",
    "projects",
)

_STORE_OPERATIONS: Final = ("load", "commit", "first_watched", "prune", "restore")

_REFUSED: Final = "everything refused"

Metric = TypeVar("Metric", bound=Counter | Gauge | Histogram)


class _Own(Generic[Metric]):
    """Descriptor that defines a metric and returns the instance of it that a `Telemetry` has created."""

    metric: type[Metric]

    def __init__(self, name: str, text: str, labels: tuple[str, ...] = (), *, note: str = "") -> None:
        self.declared = Declared(name, Kind(self.metric.__name__.lower()), text, labels, note=note)

    def __get__(self, telemetry: "Telemetry", owner: type["Telemetry"]) -> Metric:
        metric: Metric = telemetry.instances[self.declared.name]
        return metric


class _Counter(_Own[Counter]):
    metric = Counter


class _Gauge(_Own[Gauge]):
    metric = Gauge


class _Histogram(_Own[Histogram]):
    metric = Histogram


@dataclass(frozen=True, slots=True)
class Readings:
    """Current values of the exporter's own metrics, as far as the web pages show them.

    Attributes:
        api_up: the API answered the last request correctly; None before the first one.
        api_trouble: why it did not, in a few words; empty if it did.
        api_error: the whole error; empty without one.
        config_ok: the last attempt to load the configuration succeeded.
        config_loaded_ms: when the current configuration was loaded; None if that was not recorded.
        budget_per_minute: requests that the rate limiter allows, by operation.
        poll_lag_s: delay of the most overdue poll.
        snapshot_bytes: size of the largest snapshot; None before the first.
        snapshot_gzip_bytes: size of the largest compressed one.
        store_failing_since_ms: when the store first failed since the last commit; None if it did not.
        store_error: why it failed last.
        unreadable_ledgers: rows of jobs that the store cannot read.
    """

    version: str
    revision: str
    api_up: bool | None
    api_trouble: str
    api_error: str
    config_ok: bool
    config_loaded_ms: int | None
    budget_per_minute: Mapping[str, float]
    poll_lag_s: float
    snapshot_bytes: float | None
    snapshot_gzip_bytes: float | None
    store_failing_since_ms: int | None = None
    store_error: str = ""
    unreadable_ledgers: int = 0


class Telemetry:
    """Metrics of what the exporter does; one for each process, on a registry of its own."""

    up = _Gauge(
        "codearts_build_up",
        "1 if the API answered the last request correctly; throttled responses leave the value unchanged.",
        note='A response such as "no such job" is correct, unless all requests are refused. Requests for '
        "stages count too: if only those fail, the value alternates between 0 and 1, and the log says "
        "`stages_failed`. 0 before the first response.",
    )
    requests = _Counter(
        "codearts_build_exporter_api_requests_total",
        "Requests sent to the API; code is the HTTP status, or timeout, connection, invalid.",
        ("operation", "code"),
    )
    api_source = _Gauge(
        "codearts_build_exporter_api_source",
        "1 for the endpoint that answers an operation.",
        ("operation", "endpoint"),
        note="`v1/records` and `v1/record-info` replace `v3/period-history` and `v4/record-info` while "
        "these are withdrawn; the log says `endpoint_withdrawn`.",
    )
    request_duration = _Histogram(
        "codearts_build_exporter_api_request_duration_seconds", "Response time of the API.", ("operation",)
    )
    throttled = _Counter(
        "codearts_build_exporter_api_throttled_total",
        "Responses of the API that reported too many requests.",
        ("operation",),
    )
    budget = _Gauge(
        "codearts_build_exporter_api_budget_requests_per_minute",
        "Requests per minute that the rate limiter currently allows an operation.",
        ("operation",),
        note="The limit that was learnt for the operation, or if it is lower, one that several operations "
        "share, or `poll.max_requests_per_minute`. All operations together never exceed the latter two.",
    )
    payload_errors = _Counter(
        "codearts_build_exporter_payload_errors_total",
        "Records or responses that are unreadable or implausible, or contain unknown values; "
        "counted each time they are read.",
        ("operation", "reason"),
        note="[Reasons](#reasons) explains them.",
    )
    poll_lag = _Gauge("codearts_build_exporter_poll_lag_seconds", "Delay of the most overdue poll.")
    watched_jobs = _Gauge(
        "codearts_build_exporter_watched_jobs",
        "Jobs that this process watches.",
        note="0 if no watched project shows a job to watch: the log says `project_shows_no_job` or "
        "`job_list_refused`. Each shard shows its own.",
    )
    lists_trusted = _Gauge(
        "codearts_build_exporter_job_lists_trusted",
        "1 while job lists determine which jobs to poll; 0 while every job is polled individually.",
        note="Lists are not used if they are refused, omitted a build, or would cost more than polls.",
    )
    clock_offset = _Gauge(
        "codearts_build_exporter_clock_offset_seconds",
        "Clock of the service minus clock of this machine, to the second; median of the last five responses.",
        note="Positive if this machine is behind. `NaN` before the first response with a time. Polls use the "
        "clock of the service; an offset of a day or more is used only if three responses agree.",
    )
    series = _Gauge(
        "codearts_build_exporter_series",
        "Series of jobs and of the recycle bin in the snapshot.",
        note="In the format with the most series: in protobuf, a histogram is one, as Prometheus stores "
        "native histograms; OpenMetrics has `_created` with `metrics.created_series`.",
    )
    series_limit = _Gauge(
        "codearts_build_exporter_series_limit",
        "Series limit; beyond it, builds of branches that are new to a job are counted as other.",
        note="Set by `metrics.max_series`; approximate.",
    )
    capped_builds = _Counter(
        "codearts_build_exporter_capped_builds_total",
        "Builds whose branch was counted as other because the series limit was reached.",
    )
    snapshot_size = _Gauge(
        "codearts_build_exporter_snapshot_size_bytes",
        "Size of the snapshot in each format and encoding that is kept ready.",
        ("format", "encoding"),
        note="`format` is `text`, `openmetrics` or `protobuf`, `encoding` is `identity` or `gzip`. What was "
        "not requested in the last 15 minutes is not kept.",
    )
    snapshot_timestamp = _Gauge(
        "codearts_build_exporter_snapshot_timestamp_seconds",
        "Last time at which the snapshot was known to contain everything that is committed.",
        note="A snapshot older than a few seconds is stale.",
    )
    store_errors = _Counter(
        "codearts_build_exporter_store_errors_total",
        "Failures to read or write ledgers.",
        ("operation",),
        note="`operation` is `load`, `commit` or `prune` (read, write or delete ledgers), or `first_watched` "
        "(record when a job without a ledger was first watched). `restore` counts checks that failed, or "
        "that found older ledgers in the store than were committed; those are rewritten.",
    )
    reload_successful = _Gauge(
        "codearts_build_exporter_config_last_reload_successful",
        "1 if the last attempt to load the configuration succeeded.",
    )
    reload_timestamp = _Gauge(
        "codearts_build_exporter_config_last_reload_success_timestamp_seconds",
        "When the configuration was last loaded successfully.",
    )
    build_info = _Gauge(
        "codearts_build_exporter_build_info",
        "Version, revision and Python version of the exporter; always 1.",
        ("version", "revision", "pythonversion"),
        note="`revision` comes from the environment variable `EXPORTER_REVISION`.",
    )

    def __init__(self, registry: CollectorRegistry, revision: str = "unknown") -> None:
        disable_created_metrics()
        self.registry = registry
        self.instances: dict[str, Any] = {
            own.declared.name: own.metric(
                own.declared.name, own.declared.help, own.declared.labels, registry=registry
            )
            for own in _OWN
        }
        self._revision = revision
        self._refuses_everything = False
        self._api_trouble = self._api_error = self._store_error = ""
        self._store_failing_since_ms: int | None = None
        self.unreadable_ledgers = 0
        self.clock_offset.set(math.nan)
        self.build_info.labels(__version__, revision, platform.python_version()).set(1)
        for operation, (older, _) in ENDPOINTS.items():
            self.show_source(operation, older)
        for operation in OPERATIONS:
            self.throttled.labels(operation)
        for operation in _STORE_OPERATIONS:
            self.store_errors.labels(operation)
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=registry)

    def api_failed(self, brief: str, code: str = "", error: str = "") -> None:
        """Record that the API did not answer correctly, with the whole error."""
        self.up.set(0)
        self._api_error = error
        self._api_trouble = brief if code in ("", "invalid") else f"{brief} ({code})"

    def api_refused(self, error: str = "") -> None:
        """Record that the API refused one request: a correct response, unless it refuses everything."""
        if self._refuses_everything:
            self.api_failed(_REFUSED, error=error)
        else:
            self.up.set(1)

    def show_budget(self, per_minute: Callable[[str], float]) -> None:
        """Show the requests per minute that the rate limiter allows each operation, at each scrape."""
        for operation in OPERATIONS:
            self.budget.labels(operation).set_function(partial(per_minute, operation))

    def everything_refused(self, error: str | None) -> None:
        """Record the refusal of all requests, or that there is none; the next correct response ends it."""
        self._refuses_everything = error is not None
        if error is not None:
            self.api_failed(_REFUSED, error=error)

    def show_source(self, operation: str, endpoint: str) -> None:
        """Show the endpoint that answers an operation, and no other."""
        self.api_source.labels(operation, endpoint).set(1)
        for other in set(ENDPOINTS[operation]) - {endpoint}:
            with suppress(KeyError):
                self.api_source.remove(operation, other)

    def payload_fault(self, operation: str, reason: str) -> None:
        """Count something in a response that is unreadable or implausible."""
        self.payload_errors.labels(operation, reason).inc()

    def store_failed(self, operation: str, error: str, at_ms: int) -> None:
        """Count a failure of the store; the next commit ends the state."""
        self.store_errors.labels(operation).inc()
        self._store_error = error
        self._store_failing_since_ms = self._store_failing_since_ms or at_ms

    def committed(self, unreadable: int) -> None:
        """Record a commit, for which so many ledgers were left out because their rows are unreadable."""
        self._store_error, self._store_failing_since_ms = "", None
        self.unreadable_ledgers = unreadable

    def readings(self) -> Readings:
        """Read the current values."""
        loaded_s = _value(self.reload_timestamp)
        sizes = list(_samples(self.snapshot_size))
        return Readings(
            version=__version__,
            revision=self._revision,
            api_up=_value(self.up) == 1 if any(_samples(self.requests)) else None,
            api_trouble="" if _value(self.up) == 1 else self._api_trouble,
            api_error="" if _value(self.up) == 1 else self._api_error,
            config_ok=_value(self.reload_successful) == 1,
            config_loaded_ms=round(loaded_s * 1000) if loaded_s else None,
            budget_per_minute={sample.labels["operation"]: sample.value for sample in _samples(self.budget)},
            poll_lag_s=_value(self.poll_lag),
            snapshot_bytes=_largest(sizes, "identity"),
            snapshot_gzip_bytes=_largest(sizes, "gzip"),
            store_failing_since_ms=self._store_failing_since_ms,
            store_error=self._store_error,
            unreadable_ledgers=self.unreadable_ledgers,
        )


_OWN: Final[tuple[_Own[Any], ...]] = tuple(
    attribute for attribute in vars(Telemetry).values() if isinstance(attribute, _Own)
)

EXPORTER_METRICS: Final = tuple(own.declared for own in _OWN)


def _samples(metric: Gauge | Counter) -> Iterable[Sample]:
    return (sample for family in metric.collect() for sample in family.samples)


def _value(gauge: Gauge) -> float:
    return next(iter(_samples(gauge))).value


def _largest(sizes: Iterable[Sample], encoding: str) -> float | None:
    return max((size.value for size in sizes if size.labels["encoding"] == encoding), default=None)
