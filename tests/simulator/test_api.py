"""The service over a socket, without faults."""

import pytest

from exporter.simulator import Fleet, ManualClock, Plan, Simulator

from .conftest import JOB, START_MS, WEEK, Caller

DAY = 86_400_000


def test_pages_are_counted_from_zero_and_the_newest_come_first(fleet: Fleet, caller: Caller) -> None:
    for _ in range(5):
        fleet.add_build(JOB, at_ms=START_MS - 60_000)
    assert caller.numbers(f"offset=0&limit=2&{WEEK}") == [5, 4]
    assert caller.numbers(f"offset=2&limit=2&{WEEK}") == [1]
    assert caller.numbers(f"offset=3&limit=2&{WEEK}") == []
    assert caller.history(f"offset=2&limit=2&{WEEK}")["total"] == 5


def test_days_are_utc_plus_8_and_inclusive(fleet: Fleet, caller: Caller) -> None:
    local_midnight = 1741449600000  # 2025-03-09T00:00+08:00
    fleet.add_build(JOB, at_ms=local_midnight - 60_000)
    fleet.add_build(JOB, at_ms=local_midnight)
    fleet.add_build(JOB, at_ms=local_midnight + DAY - 60_000)
    assert caller.numbers("offset=0&start_time=2025-03-09&end_time=2025-03-09") == [3, 2]
    assert caller.numbers("offset=0&start_time=2025-03-08&end_time=2025-03-08") == [1]


def test_a_build_is_reported_up_to_now(fleet: Fleet, caller: Caller, clock: ManualClock) -> None:
    fleet.add_build(JOB, result="failure", queue_s=10, duration_s=20.5)
    queued = caller.history()["history_records"][0]
    assert (queued["start_time"], queued["end_time"], queued["result"]) == (None, None, None)
    assert caller.detail(1)["status"] == "InQueue"
    clock.advance(12)
    running = caller.history()["history_records"][0]
    assert (running["start_time"], running["end_time"]) == ("2025-03-10T12:00:10+08:00", None)
    assert (caller.detail(1)["status"], caller.detail(1)["duration"]) == ("Running", None)
    clock.advance(20)
    ended = caller.history()["history_records"][0]
    assert (ended["end_time"], ended["result"]) == ("2025-03-10T12:00:30+08:00", "FAILURE")
    detail = caller.detail(1)
    assert (detail["finish_time"], detail["duration"]) == ("2025-03-10T04:00:30.500+00:00", 20_500)
    assert (detail["queued_time"], detail["start_time"]) == (
        "2025-03-10T04:00:00.000+00:00",
        "2025-03-10T04:00:10.000+00:00",
    )


def test_both_paths_of_record_info_say_the_same(fleet: Fleet, caller: Caller) -> None:
    fleet.add_build(JOB)
    newer = caller.get(f"/v1/record/{JOB}/1/record-info")
    assert newer.json()["result"] == caller.detail(1)
    assert caller.get(f"/v1/record/{JOB}/2/record-info").status == 404


def test_stages_add_up_to_the_build(fleet: Fleet, caller: Caller, clock: ManualClock) -> None:
    fleet.add_build(JOB, duration_s=33.333)
    clock.advance(60)
    record_id = caller.detail(1)["id"]
    stages = caller.get(f"/v1/record/{record_id}/full-stages").json()["result"]["build_stages"]
    assert sum(stage["duration"] for stage in stages.values()) == 33_333


def test_a_build_that_is_aborted_shows_the_stages_behind_it_as_in_the_example(
    fleet: Fleet, caller: Caller, clock: ManualClock
) -> None:
    fleet.add_build(JOB, result="aborted", duration_s=80)
    clock.advance(100)
    stages = caller.get(f"/v1/record/{caller.detail(1)['id']}/full-stages").json()["result"]["build_stages"]
    actual = [(stage["display_name"], stage["status"], stage["duration"]) for stage in stages.values()]
    assert actual == [
        ("initial", "SUCCESS", 50_000),
        ("Cache Check", "ABORTED", 30_000),
        ("Code CheckOut", "ABORTED", 0),
        ("Maven", "ABORTED", 0),
        ("final", "ABORTED", 0),
    ]
    for one in stages.values():
        assert one["duration"] == one["build_duration"] + one["pending_duration"]


def test_an_unfinished_build_shows_the_stages_that_have_begun(
    fleet: Fleet, caller: Caller, clock: ManualClock
) -> None:
    fleet.add_build(JOB, queue_s=0, duration_s=100)
    clock.advance(10)
    stages = caller.get(f"/v1/record/{caller.detail(1)['id']}/full-stages").json()["result"]["build_stages"]
    actual = [(name, stage["status"], stage["duration"]) for name, stage in stages.items()]
    assert actual == [
        ("initial", "SUCCESS", 5000),
        ("stage1", "SUCCESS", 3000),
        ("stage2", "Running", None),
    ]


