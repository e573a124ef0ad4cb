"""The API in trouble, as a whole or for one job: what is known is served on, and the rest stays right."""

import math
from collections.abc import Mapping
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from exporter.ledger.job_ledger import JobLedger
from exporter.model import BuildDetail
from exporter.poller.task_requests import Service
from exporter.poller.tasks_and_results import Observations, TaskResult
from exporter.simulator import Fault, Fleet, ManualClock, Simulator, fault
from exporter.store import MemoryStore
from tests.poller.conftest import JOB
from tests.support.disks import Disk
from tests.support.programs import free_port
from tests.support.watch import DAY, HOUR, MINUTE, START_MS, Watch, watching

NO_BIN = "recycle_bin: {enabled: false}"
DOWN = (
    fault("error", status=503),
    fault("html"),
    fault("reset"),
    fault("truncated"),
    fault("unauthorized"),
    fault("body", text="<html>login</html>"),
    fault("error", status=200, code="CB.00060101", shape="status"),
)


class BrokenFor:
    """The API client with a bug that shows for one job, while ``broken`` is set."""

    def __init__(self, service: Service, job_id: str) -> None:
        self._service = service
        self._job_id = job_id
        self.clock = service.clock
        self.sources = service.sources
        self.broken = True
        self.failures = 0
        self.recycle_bin = service.recycle_bin
        self.record_info = service.record_info
        self.job_list = service.job_list
        self.project_names = service.project_names

    def period_history(self, job_id: str, *days: object) -> object:
        if self.broken and job_id == self._job_id:
            self.failures += 1
            raise ZeroDivisionError("nobody thought of this")
        return self._service.period_history(job_id, *days)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "trouble", DOWN, ids=lambda trouble: f"{trouble.kind}-{trouble.options.get('status', '')}"
)
def test_down_for_an_hour_it_serves_what_it_knows(
    fleet: Fleet, simulator: Simulator, watch: Watch, trouble: Fault
) -> None:
    watch.poll()
    fleet.add_build(JOB)
    watch.poll()
    known_at = watch.value("job_last_poll_timestamp_seconds")
    assert (watch.value("up"), watch.value("job_up")) == (1, 1)
    simulator.faults.replace([trouble])
    fleet.add_build(JOB, result="failure")
    watch.poll_for(HOUR, every=10 * MINUTE)
    assert (watch.value("up"), watch.value("job_up")) == (0, 0)
    assert watch.value("job_last_poll_timestamp_seconds") == known_at
    assert watch.counted() == {"success": 1}
    assert watch.value("last_build_number") == 1
    simulator.faults.clear()
    watch.poll(after=15 * MINUTE)
    watch.poll()
    assert (watch.value("up"), watch.value("job_up")) == (1, 1)
    assert watch.counted() == {"success": 1, "failure": 1}
    assert watch.value("recovered_builds_total") == 1
    assert watch.value("lost_builds_total") == 0


def test_nothing_listens_at_first(fleet: Fleet, simulator: Simulator, watch: Watch) -> None:
    fleet.add_build(JOB)
    port = simulator.port
    simulator.stop()
    watch.poll(times=3)
    assert (watch.value("up"), watch.value("job_up"), watch.poller.is_ready) == (0, 0, False)
    assert watch.value("builds_total", result="success") is None
    assert watch.value("exporter_api_requests_total", operation="period-history", code="connection")
    simulator.start(port=port)
    watch.poll(times=2)
    assert (watch.value("up"), watch.value("job_up"), watch.poller.is_ready) == (1, 1, True)
    assert watch.value("builds_total", result="success") == 0
    assert watch.value("last_build_number") == 1


def test_a_time_out_and_a_refused_connection_are_distinguished(fleet: Fleet) -> None:
    fleet.add_build(JOB)
    with Simulator(fleet, caller_clock=fleet.clock) as simulator:
        simulator.faults.add(fault("hang", operation="period-history"))
        watch = Watch(simulator, timeout=0.1)
        watch.poll()
        assert watch.value("exporter_api_requests_total", operation="period-history", code="timeout")
        assert (watch.value("job_up"), watch.poller.is_ready) == (0, False)
        watch.close()


ONE_JOB = (
    fault("error", job=JOB),
    fault("error", job=JOB, status=404, code="DEV.CB.032011"),
    fault("error", job=JOB, status=422, code="DEVCB.00031006"),
    fault("html", job=JOB),
    fault("truncated", job=JOB),
    fault("body", job=JOB, text="[[[[["),
    fault("body", job=JOB, text='{"history_records": 7}'),
    fault("garbage-records", job=JOB, replace=True),
    fault("reset", job=JOB),
)


