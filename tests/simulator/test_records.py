"""``records``: many whole builds in one answer, with and without faults."""

from typing import Any

import pytest

from exporter.simulator import Fleet, ManualClock, Simulator, fault

from .conftest import JOB, START_MS, Caller


def test_records_have_whole_builds(fleet: Fleet, caller: Caller, clock: ManualClock) -> None:
    fleet.add_build(JOB, result="failure", queue_s=2.5, duration_s=20.5, branch="develop", trigger="pipeline")
    fleet.add_build(JOB, result="schedule_failure", queue_s=3)
    clock.advance(60)
    fleet.add_build(JOB, queue_s=5)
    queued, undispatched, failed = caller.records()["data"]
    detail = caller.detail(1)
    same = (
        "id",
        "status",
        "branch",
        "trigger_type",
        "create_time",
        "queued_time",
        "start_time",
        "finish_time",
    )
    assert [failed[name] for name in same] == [detail[name] for name in same]
    assert (failed["build_no"], failed["project_id"]) == ("1", detail["build_project_id"])
    durations = ("build_duration", "pending_duration", "duration")
    assert [failed[name] for name in durations] == [20_500, 2500, 23_000]
    assert (undispatched["status"], undispatched["start_time"]) == ("SCHEDULE_FAILURE", None)
    assert (queued["status"], queued["start_time"], queued["finish_time"]) == ("InQueue", None, None)


def test_records_are_paged_from_zero_and_the_newest_come_first(fleet: Fleet, caller: Caller) -> None:
    for _ in range(12):
        fleet.add_build(JOB, at_ms=START_MS - 60_000)
    pages = [caller.records(f"page={page}&limit=5") for page in range(4)]
    numbers = [[int(record["build_no"]) for record in page["data"]] for page in pages]
    assert numbers == [[12, 11, 10, 9, 8], [7, 6, 5, 4, 3], [2, 1], []]
    assert pages[2]["pagination"] == {"page": 2, "limit": 5, "total": 12}
    assert len(caller.records("")["data"]) == 10


def test_records_are_filtered_by_dates_to_the_second(fleet: Fleet, caller: Caller) -> None:
    for second in range(4):
        fleet.add_build(JOB, at_ms=START_MS - 60_000 + second * 1000 + 500)
    span = "from_date=2025-03-10%2011:59:01&to_date=2025-03-10%2011:59:02"
    assert [record["build_no"] for record in caller.records(span)["data"]] == ["3", "2"]
    since = caller.records("from_date=2025-03-10%2011:59:03")
    assert [record["build_no"] for record in since["data"]] == ["4"]


def test_records_of_a_deleted_job_are_refused(fleet: Fleet, caller: Caller) -> None:
    path = f"/v1/record/{fleet.build_project_id(JOB)}/records"
    assert caller.get(path).status == 200
    fleet.delete_job(JOB)
    assert (caller.get(path).status, caller.get(path).json()["error_code"]) == (422, "DEVCB.00031006")


@pytest.mark.parametrize(
    "query", ["page=-1", "limit=0", "limit=101", "from_date=2025-03-10", "to_date=2025-03-10T00:00:00"]
)
def test_invalid_queries_for_records_are_refused(fleet: Fleet, caller: Caller, query: str) -> None:
    reply = caller.get(f"/v1/record/{fleet.build_project_id(JOB)}/records?{query}")
    assert (reply.status, reply.json()["error_code"]) == (400, "CB.00030001")


@pytest.fixture
def five(fleet: Fleet, caller: Caller) -> Caller:
    """A caller, and five builds."""
    for number in range(5):
        fleet.add_build(JOB, at_ms=START_MS - (600 - number) * 1000, queue_s=2.5, duration_s=8.25)
    return caller


def test_records_are_late_lost_damaged_and_shifted_as_history_is(
    simulator: Simulator, five: Caller, fleet: Fleet, clock: ManualClock
) -> None:
    def numbers(query: str = "") -> list[str]:
        return [record["build_no"] for record in five.records(query)["data"]]

    fleet.add_build(JOB, queue_s=0, duration_s=10)
    clock.advance(20)
    simulator.faults.add(fault("late-records", seconds=60, numbers=[6]), fault("lost-records", numbers=[2]))
    assert numbers() == ["5", "4", "3", "1"]
    simulator.faults.replace([fault("shifting-pages", operation="records")])
    assert numbers("page=1&limit=2") == ["5", "4"]
    simulator.faults.replace([fault("order", by="ascending")])
    assert numbers() == ["1", "2", "3", "4", "5", "6"]
    simulator.faults.replace([fault("null-fields", operation="records", job=JOB, fields=["status"])])
    assert five.records()["data"][0]["status"] is None
    simulator.faults.replace([fault("garbage-records", operation="records", items=[7])])
    assert five.records()["data"][0] == 7
    simulator.faults.replace([fault("oversized-page", operation="records", records=300)])
    assert numbers() == [str(number) for number in range(1, 301)]
    simulator.faults.replace([fault("no-records", operation="records")])
    assert five.records("page=9")["data"] is None


