"""The cost of polls while something stays unsettled: requests are counted, not seconds."""

import pytest

from exporter.api.pagination import PAGE_SIZE
from exporter.simulator import Fleet, ManualClock, Simulator, fault
from tests.poller.conftest import JOB
from tests.support.watch import DAY, HOUR, MINUTE, START_MS, Watch, watching

ASKED_OF_JOBS = ("period-history", "record-info")


def cost(watch: Watch) -> int:
    """Requests about single jobs since the counts were reset."""
    return sum(len(watch.asked(operation)) for operation in ASKED_OF_JOBS)


def busy(stuck: bool) -> Fleet:
    """A job with three hundred builds behind it, one of which, of three days ago, may still run."""
    fleet = Fleet(ManualClock(START_MS), seed=1)
    fleet.add_job("checkout", "shop", job_id=JOB)
    fleet.add_build(JOB, duration_s=None if stuck else 10, at_ms=START_MS - round(3 * DAY * 1000))
    for ordinal in range(300, 0, -1):
        fleet.add_build(JOB, at_ms=START_MS - ordinal * 300_000)
    return fleet


def test_a_stuck_build_of_a_busy_job_costs_at_most_one_request_an_hour() -> None:
    costs = {}
    for stuck in (False, True):
        fleet = busy(stuck)
        with watching(fleet) as watch:
            watch.poll()
            watch.simulator.reset_counts()
            for _ in range(24):
                fleet.add_build(JOB)
                watch.poll(after=5 * MINUTE)
            costs[stuck] = cost(watch)
            assert watch.value("active_builds", state="running") == stuck
            assert watch.counted() == {"success": 24}
    assert costs[True] - costs[False] <= 2
    with watching(fleet) as watch:
        watch.poll()
        fleet.finish_build(JOB, 1, "failure")
        watch.poll_for(7 * HOUR, every=HOUR)
        assert watch.counted() == {"failure": 1}


def test_a_build_that_waits_for_hours_does_not_make_history_be_paged_through(fleet: Fleet) -> None:
    with watching(fleet) as watch:
        watch.poll()
        fleet.add_build(JOB, queue_s=4 * HOUR)
        for _ in range(240):
            fleet.add_build(JOB, duration_s=1)
        watch.poll(times=2)
        watch.simulator.reset_counts()
        for _ in range(60):
            fleet.add_build(JOB, duration_s=1)
            watch.poll(after=5 * MINUTE)
        assert watch.counted() == {"success": 301}
        assert watch.value("lost_builds_total") == 0
        assert cost(watch) <= 120 + 12 * 2 + 20


def quiet(stuck: bool, after: bool) -> Fleet:
    """Five jobs that built two days ago, perhaps once more later, and whose first build may still run."""
    fleet = Fleet(ManualClock(START_MS), seed=1)
    for ordinal in range(5):
        job = fleet.add_job(f"job-{ordinal}")
        fleet.add_build(job.id, duration_s=None if stuck else 60, at_ms=START_MS - round(2 * DAY * 1000))
        if after:
            fleet.add_build(job.id, at_ms=START_MS - round(DAY * 1000))
    return fleet


@pytest.mark.parametrize("after", [True, False], ids=["an-older-one", "the-last-one"])
def test_quiet_jobs_stay_quiet_though_a_build_of_each_is_stuck(after: bool) -> None:
    costs = {}
    for stuck in (False, True):
        fleet = quiet(stuck, after)
        with watching(fleet) as watch:
            watch.poll(times=2)
            watch.simulator.reset_counts()
            watch.poll_for(6 * HOUR, every=10 * MINUTE)
            costs[stuck] = cost(watch)
            assert watch.value("active_builds", job_name="job-3", state="running") == stuck
            if stuck:
                fleet.finish_build(fleet.jobs()[3].id, 1)
                fleet.add_build(fleet.jobs()[4].id)
                watch.poll_for(7 * HOUR, every=30 * MINUTE)
                assert watch.counted("job-3") == watch.counted("job-4") == {"success": 1}
    assert costs[True] - costs[False] <= 5 * 6