@pytest.mark.parametrize("trouble", ONE_JOB, ids=lambda trouble: trouble.kind)
def test_the_endless_trouble_of_one_job_leaves_the_others_right(fleet: Fleet, trouble: Fault) -> None:
    others = [fleet.add_job(f"other-{ordinal}") for ordinal in range(3)]
    with watching(fleet) as watch:
        watch.poll()
        watch.simulator.faults.add(trouble)
        for _ in range(3):
            for job in fleet.jobs():
                fleet.add_build(job.id, result="failure", duration_s=7)
            watch.poll()
        watch.poll()
        for job in others:
            assert watch.counted(job.name) == {"failure": 3}
            assert watch.value("duration_seconds_sum", job_name=job.name, result="failure") == 21
            assert watch.value("job_up", job_name=job.name) == 1
        watch.simulator.faults.clear()
        # A job that is listed otherwise than its history reads is asked ever more rarely.
        watch.poll(after=3 * MINUTE, times=4)
        assert watch.counted("checkout") == {"failure": 3}


def test_a_backlog_whose_details_fail_is_not_asked_for_again_at_once(
    fleet: Fleet, simulator: Simulator, watch: Watch
) -> None:
    watch.poll()
    simulator.faults.add(fault("error", operation="record-info"))
    for _ in range(120):
        fleet.add_build(JOB, duration_s=1)
    watch.poll()
    assert watch.counted() == {}
    assert set(watch.asked_numbers()) == set(range(1, 51))
    simulator.faults.clear()
    watch.poll()
    assert watch.counted() == {"success": 120}
    assert watch.value("queue_duration_seconds_count") == 120


def test_a_page_with_garbage_in_it_still_brings_the_rest(
    fleet: Fleet, simulator: Simulator, watch: Watch
) -> None:
    watch.poll()
    simulator.faults.add(fault("garbage-records", operation="period-history"))
    fleet.add_build(JOB)
    watch.poll(times=2)
    assert watch.counted() == {"success": 1}
    assert watch.value("exporter_payload_errors_total", reason="record_not_an_object")


def test_a_job_that_is_not_visible_is_not_waited_for(fleet: Fleet) -> None:
    fleet.add_job("other")
    fleet.add_build(JOB)
    with watching(fleet) as watch:
        watch.simulator.faults.add(fault("error", job=JOB, status=404, code="DEV.CB.032011"))
        watch.poll()
        assert watch.poller.is_ready
        assert watch.value("job_up", job_name="checkout") == 0
        assert watch.value("up") == 1


def test_throttled_it_holds_back_and_says_so(fleet: Fleet, simulator: Simulator, watch: Watch) -> None:
    watch.poll()
    simulator.faults.add(fault("throttle", times=1, retry_after=120))
    simulator.reset_counts()
    fleet.add_build(JOB)
    watch.poll()
    assert watch.value("job_up") == 0
    assert watch.value("up") == 1
    assert watch.value("exporter_api_throttled_total", operation="period-history") == 1
    watch.poll(times=4)
    times = [exchange.at_ms for exchange in simulator.requests]
    assert times[1] - times[0] >= 120_000
    assert (watch.counted(), watch.value("job_up")) == ({"success": 1}, 1)


