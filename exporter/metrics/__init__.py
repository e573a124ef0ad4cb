"""Declarative definitions of all metrics: name, type, help, labels, and the function that yields the samples.

Families of jobs and of the fleet read a `FleetView`; `exposition` encodes them. The exporter's own metrics
are counted as things happen, in `exporter_metrics.Telemetry`. Names, labels and meanings are a contract with
dashboards and alerts.
"""

from exporter.metrics.family_types import Declared, Family, Kind, Samples, Total, Value
from exporter.metrics.job_metrics import JOB_FAMILIES, job_families
from exporter.metrics.recycle_bin_metrics import FLEET_FAMILIES
from exporter.metrics.views import FleetView, JobView

__all__ = [
    "FLEET_FAMILIES",
    "JOB_FAMILIES",
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
