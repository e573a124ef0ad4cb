import itertools

import pytest

from exporter.simulator import Fleet, ManualClock, Plan, demo_fleet
from exporter.simulator.builds import RESULTS

from .conftest import JOB, START_MS

HOUR = 3600


def test_the_same_seed_and_clock_give_the_same_builds() -> None:
    clocks = ManualClock(START_MS), ManualClock(START_MS)
    one, other = (Fleet(clock, seed=7, jobs=5) for clock in clocks)
    for clock in clocks:
        clock.advance(50 * HOUR)
    assert [one.builds(job.id) for job in one.jobs()] == [other.builds(job.id) for job in other.jobs()]


def test_observing_changes_nothing() -> None:
    clocks = ManualClock(START_MS), ManualClock(START_MS)
    patient, curious = (Fleet(clock, seed=7, jobs=3) for clock in clocks)
    for _ in range(40):
        clocks[1].advance(HOUR)
        for job in curious.jobs():
            curious.builds(job.id)
    clocks[0].advance(40 * HOUR)
    assert [curious.builds(job.id) for job in curious.jobs()] == [
        patient.builds(job.id) for job in patient.jobs()
    ]


def test_another_seed_gives_another_fleet() -> None:
    one, other = (Fleet(ManualClock(START_MS), seed=seed, jobs=3) for seed in (1, 2))
    assert not {job.id for job in one.jobs()} & {job.id for job in other.jobs()}


def test_numbers_are_contiguous_from_the_first() -> None:
    fleet = Fleet(ManualClock(START_MS), jobs=6)
    for job in fleet.jobs():
        numbers = [build.number for build in fleet.builds(job.id)]
        assert numbers == list(range(job.plan.first_number, job.plan.first_number + len(numbers)))


def test_a_job_that_runs_several_builds_finishes_them_out_of_order() -> None:
    fleet = Fleet(ManualClock(START_MS), history_days=3)
    plan = Plan(gap_s=60, duration_s=120, spread=1.0, concurrency=4, schedule_failure_ratio=0)
    finishes = [build.finish_ms or 0 for build in fleet.builds(fleet.add_job("a", plan=plan).id)]
    assert finishes != sorted(finishes)


def test_a_job_that_runs_one_build_at_a_time_never_overlaps() -> None:
    fleet = Fleet(ManualClock(START_MS), history_days=3)
    plan = Plan(gap_s=60, duration_s=120, schedule_failure_ratio=0)
    builds = fleet.builds(fleet.add_job("a", plan=plan).id)
    pairs = itertools.pairwise(builds)
    assert all((before.finish_ms or 0) <= (after.start_ms or 0) for before, after in pairs)


def test_all_results_and_triggers_occur() -> None:
    fleet = Fleet(ManualClock(START_MS), history_days=30)
    builds = fleet.builds(fleet.add_job("a", plan=Plan(gap_s=600)).id)
    assert {build.result for build in builds} == set(RESULTS) - {"unknown"}
    assert {build.trigger for build in builds} == {"manual", "schedule", "code_change", "pipeline"}


def test_a_build_that_was_never_dispatched_has_no_start(fleet: Fleet) -> None:
    build = fleet.add_build(JOB, result="schedule_failure", queue_s=30)
    assert (build.start_ms, build.finish_ms) == (None, START_MS + 30_000)


def test_after_arrivals_stop_only_running_builds_go_on(clock: ManualClock) -> None:
    fleet = demo_fleet(clock)
    fleet.stop_arrivals()
    before = {job.id: len(fleet.builds(job.id)) for job in fleet.jobs()}
    clock.advance(HOUR)
    assert {job.id: len(fleet.builds(job.id)) for job in fleet.jobs()} == before
    unfinished = [
        build for job in fleet.jobs() for build in fleet.builds(job.id) if not build.finished(clock.now_ms())
    ]
    assert len(unfinished) == 1


def test_resumed_arrivals_leave_no_builds_for_the_pause(clock: ManualClock) -> None:
    fleet = demo_fleet(clock)
    fleet.stop_arrivals()
    clock.advance(HOUR)
    resumed_ms = clock.now_ms()
    fleet.resume_arrivals()
    clock.advance(HOUR)
    created = [build.created_ms for job in fleet.jobs() for build in fleet.builds(job.id)]
    assert not [at for at in created if START_MS < at <= resumed_ms]
    assert max(created) > resumed_ms


def test_a_record_id_leads_back_to_its_build(fleet: Fleet) -> None:
    build = fleet.add_build(JOB)
    assert fleet.find_record(fleet.record_id(build)) == build
    assert fleet.find_record("94baa8ec-fd3f-4cae-81af-b24385a7220f") is None


def test_a_build_can_be_finished_by_hand(fleet: Fleet, clock: ManualClock) -> None:
    stuck = fleet.add_build(JOB, duration_s=None)
    clock.advance(90)
    ended = fleet.finish_build(JOB, stuck.number, "timeout")
    assert (ended.finish_ms, ended.result) == (START_MS + 90_000, "timeout")


def test_a_clock_cannot_go_back(clock: ManualClock) -> None:
    with pytest.raises(ValueError, match="back"):
        clock.advance(-1)


def test_a_demo_fleet_ends_a_build_every_few_seconds(clock: ManualClock) -> None:
    fleet = demo_fleet(clock)
    clock.advance(600)
    ended = [
        build
        for job in fleet.jobs()
        for build in fleet.builds(job.id)
        if build.finish_ms and START_MS < build.finish_ms <= clock.now_ms()
    ]
    assert 60 < len(ended) < 400