class TestTheRecycleBin:
    def test_it_is_read_on_its_own_interval(self, watch: Watch) -> None:
        watch.poll()
        watch.simulator.reset_counts()
        watch.poll(times=20)
        assert len(watch.asked("recycling-jobs")) == 2
        assert len(watch.asked("period-history")) == 20

    def test_it_can_be_left_alone(self, fleet: Fleet) -> None:
        with watching(fleet, settings="recycle_bin: {enabled: false}") as watch:
            watch.poll(times=15)
            assert watch.asked("recycling-jobs") == []
            assert watch.value("recycle_bin_jobs") is None
            assert watch.value("job_deleted") is None

    def test_it_is_counted_by_project(self, fleet: Fleet) -> None:
        for project in ("shop", "shop", "elsewhere"):
            fleet.delete_job(fleet.add_job("gone", project).id)
        with watching(fleet) as watch:
            watch.poll()
            assert watch.value("recycle_bin_jobs") == 3
            assert watch.value("recycle_bin_project_jobs", project="shop") == 2
            elsewhere = fleet.project_id("elsewhere")
            assert watch.value("recycle_bin_project_jobs", project=elsewhere) == 1
            assert watch.value("recycle_bin_retention_seconds") == 29 * 86_400

    def test_a_job_that_is_relabelled_leaves_the_deletions_of_its_project_alone(self, fleet: Fleet) -> None:
        other = fleet.add_job("payment", "shop").id
        jobs = [JOB, f"{{id: {other}, project: payments}}"]
        fleet.delete_job(fleet.add_job("gone", "shop").id)
        with watching(fleet, jobs=jobs) as watch:
            watch.poll_for(20 * MINUTE)
            assert watch.value("job_up", project="payments", job_name="payment") == 1
            assert watch.value("recycle_bin_project_jobs", project="shop") == 1
            assert watch.value("recycle_bin_project_jobs", project="payments") is None

    def test_a_watched_job_in_it_is_marked_and_keeps_its_numbers(self, fleet: Fleet, watch: Watch) -> None:
        watch.poll()
        fleet.add_build(JOB)
        watch.poll(times=2)
        assert watch.value("job_deleted") == 0
        fleet.delete_job(JOB)
        watch.poll_for(20 * MINUTE)
        assert watch.value("job_deleted") == 1
        assert watch.value("recycle_bin_oldest_deletion_timestamp_seconds") == watch.now() - 20 * 60
        assert watch.counted() == {"success": 1}
        fleet.restore_job(JOB)
        watch.poll_for(20 * MINUTE)
        assert watch.value("job_deleted") == 0
        assert watch.value("recycle_bin_jobs") == 0
        assert watch.value("recycle_bin_oldest_deletion_timestamp_seconds") is None

    def test_its_failure_concerns_no_job(self, fleet: Fleet, simulator: Simulator, watch: Watch) -> None:
        simulator.faults.add(fault("error", operation="recycling-jobs"))
        watch.poll()
        fleet.add_build(JOB)
        watch.poll_for(20 * MINUTE)
        assert (watch.counted(), watch.value("job_up")) == ({"success": 1}, 1)
        assert watch.value("recycle_bin_jobs") is None
        assert watch.value("recycle_bin_last_read_timestamp_seconds") is None

    def test_it_shows_when_it_was_last_read(self, simulator: Simulator, watch: Watch) -> None:
        watch.poll()
        read = watch.value("recycle_bin_last_read_timestamp_seconds")
        assert read == watch.now()
        refusal = fault("error", operation="recycling-jobs", status=403, code="DEV.CB.032011")
        simulator.faults.add(refusal)
        watch.poll_for(HOUR)
        assert (watch.value("recycle_bin_jobs"), watch.value("up")) == (0, 1)
        assert watch.value("recycle_bin_last_read_timestamp_seconds") == read
        simulator.faults.replace([])
        watch.poll_for(HOUR)
        last = watch.value("recycle_bin_last_read_timestamp_seconds")
        assert last
        assert watch.now() - last < 20 * MINUTE


class TestACommitThatFails:
    def test_publishes_nothing_new_and_heals(self, fleet: Fleet) -> None:
        store = Disk()
        with watching(fleet, store=store) as watch:
            watch.poll()
            fleet.add_build(JOB)
            store.is_full = True
            watch.poll(times=3)
            assert watch.value("builds_total", result="success") == 0
            assert watch.value("last_build_number") is None
            assert watch.value("exporter_store_errors_total", operation="commit") == 3
            store.is_full = False
            watch.poll()
            assert watch.counted() == {"success": 1}
            assert watch.value("duration_seconds_count", result="success") == 1

    def test_is_tried_again_an_interval_later_and_not_at_once(self, fleet: Fleet) -> None:
        for _ in range(120):
            fleet.add_build(JOB)
        store = Disk()
        store.is_full = True
        with watching(fleet, store=store, settings="recycle_bin: {enabled: false}") as watch:
            assert watch.poll() == len([JOB, "job-lists"])
            for _ in range(120):
                fleet.add_build(JOB)
            assert [watch.poll() for _ in range(3)] == [1, 1, 1]

    def test_at_the_first_poll_keeps_the_exporter_from_being_ready(self, fleet: Fleet) -> None:
        store = Disk()
        store.is_full = True
        with watching(fleet, store=store) as watch:
            watch.poll()
            assert not watch.poller.is_ready
            store.is_full = False
            watch.poll()
            assert watch.poller.is_ready

    def test_is_logged_once(self, fleet: Fleet) -> None:
        store = Disk()
        with watching(fleet, store=store) as watch, capture_logs() as lines:
            store.is_full = True
            watch.poll(times=5)
            store.is_full = False
            watch.poll(times=5)
        assert [line["event"] for line in lines] == ["store_unavailable", "store_recovered"]

    def test_shows_on_the_status_page_since_when_until_one_works(self, fleet: Fleet) -> None:
        store = Disk()
        with watching(fleet, store=store) as watch:
            watch.poll()
            store.is_full = True
            watch.poll()
            failed_ms = round(watch.wall() * 1000)
            watch.poll(times=3)
            readings = watch.telemetry.readings()
            assert (readings.store_failing_since_ms, readings.store_error) == (
                failed_ms,
                "no space left on device",
            )
            store.is_full = False
            watch.poll()
            readings = watch.telemetry.readings()
            assert (readings.store_failing_since_ms, readings.store_error) == (None, "")


