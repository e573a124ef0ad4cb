"""The gateway's limits: for one operation, for each of several, shared, and all at once."""

import json
import re
from collections import Counter

import pytest

from exporter.simulator import Fault, Fleet, ManualClock, Simulator, fault, gateway_limits
from exporter.simulator.api import ROUTES, route
from exporter.simulator.exchange import Request
from exporter.simulator.faults import OPERATIONS, POLICIES

from .conftest import JOB, START_MS, WEEK, Caller
from .openapi import FOLDER

PATHS = {
    "period-history": f"/v3/jobs/{JOB}/period-history?offset=0&{WEEK}",
    "record-info": f"/v4/jobs/{JOB}/1/record-info",
    "record-info-v1": f"/v1/record/{JOB}/1/record-info",
    "job-list": "/v1/job/list",
}


@pytest.fixture(autouse=True)
def build(fleet: Fleet) -> None:
    fleet.add_build(JOB, at_ms=START_MS - 60_000)


def _accepted(caller: Caller, counts: dict[str, int]) -> dict[str, int]:
    """Numbers of accepted requests, sent by turns."""
    accepted: Counter[str] = Counter()
    for turn in range(max(counts.values())):
        for operation, count in counts.items():
            if turn < count:
                reply = caller.get(PATHS[operation])
                assert reply.status in (200, 429)
                accepted[operation] += reply.status == 200
    return dict(accepted)


def test_each_operation_can_have_an_allowance_of_its_own(
    simulator: Simulator, caller: Caller, clock: ManualClock
) -> None:
    operations = ("period-history", "record-info")
    simulator.faults.add(fault("rate-limit", operation=operations, per_minute=3, each=True))
    asked = {"period-history": 5, "record-info": 4, "record-info-v1": 5}
    assert _accepted(caller, asked) == {"period-history": 3, "record-info": 3, "record-info-v1": 5}
    clock.advance(60)
    assert _accepted(caller, {"record-info": 5}) == {"record-info": 3}


def test_operations_can_share_an_allowance(simulator: Simulator, caller: Caller, clock: ManualClock) -> None:
    simulator.faults.add(fault("rate-limit", operation=("period-history", "record-info"), per_minute=4))
    asked = {"period-history": 3, "record-info": 3, "job-list": 3}
    assert _accepted(caller, asked) == {"period-history": 2, "record-info": 2, "job-list": 3}
    clock.advance(60)
    assert _accepted(caller, {"record-info": 5}) == {"record-info": 4}


def test_a_limit_for_each_operation_and_one_over_all_hold_together(
    simulator: Simulator, caller: Caller
) -> None:
    simulator.faults.add(
        fault("rate-limit", operation="period-history", per_minute=1),
        fault("rate-limit", per_minute=5, announce=False),
    )
    asked = {"period-history": 3, "record-info": 4}
    assert _accepted(caller, asked) == {"period-history": 1, "record-info": 2}


def test_limits_are_set_over_http(caller: Caller) -> None:
    limits = [limit.to_json() for limit in gateway_limits()]
    limits.append({"kind": "rate-limit", "operation": ["job-list", "record-info-v1"], "per_minute": 2})
    assert caller.send("POST", "/_sim/faults", limits).json() == [
        Fault.from_json(x).to_json() for x in limits
    ]
    assert _accepted(caller, {"job-list": 2, "record-info-v1": 2}) == {"job-list": 1, "record-info-v1": 1}


def test_the_gateways_limits_are_for_each_operation_or_shared_by_a_policy(
    simulator: Simulator, caller: Caller
) -> None:
    simulator.faults.replace(gateway_limits())
    asked = {"period-history": 121, "record-info": 121, "job-list": 51}
    assert _accepted(caller, asked) == {"period-history": 120, "record-info": 120, "job-list": 50}
    simulator.faults.replace(gateway_limits(shared=True))
    assert _accepted(caller, asked) == {"period-history": 60, "record-info": 60, "job-list": 50}


def test_the_gateways_limits_are_those_of_the_definitions(fleet: Fleet) -> None:
    seen = set()
    for file in FOLDER.glob("*.json"):
        [(path, methods)] = json.loads(file.read_text())["paths"].items()
        [(method, definition)] = methods.items()
        call = route(Request(method.upper(), re.sub(r"\{\w+\}", "x", path), {}), fleet)
        if call:
            policy = definition["x-apigateway-ratelimit"]
            assert call.operation in POLICIES[policy][1], file.name
            assert f"_{POLICIES[policy][0]}_" in policy or policy == "cloudbuild_ext"
            seen.add(call.operation)
    assert seen == {operation for _, operations in POLICIES.values() for operation in operations}


def test_a_fault_for_an_operation_that_does_not_exist_is_refused() -> None:
    assert {operation for _, operation, _ in ROUTES} == OPERATIONS
    with pytest.raises(ValueError, match="unknown operation record-info-v2; known: auth, "):
        fault("error", operation=("record-info", "record-info-v2"))
