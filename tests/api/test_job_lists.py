"""JSON of job lists → listed jobs; an unreadable record loses only itself."""

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.api.parsers import Page, job_list_page, project_page
from exporter.errors import PayloadError
from exporter.model import JobNames, ListedJob, State

JOB = "f9d6c8466d614a9788e9a0acf6c15f46"
OTHER_JOB = "48c66c6002964721be537cdc6ce0297b"
PROJECT = "b4d3971c3988463b865f6f920846149e"
MOMENT_MS = 1_741_579_200_000

ITEM: dict[str, object] = {
    "id": JOB,
    "job_name": "checkout",
    "project_id": PROJECT,
    "project_name": "shop",
    "last_build_time": MOMENT_MS,
    "last_build_status": "blue",
    "last_job_running_status": "Finished",
    "is_finished": True,
    "build_number": "7",
}


def page(*items: object, project_id: str = "", **more: object) -> Page[ListedJob]:
    return job_list_page({"jobs": list(items), "total": len(items), **more}, project_id)


def read(**fields: object) -> tuple[ListedJob, tuple[str, ...]]:
    result = page({**ITEM, **fields})
    [listed] = result.records
    return listed, result.faults


def test_a_job_with_every_field_of_a_list() -> None:
    assert read() == (
        ListedJob(JOB, JobNames("checkout", "shop", PROJECT), MOMENT_MS, True, "blue", 7, None),
        (),
    )


@pytest.mark.parametrize(
    "answer",
    [
        {"jobs": [ITEM], "total": 1},
        {"result": {"job_list": [ITEM], "total": 1}, "status": "success"},
        {"result": {"jobs": [ITEM], "total": "1"}},
        {"jobs": ITEM, "total": 1},
    ],
    ids=["jobs", "result", "mixed", "one object"],
)
def test_both_shapes_of_a_list_are_parsed_alike(answer: object) -> None:
    result = job_list_page(answer)
    assert [listed.id for listed in result.records] == [JOB]
    assert (result.size, result.total, result.faults) == (1, 1, ())


@pytest.mark.parametrize(
    ("value", "expected"),
    [(True, True), (False, False), ("true", True), ("FALSE", False), (None, None), ("", None), (1, None)],
)
def test_a_list_tells_whether_a_job_is_disabled(value: object, expected: bool | None) -> None:
    listed, faults = read(disabled=value)
    assert (listed.disabled, faults) == (expected, ())
    assert listed.mark == read()[0].mark, "that is no news of a build"


@pytest.mark.parametrize("jobs", [None, []])
def test_a_list_may_be_empty(jobs: object) -> None:
    assert job_list_page({"jobs": jobs, "total": 0}) == Page((), 0, 0, ())
    assert job_list_page({"result": {"job_list": jobs, "total": 0}}) == Page((), 0, 0, ())


def test_the_requested_project_replaces_a_missing_project_id() -> None:
    item = {name: value for name, value in ITEM.items() if not name.startswith("project")}
    [listed] = page(item, project_id=PROJECT).records
    assert listed.names == JobNames("checkout", "", PROJECT)


@pytest.mark.parametrize("value", [None, 7, "../x", ""])
def test_the_build_project_of_a_job_may_be_missing_or_unusable(value: object) -> None:
    listed, _ = read(build_project_id="a3270d84-ddc7-4288-b985-f801871b260d")
    assert listed.build_project_id == "a3270d84-ddc7-4288-b985-f801871b260d"
    assert read(build_project_id=value)[0].build_project_id == ""


@pytest.mark.parametrize("word", ["blue", "red", "aborted", "timeout", "building", "none", "BLUE", "sand"])
def test_the_status_is_kept_in_lower_case(word: str) -> None:
    assert read(last_build_status=word)[0].status == word.lower()


@pytest.mark.parametrize(
    ("word", "state"),
    [
        ("InQueue", State.QUEUED),
        ("Starting", State.QUEUED),
        ("Running", State.RUNNING),
        ("building", State.RUNNING),
        ("Finished", None),
        ("", None),
        (None, None),
        (7, None),
    ],
)
def test_the_state_of_the_last_build(word: object, state: State | None) -> None:
    assert read(last_job_running_status=word)[0].state is state


