"""Builds become numbers: what is asked of the API, and what comes out."""

from collections import Counter

import pytest

from exporter.errors import ApiError, NotVisibleError, ThrottledError, UnreachableError
from exporter.model import BuildDetail
from exporter.poller.details import Details, without_false_numbers
from exporter.poller.task_requests import Service
from exporter.simulator import Fleet, Plan, Simulator, fault
from tests.ledger.examples import finished, idle
from tests.poller.conftest import JOB
from tests.support.watch import DAY, HOUR, MINUTE, Watch, watching


def test_builds_from_before_are_not_counted(fleet: Fleet, watch: Watch) -> None:
    for _ in range(3):
        fleet.add_build(JOB, result="failure")
    watch.poll()
    assert watch.counted() == {}
    assert watch.value("last_build_number") == 3
    assert watch.value("consecutive_failures") == 3


def test_the_last_build_from_before_has_a_duration_and_a_queue_time(fleet: Fleet, watch: Watch) -> None:
    fleet.add_build(JOB, queue_s=2.5, duration_s=20.125)
    watch.poll()
    assert watch.value("last_build_duration_seconds") == 20.125
    assert watch.value("last_build_queue_duration_seconds") == 2.5
    assert watch.value("queue_duration_seconds_count") == 0


def test_a_build_is_counted_with_its_exact_times(fleet: Fleet, watch: Watch) -> None:
    watch.poll()
    fleet.add_build(JOB, result="failure", queue_s=2.5, duration_s=20.125)
    watch.poll(times=3)
    assert watch.counted() == {"failure": 1}
    assert watch.value("duration_seconds_sum", result="failure") == 20.125
    assert watch.value("queue_duration_seconds_sum") == 2.5
    assert watch.value("last_build_result", result="failure") == 1
    assert watch.value("last_build_result", result="success") == 0


def test_a_build_unfinished_at_the_first_poll_is_counted(fleet: Fleet, watch: Watch) -> None:
    fleet.add_build(JOB, duration_s=10 * MINUTE)
    watch.poll()
    assert (watch.counted(), watch.value("active_builds", state="running")) == ({}, 1)
    watch.poll(times=12)
    assert (watch.counted(), watch.value("active_builds", state="running")) == ({"success": 1}, 0)


def test_an_active_build_is_read_again_at_each_poll(fleet: Fleet, watch: Watch) -> None:
    watch.poll()
    fleet.add_build(JOB, queue_s=90, duration_s=90)
    watch.poll()
    assert watch.value("active_builds", state="queued") == 1
    watch.poll()
    assert watch.value("active_builds", state="queued") == 0
    assert watch.value("active_builds", state="running") == 1
    assert watch.value("oldest_active_build_timestamp_seconds") == watch.now() - 30
    watch.poll(times=2)
    assert watch.value("active_builds", state="running") == 0
    assert watch.value("oldest_active_build_timestamp_seconds") is None


def test_a_build_that_runs_for_days_stays_in_sight(fleet: Fleet, watch: Watch) -> None:
    watch.poll()
    fleet.add_build(JOB, duration_s=40 * DAY)
    watch.poll_for(41 * DAY, every=DAY)
    assert watch.counted() == {"success": 1}


def test_details_are_asked_for_once_for_each_finished_build(fleet: Fleet, watch: Watch) -> None:
    fleet.add_build(JOB)
    fleet.add_build(JOB)
    watch.poll()
    for ordinal in range(30):
        fleet.add_build(JOB, duration_s=5 + 40 * (ordinal % 4))
        watch.poll()
    watch.poll(times=5)
    assert Counter(watch.asked_numbers()) == dict.fromkeys(range(2, 33), 1)
    assert watch.counted() == {"success": 30}


def test_an_idle_job_costs_one_request_for_each_poll(watch: Watch) -> None:
    watch.poll(times=2)
    watch.simulator.reset_counts()
    watch.poll(times=5)
    assert len(watch.asked("period-history")) == 5
    assert watch.asked("record-info") == []


def test_more_builds_than_fit_on_a_page_are_counted(fleet: Fleet, watch: Watch) -> None:
    watch.poll()
    for _ in range(250):
        fleet.add_build(JOB, duration_s=1)
    watch.poll(times=2)
    assert watch.counted() == {"success": 250}


def test_a_refused_detail_leaves_the_count_right(fleet: Fleet, simulator: Simulator, watch: Watch) -> None:
    watch.poll()
    simulator.faults.add(fault("error", operation="record-info", status=422, code="DEVCB.00031006"))
    fleet.add_build(JOB, queue_s=2, duration_s=20)
    watch.poll(times=3)
    assert watch.counted() == {"success": 1}
    assert watch.value("duration_seconds_sum", result="success") == 20
    assert watch.value("queue_duration_seconds_count") == 0
    assert watch.asked_numbers() == [1, 1]


