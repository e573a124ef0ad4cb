"""Answers against the provider's documents and machine-readable definitions.

The documents win: history is an array, as their table says, though their example holds a single object;
a field their examples have and the definitions lack (``error``) is reported.
"""

import json
from typing import Any

from exporter.simulator import Fleet, ManualClock, Simulator, fault
from exporter.simulator.builds import RESULTS

from .conftest import JOB, START_MS, Caller
from .openapi import FOLDER, complaints

EXAMPLE_DETAIL = json.loads((FOLDER / "ShowRecordDetail.json").read_text())
EXAMPLE_RECORDS = json.loads((FOLDER / "ListRecords.json").read_text())
EXAMPLE_HISTORY = json.loads((FOLDER / "ShowListPeriodHistory.json").read_text())
RECYCLED_FIELDS = (
    "job_id job_name project_id creator_name creator_id create_time delete_time create_time_stamp"
    " delete_time_stamp"
)


def _example(document: Any) -> Any:
    [path] = document["paths"].values()
    return path["get"]["responses"]["200"]["examples"]["application/json"]


def test_period_history_has_the_fields_of_its_document(fleet: Fleet, caller: Caller) -> None:
    fleet.add_build(JOB, at_ms=START_MS - 60_000)
    body, example = caller.history(), _example(EXAMPLE_HISTORY)
    assert body.keys() == example.keys()
    assert body["history_records"][0].keys() == example["history_records"].keys()
    assert complaints("ShowListPeriodHistory", body) == []


def test_period_history_can_look_like_its_example(fleet: Fleet, caller: Caller, simulator: Simulator) -> None:
    fleet.add_build(JOB, at_ms=START_MS - 60_000)
    simulator.faults.add(fault("single-object"), fault("localised-triggers", language="en"))
    body, example = caller.history(), _example(EXAMPLE_HISTORY)
    assert {name: type(value) for name, value in body["history_records"].items()} == {
        name: type(value) for name, value in example["history_records"].items()
    }
    assert body["history_records"]["trigger_type"] == "Manual"


def test_record_info_has_the_fields_of_its_document(fleet: Fleet, caller: Caller) -> None:
    fleet.add_build(JOB, at_ms=START_MS - 60_000)
    body = caller.get(f"/v4/jobs/{JOB}/1/record-info").json()
    example = _example(EXAMPLE_DETAIL)
    assert body.keys() == example.keys()
    assert body["result"].keys() == example["result"].keys()
    assert complaints("ShowRecordDetail", body) == []
    assert complaints("ShowJobBuildRecordDetail", caller.get(f"/v1/record/{JOB}/1/record-info").json()) == []


def test_records_has_the_fields_of_its_definition(fleet: Fleet, caller: Caller) -> None:
    for result in RESULTS:
        fleet.add_build(JOB, at_ms=START_MS - 60_000, result=result)
    fleet.add_build(JOB, duration_s=None)
    project = caller.detail(1)["build_project_id"]
    body = caller.get(f"/v1/record/{project}/records?page=0&limit=100").json()
    example = _example(EXAMPLE_RECORDS)
    assert body.keys() == example.keys()
    assert body["result"].keys() == example["result"].keys()
    assert body["result"]["pagination"].keys() == example["result"]["pagination"].keys()
    assert [record.keys() for record in body["result"]["data"]] == [example["result"]["data"][0].keys()] * 7
    assert complaints("ListRecords", body) == []


def test_records_can_look_like_its_example(fleet: Fleet, caller: Caller, simulator: Simulator) -> None:
    fleet.add_build(JOB, at_ms=START_MS - 60_123, result="aborted")
    simulator.faults.add(fault("wrong-total"), fault("zero-durations"), fault("whole-seconds"))
    result, example = caller.records(), _example(EXAMPLE_RECORDS)["result"]
    assert result["pagination"]["total"] == example["pagination"]["total"] == -1
    [record], [shown] = result["data"], example["data"]
    assert {name: type(value) for name, value in record.items()} == {
        name: type(value) for name, value in shown.items()
    }
    same = ("duration", "build_duration", "pending_duration", "status", "status_code", "trigger_type")
    assert [record[name] for name in same] == [shown[name] for name in same]
    assert (record["build_no"], record["queued_time"]) == ("1", "2025-03-10T03:58:59.000+00:00")


def test_recycling_jobs_has_the_fields_of_its_document(fleet: Fleet, caller: Caller) -> None:
    fleet.delete_job(JOB)
    body = caller.get("/v1/job/recycling-jobs").json()
    assert list(body) == ["result", "error", "status"]
    assert list(body["result"]) == ["keep_time", "total", "job_list"]
    assert list(body["result"]["job_list"][0]) == RECYCLED_FIELDS.split()
    assert complaints("ListRecyclingJob", body) == []


def test_other_responses_match_their_definitions(fleet: Fleet, caller: Caller, clock: ManualClock) -> None:
    fleet.add_build(JOB, at_ms=START_MS - 60_000)
    record_id = caller.detail(1)["id"]
    paged = "page_index=0&page_size=10"
    span = "start_time=2025-03-10%2000:00:00&end_time=2025-03-10%2023:59:59"
    for name, path in {
        "ListJob": f"/v1/job/list?{paged}",
        "ListProjectJobs": f"/v1/job/{fleet.project_id('shop')}/list?{paged}",
        "ListRelatedProjectInfo": "/v1/domain/project/related-page",
        "ShowBuildRecordFullStages": f"/v1/record/{record_id}/full-stages",
        "ListBuildInfoRecordByJobId": f"/v1/record/{JOB}/list?{span}&{paged}",
    }.items():
        reply = caller.get(path)
        assert reply.status == 200
        assert complaints(name, reply.json()) == []


def test_the_schema_check_finds_errors() -> None:
    assert complaints("ShowListPeriodHistory", {"total": "1", "history_records": [{"colour": "red"}]}) == [
        "$.total is '1', not integer",
        "$.history_records[0].colour is not defined",
    ]
