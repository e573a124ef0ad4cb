"""Faults of whole answers, over a socket."""

import http.client
import json
import time
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import pytest

from exporter.simulator import Fleet, ManualClock, Simulator, fault
from tests.support.programs import free_port

from .conftest import JOB, START_MS, WEEK, Caller

HISTORY = f"/v3/jobs/{JOB}/period-history?offset=0&limit=100&{WEEK}"


def test_throttling_announces_the_limit(simulator: Simulator, caller: Caller) -> None:
    simulator.faults.add(fault("throttle", retry_after=7))
    reply = caller.get(HISTORY)
    assert (reply.status, reply.headers["retry-after"]) == (429, "7")
    assert reply.json()["error_code"] == "APIGW.0308"
    assert reply.json()["error_msg"].endswith("limit:50,time:1 minute")


@pytest.mark.parametrize("status", [200, 403, 429])
def test_throttling_comes_with_any_status_and_may_say_nothing(
    simulator: Simulator, caller: Caller, status: int
) -> None:
    simulator.faults.add(fault("throttle", status=status, announce=False, code="CB.00060211"))
    reply = caller.get(HISTORY)
    assert (reply.status, "retry-after" in reply.headers) == (status, False)
    assert reply.json()["error_code"] == "CB.00060211"
    assert "limit:" not in reply.json()["error_msg"]


def test_requests_beyond_the_limit_are_throttled_until_the_next_minute(
    simulator: Simulator, caller: Caller, clock: ManualClock
) -> None:
    simulator.faults.add(fault("rate-limit", per_minute=3, retry_after=True))
    assert [caller.get(HISTORY).status for _ in range(5)] == [200, 200, 200, 429, 429]
    clock.advance(20)
    refused = caller.get(HISTORY)
    assert refused.headers["retry-after"] == "40"
    assert "limit:3,time:1 minute" in refused.json()["error_msg"]
    clock.advance(40)
    assert caller.get(HISTORY).status == 200


@pytest.mark.parametrize("status", [404, 410])
@pytest.mark.parametrize("code", ["APIGW.0101", None])
def test_an_endpoint_can_be_withdrawn_and_given_back(
    simulator: Simulator, fleet: Fleet, caller: Caller, status: int, code: str | None
) -> None:
    fleet.add_build(JOB, at_ms=START_MS - 60_000)
    simulator.faults.add(
        fault("withdrawn", operation=("period-history", "record-info"), status=status, code=code)
    )
    for path in (
        HISTORY,
        HISTORY.replace(JOB, "0" * 32),
        f"/v4/jobs/{JOB}/1/record-info",
        "/v4/jobs/x/y/record-info",
    ):
        reply = caller.get(path, {"X-Auth-Token": "expired"})
        assert reply.status == status
        assert code is None or reply.json()["error_code"] == code
        assert ("<html>" in reply.body.decode()) is (code is None)
    newer = (f"/v1/record/{fleet.build_project_id(JOB)}/records", f"/v1/record/{JOB}/1/record-info")
    assert [caller.get(path).status for path in (*newer, "/v1/job/list")] == [200] * 3
    simulator.faults.clear("withdrawn", "period-history")
    assert [caller.get(path).status for path in (HISTORY, f"/v4/jobs/{JOB}/1/record-info")] == [200, status]


def test_a_fault_can_be_for_one_operation_and_one_job(
    simulator: Simulator, fleet: Fleet, caller: Caller
) -> None:
    other = fleet.add_job("other").id
    fleet.add_build(JOB, at_ms=START_MS - 60_000)
    simulator.faults.add(fault("html", operation="period-history", job=JOB))
    assert caller.get(HISTORY).status == 502
    assert caller.get(HISTORY.replace(JOB, other)).status == 200
    assert caller.get(f"/v4/jobs/{JOB}/1/record-info").status == 200
    assert caller.get("/v1/job/list").status == 200


def test_a_fault_can_be_for_the_next_few_times(simulator: Simulator, caller: Caller) -> None:
    simulator.faults.add(fault("error", times=2))
    assert [caller.get(HISTORY).status for _ in range(3)] == [500, 500, 200]


def test_a_fault_can_be_for_a_share_of_requests(simulator: Simulator, caller: Caller) -> None:
    simulator.faults.add(fault("error", probability=0.5))
    failed = [caller.get(HISTORY).status for _ in range(40)].count(500)
    assert 8 < failed < 32