def test_a_detail_that_a_lagging_replica_denies_is_asked_for_again_some_seconds_later(
    fleet: Fleet, simulator: Simulator, watch: Watch
) -> None:
    watch.poll()
    simulator.faults.add(fault("late-details", seconds=70))
    fleet.add_build(JOB, queue_s=2, duration_s=50)
    watch.poll()
    assert (watch.counted(), watch.value("job_up"), watch.asked_numbers()) == ({}, 1, [1])
    simulator.reset_counts()
    watch.poll(after=5)
    assert watch.asked("period-history") == []
    watch.poll(after=66)
    assert watch.counted() == {"success": 1}
    assert watch.value("queue_duration_seconds_sum") == 2
    assert watch.asked_numbers() == [1]


def test_a_denied_detail_is_asked_for_twice_and_not_before_ten_seconds_are_over(
    fleet: Fleet, simulator: Simulator, watch: Watch
) -> None:
    watch.poll()
    simulator.faults.add(fault("late-details", seconds=HOUR))
    fleet.add_build(JOB, queue_s=2, duration_s=50)
    watch.poll()
    watch.poll(after=9)
    assert (watch.counted(), watch.asked_numbers()) == ({}, [1])
    watch.poll(after=1)
    assert (watch.counted(), watch.asked_numbers()) == ({"success": 1}, [1, 1])
    watch.poll(times=3)
    assert watch.asked_numbers() == [1, 1]


@pytest.mark.parametrize(
    ("status", "code"), [(403, "CB.00031059"), (403, "CB.00031007"), (400, "CB.00031105")]
)
def test_a_detail_that_is_deleted_or_forbidden_is_asked_for_once(
    fleet: Fleet, simulator: Simulator, watch: Watch, status: int, code: str
) -> None:
    watch.poll()
    simulator.faults.add(fault("error", operation="record-info", status=status, code=code))
    fleet.add_build(JOB, duration_s=50)
    watch.poll(times=2)
    assert (watch.counted(), watch.asked_numbers()) == ({"success": 1}, [1])


@pytest.mark.parametrize("status", [403, 404, 422])
def test_a_firewall_s_page_in_place_of_details_settles_nothing(
    fleet: Fleet, simulator: Simulator, watch: Watch, status: int
) -> None:
    watch.poll()
    details = ("record-info", "record-info-v1", "records")
    simulator.faults.add(fault("html", operation=details, status=status))
    for _ in range(10):
        fleet.add_build(JOB, queue_s=2, duration_s=20)
    watch.poll(times=3)
    assert watch.counted() == {}
    simulator.faults.clear()
    watch.poll()
    assert watch.counted() == {"success": 10}
    assert watch.value("queue_duration_seconds_sum") == 20


def test_a_detail_that_always_fails_is_given_up_on_after_ten_polls(
    fleet: Fleet, simulator: Simulator, watch: Watch
) -> None:
    watch.poll()
    simulator.faults.add(fault("error", operation="record-info"))
    fleet.add_build(JOB)
    watch.poll(times=9)
    assert watch.counted() == {}
    watch.poll()
    assert watch.counted() == {"success": 1}


def test_a_late_record_is_counted_once(fleet: Fleet, simulator: Simulator, watch: Watch) -> None:
    watch.poll()
    simulator.faults.add(fault("late-records", operation="period-history", seconds=20 * MINUTE, numbers=[1]))
    fleet.add_build(JOB, result="failure")
    fleet.add_build(JOB)
    watch.poll_for(2 * HOUR, every=5 * MINUTE)
    assert watch.counted() == {"failure": 1, "success": 1}
    assert watch.value("lost_builds_total") == 0


def test_a_build_that_history_never_shows_is_found_by_its_number(
    fleet: Fleet, simulator: Simulator, watch: Watch
) -> None:
    watch.poll()
    simulator.faults.add(fault("lost-records", detail="known", numbers=[1]))
    fleet.add_build(JOB, result="failure")
    fleet.add_build(JOB)
    watch.poll_for(2 * HOUR, every=5 * MINUTE)
    assert watch.counted() == {"failure": 1, "success": 1}
    assert watch.asked_numbers().count(1) == 1