def seconds(watch: Watch, project: str) -> float | None:
    return watch.value("duration_seconds_sum", project=project, result="success")


class TestAnUnreadableRow:
    def test_costs_only_its_job_until_it_can_be_read(self, fleet: Fleet) -> None:
        other = fleet.add_job("other").id
        store = Disk()
        with watching(fleet, store=store, settings=NO_BIN) as watch:
            watch.poll()
            store.unreadable.add(JOB)
            with capture_logs() as lines:
                for _ in range(3):
                    fleet.add_build(JOB)
                    fleet.add_build(other)
                    watch.poll()
            assert watch.counted("other") == {"success": 3}
            assert watch.counted() == {}
            assert [(line["event"], line["jobs"]) for line in lines] == [("ledgers_unreadable", 1)]
            assert JOB in str(lines[0]["error"])
            assert watch.value("exporter_store_errors_total", operation="commit") == 3
            assert watch.telemetry.readings().unreadable_ledgers == 1
            store.unreadable.clear()
            watch.poll_for(10 * MINUTE)
            assert watch.telemetry.readings().unreadable_ledgers == 0
            errors = watch.value("exporter_store_errors_total", operation="commit")
            watch.poll_for(10 * MINUTE)
            assert watch.counted() == {"success": 3}
            assert watch.value("exporter_store_errors_total", operation="commit") == errors

    def test_of_a_project_s_total_costs_only_that_project(self) -> None:
        fleet = Fleet(ManualClock(START_MS))
        shop, mobile = (fleet.add_job(name, project=name).id for name in ("shop", "mobile"))
        store = Disk()
        with watching(fleet, store=store, settings=f"metrics: {{detail: lean}}\n{NO_BIN}") as watch:
            watch.poll()
            store.unreadable.add("project/0/shop")
            for job_id in (shop, mobile):
                fleet.add_build(job_id, duration_s=10)
            watch.poll()
            assert [seconds(watch, name) for name in ("shop", "mobile")] == [0, 10]
            assert (watch.counted("shop"), watch.counted("mobile")) == ({}, {"success": 1})
            store.unreadable.clear()
            watch.poll_for(10 * MINUTE)
            assert [seconds(watch, name) for name in ("shop", "mobile")] == [10, 10]

    def test_of_a_job_that_is_discovered_keeps_no_other_from_being_watched(self) -> None:
        fleet = Fleet(ManualClock(START_MS))
        fleet.add_job("first", project="shop")
        store = Disk()
        settings = f"projects: [{{id: {fleet.project_id('shop')}}}]\n{NO_BIN}"
        with watching(fleet, store=store, jobs=(), settings=settings) as watch:
            watch.poll_for(10 * MINUTE)
            unreadable, readable = (fleet.add_job(name, project="shop").id for name in ("bad", "good"))
            store.unreadable.add(unreadable)
            watch.poll_for(10 * MINUTE)
            fleet.add_build(readable)
            watch.poll_for(10 * MINUTE)
            assert watch.counted("good") == {"success": 1}
            assert watch.value("exporter_store_errors_total", operation="load")
            assert watch.telemetry.readings().unreadable_ledgers == 1
            store.unreadable.clear()
            watch.poll_for(20 * MINUTE)
            fleet.add_build(unreadable)
            watch.poll_for(20 * MINUTE)
            assert watch.counted("bad") == {"success": 1}


