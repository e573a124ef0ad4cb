"""Faults of pages, lists, records and single builds, over a socket."""

from typing import Any

import pytest

from exporter.simulator import Fleet, ManualClock, Simulator, fault
from exporter.simulator.builds import Plan

from .conftest import JOB, START_MS, WEEK, Caller

PAGE = f"limit=2&{WEEK}"


@pytest.fixture(autouse=True)
def five_builds(fleet: Fleet) -> None:
    for number in range(5):
        fleet.add_build(JOB, at_ms=START_MS - (600 - number) * 1000, queue_s=2.5, duration_s=8.25)


def _record(caller: Caller, number: int | str) -> Any:
    return next(record for record in caller.history()["history_records"] if record["build_number"] == number)


def test_a_single_record_can_be_an_object(simulator: Simulator, caller: Caller) -> None:
    simulator.faults.add(fault("single-object"))
    assert caller.history(f"offset=4&limit=1&{WEEK}")["history_records"]["build_number"] == 1
    assert len(caller.history()["history_records"]) == 5


def test_no_records_can_be_null_or_absent(simulator: Simulator, caller: Caller) -> None:
    beyond = f"offset=9&{PAGE}"
    simulator.faults.add(fault("no-records"))
    assert caller.history(beyond) == {"total": 5, "history_records": None}
    simulator.faults.replace([fault("no-records", shape="absent")])
    assert caller.history(beyond) == {"total": 5}


@pytest.mark.parametrize(("value", "expected"), [(-1, -1), ("string", "5"), (10_000, 10_000), (None, None)])
def test_the_total_can_be_wrong(
    simulator: Simulator, caller: Caller, value: object, expected: object
) -> None:
    simulator.faults.add(fault("wrong-total", value=value))
    assert caller.history()["total"] == expected


def test_order_can_be_any(simulator: Simulator, caller: Caller) -> None:
    simulator.faults.add(fault("order", by="ascending"))
    assert caller.numbers() == [1, 2, 3, 4, 5]
    simulator.faults.replace([fault("order", by="random")])
    orders = [caller.numbers() for _ in range(4)]
    assert all(sorted(order) == [1, 2, 3, 4, 5] for order in orders)
    assert len({tuple(order) for order in orders}) > 1


def test_pages_can_repeat_records_or_skip_them(simulator: Simulator, caller: Caller) -> None:
    simulator.faults.add(fault("shifting-pages", by=1))
    assert [caller.numbers(f"offset={page}&{PAGE}") for page in range(3)] == [[5, 4], [4, 3], [2, 1]]
    simulator.faults.replace([fault("shifting-pages", by=-1)])
    assert [caller.numbers(f"offset={page}&{PAGE}") for page in range(3)] == [[5, 4], [2, 1], []]


def test_offset_can_count_records(simulator: Simulator, caller: Caller) -> None:
    simulator.faults.add(fault("record-offset"))
    assert [caller.numbers(f"offset={page}&{PAGE}") for page in (0, 1, 2)] == [[5, 4], [4, 3], [3, 2]]


def test_the_last_day_can_be_left_out(simulator: Simulator, caller: Caller) -> None:
    simulator.faults.add(fault("exclusive-end"))
    assert caller.numbers("offset=0&start_time=2025-03-09&end_time=2025-03-10") == []
    assert len(caller.numbers("offset=0&start_time=2025-03-09&end_time=2025-03-11")) == 5


def test_the_recycle_bin_can_be_paged_from_zero(simulator: Simulator, caller: Caller, fleet: Fleet) -> None:
    fleet.delete_job(JOB)
    simulator.faults.add(fault("zero-based-pages"))
    assert caller.get("/v1/job/recycling-jobs?page_no=1").json()["result"]["job_list"] == []


def test_lists_can_be_empty_for_a_moment(simulator: Simulator, caller: Caller, fleet: Fleet) -> None:
    path = f"/v1/job/{fleet.project_id('shop')}/list?page_index=0&page_size=10"
    simulator.faults.add(fault("empty-list", times=1))
    assert caller.get(path).json() == {"jobs": [], "total": 0}
    assert caller.get(path).json()["total"] == 1


def test_lists_can_be_stale(simulator: Simulator, caller: Caller, fleet: Fleet, clock: ManualClock) -> None:
    clock.advance(3600)
    fresh = fleet.add_job("fresh")
    fleet.delete_job(JOB)
    simulator.faults.add(fault("stale-list", seconds=60))
    jobs = caller.get("/v1/job/list").json()["result"]["job_list"]
    assert [job["id"] for job in jobs] == [JOB]
    assert caller.get("/v1/job/recycling-jobs").json()["result"]["job_list"] == []
    clock.advance(60)
    jobs = caller.get("/v1/job/list").json()["result"]["job_list"]
    assert [job["id"] for job in jobs] == [fresh.id]