def test_an_unknown_build_is_lost_after_its_patience_and_few_requests(
    fleet: Fleet, simulator: Simulator, watch: Watch
) -> None:
    fleet.add_build(JOB)
    watch.poll()
    simulator.faults.add(fault("lost-records", detail="unknown", numbers=[2]))
    fleet.add_build(JOB, result="failure")
    fleet.add_build(JOB)
    watch.poll_for(50 * MINUTE)
    assert watch.value("lost_builds_total") == 0
    watch.poll_for(2 * HOUR, every=4 * MINUTE)
    assert watch.value("lost_builds_total") == 1
    assert watch.counted() == {"success": 1}
    assert watch.asked_numbers().count(2) <= 8


def test_a_lost_build_that_turns_up_is_counted_and_recovered(
    fleet: Fleet, simulator: Simulator, watch: Watch
) -> None:
    fleet.add_build(JOB)
    watch.poll()
    simulator.faults.add(fault("lost-records", detail="unknown", numbers=[2]))
    fleet.add_build(JOB, result="failure")
    fleet.add_build(JOB)
    watch.poll_for(2 * HOUR, every=5 * MINUTE)
    simulator.faults.clear()
    fleet.add_build(JOB)
    watch.poll(times=2)
    assert watch.counted() == {"failure": 1, "success": 2}
    assert watch.value("lost_builds_total") == 1
    assert watch.value("recovered_builds_total") == 1


def test_a_failure_whose_record_disappears_still_begins_its_streak(
    fleet: Fleet, simulator: Simulator, watch: Watch
) -> None:
    fleet.add_build(JOB, result="failure")
    watch.poll()
    simulator.faults.add(fault("lost-records", detail="unknown", numbers=[1]))
    fleet.add_build(JOB, result="failure")
    fleet.add_build(JOB)
    watch.poll_for(2 * HOUR, every=5 * MINUTE)
    [recovery] = simulator.truth({JOB: 1})[JOB].totals.recoveries
    assert (recovery.first_failure, recovery.success) == (1, 3)
    assert watch.value("recovery_duration_seconds_count") == 1
    assert watch.value("recovery_duration_seconds_sum") == recovery.duration_ms / 1000


def test_an_empty_first_answer_does_not_count_what_was_there_before(
    fleet: Fleet, simulator: Simulator, watch: Watch
) -> None:
    for _ in range(50):
        fleet.add_build(JOB)
    watch.clock.advance(HOUR)
    simulator.faults.add(
        fault("body", operation="period-history", times=1, text='{"total": 0, "history_records": []}')
    )
    watch.poll(times=3)
    assert watch.counted() == {}
    assert watch.value("last_build_number") == 50
    assert watch.value("lost_builds_total") == 0


def test_a_job_idle_for_longer_than_the_lookback_counts_its_next_build(idle_fleet: Fleet) -> None:
    with watching(idle_fleet) as watch:
        watch.poll()
        assert watch.value("last_build_number") is None
        idle_fleet.add_build(JOB)
        watch.poll_for(3 * HOUR, every=5 * MINUTE)
        assert watch.counted() == {"success": 1}
        assert watch.value("last_build_number") == 501
        assert watch.value("lost_builds_total") == 0


def test_a_record_with_an_impossible_number_is_a_fault_and_no_build(
    fleet: Fleet, simulator: Simulator, watch: Watch
) -> None:
    fleet.add_build(JOB)
    watch.poll()
    garbage = {"build_number": 2_147_483_647, "result": "SUCCESS", "start_time": "2025-03-10T12:00:00+08:00"}
    simulator.faults.add(fault("garbage-records", operation="period-history", items=(garbage,), times=1))
    watch.poll()
    fleet.add_build(JOB)
    watch.poll(times=2)
    assert watch.counted() == {"success": 1}
    assert watch.value("last_build_number") == 2
    assert watch.value("lost_builds_total") == 0
    assert sum(watch.series("codearts_build_exporter_payload_errors_total").values()) == 1


def test_a_few_numbers_far_ahead_that_record_info_does_not_know_are_no_builds(
    fleet: Fleet, simulator: Simulator, watch: Watch
) -> None:
    fleet.add_build(JOB)
    watch.poll()
    times = {"start_time": "2025-03-10T12:00:00+08:00", "end_time": "2025-03-10T12:01:00+08:00"}
    false = tuple({"build_number": number, "result": "SUCCESS", **times} for number in (40, 3001, 3002))
    simulator.faults.add(fault("garbage-records", operation="period-history", items=false, times=2))
    fleet.add_build(JOB)
    watch.poll(times=6)
    assert watch.counted() == {"success": 1}
    assert watch.value("last_build_number") == 2
    assert watch.value("exporter_payload_errors_total", reason="implausible_build_number") == 2
    watch.poll_for(4 * HOUR, every=5 * MINUTE)
    assert watch.counted() == {"success": 1}
    assert watch.value("lost_builds_total") == 0
    assert set(watch.asked_numbers()) == {1, 2, 40, 3002}