@pytest.mark.parametrize(
    ("show", "expected"), [("null", (None, None)), ("empty", ("", "")), ("phase", ("Running", None))]
)
def test_running_builds_show_in_several_ways_in_records(
    simulator: Simulator, five: Caller, fleet: Fleet, show: str, expected: object
) -> None:
    fleet.add_build(JOB, at_ms=START_MS - 60_000, duration_s=None)
    simulator.faults.add(fault("running-builds", show=show))
    record = five.records()["data"][0]
    assert (record["status"], record["finish_time"]) == expected
    simulator.faults.replace([fault("running-builds", show="absent")])
    assert five.records()["data"][0]["build_no"] == "5"


def test_numbers_in_records_can_be_of_the_other_type(simulator: Simulator, five: Caller) -> None:
    simulator.faults.add(fault("numbers-as-strings"))
    assert five.records()["data"][4]["build_duration"] == "8250"
    simulator.faults.replace([fault("strings-as-numbers", operation="records")])
    assert five.records()["data"][4]["build_no"] == 1


@pytest.mark.parametrize("value", [-1, 3, None])
def test_the_total_of_records_can_be_wrong(simulator: Simulator, five: Caller, value: object) -> None:
    assert five.records()["pagination"]["total"] == 5
    simulator.faults.add(fault("wrong-total", value=value))
    assert five.records()["pagination"]["total"] == value


@pytest.mark.parametrize(
    ("style", "expected"),
    [("compact", "2025-03-10T11:50:02+0800"), ("java", "Mon Mar 10 11:50:02 CST 2025")],
)
def test_times_in_records_can_be_written_otherwise(
    simulator: Simulator, five: Caller, style: str, expected: str
) -> None:
    simulator.faults.add(fault("time-style", operation="records", style=style))
    assert five.records()["data"][4]["start_time"] == expected


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, ["1"]),
        ({"by": "started"}, ["2", "1"]),
        ({"by": "finished"}, ["2", "1"]),
        ({"by": "nothing"}, ["2", "1"]),
        ({"hours": 0}, []),
    ],
)
def test_dates_of_records_can_mean_something_else(
    simulator: Simulator, five: Caller, fleet: Fleet, options: dict[str, Any], expected: list[str]
) -> None:
    job = fleet.add_job("spread").id
    fleet.add_build(job, at_ms=START_MS - 3600_000, queue_s=0)
    fleet.add_build(job, at_ms=START_MS - 7200_000, queue_s=3600)
    simulator.faults.add(fault("records-dates", **options))
    data = five.records("from_date=2025-03-10%2010:30:00&to_date=2025-03-10%2012:00:00", job)["data"]
    assert [record["build_no"] for record in data] == expected


@pytest.mark.parametrize(
    ("field", "differing"),
    [("result", {"status"}), ("queue", {"queued_time"}), ("duration", {"finish_time"})],
)
def test_records_can_disagree_with_record_info(
    simulator: Simulator, five: Caller, field: str, differing: set[str]
) -> None:
    simulator.faults.add(fault("disagreement", operation="records", field=field, numbers=[4]))
    details = {number: five.detail(number) for number in (4, 5)}
    records = {int(record["build_no"]): record for record in five.records()["data"]}
    compared = ("status", "queued_time", "start_time", "finish_time", "branch", "trigger_type")
    assert {name for name in compared if records[4][name] != details[4][name]} == differing
    assert [records[5][name] for name in compared] == [details[5][name] for name in compared]
    build = simulator.truth()[JOB].builds[3]
    assert (build.result, build.duration_ms, build.duration_observable) == ("success", 8250, True)


def test_one_version_of_record_info_can_disagree_with_the_other(simulator: Simulator, five: Caller) -> None:
    simulator.faults.add(fault("disagreement", operation="record-info-v1", seconds=2.5))
    newer = five.get(f"/v1/record/{JOB}/1/record-info").json()["result"]
    assert (newer["duration"], five.detail(1)["duration"]) == (10_750, 8250)


def test_the_id_in_records_can_be_the_other_one_of_record_info(simulator: Simulator, five: Caller) -> None:
    detail = five.detail(5)
    assert five.records()["data"][0]["id"] == detail["id"]
    simulator.faults.add(fault("build-record-ids"))
    assert five.records()["data"][0]["id"] == detail["build_record_id"] != detail["id"]


def test_one_version_of_record_info_can_lag_behind_the_other(simulator: Simulator, five: Caller) -> None:
    simulator.faults.add(fault("late-details", operation="record-info-v1", seconds=3600))
    assert five.get(f"/v1/record/{JOB}/1/record-info").status == 404
    assert five.get(f"/v4/jobs/{JOB}/1/record-info").status == 200