def test_a_bug_that_shows_for_one_job_leaves_the_others_right(fleet: Fleet) -> None:
    fleet.add_build(fleet.add_job("other").id)
    fleet.add_build(JOB)
    with watching(fleet) as watch:
        broken = BrokenFor(watch.client, JOB)
        watch.service = broken  # type: ignore[assignment]
        watch.start()
        with capture_logs() as lines:
            watch.poll()
        assert [(line["event"], line["task"]) for line in lines] == [("unexpected_error", JOB)]
        assert watch.value("job_up", job_name="checkout") == 0
        assert watch.value("job_up", job_name="other") == 1
        broken.broken = False
        watch.poll()
        assert watch.value("job_up", job_name="checkout") == 1


class TestTheLogTellsWhatChanges:
    def test_the_api_lost_and_back(self, fleet: Fleet) -> None:
        for ordinal in range(9):
            fleet.add_job(f"other-{ordinal}")
        with watching(fleet) as watch, capture_logs() as lines:
            watch.poll(times=3)
            watch.simulator.faults.add(fault("error", status=503))
            watch.poll(times=10)
            watch.simulator.faults.clear()
            watch.poll(times=10)
        assert [line["event"] for line in lines] == ["api_lost", "api_recovered"]
        assert lines[0]["kind"] == "BackendError"
        assert "503" in lines[0]["error"]

    def test_one_job_gone_and_back(self, fleet: Fleet) -> None:
        fleet.add_job("other")
        fleet.add_build(JOB)
        with watching(fleet) as watch, capture_logs() as lines:
            watch.simulator.faults.add(fault("error", job=JOB, status=404, code="DEV.CB.032011"))
            watch.poll(times=10)
            watch.simulator.faults.clear()
            watch.poll(times=10)
        assert [(line["event"], line["task"]) for line in lines] == [
            ("poll_failed", JOB),
            ("poll_recovered", JOB),
        ]

    def test_nothing_when_one_answer_fails_now_and_then(self, fleet: Fleet) -> None:
        for ordinal in range(9):
            fleet.add_job(f"other-{ordinal}")
        with watching(fleet, settings="poll: {max_interval: 1m}") as watch, capture_logs() as lines:
            for _ in range(10):
                watch.simulator.faults.add(fault("error", job=JOB, times=3))
                watch.poll()
                watch.poll()
        assert lines == []