def test_stale_lists_show_builds_as_they_were(
    simulator: Simulator, caller: Caller, fleet: Fleet, clock: ManualClock
) -> None:
    clock.advance(3600)
    fleet.add_build(JOB, at_ms=clock.now_ms() - 80_000, queue_s=1, duration_s=30)
    fleet.add_build(JOB, at_ms=clock.now_ms() - 59_000)
    simulator.faults.add(fault("stale-list", seconds=60))
    [job] = caller.get("/v1/job/list").json()["result"]["job_list"]
    assert (job["build_number"], job["is_finished"]) == ("6", False)
    clock.advance(20)
    [job] = caller.get("/v1/job/list").json()["result"]["job_list"]
    assert (job["build_number"], job["is_finished"]) == ("7", True)


def test_a_projects_jobs_can_come_in_the_other_shape(
    simulator: Simulator, caller: Caller, fleet: Fleet
) -> None:
    simulator.faults.add(fault("list-shape"))
    body = caller.get(f"/v1/job/{fleet.project_id('shop')}/list?page_index=0&page_size=10").json()
    assert (body["status"], body["result"]["job_list"][0]["id"]) == ("success", JOB)


def test_garbage_can_stand_among_records_or_in_their_place(simulator: Simulator, caller: Caller) -> None:
    simulator.faults.add(fault("garbage-records"))
    records = caller.history()["history_records"]
    assert records[:5] == [7, None, "x", [[]], {}]
    assert [record["build_number"] for record in records[5:]] == [5, 4, 3, 2, 1]
    simulator.faults.replace([fault("garbage-records", items=[None], replace=True)])
    assert [record and record["build_number"] for record in caller.history()["history_records"]] == [
        None,
        4,
        3,
        2,
        1,
    ]


def test_fields_can_be_missing_or_null(simulator: Simulator, caller: Caller) -> None:
    simulator.faults.add(fault("missing-fields", fields=["result"]), fault("null-fields", fields=["branch"]))
    record = _record(caller, 3)
    assert ("result" in record, record["branch"]) == (False, None)
    assert caller.detail(3)["branch"] is None


def test_numbers_can_be_strings(simulator: Simulator, caller: Caller) -> None:
    simulator.faults.add(fault("numbers-as-strings"))
    assert (caller.detail(2)["duration"], caller.detail(2)["build_no"]) == ("8250", "2")
    assert _record(caller, "5")["result"] == "SUCCESS"


def test_stages_are_damaged_one_by_one(simulator: Simulator, caller: Caller) -> None:
    path = f"/v1/record/{caller.detail(2)['id']}/full-stages"
    simulator.faults.add(
        fault("numbers-as-strings", operation="full-stages"),
        fault("null-fields", operation="full-stages", fields=["sequence"]),
    )
    stages = caller.get(path).json()["result"]["build_stages"].values()
    assert sum(int(stage["duration"]) for stage in stages) == 8250
    assert all(isinstance(stage["duration"], str) and stage["sequence"] is None for stage in stages)


@pytest.mark.parametrize(
    ("show", "expected"), [("null", (None, None)), ("empty", ("", "")), ("phase", (None, "Running"))]
)
def test_running_builds_show_in_several_ways(
    simulator: Simulator, caller: Caller, fleet: Fleet, show: str, expected: object
) -> None:
    fleet.add_build(JOB, at_ms=START_MS - 60_000, duration_s=None)
    simulator.faults.add(fault("running-builds", show=show))
    record = _record(caller, 6)
    assert (record["end_time"], record["result"]) == expected


def test_running_builds_may_not_show_at_all(simulator: Simulator, caller: Caller, fleet: Fleet) -> None:
    fleet.add_build(JOB, at_ms=START_MS - 60_000, duration_s=None)
    simulator.faults.add(fault("running-builds", show="absent"))
    assert caller.numbers() == [5, 4, 3, 2, 1]


def test_triggers_can_be_localised(simulator: Simulator, caller: Caller) -> None:
    assert _record(caller, 1)["trigger_type"] == "MANUAL"
    simulator.faults.add(fault("localised-triggers"))
    assert _record(caller, 1)["trigger_type"] == "手工触发"


@pytest.mark.parametrize(
    ("style", "expected"), [("compact", "2025-03-10T11:50:02+0800"), ("naive", "2025-03-10 11:50:02")]
)
def test_history_times_can_be_written_otherwise(
    simulator: Simulator, caller: Caller, style: str, expected: str
) -> None:
    simulator.faults.add(fault("time-style", style=style))
    assert _record(caller, 1)["start_time"] == expected


def test_detail_times_can_be_whole_seconds_beside_an_exact_duration(
    simulator: Simulator, caller: Caller
) -> None:
    simulator.faults.add(fault("whole-seconds"))
    detail = caller.detail(1)
    assert (detail["start_time"], detail["duration"]) == ("2025-03-10T03:50:02.000+00:00", 8250)


def test_queued_time_can_be_a_length(simulator: Simulator, caller: Caller) -> None:
    simulator.faults.add(fault("queue-as-number"))
    assert caller.detail(1)["queued_time"] == 2500


