"""24 jobs build for 20 seconds while the API returns errors; Prometheus must have exact numbers."""

import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import requests

from exporter.simulator import BuildTruth, Fault, Fleet, JobTruth, Plan, RealClock, Simulator, fault
from tests.support.programs import Prometheus, eventually, exporter, program, prometheus
from tests.support.truth import Values, differences, expected

pytestmark = pytest.mark.timeout(600)

JOBS = 24
BUSY_S = 21


def busy_fleet() -> Fleet:
    fleet = Fleet(RealClock(), seed=7, history_days=0.0015)
    for ordinal in range(JOBS):
        plan = Plan(
            gap_s=2 + ordinal % 5 / 4,
            duration_s=0.25 + ordinal % 7 / 4,
            queue_s=0.4,
            failure_ratio=0.25,
            concurrency=1 + 2 * (ordinal % 3 == 0),
            first_number=1 + 400 * (ordinal % 2),
        )
        fleet.add_job(f"job-{ordinal}", f"project-{ordinal % 4}", plan=plan)
    for ordinal in range(3):
        deleted = fleet.add_job(f"deleted-{ordinal}", "project-0", plan=Plan(gap_s=None))
        fleet.delete_job(deleted.id)
    fleet.stop_arrivals()
    return fleet


FAULTS = (
    fault("error", probability=0.02),
    fault("error", probability=0.01, status=200, code="CB.00060101", shape="status"),
    fault("html", probability=0.01),
    fault("body", probability=0.01, text="<html>login</html>"),
    fault("truncated", probability=0.02),
    fault("reset", probability=0.01),
    fault("delay", probability=0.02, seconds=0.5),
    fault("rate-limit", per_minute=100, announce=False, times=104),
    fault("json-string", probability=0.05),
    fault("order", operation="period-history"),
    fault("shifting-pages", probability=0.2),
    fault("wrong-total", probability=0.3),
    fault("garbage-records", probability=0.1),
    fault("localised-triggers"),
    fault("numbers-as-strings", probability=0.3),
    fault("late-records", probability=0.1, seconds=2.5),
    fault("lost-records", probability=0.03, detail="unknown"),
    fault("lost-records", probability=0.05, detail="known"),
    fault("backwards-clock", probability=0.05),
)


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    program("prometheus")
    with Simulator(busy_fleet()).start() as running:
        eventually(lambda: not active_builds(running), 60, every=0.5)
        yield running


def active_builds(simulator: Simulator) -> int:
    fleet, now_ms = simulator.fleet, simulator.fleet.clock.now_ms()
    return sum(not build.finished(now_ms) for job in fleet.jobs() for build in fleet.builds(job.id))


def configuration(simulator: Simulator, folder: Path) -> Path:
    known = simulator.credentials
    jobs = "".join(
        f"  - {{id: {job.id}, name: {job.name}, project: {simulator.fleet.projects[job.project_id]}}}\n"
        for job in simulator.fleet.jobs()
        if job.deleted_ms is None
    )
    path = folder / "config.yaml"
    path.write_text(
        f"endpoint: {simulator.url}\niam_endpoint: {simulator.url}\n"
        f"auth: {{password: {{domain: {known.domain}, username: {known.username}, "
        f"password: {known.password}, project: {known.project}}}}}\n"
        f"jobs:\n{jobs}"
        "poll: {interval: 1s, max_interval: 2s, max_requests_per_minute: 20000, timeout: 5s}\n"
        "recycle_bin: {interval: 2s}\n"
        'state: {path: ":memory:"}\n'
    )
    return path


@pytest.mark.long
def test_counts_sums_and_gauges_match_the_truth(simulator: Simulator, tmp_path: Path) -> None:
    config = configuration(simulator, tmp_path)
    with exporter(config, tmp_path / "exporter.log") as url:
        eventually(lambda: requests.get(f"{url}/-/ready", timeout=5).status_code == 200, 60)
        baseline = {job_id: job.totals.last_finished for job_id, job in simulator.truth().items()}
        with prometheus(url.removeprefix("http://"), tmp_path) as client:
            simulator.fleet.resume_arrivals()
            simulator.faults.replace([*FAULTS, *unknown_results(baseline)])
            for _ in range(3):
                time.sleep(BUSY_S / 3)
                simulator.expire_tokens()
            simulator.fleet.stop_arrivals()
            end_with_visible_builds(simulator)
            eventually(lambda: not active_builds(simulator), 60, every=0.5)
            since = {job_id: last.number if last else 0 for job_id, last in baseline.items()}
            live = [job for job in simulator.truth(since).values() if job.deleted_ms is None]
            wanted = expected(as_reported(job, since[job.job_id]) for job in live)
            with suppress(AssertionError):
                eventually(lambda: not wrong(client, wanted), 240, every=2)
            time.sleep(5)
            assert wrong(client, wanted) == {}
            assert sum(sum(job.totals.finished.values()) for job in live) > 6 * JOBS
            assert sum(count for (_, status), count in simulator.counts.items() if status == 429) > 0
            assert client.query("codearts_build_recycle_bin_jobs") == {(): 3.0}
            check_exemplars(client, live)
    assert "unexpected_error" not in (tmp_path / "exporter.log").read_text()


def unknown_results(baseline: Mapping[str, BuildTruth | None]) -> list[Fault]:
    """Return faults that give a few builds of each job an unknown result, after the baseline."""
    return [
        fault("unknown-result", job=job_id, numbers=[last.number + 3, last.number + 7])
        for job_id, last in baseline.items()
        if last
    ]


def end_with_visible_builds(simulator: Simulator) -> None:
    """Add builds until the last one of each job is not lost; only a later build reveals a lost one."""
    for job in simulator.fleet.jobs():
        if job.deleted_ms is None:
            lost = True
            while lost:
                last = simulator.fleet.add_build(job.id, duration_s=1)
                lost = bool(simulator.faults.for_build("lost-records", None, job.id, last.number))


def wrong(client: Prometheus, wanted: Values) -> dict[Any, Any]:
    """Return the differences between Prometheus and the truth."""
    names = {name for name, _ in wanted}
    shown = {(name, labels): value for name in names for labels, value in client.query(name).items()}
    return differences(shown, wanted)


def check_exemplars(client: Prometheus, jobs: list[JobTruth]) -> None:
    """Check that Prometheus has exemplars of every kind, and that each matches its build."""
    builds = {(job.project, job.job_name, build.number): build for job in jobs for build in job.builds}
    kinds = ("builds_total", "duration_seconds_bucket", "queue_duration_seconds_bucket")
    for kind in (*kinds, "recovery_duration_seconds_bucket"):
        shown = client.exemplars(f"codearts_build_{kind}")
        assert len(shown) > JOBS
        for series, labels, value, timestamp in shown:
            build = builds[series["project"], series["job_name"], int(labels["build_number"])]
            assert build.result in (series.get("result", build.result), "unknown", None)
            assert timestamp == pytest.approx((build.finish_ms or 0) / 1000, abs=1.001)
            assert value <= float(series.get("le", "+Inf"))


def as_reported(job: JobTruth, baseline: int) -> dict[str, Any]:
    """Return the truth as the API reports it: older failures of the baseline are exact to the second only."""
    finished_ms = {build.number: build.finish_ms or 0 for build in job.builds}
    recoveries = [
        replace(recovery, duration_ms=recovery.duration_ms + finished_ms[recovery.first_failure] % 1000)
        if recovery.first_failure < baseline
        else recovery
        for recovery in job.totals.recoveries
    ]
    return replace(job, totals=replace(job.totals, recoveries=recoveries)).to_json()
