"""The metrics, once, declaratively: name, type, help, labels, and where the values come from.

Families of jobs and of the fleet read a `FleetView`; `exposition` turns them into bytes. The exporter's own
metrics are counted as things happen: their entries are only declared here and become instruments in
`telemetry`. Names, labels and meanings are a contract with dashboards and alerts.
"""

from exporter.metrics.exporter_metrics import (
    API_BUDGET,
    API_REQUEST_DURATION,
    API_REQUESTS,
    API_THROTTLED,
    BUILD_INFO,
    CAPPED_BUILDS,
    CLOCK_OFFSET,
    CONFIG_RELOAD_SUCCESSFUL,
    CONFIG_RELOAD_TIMESTAMP,
    EXPORTER_METRICS,
    LISTS_TRUSTED,
    PAYLOAD_ERRORS,
    POLL_LAG,
    SERIES,
    SERIES_LIMIT,
    SNAPSHOT_SIZE,
    SNAPSHOT_TIMESTAMP,
    STORE_ERRORS,
    UP,
    WATCHED_JOBS,
)
from exporter.metrics.families import (
    JOB_LABELS,
    Declared,
    Family,
    FleetView,
    JobView,
    Kind,
    Samples,
    Total,
    Value,
)
from exporter.metrics.fleet_metrics import FLEET_FAMILIES
from exporter.metrics.job_metrics import EXTRA_LABELS, JOB_FAMILIES, STAGE_FAMILIES, job_families

__all__ = [
    "API_BUDGET",
    "API_REQUESTS",
    "API_REQUEST_DURATION",
    "API_THROTTLED",
    "BUILD_INFO",
    "CAPPED_BUILDS",
    "CLOCK_OFFSET",
    "CONFIG_RELOAD_SUCCESSFUL",
    "CONFIG_RELOAD_TIMESTAMP",
    "EXPORTER_METRICS",
    "EXTRA_LABELS",
    "FLEET_FAMILIES",
    "JOB_FAMILIES",
    "JOB_LABELS",
    "LISTS_TRUSTED",
    "PAYLOAD_ERRORS",
    "POLL_LAG",
    "SERIES",
    "SERIES_LIMIT",
    "SNAPSHOT_SIZE",
    "SNAPSHOT_TIMESTAMP",
    "STAGE_FAMILIES",
    "STORE_ERRORS",
    "UP",
    "WATCHED_JOBS",
    "Declared",
    "Family",
    "FleetView",
    "JobView",
    "Kind",
    "Samples",
    "Total",
    "Value",
    "job_families",
]