def test_the_newer_list_of_records_has_strings_for_counts(fleet: Fleet, caller: Caller) -> None:
    fleet.add_build(JOB, at_ms=START_MS - 60_000)
    fleet.add_build(JOB, at_ms=START_MS + 60_000)
    span = "start_time=2025-03-10%2011:00:00&end_time=2025-03-10%2013:00:00"
    result = caller.get(f"/v1/record/{JOB}/list?{span}").json()["result"]
    assert (result["total_record"], result["job_build_states"][0]["number"]) == ("1", 1)


def test_a_deleted_job_moves_to_the_recycle_bin(fleet: Fleet, caller: Caller, clock: ManualClock) -> None:
    fleet.add_build(JOB)
    fleet.delete_job(JOB)
    bin_ = caller.get("/v1/job/recycling-jobs?page_no=1&page_size=100").json()["result"]
    assert [item["job_id"] for item in bin_["job_list"]] == [JOB]
    assert bin_["job_list"][0]["delete_time"] == "2025-03-10 12:00:00"
    assert bin_["job_list"][0]["delete_time_stamp"] == str(START_MS // 1000)
    gone = caller.get(f"/v3/jobs/{JOB}/period-history?offset=0&{WEEK}")
    assert (gone.status, gone.json()["error_code"]) == (422, "DEVCB.00031006")
    fleet.restore_job(JOB)
    assert caller.numbers() == [1]
    fleet.delete_job(JOB)
    clock.advance(bin_["keep_time"] * 86_400)
    assert caller.get("/v1/job/recycling-jobs").json()["result"]["total"] == 0


def test_the_recycle_bin_is_paged_from_one_and_searched(fleet: Fleet, caller: Caller) -> None:
    for name in ("one", "two", "three"):
        fleet.delete_job(fleet.add_job(name).id)
    second = caller.get("/v1/job/recycling-jobs?page_no=2&page_size=2").json()["result"]
    assert (second["total"], len(second["job_list"])) == (3, 1)
    found = caller.get("/v1/job/recycling-jobs?search=two").json()["result"]["job_list"]
    assert [item["job_name"] for item in found] == ["two"]


def test_job_lists_have_jobs_and_their_last_build(fleet: Fleet, caller: Caller, clock: ManualClock) -> None:
    project_id = fleet.project_id("shop")
    other = fleet.add_job("结算-发布", "payments")
    fleet.add_build(JOB, result="failure")
    fleet.add_build(other.id)
    clock.advance(5)
    of_project = caller.get(f"/v1/job/{project_id}/list?page_index=0&page_size=100").json()
    assert [(job["id"], job["last_build_status"]) for job in of_project["jobs"]] == [(JOB, "building")]
    clock.advance(60)
    of_user = caller.get("/v1/job/list?page_index=0&page_size=100").json()["result"]
    assert [
        (job["job_name"], job["project_name"], job["last_build_status"], job["is_finished"])
        for job in of_user["job_list"]
    ] == [("checkout-release", "shop", "red", True), ("结算-发布", "payments", "blue", True)]


def test_a_renamed_job_keeps_its_id(fleet: Fleet, caller: Caller) -> None:
    fleet.rename_job(JOB, "till-release")
    [job] = caller.get("/v1/job/list").json()["result"]["job_list"]
    assert (job["id"], job["job_name"], job["last_build_status"]) == (JOB, "till-release", "none")


def test_a_disabled_job_is_listed_as_such_and_not_built(
    fleet: Fleet, caller: Caller, clock: ManualClock
) -> None:
    busy = fleet.add_job("busy", plan=Plan(gap_s=60.0)).id
    fleet.disable_job(busy)
    built = len(fleet.builds(busy))
    clock.advance(3600)
    assert len(fleet.builds(busy)) == built
    jobs = caller.get("/v1/job/list").json()["result"]["job_list"]
    assert {job["id"]: job["disabled"] for job in jobs} == {JOB: False, busy: True}
    fleet.enable_job(busy)
    clock.advance(3600)
    assert len(fleet.builds(busy)) > built
    jobs = caller.get("/v1/job/list").json()["result"]["job_list"]
    assert {job["disabled"] for job in jobs} == {False}


def test_projects_are_listed(fleet: Fleet, caller: Caller) -> None:
    result = caller.get("/v1/domain/project/related-page?page_no=1&page_size=10").json()["result"]
    assert [(project["identifier"], project["name"]) for project in result["project_info_list"]] == [
        (fleet.project_id("shop"), "shop")
    ]


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        (f"/v3/jobs/{JOB[:-1]}/period-history?offset=0&{WEEK}", 400, "CB.00030001"),
        (f"/v3/jobs/{JOB.upper()}/period-history?offset=0&{WEEK}", 400, "CB.00030001"),
        (f"/v3/jobs/{JOB}/period-history?{WEEK}", 400, "CB.00030001"),
        (f"/v3/jobs/{JOB}/period-history?offset=-1&{WEEK}", 400, "CB.00030001"),
        (f"/v3/jobs/{JOB}/period-history?offset=0&limit=101&{WEEK}", 400, "CB.00030001"),
        (f"/v3/jobs/{JOB}/period-history?offset=0&end_time=2025-03-10", 400, "CB.00030001"),
        (
            f"/v3/jobs/{JOB}/period-history?offset=0&start_time=2025-3-1&end_time=2025-03-10",
            400,
            "CB.00030001",
        ),
        (
            f"/v3/jobs/{JOB}/period-history?offset=0&start_time=2025-02-30&end_time=2025-03-10",
            400,
            "CB.00030001",
        ),
        (
            f"/v3/jobs/{JOB}/period-history?offset=0&start_time=2025-03-11&end_time=2025-03-10",
            400,
            "CB.00030001",
        ),
        (
            f"/v3/jobs/{JOB}/period-history?offset=0&start_time=2025-02-01&end_time=2025-03-04",
            400,
            "CB.00031105",
        ),
        (f"/v3/jobs/{'0' * 32}/period-history?offset=0&{WEEK}", 422, "DEVCB.00031006"),
        (f"/v4/jobs/{JOB}/0/record-info", 400, "CB.00030001"),
        (f"/v4/jobs/{JOB}/one/record-info", 400, "CB.00030001"),
        (f"/v4/jobs/{JOB}/1/record-info", 404, "DEVCB.00031006"),
        ("/v1/job/recycling-jobs?page_no=0", 400, "CB.00030001"),
        ("/v1/job/recycling-jobs?page_size=101", 400, "CB.00030001"),
        (f"/v1/job/{'0' * 32}/list?page_index=0&page_size=10", 403, "CB.00031007"),
        ("/v1/record/94baa8ec-fd3f-4cae-81af-b24385a7220f/full-stages", 404, "DEVCB.00031006"),
        (f"/v1/record/{JOB}/1/record-info", 404, "DEVCB.00031006"),
        (f"/v1/record/{JOB}/records", 400, "CB.00030001"),
        ("/v1/record/94baa8ec-fd3f-4cae-81af-b24385a7220f/records", 422, "DEVCB.00031006"),
        ("/v1/nothing", 404, "APIGW.0101"),
    ],
)
def test_invalid_requests_are_refused(caller: Caller, path: str, status: int, code: str) -> None:
    reply = caller.get(path)
    assert (reply.status, reply.json()["error_code"]) == (status, code)