class TestTheServiceHasAnotherClock:
    def test_an_offset_of_hours_is_trusted(self, fleet: Fleet) -> None:
        with Simulator(fleet, caller_clock=fleet.clock) as simulator:
            simulator.faults.add(fault("date-skew", seconds=2 * HOUR))
            watch = Watch(simulator)
            watch.poll(times=2)
            polled = watch.value("job_last_poll_timestamp_seconds")
            assert polled
            assert abs(polled - watch.now() - 2 * HOUR) < 5
            watch.close()

    @pytest.mark.parametrize("skews", [(2.0,), (30 * DAY, -30 * DAY)], ids=["jitter", "madness"])
    def test_jitter_and_answers_that_are_weeks_apart_are_not(
        self, fleet: Fleet, skews: tuple[float, ...]
    ) -> None:
        with Simulator(fleet, caller_clock=fleet.clock) as simulator:
            simulator.faults.add(*(fault("date-skew", seconds=each, times=2) for each in skews))
            watch = Watch(simulator)
            watch.poll(times=2)
            assert watch.value("job_last_poll_timestamp_seconds") == watch.now()
            watch.close()

    def test_a_single_answer_that_is_ahead_changes_nothing(self, fleet: Fleet) -> None:
        with Simulator(fleet, caller_clock=fleet.clock).start(port=free_port()) as simulator:
            watch = Watch(simulator)
            watch.poll(times=3)
            simulator.faults.add(fault("date-skew", seconds=12 * HOUR, times=1))
            for _ in range(5):
                watch.poll()
                assert watch.value("job_last_poll_timestamp_seconds") == watch.now()
            watch.close()

    @pytest.mark.parametrize("ahead_s", [2 * DAY, -2 * DAY, 40 * DAY, -400 * DAY])
    @pytest.mark.parametrize("lists", [True, False], ids=["with lists", "without"])
    def test_a_host_clock_that_is_days_off_counts_every_build_once(
        self, fleet: Fleet, simulator: Simulator, ahead_s: float, lists: bool
    ) -> None:
        for days in (20, 3, 1):
            fleet.add_build(JOB, duration_s=60, at_ms=START_MS - days * round(DAY) * 1000)
        if not lists:
            simulator.faults.add(fault("html", operation="job-list"))
        name = "checkout" if lists else JOB
        settings = "" if lists else "recycle_bin: {enabled: false}"
        watch = Watch(simulator, settings=settings, ahead_s=ahead_s)
        with capture_logs() as lines:
            watch.poll()
            assert watch.counted(name) == {}
            assert watch.value("last_build_number") == 3
            for _ in range(5):
                fleet.add_build(JOB, duration_s=20)
                watch.poll()
            watch.poll(times=2)
        assert watch.counted(name) == {"success": 5}
        assert watch.value("recovered_builds_total") == 0
        polled = watch.value("job_last_poll_timestamp_seconds") or 0
        assert 0 <= watch.now() - polled <= MINUTE
        assert watch.value("exporter_clock_offset_seconds") == pytest.approx(-ahead_s, abs=2)
        warnings = [line for line in lines if line["event"] == "clock_offset_high"]
        assert [line["log_level"] for line in warnings] == ["warning"]
        assert abs(warnings[0]["offset_s"] + ahead_s) <= 2
        watch.close()

    def test_that_the_clock_was_corrected_is_logged(self, simulator: Simulator) -> None:
        watch = Watch(simulator, ahead_s=-HOUR)
        watch.poll(times=2)
        with capture_logs() as lines:
            watch.set_wall(0)
            watch.poll(times=5)
        assert [line["event"] for line in lines if "clock" in line["event"]] == ["clock_offset_normal"]
        watch.close()

    @pytest.mark.parametrize("step_s", [2 * HOUR, -2 * HOUR, 40 * DAY, -40 * DAY])
    def test_a_step_of_our_clock_shows_and_changes_no_count(
        self, fleet: Fleet, simulator: Simulator, step_s: float
    ) -> None:
        watch = Watch(simulator)
        watch.poll(times=5)
        for kind in ("late-records", "late-details"):
            simulator.faults.add(fault(kind, job=JOB, numbers=(2,), seconds=40 * MINUTE))
        for _ in range(3):
            fleet.add_build(JOB, duration_s=10)
        watch.poll_for(20 * MINUTE)
        assert watch.counted() == {"success": 2}
        watch.set_wall(step_s)
        for _ in range(20):
            fleet.add_build(JOB, duration_s=10)
            watch.poll()
            assert watch.value("exporter_clock_offset_seconds") == pytest.approx(-step_s, abs=2)
            assert 0 <= watch.now() - (watch.value("job_last_poll_timestamp_seconds") or 0) <= MINUTE
        watch.poll_for(2 * HOUR)
        assert watch.counted() == {"success": 23}
        assert watch.value("lost_builds_total") == 0
        watch.close()

    def test_before_an_answer_the_offset_is_not_known(self, simulator: Simulator) -> None:
        simulator.faults.add(fault("html"))
        watch = Watch(simulator)
        watch.poll()
        assert math.isnan(watch.value("exporter_clock_offset_seconds") or 0)
        watch.close()

    def test_freshness_recovers_when_the_service_s_clock_is_right_again(self, fleet: Fleet) -> None:
        for ordinal in range(9):
            fleet.add_job(f"other-{ordinal}")
        with (
            Simulator(fleet, caller_clock=fleet.clock).start(port=free_port()) as simulator,
            capture_logs() as lines,
        ):
            watch = Watch(simulator, settings="poll: {max_interval: 1m}")
            watch.poll(times=3)
            simulator.faults.add(fault("date-skew", seconds=12 * HOUR))
            watch.poll(times=3)
            ahead = watch.series("codearts_build_job_last_poll_timestamp_seconds").values()
            assert min(ahead) - watch.now() > 11 * HOUR
            fleet.add_build(JOB)
            simulator.faults.clear()
            watch.poll(times=2)
            for job in watch.poller.view.jobs:
                assert job.ledger
                assert max(job.ledger.polled_ms, job.checked_ms or 0) <= watch.clock.now_ms()
            watch.poll(times=10)
            polled = watch.series("codearts_build_job_last_poll_timestamp_seconds").values()
            assert 0 <= watch.now() - min(polled) <= 2 * MINUTE
            assert watch.counted() == {"success": 1}
            assert watch.value("recovered_builds_total", job_name="checkout") == 0
            watch.close()
        assert [line["event"] for line in lines] == ["clock_offset_high", "clock_offset_normal"]