def test_finished_builds_can_come_late_to_history(
    simulator: Simulator, caller: Caller, fleet: Fleet, clock: ManualClock
) -> None:
    fleet.add_build(JOB, queue_s=0, duration_s=10)
    simulator.faults.add(fault("late-records", seconds=60, numbers=[6]))
    assert 6 in caller.numbers()
    clock.advance(20)
    assert 6 not in caller.numbers()
    assert caller.detail(6)["status"] == "SUCCESS"
    simulator.faults.replace([fault("late-records", seconds=60, meanwhile="running", numbers=[6])])
    assert _record(caller, 6)["result"] is None
    clock.advance(50)
    assert _record(caller, 6)["result"] == "SUCCESS"


@pytest.mark.parametrize(("detail", "status", "recorded"), [("unknown", 404, False), ("known", 200, True)])
def test_records_can_be_lost(
    simulator: Simulator, caller: Caller, detail: str, status: int, recorded: bool
) -> None:
    simulator.faults.add(fault("lost-records", detail=detail, numbers=[2]))
    assert caller.numbers() == [5, 4, 3, 1]
    assert caller.get(f"/v4/jobs/{JOB}/2/record-info").status == status
    assert simulator.truth()[JOB].builds[1].recorded is recorded


def test_a_share_of_builds_is_always_the_same_builds(clock: ManualClock) -> None:
    fleet = Fleet(clock, seed=4)
    job = fleet.add_job("busy", plan=Plan(gap_s=900)).id
    with Simulator(fleet, caller_clock=clock) as simulator:
        caller = Caller(simulator.url)
        everything = caller.history(job=job)["total"]
        simulator.faults.add(fault("lost-records", probability=0.3))
        first, second = caller.history(job=job), caller.history(job=job)
    assert first == second
    assert 0.6 * everything < first["total"] < 0.8 * everything


def test_results_can_be_unknown_words(simulator: Simulator, caller: Caller) -> None:
    simulator.faults.add(fault("unknown-result", value="MELTED", numbers=[4]))
    assert (_record(caller, 4)["result"], caller.detail(4)["status"]) == ("MELTED", "MELTED")
    assert _record(caller, 3)["result"] == "SUCCESS"


def test_a_start_can_be_after_the_finish(simulator: Simulator, caller: Caller) -> None:
    simulator.faults.add(fault("backwards-clock", numbers=[1]))
    detail, record = caller.detail(1), _record(caller, 1)
    assert detail["start_time"] > detail["finish_time"]
    assert detail["duration"] < 0
    assert record["start_time"] > record["end_time"]
    assert not simulator.truth()[JOB].builds[0].duration_observable


def test_a_build_can_be_queued_after_its_start(simulator: Simulator, caller: Caller) -> None:
    simulator.faults.add(fault("backwards-clock", how="queued-after-start", numbers=[1]))
    detail = caller.detail(1)
    assert detail["queued_time"] > detail["start_time"]
    build = simulator.truth()[JOB].builds[0]
    assert (build.queue_observable, build.duration_observable) == (False, True)


def test_a_detail_can_be_unavailable(simulator: Simulator, caller: Caller) -> None:
    simulator.faults.add(fault("error", operation="record-info", status=403, code="CB.00031059"))
    reply = caller.get(f"/v4/jobs/{JOB}/1/record-info")
    assert (reply.status, reply.json()["error_code"]) == (403, "CB.00031059")
    assert caller.numbers() == [5, 4, 3, 2, 1]


def test_a_page_can_be_larger_than_requested(simulator: Simulator, caller: Caller) -> None:
    simulator.faults.add(fault("oversized-page", records=300))
    assert caller.numbers(f"offset=0&{PAGE}") == list(range(1, 301))


def test_details_can_lag_behind_history(
    fleet: Fleet, simulator: Simulator, caller: Caller, clock: ManualClock
) -> None:
    fleet.add_build(JOB, queue_s=1, duration_s=9)
    clock.advance(11)
    simulator.faults.add(fault("late-details", seconds=5, numbers=[6]))
    path = f"/v4/jobs/{JOB}/6/record-info"
    assert 6 in caller.numbers()
    assert (caller.get(path).status, caller.detail(5)["build_no"]) == (404, 5)
    clock.advance(4)
    assert caller.get(path).status == 200


def test_a_list_can_be_wrong_about_the_last_build(
    simulator: Simulator, caller: Caller, fleet: Fleet, clock: ManualClock
) -> None:
    [right] = caller.get("/v1/job/list").json()["result"]["job_list"]
    simulator.faults.add(fault("wrong-last-build", number=2, seconds=60, finished=False))
    [wrong] = caller.get("/v1/job/list").json()["result"]["job_list"]
    assert int(wrong["build_number"]) == int(right["build_number"]) + 2
    assert wrong["last_build_time"] == right["last_build_time"] + 60_000
    assert (right["is_finished"], wrong["is_finished"]) == (True, False)