@pytest.mark.parametrize(
    ("code", "is_false"), [("404", True), ("422", True), ("400", True), ("403", False), ("401", False)]
)
def test_only_the_answer_that_there_is_no_such_build_makes_a_number_false(code: str, is_false: bool) -> None:
    def record_info(_: int) -> BuildDetail:
        raise NotVisibleError("refused", code=code)

    far = (finished(300),)
    assert without_false_numbers(far, idle(), Details(record_info)) == (() if is_false else far)


@pytest.mark.parametrize("error", [ThrottledError("too many"), UnreachableError("no answer")])
def test_without_an_answer_numbers_far_ahead_are_neither_true_nor_false(error: ApiError) -> None:
    def record_info(_: int) -> BuildDetail:
        raise error

    with pytest.raises(type(error)):
        without_false_numbers((finished(300),), idle(), Details(record_info))


def test_numbers_far_ahead_while_record_info_throttles_are_no_builds(
    fleet: Fleet, simulator: Simulator, watch: Watch
) -> None:
    fleet.add_build(JOB)
    watch.poll()
    times = {"start_time": "2025-03-10T12:00:00+08:00", "end_time": "2025-03-10T12:01:00+08:00"}
    false = tuple({"build_number": number, "result": "SUCCESS", **times} for number in (3001, 3002))
    simulator.faults.add(fault("garbage-records", operation="period-history", items=false, times=2))
    simulator.faults.add(fault("throttle", operation="record-info", times=1))
    fleet.add_build(JOB)
    watch.poll(times=10)
    assert watch.counted() == {"success": 1}
    assert watch.value("last_build_number") == 2


@pytest.mark.parametrize("status", [None, 403, 500])
def test_a_build_whose_hundred_predecessors_are_not_in_history_is_counted_at_once(
    fleet: Fleet, simulator: Simulator, watch: Watch, status: int | None
) -> None:
    fleet.add_build(JOB)
    watch.poll()
    simulator.faults.add(fault("lost-records", detail="unknown", numbers=range(2, 102)))
    if status:
        code = "CB.00031059" if status == 403 else "CB.00060100"
        simulator.faults.add(fault("error", operation="record-info", status=status, code=code))
    for _ in range(101):
        fleet.add_build(JOB)
    watch.poll()
    assert watch.value("last_build_number") == (1 if status == 500 else 102)
    simulator.faults.clear("error")
    watch.poll_for(4 * HOUR, every=5 * MINUTE)
    assert watch.counted() == {"success": 1}
    assert watch.value("lost_builds_total") == 100


@pytest.mark.parametrize("first_number", [1, 700_000], ids=["from-1-again", "far-ahead"])
def test_a_job_that_is_recreated_under_its_id_keeps_counting(
    fleet: Fleet, watch: Watch, first_number: int
) -> None:
    watch.poll()
    for _ in range(3):
        fleet.add_build(JOB)
        watch.poll()
    watch.poll_for(10 * MINUTE)
    fleet.recreate_job(JOB, first_number)
    for _ in range(2):
        fleet.add_build(JOB, result="failure", duration_s=20)
        watch.poll()
    watch.poll(times=6)
    assert watch.counted() == {"success": 3, "failure": 2}
    assert watch.value("duration_seconds_sum", result="failure") == 40
    assert watch.value("queue_duration_seconds_count") == 5
    assert watch.value("last_build_number") == first_number + 1
    assert watch.value("consecutive_failures") == 2
    reason = "reused_build_number" if first_number == 1 else "skipped_build_numbers"
    assert watch.value("exporter_payload_errors_total", reason=reason)
    fleet.add_build(JOB)
    watch.poll_for(2 * HOUR, every=10 * MINUTE)
    assert watch.counted() == {"success": 4, "failure": 2}
    assert watch.value("lost_builds_total") == 0


def test_announced_numbers_without_builds_are_bounded_and_do_not_count(
    fleet: Fleet, simulator: Simulator, watch: Watch
) -> None:
    watch.poll()
    bare = tuple({"build_number": number} for number in range(1, 191))
    simulator.faults.add(fault("garbage-records", operation="period-history", items=bare, replace=True))
    watch.poll(times=3)
    assert watch.value("active_builds", state="queued") == 100
    assert watch.value("exporter_payload_errors_total", reason="too_many_open_builds") == 3
    simulator.faults.clear()
    fleet.add_build(JOB)
    watch.poll_for(3 * HOUR, every=10 * MINUTE)
    assert watch.value("active_builds", state="queued") == 0
    assert watch.counted() == {"success": 1}
    assert watch.value("lost_builds_total") == 0