class CrashingStore(MemoryStore):
    """A store with a bug, while ``broken`` is set."""

    broken = False

    def commit(self, changed: Mapping[str, JobLedger]) -> dict[str, JobLedger]:
        if self.broken:
            raise ZeroDivisionError("nobody thought of this")
        return super().commit(changed)


def test_a_store_with_a_bug_does_not_end_polling(fleet: Fleet) -> None:
    store = CrashingStore()
    with watching(fleet, store=store) as watch, capture_logs() as lines:
        watch.poll()
        store.broken = True
        fleet.add_build(JOB)
        watch.poll(times=3)
        assert watch.value("builds_total", result="success") == 0
        assert (watch.value("exporter_store_errors_total", operation="commit") or 0) >= 1
        store.broken = False
        watch.poll(times=2)
        assert watch.counted() == {"success": 1}
    assert [(line["event"], line["task"]) for line in lines] == [("unexpected_error", "commit")]


def test_the_endless_500_of_one_job_is_logged_once(fleet: Fleet) -> None:
    fleet.add_job("other")
    fleet.add_build(JOB)
    with watching(fleet) as watch, capture_logs() as lines:
        watch.poll()
        watch.simulator.faults.add(fault("error", job=JOB))
        watch.poll_for(3 * HOUR, every=5 * MINUTE)
    assert [(line["event"], line["task"]) for line in lines] == [("poll_failed", JOB)]


def test_what_was_missed_while_the_process_slept_is_not_made_up(fleet: Fleet, watch: Watch) -> None:
    fleet.add_build(JOB, duration_s=7200)
    watch.poll(times=2)
    watch.simulator.reset_counts()
    watch.poll(after=HOUR)
    assert len(watch.asked("period-history")) == 1
    assert len(watch.asked("recycling-jobs")) == 1
    assert watch.poll(after=1) == 0


def test_a_recycle_bin_that_refuses_the_credentials_pauses_nothing_else(
    fleet: Fleet, simulator: Simulator, watch: Watch
) -> None:
    simulator.faults.add(fault("unauthorized", operation="recycling-jobs"))
    watch.poll()
    for _ in range(29):
        fleet.add_build(JOB, duration_s=5)
        watch.poll()
        assert (watch.value("up"), watch.value("job_up")) == (1, 1)
    assert watch.counted() == {"success": 29}
    assert 2 <= simulator.counts["recycling-jobs", 401] <= 4


class TestRecordInfoAloneRefusesTheCredentials:
    @pytest.fixture
    def missing(self, fleet: Fleet, simulator: Simulator, watch: Watch) -> int:
        """The number of a build that only record-info knows, while it refuses to answer."""
        fleet.add_job("other")
        watch.poll(times=3)
        simulator.faults.add(
            fault("unauthorized", operation="record-info"),
            fault("late-records", job=JOB, numbers=(1,), seconds=DAY),
        )
        for _ in range(3):
            fleet.add_build(JOB, queue_s=7, duration_s=5)
        return 1

    def test_a_refusal_for_some_minutes_costs_no_detail(
        self, simulator: Simulator, watch: Watch, missing: int
    ) -> None:
        watch.poll(times=20)
        assert watch.counted() == {}
        assert len(watch.asked("record-info")) <= 6
        simulator.faults.clear()
        simulator.faults.add(fault("late-records", job=JOB, numbers=(missing,), seconds=DAY))
        watch.poll_for(2 * HOUR)
        assert watch.counted() == {"success": 3}
        assert watch.value("queue_duration_seconds_count") == 3
        assert watch.value("lost_builds_total") == 0

    def test_a_lasting_one_is_no_denial_and_blocks_no_count(self, watch: Watch, missing: int) -> None:
        watch.poll_for(2 * HOUR)
        assert watch.counted() == {"success": 2}
        assert watch.value("queue_duration_seconds_count") == 0
        assert watch.value("lost_builds_total") == 0
        assert len(watch.asked("record-info")) <= 16


