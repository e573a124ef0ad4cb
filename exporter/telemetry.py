"""The exporter's own metrics: instruments of prometheus-client, named by the catalogue."""

import platform

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

from exporter import __version__, catalogue

OPERATIONS = ("period-history", "record-info", "recycling-jobs", "job-list", "project-job-list", "projects")


class Telemetry:
    """Counts what the exporter does; one for each process, on a registry of its own."""

    def __init__(self, registry: CollectorRegistry, revision: str = "unknown") -> None:
        disable_created_metrics()
        self.registry = registry
        self.up = _gauge(catalogue.UP, registry)
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
        self.lists_trusted = _gauge(catalogue.LISTS_TRUSTED, registry)
        self.series = _gauge(catalogue.SERIES, registry)
        self.series_limit = _gauge(catalogue.SERIES_LIMIT, registry)
        self.capped_builds = _counter(catalogue.CAPPED_BUILDS, registry)
        self.snapshot_size = _gauge(catalogue.SNAPSHOT_SIZE, registry)
        self.snapshot_timestamp = _gauge(catalogue.SNAPSHOT_TIMESTAMP, registry)
        self.store_errors = _counter(catalogue.STORE_ERRORS, registry)
        self.reload_successful = _gauge(catalogue.CONFIG_RELOAD_SUCCESSFUL, registry)
        self.reload_timestamp = _gauge(catalogue.CONFIG_RELOAD_TIMESTAMP, registry)
        build_info = _gauge(catalogue.BUILD_INFO, registry)
        build_info.labels(__version__, revision, platform.python_version()).set(1)
        for operation in OPERATIONS:
            self.throttled.labels(operation)
        for operation in ("load", "commit", "prune"):
            self.store_errors.labels(operation)
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)

    def payload_fault(self, operation: str, reason: str) -> None:
        """Something in an answer could not be read or could not be right."""
        self.payload_errors.labels(operation, reason).inc()


def _gauge(declared: catalogue.Declared, registry: CollectorRegistry) -> Gauge:
    return Gauge(declared.name, declared.help, declared.labels, registry=registry)


def _counter(declared: catalogue.Declared, registry: CollectorRegistry) -> Counter:
    return Counter(declared.name, declared.help, declared.labels, registry=registry)
