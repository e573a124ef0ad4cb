"""The exporter's own metrics: instruments of prometheus-client, named by the catalogue."""

import math
import platform
from collections.abc import Iterable
from dataclasses import dataclass

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

from exporter import __version__, catalogue

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
        self.up = _gauge(catalogue.UP, registry)
        self._refuses_everything = False
        self._api_trouble = ""
        self.requests = _counter(catalogue.API_REQUESTS, registry)
        self.request_duration = Histogram(
            catalogue.API_REQUEST_DURATION.name,
            catalogue.API_REQUEST_DURATION.help,
            catalogue.API_REQUEST_DURATION.labels,
            registry=registry,
        )
        self.throttled = _counter(catalogue.API_THROTTLED, registry)
        self.budget = _gauge(catalogue.API_BUDGET, registry)
        self.payload_errors = _counter(catalogue.PAYLOAD_ERRORS, registry)
        self.poll_lag = _gauge(catalogue.POLL_LAG, registry)
        self.watched_jobs = _gauge(catalogue.WATCHED_JOBS, registry)
        self.lists_trusted = _gauge(catalogue.LISTS_TRUSTED, registry)
        self.clock_offset = _gauge(catalogue.CLOCK_OFFSET, registry)
        self.clock_offset.set(math.nan)
        self.series = _gauge(catalogue.SERIES, registry)
        self.series_limit = _gauge(catalogue.SERIES_LIMIT, registry)
        self.capped_builds = _counter(catalogue.CAPPED_BUILDS, registry)
        self.snapshot_size = _gauge(catalogue.SNAPSHOT_SIZE, registry)
        self.snapshot_timestamp = _gauge(catalogue.SNAPSHOT_TIMESTAMP, registry)
        self.store_errors = _counter(catalogue.STORE_ERRORS, registry)
        self.reload_successful = _gauge(catalogue.CONFIG_RELOAD_SUCCESSFUL, registry)
        self.reload_timestamp = _gauge(catalogue.CONFIG_RELOAD_TIMESTAMP, registry)
        self.build_info = _gauge(catalogue.BUILD_INFO, registry)
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


def _gauge(declared: catalogue.Declared, registry: CollectorRegistry) -> Gauge:
    return Gauge(declared.name, declared.help, declared.labels, registry=registry)


def _counter(declared: catalogue.Declared, registry: CollectorRegistry) -> Counter:
    return Counter(declared.name, declared.help, declared.labels, registry=registry)
