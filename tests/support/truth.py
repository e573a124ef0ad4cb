"""The expected metrics, computed from the simulator's truth."""

from collections.abc import Iterable, Mapping
from typing import Any

Labels = tuple[tuple[str, str], ...]
Values = dict[tuple[str, Labels], float]
"""Values by metric name and sorted labels."""
Differences = dict[tuple[str, Labels], tuple[float | None, float]]
"""Actual and expected values."""


def expected(jobs: Iterable[Mapping[str, Any]], *, stages: bool = False) -> Values:
    """Return the expected value of every sample that depends on builds.

    Args:
        jobs: the results of ``JobTruth.to_json()`` or ``/_sim/truth``.
        stages: whether stages are measured, from the first counted build on.
    """
    values: Values = {}
    for job in jobs:
        for name, labels, value in (*_of_job(job), *(_of_stages(job) if stages else ())):
            if value is not None:
                named = {"project": job["project"], "job_name": job["job_name"], **labels}
                values[f"codearts_build_{name}", tuple(sorted(named.items()))] = value
    return values


def _of_job(job: Mapping[str, Any]) -> Iterable[tuple[str, dict[str, str], float | None]]:
    totals, last = job["totals"], job["totals"]["last_finished"]
    for result, count in totals["finished"].items():
        yield "builds_total", {"result": result}, count
        if result in ("success", "failure") or totals["duration_count"][result]:
            yield "duration_seconds_sum", {"result": result}, totals["duration_ms"][result] / 1000
            yield "duration_seconds_count", {"result": result}, totals["duration_count"][result]
    yield "queue_duration_seconds_sum", {}, totals["queue_ms"] / 1000
    yield "queue_duration_seconds_count", {}, totals["queue_count"]
    recoveries = [recovery["duration_ms"] for recovery in totals["recoveries"]]
    yield "recovery_duration_seconds_sum", {}, sum(recoveries) / 1000
    yield "recovery_duration_seconds_count", {}, len(recoveries)
    yield "consecutive_failures", {}, totals["consecutive_failures"]
    yield "lost_builds_total", {}, totals["lost"]
    for state in ("queued", "running"):
        yield "active_builds", {"state": state}, totals["active"][state]
    if last:
        yield from _of_last(last)


def _of_last(last: Mapping[str, Any]) -> Iterable[tuple[str, dict[str, str], float | None]]:
    yield "last_build_number", {}, last["number"]
    yield "last_build_result", {"result": last["result"]}, 1
    if last["duration_observable"]:
        yield "last_build_duration_seconds", {}, _seconds(last["duration_ms"])
        yield "last_build_finish_timestamp_seconds", {}, _seconds(last["finish_ms"])
    if last["queue_observable"]:
        yield "last_build_queue_duration_seconds", {}, _seconds(last["queue_ms"])


def _of_stages(job: Mapping[str, Any]) -> Iterable[tuple[str, dict[str, str], float | None]]:
    for name, total in job["totals"]["stages"].items():
        yield "stage_duration_seconds_sum", {"stage": name}, total["sum_ms"] / 1000
        yield "stage_duration_seconds_count", {"stage": name}, total["count"]
    known = [build["stages"] for build in job["builds"] if build["stages"] and build["recorded"]]
    for name, length_ms in known[-1] if known else ():
        yield "last_build_stage_duration_seconds", {"stage": name}, length_ms / 1000


def _seconds(value_ms: int | None) -> float | None:
    return None if value_ms is None else value_ms / 1000


def differences(actual: Values, wanted: Values) -> Differences:
    """Return actual and expected value of the samples that differ."""
    return {key: (actual.get(key), value) for key, value in wanted.items() if actual.get(key) != value}