def test_missed_builds_take_their_pages_of_history_once(fleet: Fleet, watch: Watch) -> None:
    fleet.add_build(JOB)
    watch.poll()
    for _ in range(1000):
        fleet.add_build(JOB, duration_s=1)
    watch.clock.advance(HOUR)
    watch.simulator.reset_counts()
    watch.poll(times=2)
    assert watch.counted() == {"success": 1000}
    assert len(watch.asked("record-info")) <= 5
    assert len(watch.asked("records")) <= 1000 // PAGE_SIZE + 1
    assert len(watch.asked("period-history")) <= 1000 // PAGE_SIZE + 3


def test_while_a_backlog_is_worked_off_new_builds_still_show(fleet: Fleet) -> None:
    with watching(fleet, max_requests_per_minute=30) as watch:
        watch.simulator.faults.add(fault("error", operation="records", status=403, code="CB.00031007"))
        watch.poll()
        for _ in range(400):
            fleet.add_build(JOB, duration_s=1)
        watch.clock.advance(HOUR)
        watch.poll()
        assert 50 <= watch.counted()["success"] < 400
        fleet.add_build(JOB, duration_s=None)
        watch.poll(times=6)
        assert watch.value("active_builds", state="running") == 1
        watch.poll(times=15)
        assert watch.counted() == {"success": 400}
        assert len(watch.asked("period-history")) <= 30


def test_a_lost_number_makes_history_be_read_to_its_end_six_times_and_never_again(
    fleet: Fleet, simulator: Simulator, watch: Watch
) -> None:
    for ordinal in range(400):
        fleet.add_build(JOB, duration_s=1, at_ms=START_MS - 400_000 + ordinal * 1000)
    watch.poll()
    simulator.faults.add(fault("lost-records", detail="unknown", numbers=[401]))
    fleet.add_build(JOB)
    fleet.add_build(JOB)
    watch.poll_for(80 * MINUTE, every=5 * MINUTE)
    assert watch.value("lost_builds_total") == 1
    pages = []
    for _ in range(48):
        simulator.reset_counts()
        watch.poll(after=HOUR)
        pages.append(len(watch.asked("period-history")))
    assert sum(count > 2 for count in pages[:36]) == 6
    assert pages[36:] == [1] * 12
    simulator.faults.clear()
    fleet.add_build(JOB)
    watch.poll(times=2)
    assert watch.counted() == {"success": 2}


def test_a_look_back_ends_where_it_has_seen_enough() -> None:
    fleet = Fleet(ManualClock(START_MS), seed=1)
    fleet.add_job("checkout", "shop", job_id=JOB)
    for ordinal in range(2500, 0, -1):
        fleet.add_build(
            JOB, result="success" if ordinal == 500 else "failure", at_ms=START_MS - ordinal * 120_000
        )
    with watching(fleet) as watch:
        watch.poll()
        assert watch.value("last_build_number") == 2500
        assert watch.value("consecutive_failures") == 499
        assert len(watch.asked("period-history")) == 10
        fleet.add_build(JOB)
        watch.poll(times=2)
        assert watch.counted() == {"success": 1}


def test_three_hundred_numbers_missing_in_history_are_counted_but_for_those_that_are_denied(
    fleet: Fleet, simulator: Simulator, watch: Watch
) -> None:
    fleet.add_build(JOB)
    watch.poll()
    simulator.faults.add(
        fault("lost-records", detail="unknown", numbers=range(2, 42)),
        fault("lost-records", detail="known", numbers=range(42, 302)),
    )
    for _ in range(301):
        fleet.add_build(JOB)
    simulator.reset_counts()
    watch.poll(times=4)
    assert watch.counted() == {"success": 261}
    watch.poll_for(2 * HOUR, every=4 * MINUTE)
    assert watch.counted() == {"success": 261}
    assert watch.value("lost_builds_total") == 40
    assert len(watch.asked("record-info")) <= 261 + 40 * 6


def test_a_build_of_more_than_a_day_that_record_info_refuses_is_counted_from_its_history(
    fleet: Fleet, simulator: Simulator, watch: Watch
) -> None:
    fleet.add_build(JOB, duration_s=5)
    watch.poll(times=2)
    simulator.faults.add(fault("error", operation="record-info", status=403, code="CB.00031059"))
    fleet.add_build(JOB, result="failure", duration_s=30 * HOUR)
    watch.poll_for(26 * HOUR, every=HOUR)
    for _ in range(110):
        fleet.add_build(JOB, duration_s=5)
    watch.poll_for(14 * HOUR, every=HOUR)
    assert watch.counted() == {"success": 110, "failure": 1}
    assert watch.value("lost_builds_total") == 0