class TestEverythingIsRefused:
    REFUSALS = (
        fault("error", status=403, code="CB.00031007", message="no permission"),
        fault("error", status=404, code="APIGW.0101"),
        fault("html", status=403),
        fault("html", status=404),
    )

    @pytest.fixture(params=REFUSALS, ids=["forbidden", "not published", "page 403", "page 404"])
    def refusal(self, request: pytest.FixtureRequest) -> Fault:
        return Fault(request.param.kind, options=dict(request.param.options))

    @pytest.fixture(params=[1, 2, 12])
    def fleet(self, clock: ManualClock, request: pytest.FixtureRequest) -> Fleet:
        fleet = Fleet(clock, seed=1)
        for ordinal in range(request.param):
            fleet.add_job(f"job-{ordinal}")
        return fleet

    def test_from_the_start_it_is_down_and_not_ready_until_it_answers(
        self, fleet: Fleet, refusal: Fault
    ) -> None:
        with watching(fleet) as watch, capture_logs() as lines:
            watch.simulator.faults.add(refusal)
            for _ in range(5):
                watch.poll()
                assert (watch.value("up"), watch.poller.is_ready) == (0, False)
            events = [line["event"] for line in lines]
            assert len([event for event in events if event in ("api_lost", "api_refuses_everything")]) == 1
            assert events.count("poll_failed") <= 2
            watch.simulator.faults.clear()
            watch.poll(times=11)
            assert (watch.value("up"), watch.poller.is_ready) == (1, True)
            assert [line["event"] for line in lines].count("api_recovered") == 1

    def test_later_it_is_down_and_keeps_serving_what_it_knows(self, fleet: Fleet, refusal: Fault) -> None:
        with watching(fleet) as watch:
            watch.poll(times=2)
            watch.simulator.faults.add(refusal)
            watch.poll_for(HOUR, every=10 * MINUTE)
            for _ in range(5):
                watch.poll()
                assert (watch.value("up"), watch.poller.is_ready) == (0, True)
            watch.simulator.faults.clear()
            watch.poll_for(15 * MINUTE, every=5 * MINUTE)
            assert watch.value("up") == 1

    @pytest.mark.parametrize("refusal", REFUSALS[:1])
    def test_some_jobs_and_the_lists_refused_while_one_job_is_answered_is_no_trouble_of_the_service(
        self, clock: ManualClock, refusal: Fault
    ) -> None:
        fleet = Fleet(clock, seed=1)
        ids = [fleet.add_job(f"job-{ordinal}").id for ordinal in range(6)]
        with watching(fleet) as watch, capture_logs() as lines:
            shared = ("job-list", "project-job-list", "recycling-jobs")
            options = dict(refusal.options)
            watch.simulator.faults.add(
                *(Fault(refusal.kind, operation=each, options=options) for each in shared),
                *(Fault(refusal.kind, job=job_id, options=options) for job_id in ids[1:]),
            )
            watch.poll(times=3)
            assert (watch.value("up"), watch.poller.is_ready) == (1, True)
            assert {line["event"] for line in lines} <= {"poll_failed", "job_list_refused"}
            assert len([line for line in lines if line["event"] == "poll_failed"]) == 6

    def test_a_watched_project_alone_is_waited_for(self, clock: ManualClock) -> None:
        fleet = Fleet(clock, seed=1)
        job = fleet.add_job("checkout")
        settings = f"projects: [{{id: {job.project_id}}}]"
        with watching(fleet, settings=settings, jobs=()) as watch:
            watch.simulator.faults.add(fault("error", status=403, code="CB.00031007"))
            watch.poll(times=3)
            assert (watch.value("up"), watch.poller.is_ready) == (0, False)


def broken_for(job_id: str, result: TaskResult) -> TaskResult:
    """The result of a task; for that job something that no code expects."""
    if result.job_id != job_id or not isinstance(result.value, Observations):
        return result
    detail = BuildDetail(1, duration_ms="x")  # type: ignore[arg-type]
    return replace(result, value=replace(result.value, details=(detail,)))


def test_an_answer_that_cannot_be_folded_costs_its_own_job_alone(clock: ManualClock) -> None:
    fleet = Fleet(clock, seed=1)
    bad, good = (fleet.add_job(name, "shop").id for name in ("bad", "good"))
    with watching(fleet) as watch, capture_logs() as lines:
        watch.poll()
        for job_id in (bad, good):
            fleet.add_build(job_id, queue_s=1, duration_s=5)
        clock.advance(MINUTE)
        while works := watch.poller.take(10):
            watch.poller.settle(broken_for(bad, watch.poller.run(work)) for work in works)
        assert (watch.counted("good"), watch.counted("bad")) == ({"success": 1}, {})
        assert watch.value("job_up", job_name="bad") == 0
        assert [line["task"] for line in lines if line["event"] == "unexpected_error"] == [bad]
        watch.poll(times=3)
        assert watch.counted("bad") == {"success": 1}
