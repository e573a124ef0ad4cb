"""Stages: the documented response of full-stages, and undocumented ones."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.api.stage_parser import MAX_NAME, build_stages
from exporter.errors import PayloadError
from exporter.model import DAY_MS, Stage

DOCUMENT = Path(__file__).parents[1] / "fixtures" / "openapi" / "ShowBuildRecordFullStages.json"


def answer(stages: object) -> dict[str, object]:
    return {"result": {"build_stages": stages, "check_stages": None}, "error": None, "status": "success"}


def stage(name: object = "Maven", duration: object = 1000, **more: object) -> dict[str, object]:
    return {"display_name": name, "duration": duration, "status": "SUCCESS", "sequence": 0, **more}


def read(stages: object) -> tuple[Stage, ...]:
    """Parse stages without a fault."""
    known, faults = build_stages(answer(stages))
    assert faults == ()
    return known


def test_the_documented_example_has_one_stage_that_ran() -> None:
    described: Any = json.loads(DOCUMENT.read_text(encoding="utf-8"))
    [path] = described["paths"].values()
    assert build_stages(path["get"]["responses"]["200"]["examples"]) == ((Stage("initial", 10_000),), ())


def test_stages_are_ordered_by_sequence_then_by_key() -> None:
    stages = {
        "final": stage("last", sequence=4),
        "b": stage("without a sequence", sequence=None),
        "stage10": stage("third", sequence="2"),
        "stage1": stage("second", sequence=1),
        "stage11": stage("fourth", sequence=2),
        "initial": stage("first"),
    }
    names = [stage.name for stage in read(stages)]
    assert names == ["first", "second", "third", "fourth", "last", "without a sequence"]


def test_a_list_or_null_is_accepted_too() -> None:
    assert read([stage("a"), stage("b")]) == (Stage("a", 1000), Stage("b", 1000))
    assert read(None) == read({}) == read([]) == ()


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"display_name": "执行shell命令"}, "执行shell命令"),
        ({"display_name": " two\n lines "}, "two lines"),
        ({"display_name": None, "execution_stage_name": "stage3"}, "stage3"),
        ({"display_name": " ", "execution_stage_name": 7}, "key"),
        ({"display_name": "x" * 300}, "x" * MAX_NAME),
        ({"display_name": "\ud800"}, "?"),
        ({"display_name": "other"}, "other"),
    ],
)
def test_the_display_name_of_a_stage_is_preferred(fields: dict[str, object], name: str) -> None:
    assert read({"key": {**stage(), **fields}}) == (Stage(name, 1000),)


def test_a_repeated_name_is_numbered() -> None:
    stages = [
        stage("Shell"),
        stage("Shell (2)"),
        stage("Shell"),
        stage("Shell", 0, status="ABORTED"),
        stage("Shell"),
    ]
    assert [stage.name for stage in read(stages)] == ["Shell", "Shell (2)", "Shell (3)", "Shell (5)"]


def test_many_equal_names_take_linear_time() -> None:
    stages = [*(stage(f"Shell ({nth})") for nth in range(10_000)), *(stage("Shell") for _ in range(20_000))]
    began = time.process_time()
    names = {stage.name for stage in read(stages)}
    assert time.process_time() - began < 5
    assert len(names) == 30_000


@pytest.mark.parametrize(
    ("fields", "duration_ms"),
    [
        ({"duration": "44381"}, 44_381),
        ({"duration": 0}, 0),
        ({"duration": 7, "build_duration": 5, "pending_duration": 1}, 7),
        ({"duration": None, "build_duration": 5, "pending_duration": "2"}, 7),
        ({"duration": None, "build_duration": 5, "pending_duration": None}, 5),
        (
            {
                "duration": None,
                "start_time": "2024-08-12T02:31:01+0800",
                "finish_time": "2024-08-11T18:31:03.500+00:00",
            },
            2500,
        ),
        ({"status": "FAILURE", "duration": 9}, 9),
        ({"status": None}, 1000),
    ],
)
def test_a_duration_is_read_from_several_fields(fields: dict[str, object], duration_ms: int) -> None:
    assert read({"key": {**stage(), **fields}}) == (Stage("Maven", duration_ms),)


@pytest.mark.parametrize(
    "fields",
    [
        {"duration": None},
        {"duration": None, "start_time": "2024-08-12T02:31:01+0800"},
        {"status": "Running"},
        {"status": "InQueue", "duration": None},
        {"status": "ABORTED", "duration": 0},
        {"status": "FAILURE", "duration": "0"},
        {"status": None, "duration": 0},
    ],
    ids=str,
)
def test_an_unfinished_or_skipped_stage_is_left_out(fields: dict[str, object]) -> None:
    assert read({"key": {**stage(), **fields}, "sound": stage("sound")}) == (Stage("sound", 1000),)


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        (stage(duration=-1), "negative_duration"),
        (stage(duration=31 * DAY_MS + 1), "absurd_duration"),
        (stage(duration="long"), "bad_duration"),
        (stage(duration=None, start_time="yesterday"), "bad_time"),
        (stage(status="UNSTABLE", duration=None), "unknown_result"),
        (7, "record_not_an_object"),
        (None, "record_not_an_object"),
    ],
)
def test_one_bad_stage_is_a_fault_and_costs_no_other(value: object, fault: str) -> None:
    assert build_stages(answer({"a": value, "b": stage("b")})) == ((Stage("b", 1000),), (fault,))


@pytest.mark.parametrize(
    "value", [None, [], "x", {}, {"result": None}, {"result": []}, answer(7), answer("x")]
)
def test_a_body_without_stages_is_a_payload_error(value: object) -> None:
    with pytest.raises(PayloadError):
        build_stages(value)


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=10,
)
_fields = st.sampled_from(
    [*stage(), "execution_stage_name", "build_duration", "pending_duration", "start_time", "finish_time"]
)


@given(st.dictionaries(st.text(max_size=4), st.dictionaries(_fields, _json) | _json, max_size=6) | _json)
def test_for_any_json_names_are_unique_and_durations_plausible(stages: object) -> None:
    try:
        known, _ = build_stages(answer(stages))
    except PayloadError:
        return
    assert len({stage.name for stage in known}) == len(known)
    assert all(one.name and len(one.name) <= MAX_NAME + 10 for one in known)
    assert all(0 <= one.duration_ms <= 31 * DAY_MS for one in known)
