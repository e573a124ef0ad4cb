"""The contract with dashboards and alerts: names, types and labels of all metrics."""

import re

import pytest
from prometheus_client import CollectorRegistry

from exporter.metrics import JOB_FAMILIES, Declared, job_families
from exporter.metrics.exporter_metrics import EXPORTER_METRICS, Telemetry
from exporter.metrics.job_metrics import STAGE_FAMILIES
from exporter.metrics.lean_detail import LEAN_FAMILIES
from tests.support.exposition import DECLARED

JOB = ("project", "job_name")

CONTRACT: dict[str, tuple[str, tuple[str, ...]]] = {
    "codearts_build_builds_total": ("counter", (*JOB, "result")),
    "codearts_build_duration_seconds": ("histogram", (*JOB, "result")),
    "codearts_build_queue_duration_seconds": ("histogram", JOB),
    "codearts_build_recovery_duration_seconds": ("histogram", JOB),
    "codearts_build_active_builds": ("gauge", (*JOB, "state")),
    "codearts_build_oldest_active_build_timestamp_seconds": ("gauge", JOB),
    "codearts_build_last_build_result": ("gauge", (*JOB, "result")),
    "codearts_build_last_build_number": ("gauge", JOB),
    "codearts_build_last_build_duration_seconds": ("gauge", JOB),
    "codearts_build_last_build_queue_duration_seconds": ("gauge", JOB),
    "codearts_build_last_build_finish_timestamp_seconds": ("gauge", JOB),
    "codearts_build_last_success_timestamp_seconds": ("gauge", JOB),
    "codearts_build_consecutive_failures": ("gauge", JOB),
    "codearts_build_recovered_builds_total": ("counter", JOB),
    "codearts_build_lost_builds_total": ("counter", JOB),
    "codearts_build_baseline_build_number": ("gauge", JOB),
    "codearts_build_job_info": ("gauge", (*JOB, "job_id", "project_id")),
    "codearts_build_job_up": ("gauge", JOB),
    "codearts_build_job_last_poll_timestamp_seconds": ("gauge", JOB),
    "codearts_build_job_deleted": ("gauge", JOB),
    "codearts_build_job_disabled": ("gauge", JOB),
    "codearts_build_success_duration_seconds_total": ("counter", JOB),
    "codearts_build_timed_successes_total": ("counter", JOB),
    "codearts_build_recoveries_total": ("counter", JOB),
    "codearts_build_stage_duration_seconds": ("histogram", (*JOB, "stage")),
    "codearts_build_last_build_stage_duration_seconds": ("gauge", (*JOB, "stage")),
    "codearts_build_recycle_bin_jobs": ("gauge", ()),
    "codearts_build_recycle_bin_project_jobs": ("gauge", ("project",)),
    "codearts_build_recycle_bin_retention_seconds": ("gauge", ()),
    "codearts_build_recycle_bin_oldest_deletion_timestamp_seconds": ("gauge", ()),
    "codearts_build_recycle_bin_last_read_timestamp_seconds": ("gauge", ()),
    "codearts_build_up": ("gauge", ()),
    "codearts_build_exporter_api_requests_total": ("counter", ("operation", "code")),
    "codearts_build_exporter_api_source": ("gauge", ("operation", "endpoint")),
    "codearts_build_exporter_api_request_duration_seconds": ("histogram", ("operation",)),
    "codearts_build_exporter_api_throttled_total": ("counter", ("operation",)),
    "codearts_build_exporter_api_budget_requests_per_minute": ("gauge", ("operation",)),
    "codearts_build_exporter_payload_errors_total": ("counter", ("operation", "reason")),
    "codearts_build_exporter_poll_lag_seconds": ("gauge", ()),
    "codearts_build_exporter_watched_jobs": ("gauge", ()),
    "codearts_build_exporter_job_lists_trusted": ("gauge", ()),
    "codearts_build_exporter_series": ("gauge", ()),
    "codearts_build_exporter_series_limit": ("gauge", ()),
    "codearts_build_exporter_capped_builds_total": ("counter", ()),
    "codearts_build_exporter_clock_offset_seconds": ("gauge", ()),
    "codearts_build_exporter_snapshot_size_bytes": ("gauge", ("format", "encoding")),
    "codearts_build_exporter_snapshot_timestamp_seconds": ("gauge", ()),
    "codearts_build_exporter_store_errors_total": ("counter", ("operation",)),
    "codearts_build_exporter_config_last_reload_successful": ("gauge", ()),
    "codearts_build_exporter_config_last_reload_success_timestamp_seconds": ("gauge", ()),
    "codearts_build_exporter_build_info": ("gauge", ("version", "revision", "pythonversion")),
}


NEVER_LABELS = {
    "job",
    "instance",
    "build_number",
    "build_no",
    "record_id",
    "commit",
    "user",
    "executor",
    "url",
}


def test_names_types_and_labels_match_the_contract() -> None:
    assert {one.name: (str(one.kind), one.labels) for one in DECLARED} == CONTRACT


def test_stage_metrics_exist_only_if_stages_are_measured() -> None:
    names = [one.name for one in JOB_FAMILIES]
    assert [one.name for one in job_families()] == names
    assert [one.name for one in job_families(stages=True)] == [*names, *(one.name for one in STAGE_FAMILIES)]


def test_lean_detail_has_histograms_of_projects_and_leaves_little_out() -> None:
    full = {one.name: one for one in job_families(("branch",), stages=True)}
    lean = {one.name: one for one in job_families(("branch",), stages=True, lean=True)}
    assert full.keys() - lean.keys() == {"codearts_build_baseline_build_number"}
    assert lean.keys() - full.keys() == {one.name for one in LEAN_FAMILIES}
    of_projects = {name for name, one in lean.items() if "job_name" not in one.labels}
    histograms = {name for name, one in full.items() if one.kind == "histogram"}
    assert of_projects == histograms | {"codearts_build_recovered_builds_total"}
    for name in of_projects:
        assert ("project", "job_name", *lean[name].labels[1:]) == full[name].labels


def test_each_name_is_declared_once() -> None:
    assert len(DECLARED) == len(CONTRACT)


@pytest.mark.parametrize("one", DECLARED, ids=lambda one: one.name)
def test_a_definition_is_well_formed(one: Declared) -> None:
    assert re.fullmatch(r"codearts_build_[a-z_]+", one.name)
    assert (one.kind == "counter") == one.name.endswith("_total")
    assert one.help.endswith(".")
    assert one.help[0].isupper() or one.help[0].isdigit()
    assert not NEVER_LABELS & set(one.labels)


def test_every_own_metric_is_registered() -> None:
    registry = CollectorRegistry()
    Telemetry(registry)
    instruments = {family.name for family in registry.collect()}
    assert {one.name.removesuffix("_total") for one in EXPORTER_METRICS} <= instruments
