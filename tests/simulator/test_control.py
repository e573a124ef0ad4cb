"""Control over HTTP, and the simulator as a program of its own."""

import re
import signal
import subprocess
import sys

from exporter.simulator import KINDS, Fault, Fleet, RealClock, Simulator, fault
from tests.support import fork_server

from .conftest import JOB, START_MS, WEEK, Caller


def test_builds_are_created_and_their_truth_is_reported(caller: Caller) -> None:
    made = caller.send(
        "POST",
        f"/_sim/jobs/{JOB}/builds",
        {"result": "failure", "duration_s": 5, "queue_s": 1, "trigger": "pipeline"},
    ).json()
    assert made == {"number": 1, "start_ms": START_MS + 1000, "finish_ms": START_MS + 6000}
    assert caller.send("POST", "/_sim/advance", {"seconds": 10}).json() == {"now_ms": START_MS + 10_000}
    truth = caller.get("/_sim/truth").json()
    job = truth["jobs"][JOB]
    assert (truth["now_ms"], job["job_name"], job["project"]) == (
        START_MS + 10_000,
        "checkout-release",
        "shop",
    )
    assert (job["builds"][0]["result"], job["builds"][0]["trigger"]) == ("failure", "pipeline")
    assert job["totals"]["duration_ms"]["failure"] == 5000


def test_truth_accepts_baselines_and_job_ids(fleet: Fleet, caller: Caller) -> None:
    fleet.add_job("other")
    for _ in range(2):
        fleet.add_build(JOB, at_ms=START_MS - 60_000)
    jobs = caller.get(f"/_sim/truth?job={JOB}&since={JOB}:1").json()["jobs"]
    assert list(jobs) == [JOB]
    assert jobs[JOB]["totals"]["finished"]["success"] == 1


def test_faults_are_set_added_and_listed(simulator: Simulator, caller: Caller) -> None:
    assert len(caller.send("POST", "/_sim/faults", [{"kind": "html", "times": 1}]).json()) == 1
    assert len(caller.send("POST", "/_sim/faults", {"kind": "delay", "seconds": 0}).json()) == 2
    statuses = [caller.get(f"/v3/jobs/{JOB}/period-history?offset=0&{WEEK}").status for _ in range(2)]
    assert statuses == [502, 200]
    assert [fault["fired"] for fault in caller.get("/_sim/faults").json()] == [1, 2]
    caller.send("POST", "/_sim/faults", [])
    assert simulator.faults.active() == []


def test_an_endpoint_is_withdrawn_and_given_back_over_http(caller: Caller) -> None:
    history, project = f"/v3/jobs/{JOB}/period-history?offset=0&{WEEK}", "/v1/domain/project/related-page"
    for operation in ("period-history", "projects"):
        caller.send("POST", "/_sim/faults", {"kind": "withdrawn", "operation": operation, "status": 410})
    caller.send("POST", "/_sim/faults", {"kind": "rate-limit", "operation": "projects"})
    assert [caller.get(path).status for path in (history, project)] == [410, 410]
    kept = caller.send("DELETE", "/_sim/faults?kind=withdrawn&operation=projects").json()
    assert [(item["kind"], item["operation"]) for item in kept] == [
        ("withdrawn", "period-history"),
        ("rate-limit", "projects"),
    ]
    assert [caller.get(path).status for path in (history, project)] == [410, 200]
    assert caller.send("DELETE", "/_sim/faults").json() == []


def test_every_fault_survives_its_json_form() -> None:
    for kind in KINDS:
        before = fault(kind, operation="record-info", job=JOB, probability=0.5, times=3)
        after = Fault.from_json(before.to_json())
        assert after.to_json() == before.to_json()


def test_invalid_requests_are_explained(caller: Caller) -> None:
    refused = caller.send("POST", "/_sim/faults", {"kind": "rain"})
    assert (refused.status, "unknown fault 'rain'" in refused.json()["error_msg"]) == (400, True)
    assert caller.send("POST", f"/_sim/jobs/{JOB}/builds", {"result": "great"}).status == 400
    assert caller.send("POST", f"/_sim/jobs/{'0' * 32}/delete").status == 400
    assert caller.get("/_sim/nothing").status == 404


def test_jobs_come_go_and_change(fleet: Fleet, caller: Caller) -> None:
    made = caller.send("POST", "/_sim/jobs", {"name": "till", "project": "payments"}).json()
    assert made["project_id"] == fleet.project_id("payments")
    caller.send("POST", f"/_sim/jobs/{made['job_id']}/rename", {"name": "till-2"})
    caller.send("POST", f"/_sim/jobs/{JOB}/delete")
    caller.send("POST", f"/_sim/jobs/{made['job_id']}/disable")
    [listed] = caller.get("/v1/job/list").json()["result"]["job_list"]
    assert (listed["id"], listed["job_name"], listed["disabled"]) == (made["job_id"], "till-2", True)
    caller.send("POST", f"/_sim/jobs/{made['job_id']}/enable")
    caller.send("POST", f"/_sim/jobs/{JOB}/restore")
    assert caller.get("/v1/job/list").json()["result"]["total"] == 2


def test_a_build_can_be_finished(fleet: Fleet, caller: Caller) -> None:
    fleet.add_build(JOB, at_ms=START_MS - 60_000, duration_s=None)
    caller.send("POST", f"/_sim/jobs/{JOB}/finish", {"number": 1, "result": "aborted"})
    assert caller.detail(1)["status"] == "ABORTED"


def test_requests_are_counted_and_forgotten(caller: Caller) -> None:
    caller.get("/v1/job/list")
    assert caller.get("/_sim/counts").json() == {"job-list": {"200": 1}}
    assert [exchange["operation"] for exchange in caller.get("/_sim/requests").json()] == ["job-list"]
    caller.send("POST", "/_sim/reset-counts")
    assert caller.get("/_sim/counts").json() == {}


def test_tokens_are_expired(caller: Caller) -> None:
    caller.send("POST", "/_sim/expire-tokens")
    assert caller.get("/v1/job/list").status == 401


def test_arrivals_are_stopped_and_resumed(caller: Caller) -> None:
    assert caller.send("POST", "/_sim/stop-arrivals").json() == {}
    assert caller.send("POST", "/_sim/resume-arrivals").json() == {}


def test_the_wall_clock_cannot_be_advanced() -> None:
    with Simulator(Fleet(RealClock())) as simulator:
        assert Caller(simulator.url).send("POST", "/_sim/advance", {"seconds": 1}).status == 400


def test_a_faster_clock_runs_ahead() -> None:
    slow, fast = RealClock(), RealClock(speed=10_000)
    while fast.now_ms() - slow.now_ms() < 1000:
        pass
    assert fast.now_ms() > slow.now_ms()


def test_it_runs_as_a_program_until_it_is_stopped() -> None:
    program = "from exporter.simulator import run; run(seed=3)"
    with fork_server.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        welcome = process.stdout.readline().decode()
        found = re.search(r"http://\S+:\d+", welcome)
        assert found, welcome
        assert Caller(found[0]).get("/v1/job/list").json()["result"]["total"] == 24
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0