def test_thirty_days_may_be_requested(caller: Caller) -> None:
    assert caller.numbers("offset=0&start_time=2025-02-08&end_time=2025-03-10") == []


def test_history_before_the_first_kept_build_is_deleted(clock: ManualClock) -> None:
    fleet = Fleet(clock, seed=2, jobs=12)
    job = next(job for job in fleet.jobs() if job.plan.first_number > 1)
    with Simulator(fleet, caller_clock=clock) as simulator:
        reply = Caller(simulator.url).get(f"/v4/jobs/{job.id}/1/record-info")
    assert (reply.status, reply.json()["error_code"]) == (403, "CB.00031059")


def test_exchanges_are_counted_by_operation_and_status(simulator: Simulator, caller: Caller) -> None:
    caller.history()
    caller.get(f"/v4/jobs/{JOB}/1/record-info")
    caller.get(f"/v1/record/{JOB}/1/record-info")
    caller.get(f"/v1/record/{simulator.fleet.build_project_id(JOB)}/records")
    assert simulator.counts == {
        ("period-history", 200): 1,
        ("record-info", 404): 1,
        ("record-info-v1", 404): 1,
        ("records", 200): 1,
    }
    assert [(exchange.operation, exchange.job) for exchange in simulator.requests] == [
        ("period-history", JOB),
        ("record-info", JOB),
        ("record-info-v1", JOB),
        ("records", JOB),
    ]
    simulator.reset_counts()
    assert not simulator.counts


def test_ten_thousand_jobs_are_listed_at_once(clock: ManualClock) -> None:
    with Simulator(Fleet(clock, jobs=10_000), caller_clock=clock) as simulator:
        reply = Caller(simulator.url).get("/v1/job/list?page_index=99&page_size=100", timeout=10)
    assert len(reply.json()["result"]["job_list"]) == 100
