"""JSON of job lists comes out as listed jobs; what cannot be read costs only itself."""

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
    told = page({**ITEM, **fields})
    [listed] = told.records
    return listed, told.faults


def test_a_job_with_all_that_lists_tell() -> None:
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
def test_both_shapes_and_their_mixtures_are_read_alike(answer: object) -> None:
    told = job_list_page(answer)
    assert [listed.id for listed in told.records] == [JOB]
    assert (told.size, told.total, told.faults) == (1, 1, ())


@pytest.mark.parametrize("jobs", [None, []])
def test_a_list_may_be_empty(jobs: object) -> None:
    assert job_list_page({"jobs": jobs, "total": 0}) == Page((), 0, 0, ())
    assert job_list_page({"result": {"job_list": jobs, "total": 0}}) == Page((), 0, 0, ())


def test_the_project_that_was_asked_for_stands_in_for_the_one_that_is_not_told() -> None:
    item = {name: value for name, value in ITEM.items() if not name.startswith("project")}
    [listed] = page(item, project_id=PROJECT).records
    assert listed.names == JobNames("checkout", "", PROJECT)


@pytest.mark.parametrize("word", ["blue", "red", "aborted", "timeout", "building", "none", "BLUE", "sand"])
def test_the_word_for_how_a_job_stands_is_kept_in_small_letters(word: str) -> None:
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
def test_where_a_build_is(word: object, state: State | None) -> None:
    assert read(last_job_running_status=word)[0].state is state


@pytest.mark.parametrize(
    ("told", "finished"),
    [(True, True), (False, False), ("true", True), ("FALSE", False), (None, None), (1, None), ("yes", None)],
)
def test_whether_it_is_over(told: object, finished: bool | None) -> None:
    assert read(is_finished=told)[0].is_finished is finished


@pytest.mark.parametrize(
    "told", [MOMENT_MS, str(MOMENT_MS), MOMENT_MS // 1000, "2025-03-10T12:00:00+08:00", "2025-03-10 12:00:00"]
)
def test_the_time_of_the_last_build_in_any_spelling(told: object) -> None:
    assert read(last_build_time=told) == read()


@pytest.mark.parametrize("told", [None, "", 0, "0", -1])
def test_no_time_is_no_fault(told: object) -> None:
    listed, faults = read(last_build_time=told)
    assert (listed.last_build_ms, faults) == (None, ())


@pytest.mark.parametrize("told", ["soon", 7, [], {}, True, "1e99", 10**30])
def test_a_time_that_cannot_be_right_is_a_fault(told: object) -> None:
    listed, faults = read(last_build_time=told)
    assert (listed.last_build_ms, faults) == (None, ("bad_time",))


@pytest.mark.parametrize(
    ("told", "number"), [(7, 7), ("7", 7), (" 7 ", 7), (0, None), ("-7", None), (None, None), ("x", None)]
)
def test_the_number_of_the_last_build(told: object, number: int | None) -> None:
    assert read(build_number=told)[0].number == number


def test_a_job_that_never_built() -> None:
    listed, faults = read(last_build_time=None, last_build_status="none", build_number=None)
    assert listed.never_built
    assert faults == ()
    assert not read()[0].never_built
    assert not read(last_build_time=None)[0].never_built
    assert not read(last_build_time=None, last_build_status="none")[0].never_built
    assert not read(last_build_status="none", build_number=None)[0].never_built


@pytest.mark.parametrize("left_out", ["last_build_time", "last_build_status", "build_number"])
def test_a_change_of_anything_that_lists_tell_changes_the_mark(left_out: str) -> None:
    assert read()[0].mark == read()[0].mark
    assert read(**{left_out: None})[0].mark != read()[0].mark
    assert read(job_name="renamed")[0].mark == read()[0].mark


def test_one_bad_record_does_not_cost_its_page() -> None:
    told = page(7, None, "x", [], {}, {"id": None}, {"id": ""}, ITEM, {"id": OTHER_JOB})
    assert [listed.id for listed in told.records] == [JOB, OTHER_JOB]
    assert told.size == 9
    assert set(told.faults) == {"record_not_an_object", "bad_job_id"}
    assert len(told.faults) == 7


@pytest.mark.parametrize("answer", [None, 7, "x", [], {}, {"result": None}, {"result": []}, {"jobs": 7}])
def test_what_is_no_list_is_a_payload_error(answer: object) -> None:
    with pytest.raises(PayloadError):
        job_list_page(answer)


def test_projects_are_pairs_of_id_and_name() -> None:
    told = project_page(
        {"result": {"project_info_list": [{"identifier": PROJECT, "name": "shop"}, {"name": "x"}, 7]}}
    )
    assert told.records == ((PROJECT, "shop"),)
    assert (told.size, told.faults) == (3, ("bad_project", "record_not_an_object"))


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
        told = job_list_page(answer, PROJECT)
        assert len(told.records) <= told.size
        assert all(listed.id and listed.names.project_id for listed in told.records)
        hash(tuple(listed.mark for listed in told.records))
    with suppress(PayloadError):
        assert all(all(pair) for pair in project_page(answer).records)


@given(ITEMS)
def test_a_job_survives_being_written_as_json(item: dict[str, object]) -> None:
    text = json.dumps(item)
    with suppress(PayloadError):
        assert page(json.loads(text)) == page(json.loads(text))