@pytest.mark.parametrize(
    ("value", "finished"),
    [(True, True), (False, False), ("true", True), ("FALSE", False), (None, None), (1, None), ("yes", None)],
)
def test_the_last_build_is_finished_or_not_or_unknown(value: object, finished: bool | None) -> None:
    assert read(is_finished=value)[0].is_finished is finished


@pytest.mark.parametrize(
    "value",
    [MOMENT_MS, str(MOMENT_MS), MOMENT_MS // 1000, "2025-03-10T12:00:00+08:00", "2025-03-10 12:00:00"],
)
def test_the_time_of_the_last_build_in_any_spelling(value: object) -> None:
    assert read(last_build_time=value) == read()


@pytest.mark.parametrize("value", [None, "", 0, "0", -1])
def test_a_missing_time_is_no_fault(value: object) -> None:
    listed, faults = read(last_build_time=value)
    assert (listed.last_build_ms, faults) == (None, ())


@pytest.mark.parametrize("value", ["soon", 7, [], {}, True, "1e99", 10**30])
def test_an_impossible_time_is_a_fault(value: object) -> None:
    listed, faults = read(last_build_time=value)
    assert (listed.last_build_ms, faults) == (None, ("bad_time",))


@pytest.mark.parametrize(
    ("value", "number"), [(7, 7), ("7", 7), (" 7 ", 7), (0, None), ("-7", None), (None, None), ("x", None)]
)
def test_the_number_of_the_last_build(value: object, number: int | None) -> None:
    assert read(build_number=value)[0].number == number


def test_a_job_that_never_built() -> None:
    listed, faults = read(last_build_time=None, last_build_status="none", build_number=None)
    assert listed.never_built
    assert faults == ()
    assert not read()[0].never_built
    assert not read(last_build_time=None)[0].never_built
    assert not read(last_build_time=None, last_build_status="none")[0].never_built
    assert not read(last_build_status="none", build_number=None)[0].never_built


@pytest.mark.parametrize("left_out", ["last_build_time", "last_build_status", "build_number"])
def test_a_change_of_any_field_changes_the_mark(left_out: str) -> None:
    assert read()[0].mark == read()[0].mark
    assert read(**{left_out: None})[0].mark != read()[0].mark
    assert read(job_name="renamed")[0].mark == read()[0].mark


def test_one_bad_record_does_not_cost_its_page() -> None:
    result = page(7, None, "x", [], {}, {"id": None}, {"id": ""}, ITEM, {"id": OTHER_JOB})
    assert [listed.id for listed in result.records] == [JOB, OTHER_JOB]
    assert result.size == 9
    assert set(result.faults) == {"record_not_an_object", "bad_job_id"}
    assert len(result.faults) == 7


@pytest.mark.parametrize("answer", [None, 7, "x", [], {}, {"result": None}, {"result": []}, {"jobs": 7}])
def test_a_body_without_a_list_is_a_payload_error(answer: object) -> None:
    with pytest.raises(PayloadError):
        job_list_page(answer)


def test_projects_are_pairs_of_id_and_name() -> None:
    result = project_page(
        {"result": {"project_info_list": [{"identifier": PROJECT, "name": "shop"}, {"name": "x"}, 7]}}
    )
    assert result.records == ((PROJECT, "shop"),)
    assert (result.size, result.faults) == (3, ("bad_project", "record_not_an_object"))


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["none", "true", "0", "building", "1741579200000", "9" * 40]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from([*ITEM, "jobs", "result", "job_list", "total", "project_info_list", "identifier"])
            | st.text(max_size=3),
            inner,
            max_size=6,
        )
    ),
    max_leaves=30,
)
ITEMS = st.fixed_dictionaries({}, optional=dict.fromkeys(ITEM, JSON))


@given(JSON | st.builds(lambda items: {"jobs": items}, st.lists(ITEMS | JSON, max_size=4)))
def test_any_json_is_a_page_or_a_payload_error(answer: object) -> None:
    with suppress(PayloadError):
        result = job_list_page(answer, PROJECT)
        assert len(result.records) <= result.size
        assert all(listed.id and listed.names.project_id for listed in result.records)
        hash(tuple(listed.mark for listed in result.records))
    with suppress(PayloadError):
        assert all(all(pair) for pair in project_page(answer).records)


@given(ITEMS)
def test_a_job_survives_being_written_as_json(item: dict[str, object]) -> None:
    text = json.dumps(item)
    with suppress(PayloadError):
        assert page(json.loads(text)) == page(json.loads(text))
