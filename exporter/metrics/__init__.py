"""Declarative definitions of all metrics: name, type, help, labels, and the function that yields the samples.

Families of jobs and of the fleet read a `FleetView`; `exposition` encodes them. The exporter's own metrics
are counted as things happen, in `exporter_metrics.Telemetry`. Names, labels and meanings are a contract with
dashboards and alerts.
"""

from exporter.metrics.exporter_metrics import EXPORTER_METRICS
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
from exporter.metrics.lean_detail import LEAN_FAMILIES

__all__ = [
    "EXPORTER_METRICS",
    "EXTRA_LABELS",
    "FLEET_FAMILIES",
    "JOB_FAMILIES",
    "JOB_LABELS",
    "LEAN_FAMILIES",
    "STAGE_FAMILIES",
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