@pytest.mark.parametrize(
    ("shape", "body"),
    [
        ("error_code", {"error_code": "X.1", "error_msg": "no"}),
        ("fail", {"status": "fail", "error": {"code": "X.1", "message": "no"}, "result": None}),
        ("status", {"status": "error", "error": {"code": "X.1", "message": "no"}}),
        ("success", {"success": False, "err_code": "X.1", "message": "no", "result": None}),
        ("camel", {"errorCode": "X.1", "errorMsg": "no"}),
        ("iam", {"error": {"code": 200, "message": "no", "title": "OK"}}),
        ("string", '{"error_code": "X.1", "error_msg": "no"}'),
    ],
)
def test_a_failure_comes_in_many_shapes_even_with_200(
    simulator: Simulator, caller: Caller, shape: str, body: object
) -> None:
    simulator.faults.add(fault("error", status=200, code="X.1", message="no", shape=shape))
    reply = caller.get(HISTORY)
    assert (reply.status, reply.json()) == (200, body)


@pytest.mark.parametrize("status", [200, 502, 503, 504])
def test_the_gateway_answers_with_a_page(simulator: Simulator, caller: Caller, status: int) -> None:
    simulator.faults.add(fault("html", status=status))
    reply = caller.get(HISTORY)
    assert (reply.status, reply.headers["content-type"]) == (status, "text/html")
    assert reply.body.startswith(b"<html>")


def test_any_body_can_be_put_in_place(simulator: Simulator, caller: Caller) -> None:
    simulator.faults.add(fault("body", text="]["))
    assert caller.get(HISTORY).body == b"]["


def test_good_credentials_can_be_refused(simulator: Simulator, caller: Caller) -> None:
    simulator.faults.add(fault("unauthorized", times=1))
    assert [caller.get(HISTORY).status for _ in range(2)] == [401, 200]


def test_json_can_come_inside_a_json_string(simulator: Simulator, caller: Caller) -> None:
    simulator.faults.add(fault("json-string"))
    assert json.loads(caller.get(HISTORY).json()) == {"total": 0, "history_records": []}


def test_a_body_can_be_cut_short(simulator: Simulator, caller: Caller) -> None:
    simulator.faults.add(fault("truncated"))
    with pytest.raises(http.client.IncompleteRead) as cut:
        caller.get(HISTORY)
    assert cut.value.partial == b'{"total":0,"hist'


@pytest.mark.parametrize("keep", [0.0, 0.5])
def test_a_connection_can_be_reset(simulator: Simulator, caller: Caller, keep: float) -> None:
    simulator.faults.add(fault("reset", keep=keep))
    with pytest.raises((ConnectionError, http.client.IncompleteRead)):
        caller.get(HISTORY)


def test_a_response_can_be_slow(simulator: Simulator, caller: Caller) -> None:
    simulator.faults.add(fault("slow-drip", bytes_per_second=100))
    began = time.monotonic()
    reply = caller.get(HISTORY)
    assert time.monotonic() - began > 0.8 * len(reply.body) / 100
    assert reply.json()["total"] == 0


def test_a_response_can_be_late(simulator: Simulator, caller: Caller) -> None:
    simulator.faults.add(fault("delay", seconds=0.2))
    began = time.monotonic()
    caller.get(HISTORY)
    assert time.monotonic() - began >= 0.2


def test_a_request_can_hang_and_does_not_keep_the_simulator_from_stopping(
    fleet: Fleet, clock: ManualClock
) -> None:
    with Simulator(fleet, caller_clock=clock) as simulator:
        simulator.faults.add(fault("hang"))
        with pytest.raises(TimeoutError):
            Caller(simulator.url).get(HISTORY, timeout=0.2)
        began = time.monotonic()
    assert time.monotonic() - began < 5


def test_the_date_header_can_be_off(simulator: Simulator, caller: Caller) -> None:
    assert parsedate_to_datetime(caller.get(HISTORY).headers["date"]).timestamp() * 1000 == START_MS
    simulator.faults.add(fault("date-skew", seconds=-3600))
    late = parsedate_to_datetime(caller.get(HISTORY).headers["date"])
    assert late.timestamp() * 1000 == START_MS - 3_600_000


def test_the_metadata_service_can_be_without_session_tokens(simulator: Simulator, caller: Caller) -> None:
    simulator.faults.add(fault("error", operation="metadata-token", status=405))
    assert caller.send("PUT", "/meta-data/latest/api/token").status == 405
    assert caller.get("/openstack/latest/securitykey").status == 200


def test_connections_are_kept_alive(simulator: Simulator) -> None:
    connection = http.client.HTTPConnection(urlsplit(simulator.url).netloc, timeout=5)
    connection.connect()
    first = connection.sock
    for _ in range(3):
        connection.request("GET", HISTORY, headers={"X-Auth-Token": "example-token"})
        assert connection.getresponse().read()
        assert connection.sock is first
    connection.close()


def test_a_stopped_simulator_frees_its_port_and_can_start_again(fleet: Fleet) -> None:
    simulator = Simulator(fleet).start(port=free_port())
    port = simulator.port
    simulator.stop()
    simulator.start(port=port)
    assert Caller(simulator.url).get("/v1/job/list").status == 200
    simulator.stop()


def test_a_fault_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown fault"):
        fault("rain")
    with pytest.raises(ValueError, match="no field colour"):
        fault("html", colour="red")
