"""The truth is held against a recount as plain as can be."""

from exporter.simulator import Faults, Fleet, ManualClock, Plan, Simulator, demo_fleet, fault
from exporter.simulator.builds import Result
from exporter.simulator.truth import fleet_truth

from .conftest import JOB, START_MS, Caller

MINUTE = 60_000


def test_totals_agree_with_a_recount(clock: ManualClock) -> None:
    fleet = demo_fleet(clock, seed=3)
    clock.advance(1800)
    now_ms, since = clock.now_ms(), {job.id: job.plan.first_number + 20 for job in fleet.jobs()}
    for job_id, job in fleet_truth(fleet, Faults(), since).items():
        counts: dict[str, int] = {}
        durations: dict[str, int] = {}
        queues = 0
        for build in fleet.builds(job_id):
            if build.number <= since[job_id] or build.finish_ms is None or build.finish_ms > now_ms:
                continue
            counts[build.result] = counts.get(build.result, 0) + 1
            if build.start_ms is not None:
                length = build.finish_ms - build.start_ms
                durations[build.result] = durations.get(build.result, 0) + length
                queues += build.start_ms - build.queued_ms
        assert {result: n for result, n in job.totals.finished.items() if n} == counts
        assert {result: n for result, n in job.totals.duration_ms.items() if n} == durations
        assert job.totals.queue_ms == queues


def test_stages_add_up_to_the_builds_whatever_their_result(clock: ManualClock) -> None:
    fleet = demo_fleet(clock, seed=3)
    clock.advance(1800)
    for job in fleet_truth(fleet, Faults()).values():
        ended = [build for build in job.builds if build.finished]
        for build in ended:
            assert sum(length_ms for _, length_ms in build.stages) == (build.duration_ms or 0)
        assert sum(one.sum_ms for one in job.totals.stages.values()) == sum(job.totals.duration_ms.values())
        assert sum(one.count for one in job.totals.stages.values()) == sum(len(b.stages) for b in ended)


def test_a_job_may_have_stages_of_its_own_and_some_of_one_name(clock: ManualClock) -> None:
    fleet = Fleet(clock, seed=1)
    plan = Plan(gap_s=None, stages=(("Shell", 1), ("Shell", 2), ("发布", 1)))
    fleet.add_job("steps", job_id=JOB, plan=plan)
    fleet.add_build(JOB, duration_s=8)
    fleet.add_build(JOB, duration_s=8, result="failure")
    clock.advance(60)
    [truth] = fleet_truth(fleet, Faults()).values()
    stages = [build.stages for build in truth.builds]
    assert stages == [
        (("Shell", 2000), ("Shell (2)", 4000), ("发布", 2000)),
        (("Shell", 2000), ("Shell (2)", 4000), ("发布", 2000)),
    ]
    assert {name: one.count for name, one in truth.totals.stages.items()} == {
        "Shell": 2,
        "Shell (2)": 2,
        "发布": 2,
    }


def test_a_streak_is_counted_by_number_and_ends_with_a_success(fleet: Fleet, simulator: Simulator) -> None:
    results: list[Result] = [
        "success",
        "failure",
        "aborted",
        "timeout",
        "success",
        "failure",
        "schedule_failure",
    ]
    for minute, result in enumerate(results):
        fleet.add_build(JOB, result=result, at_ms=START_MS - (60 - minute) * MINUTE)
    totals = simulator.truth()[JOB].totals
    assert [(r.first_failure, r.success, r.duration_ms) for r in totals.recoveries] == [(2, 5, 3 * MINUTE)]
    assert totals.consecutive_failures == 2
    assert totals.last_finished is not None
    assert totals.last_finished.number == 7


def test_a_success_that_finished_first_is_not_a_recovery(fleet: Fleet, simulator: Simulator) -> None:
    fleet.add_build(JOB, result="failure", at_ms=START_MS - MINUTE, duration_s=50)
    fleet.add_build(JOB, at_ms=START_MS - MINUTE, duration_s=5)
    assert simulator.truth()[JOB].totals.recoveries == []


def test_an_abort_neither_adds_to_a_streak_nor_ends_it(fleet: Fleet, simulator: Simulator) -> None:
    results: list[Result] = ["failure", "aborted", "failure"]
    for result in results:
        fleet.add_build(JOB, result=result, at_ms=START_MS - MINUTE)
    assert simulator.truth()[JOB].totals.consecutive_failures == 2


def test_the_future_is_not_in_the_truth(fleet: Fleet, simulator: Simulator, clock: ManualClock) -> None:
    fleet.add_build(JOB, queue_s=10, duration_s=20)
    queued = simulator.truth()[JOB].builds[0]
    assert (queued.state, queued.start_ms, queued.finish_ms, queued.result) == ("queued", None, None, None)
    clock.advance(15)
    running = simulator.truth()[JOB].builds[0]
    assert (running.state, running.queue_ms, running.duration_ms) == ("running", 10_000, None)
    clock.advance(15)
    finished = simulator.truth()[JOB].builds[0]
    assert (finished.state, finished.result, finished.duration_ms) == (None, "success", 20_000)


def test_a_baseline_leaves_older_builds_out_of_sums_only(fleet: Fleet, simulator: Simulator) -> None:
    for _ in range(3):
        fleet.add_build(JOB, result="failure", at_ms=START_MS - MINUTE)
    totals = simulator.truth({JOB: 2})[JOB].totals
    assert (totals.finished["failure"], totals.consecutive_failures) == (1, 3)


def test_lost_builds_count_as_lost_and_nothing_else(fleet: Fleet, simulator: Simulator) -> None:
    for _ in range(3):
        fleet.add_build(JOB, at_ms=START_MS - MINUTE)
    simulator.faults.add(fault("lost-records", numbers=[2]))
    truth = simulator.truth()[JOB]
    assert [build.recorded for build in truth.builds] == [True, False, True]
    assert (truth.totals.finished["success"], truth.totals.lost) == (2, 1)


def test_a_record_lost_after_its_finish_was_reported_stays_in_the_truth(
    fleet: Fleet, simulator: Simulator, caller: Caller, clock: ManualClock
) -> None:
    fleet.add_build(JOB, result="failure", at_ms=START_MS - MINUTE)
    fleet.add_build(JOB, result="failure")
    caller.history()
    simulator.faults.add(fault("lost-records", numbers=[1, 2]))
    fleet.add_build(JOB)
    clock.advance(60)
    totals = simulator.truth()[JOB].totals
    assert [(r.first_failure, r.success) for r in totals.recoveries] == [(1, 3)]
    assert totals.lost == 1


def test_a_reported_falsehood_stays_in_the_truth(fleet: Fleet, simulator: Simulator, caller: Caller) -> None:
    for _ in range(3):
        fleet.add_build(JOB, at_ms=START_MS - MINUTE)
    simulator.faults.add(fault("backwards-clock", numbers=[1]), fault("unknown-result", numbers=[3]))
    caller.detail(1)
    caller.history()
    simulator.faults.clear()
    truth = simulator.truth()[JOB]
    assert [b.duration_observable and b.queue_observable for b in truth.builds] == [False, True, True]
    assert [build.result for build in truth.builds] == ["success", "success", "unknown"]
    assert truth.totals.duration_ms["success"] == 10_000