def test_backwards_clocks_are_counted_as_payload_errors(
    fleet: Fleet, simulator: Simulator, watch: Watch
) -> None:
    watch.poll()
    simulator.faults.add(fault("backwards-clock", numbers=[1]))
    fleet.add_build(JOB)
    watch.poll(times=2)
    assert watch.counted() == {"success": 1}
    assert watch.value("duration_seconds_count", result="success") == 0
    assert watch.value("exporter_payload_errors_total", reason="negative_duration") == 1


def test_a_busy_fleet_comes_out_as_it_was(fleet: Fleet) -> None:
    plan = Plan(gap_s=180, duration_s=120, queue_s=20, failure_ratio=0.3, aborted_ratio=0.1, concurrency=3)
    fleet.history_days = 0.02
    job = fleet.add_job("busy", plan=plan)
    with watching(fleet) as watch:
        watch.poll()
        before = watch.simulator.truth()[job.id].totals.last_finished
        assert before
        since = {job.id: before.number}
        watch.poll_for(3 * HOUR, every=2 * MINUTE)
        fleet.stop_arrivals()
        watch.poll(after=3 * MINUTE, times=10)
        truth = watch.simulator.truth(since)[job.id].totals
        counted = watch.counted("busy")
        assert {result: counted.get(result, 0) for result in truth.finished} == truth.finished
        assert sum(counted.values()) > 40
        assert watch.value("queue_duration_seconds_sum", job_name="busy") == truth.queue_ms / 1000
        recoveries = sum(recovery.duration_ms for recovery in truth.recoveries)
        assert watch.value("recovery_duration_seconds_sum", job_name="busy") == recoveries / 1000
        assert watch.value("consecutive_failures", job_name="busy") == truth.consecutive_failures


def test_an_impossible_number_alone_on_the_first_page_is_ignored(
    fleet: Fleet, simulator: Simulator, watch: Watch
) -> None:
    fleet.add_build(JOB)
    body = (
        '{"total": 1, "history_records": [{"build_number": 2147483647, "result": "SUCCESS", '
        '"start_time": "2025-03-10T11:00:00+08:00", "end_time": "2025-03-10T11:01:00+08:00"}]}'
    )
    simulator.faults.add(fault("body", operation="period-history", text=body, times=2))
    watch.poll()
    assert watch.value("last_build_number") in (None, 1)
    simulator.faults.clear()
    fleet.add_build(JOB)
    watch.poll_for(3 * HOUR, every=5 * MINUTE)
    assert watch.counted() == {"success": 1}
    assert watch.value("last_build_number") == 2
    assert watch.value("lost_builds_total") == 0


def test_a_build_that_is_stuck_for_a_year_does_not_make_history_be_read_a_year_back(
    fleet: Fleet, simulator: Simulator, watch: Watch
) -> None:
    watch.poll()
    fleet.add_build(JOB, duration_s=None)
    watch.poll(times=2)
    for _ in range(13):
        watch.poll(after=30 * DAY)
    watch.poll()
    simulator.reset_counts()
    watch.poll()
    assert watch.value("active_builds", state="running") == 1
    assert 1 <= len(watch.asked("period-history")) <= 2
    fleet.finish_build(JOB, 1)
    watch.poll_for(7 * HOUR, every=10 * MINUTE)
    assert watch.counted() == {"success": 1}


def test_one_detail_that_always_times_out_holds_up_no_other_build(fleet: Fleet, watch: Watch) -> None:
    watch.service = UnreachableFor(watch.client, 2)  # type: ignore[assignment]
    watch.start()
    watch.poll()
    for _ in range(4):
        fleet.add_build(JOB)
    watch.poll(times=3)
    assert watch.counted() == {"success": 3}
    watch.poll(times=60)
    assert watch.counted() == {"success": 4}


class UnreachableFor:
    """The service, but one build's detail never comes."""

    def __init__(self, service: Service, number: int) -> None:
        self._service = service
        self._number = number

    def record_info(self, job_id: str, number: int) -> BuildDetail:
        if number == self._number:
            raise UnreachableError("no answer", code="timeout")
        return self._service.record_info(job_id, number)

    def __getattr__(self, name: str) -> object:
        return getattr(self._service, name)
