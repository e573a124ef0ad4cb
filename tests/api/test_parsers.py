"""JSON of the API → jobs, builds and the recycle bin; an unreadable record loses only itself."""

import json
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.api.parsers import (
    Page,
    build_detail,
    history_page,
    integer,
    records_page,
    recycle_page,
    timestamp_ms,
)
from exporter.errors import PayloadError
from exporter.model import DAY_MS, Build, BuildDetail, RecycledJob, Result, State, Trigger

FIXTURES = Path(__file__).parents[1] / "fixtures" / "api"
JOB = "f9d6c8466d614a9788e9a0acf6c15f46"
OTHER_JOB = "48c66c6002964721be537cdc6ce0297b"


def example(name: str) -> Any:
    """Read an example response, verbatim from the provider's documents."""
    return json.loads((FIXTURES / f"{name}.json").read_text())


def ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def history(*records: object, **more: object) -> Page[Build]:
    return history_page({"total": len(records), "history_records": list(records), **more}, JOB)


def read_record(**fields: object) -> tuple[Build, tuple[str, ...]]:
    page = history({"build_number": 7, **fields})
    [build] = page.records
    return build, page.faults


def read_detail(**fields: object) -> tuple[BuildDetail, tuple[str, ...]]:
    return build_detail({"result": {"build_no": 7, **fields}, "status": "success"}, JOB, 7)


@pytest.mark.parametrize("value", [None, 7, "", "../jobs", "a/b", "a?b", "一", "x" * 65])
def test_a_record_id_that_could_change_a_path_is_dropped(value: object) -> None:
    detail, _ = build_detail({"result": {"id": value, "status": "SUCCESS"}}, JOB, 1)
    assert detail.record_id == ""


def test_the_example_of_period_history_is_a_failed_build_of_16_seconds() -> None:
    page = history_page(example("period-history"), JOB)
    [build] = page.records
    assert build == Build(
        number=55,
        result=Result.FAILURE,
        start_ms=ms("2020-12-30T09:33:11Z"),
        finish_ms=ms("2020-12-30T09:33:27Z"),
        branch="master",
        trigger=Trigger.MANUAL,
    )
    assert (build.finish_ms or 0) - (build.start_ms or 0) == 16_000
    assert (page.size, page.total, page.faults) == (1, 1, ())


def test_the_example_of_record_info_is_a_success_of_100_068_seconds_after_2_in_the_queue() -> None:
    detail, faults = build_detail(example("record-info"), JOB, 532)
    assert detail == BuildDetail(
        number=532,
        result=Result.SUCCESS,
        queued_ms=ms("2022-10-11T08:28:45Z"),
        start_ms=ms("2022-10-11T08:28:47Z"),
        finish_ms=ms("2022-10-11T08:30:27Z"),
        duration_ms=100_068,
        branch="buildflow_env",
        trigger=Trigger.MANUAL,
        record_id="eb9d73c7-61b3-4823-b476-a7c00c493b8a",
        project_id="b4d3971c3988463b865f6f920846149e",
        build_project_id="31581e9f-5772-4053-a50c-d5690578c8fd",
    )
    assert (detail.start_ms or 0) - (detail.queued_ms or 0) == 2_000
    assert faults == ()


def test_the_example_of_records_is_an_aborted_build_without_a_usable_duration() -> None:
    record = {
        "branch": "master",
        "build_duration": 0,
        "build_no": "2",
        "create_time": "2024-06-26T08:25:09.000+00:00",
        "duration": 0,
        "finish_time": "2024-06-26T08:25:26.000+00:00",
        "id": "534488f1-8f08-4e2b-9bbb-9f3f20e0708e",
        "pending_duration": 0,
        "project_id": "a3270d84-ddc7-4288-b985-f801871b260d",
        "queued_time": "2024-06-26T08:25:09.000+00:00",
        "start_time": "2024-06-26T08:25:09.000+00:00",
        "status": "ABORTED",
        "trigger_type": "MANUAL",
    }
    pagination = {"limit": 10, "page": 0, "total": -1}
    page = records_page(
        {"error": None, "result": {"data": [record], "pagination": pagination}, "status": "success"}
    )
    assert page == Page(
        records=(
            BuildDetail(
                number=2,
                result=Result.ABORTED,
                queued_ms=ms("2024-06-26T08:25:09Z"),
                start_ms=ms("2024-06-26T08:25:09Z"),
                finish_ms=ms("2024-06-26T08:25:26Z"),
                branch="master",
                trigger=Trigger.MANUAL,
                record_id="534488f1-8f08-4e2b-9bbb-9f3f20e0708e",
                build_project_id="a3270d84-ddc7-4288-b985-f801871b260d",
            ),
        ),
        size=1,
        total=-1,
        faults=(),
    )


def read_whole(**fields: object) -> tuple[BuildDetail, tuple[str, ...]]:
    page = records_page({"result": {"data": [{"build_no": "7", **fields}], "pagination": None}})
    [detail] = page.records
    return detail, page.faults


WHOLE = {"start_time": "2024-06-26T08:25:09Z", "finish_time": "2024-06-26T08:25:26Z"}


@pytest.mark.parametrize(
    ("durations", "duration_ms"),
    [
        ({"build_duration": 17_068, "duration": 34_068}, 17_068),
        ({"build_duration": 0, "duration": 16_400}, 16_400),
        ({"build_duration": "17068", "duration": None}, 17_068),
        ({"build_duration": 17_000, "duration": 17_000}, 17_000),
        ({"build_duration": 17_000, "duration": 17_400}, None),
        ({"build_duration": 0, "duration": 0}, None),
        ({"build_duration": 28_425, "duration": 45_425}, None),
        ({"build_duration": 17_068, "duration": 17_068, "finish_time": None}, None),
    ],
)
def test_a_duration_in_records_is_used_where_it_alone_fits_start_and_finish(
    durations: dict[str, object], duration_ms: int | None
) -> None:
    assert read_whole(**WHOLE | durations)[0].duration_ms == duration_ms


def test_a_duration_in_records_fits_times_to_the_millisecond_exactly() -> None:
    fields = WHOLE | {"start_time": "2024-06-26T08:25:09.250Z"}
    assert read_whole(**fields, build_duration=16_750, duration=17_000)[0].duration_ms == 16_750


def test_a_record_may_be_running_and_every_field_but_its_number_null_or_missing() -> None:
    names = ("status", "queued_time", "start_time", "finish_time", "duration", "build_duration", "id")
    assert read_whole(**dict.fromkeys(names)) == read_whole() == (BuildDetail(7), ())
    running, faults = read_whole(status="Running", start_time="2024-06-26T08:25:09Z", finish_time="")
    assert (running.state, running.result, faults) == (State.RUNNING, None, ())


def test_a_record_without_a_readable_number_costs_only_itself() -> None:
    page = records_page({"result": {"data": [{"build_no": "x"}, 7, {"build_no": 3}]}})
    assert [detail.number for detail in page.records] == [3]
    assert (page.size, page.faults) == (3, ("bad_build_number", "record_not_an_object"))


def test_the_example_of_recycling_jobs_is_one_job_that_is_kept_29_days() -> None:
    page = recycle_page(example("recycling-jobs"))
    assert page.records == (
        RecycledJob(
            id="c798139500d2456d82d95d108f182b5a",
            name="testJobName",
            project_id="b4d3971c3988463b865f6f920846149e",
            deleted_ms=ms("2024-09-23T09:40:55Z"),
        ),
    )
    assert (page.size, page.total, page.faults) == (1, 1, ())
    assert page.retention_ms == 29 * DAY_MS


def test_times_of_the_recycle_bin_without_a_zone_are_utc_8() -> None:
    answer = example("recycling-jobs")
    del answer["result"]["job_list"][0]["delete_time_stamp"]
    page = recycle_page(answer)
    assert page.records[0].deleted_ms == ms("2024-09-23T09:40:55Z")


@pytest.mark.parametrize(
    ("records", "numbers"),
    [
        ({"history_records": [{"build_number": 1}, {"build_number": 2}]}, [1, 2]),
        ({"history_records": {"build_number": 1}}, [1]),
        ({"history_records": []}, []),
        ({"history_records": {}}, []),
        ({"history_records": None}, []),
        ({}, []),
    ],
)
def test_records_come_as_an_array_an_object_null_or_not_at_all(
    records: dict[str, object], numbers: list[int]
) -> None:
    page = history_page({"total": 2, **records}, JOB)
    assert [build.number for build in page.records] == numbers
    assert (page.size, page.faults) == (len(numbers), ())


@pytest.mark.parametrize("answer", [None, [], "", 7, True, [{"history_records": []}]])
def test_a_body_that_is_no_object_is_a_payload_error(answer: object) -> None:
    for read in (lambda: history_page(answer, JOB), lambda: recycle_page(answer)):
        with pytest.raises(PayloadError) as caught:
            read()
        assert caught.value.reason == "not_an_object"


@pytest.mark.parametrize("listed", ["", "none", 0, 7, True, False, 1.5])
def test_records_that_are_no_list_are_a_payload_error(listed: object) -> None:
    for read in (
        lambda: history_page({"history_records": listed}, JOB),
        lambda: recycle_page({"result": {"job_list": listed}}),
    ):
        with pytest.raises(PayloadError) as caught:
            read()
        assert caught.value.reason == "not_a_list"


@pytest.mark.parametrize("answer", [{}, {"result": None}, {"result": []}, {"result": ""}])
def test_a_response_without_a_result_is_a_payload_error(answer: object) -> None:
    for read in (lambda: build_detail(answer, JOB, 7), lambda: recycle_page(answer)):
        with pytest.raises(
            PayloadError, match=r"its field result: (nothing|a list|text) instead of"
        ) as caught:
            read()
        assert caught.value.reason == "no_result"


@pytest.mark.parametrize(
    ("total", "read"),
    [
        (7, 7),
        ("7", 7),
        (" 7 ", 7),
        (7.0, 7),
        (-1, -1),
        ("-1", -1),
        (None, None),
        ("", None),
        ("many", None),
        (7.5, None),
        (True, None),
        ([7], None),
        (float("nan"), None),
        (float("inf"), None),
        ("٧", None),
        ("9" * 5000, None),
    ],
)
def test_a_total_is_a_number_or_digits(total: object, read: int | None) -> None:
    assert history_page({"total": total}, JOB).total == read
    assert integer(total) == read


@pytest.mark.parametrize("number", [55, "55", 55.0, " 55 "])
def test_a_build_number_is_a_number_or_digits(number: object) -> None:
    assert [build.number for build in history({"build_number": number}).records] == [55]


@pytest.mark.parametrize("number", [None, 0, -1, "", "#55", 1.5, True, 2**31, 10**30, "9" * 19, [55], {}])
def test_a_record_without_a_readable_number_is_left_out_and_counted(number: object) -> None:
    page = history({"build_number": number}, {"build_number": 56}, {})
    assert [build.number for build in page.records] == [56]
    assert (page.size, page.faults) == (3, ("bad_build_number", "bad_build_number"))


@pytest.mark.parametrize("record", [None, 7, "x", [], [{"build_number": 1}], True])
def test_a_record_that_is_no_object_is_left_out_and_counted(record: object) -> None:
    page = history(record, {"build_number": 56})
    assert [build.number for build in page.records] == [56]
    assert (page.size, page.faults) == (2, ("record_not_an_object",))


def test_another_job_s_record_is_left_out_and_counted() -> None:
    page = history({"build_number": 1, "job_id": OTHER_JOB}, {"build_number": 2, "job_id": JOB})
    assert [build.number for build in page.records] == [2]
    assert page.faults == ("foreign_record",)


@pytest.mark.parametrize("value", [8, "8", 0, -7])
def test_another_build_s_detail_is_refused(value: object) -> None:
    with pytest.raises(PayloadError) as caught:
        read_detail(build_no=value)
    assert caught.value.reason == "foreign_record"


@pytest.mark.parametrize("value", [7, "7", 7.0, None, ""])
def test_a_detail_may_leave_out_its_number(value: object) -> None:
    assert read_detail(build_no=value)[0].number == 7


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2022-10-11T08:28:42.000+00:00", "2022-10-11T08:28:42Z"),
        ("2022-10-11T08:28:42.068+00:00", "2022-10-11T08:28:42.068Z"),
        ("2022-10-11T08:28:42Z", "2022-10-11T08:28:42Z"),
        ("2022-10-11T08:28:42.000+0000", "2022-10-11T08:28:42Z"),
        ("2020-12-30T17:33:11+08:00", "2020-12-30T09:33:11Z"),
        ("2020-12-30T17:33:11+0800", "2020-12-30T09:33:11Z"),
        ("2020-12-30T17:33:11.5+0800", "2020-12-30T09:33:11.5Z"),
        ("2024-09-20 14:38:49", "2024-09-20T06:38:49Z"),
        (" 2024-09-20T14:38:49 ", "2024-09-20T06:38:49Z"),
        ("Fri Sep 20 14:38:49 CST 2024", "2024-09-20T06:38:49Z"),
        ("1726814329", "2024-09-20T06:38:49Z"),
        (1726814329, "2024-09-20T06:38:49Z"),
        (1726814329000, "2024-09-20T06:38:49Z"),
        ("1726814329000", "2024-09-20T06:38:49Z"),
        (1726814329.0, "2024-09-20T06:38:49Z"),
        ("2000-01-01T00:00:00Z", "2000-01-01T00:00:00Z"),
        ("2099-12-31T23:59:59Z", "2099-12-31T23:59:59Z"),
    ],
)
def test_a_time_is_read_in_every_spelling(text: object, moment: str) -> None:
    assert timestamp_ms(text) == ms(moment)


@pytest.mark.parametrize(
    "value",
    [
        "yesterday",
        "2022-13-41T00:00:00Z",
        "1999-12-31T23:59:59Z",
        "2100-01-01T00:00:00Z",
        "0001-01-01T00:00:00+23:59",
        "9999-12-31T23:59:59-23:59",
        1,
        -1,
        10**18,
        10**400,
        1e308,
        float("nan"),
        True,
        [],
        {},
    ],
)
def test_an_impossible_time_is_none_and_a_fault(value: object) -> None:
    assert timestamp_ms(value) is None
    build, faults = read_record(start_time=value, result="SUCCESS")
    assert (build.start_ms, faults) == (None, ("bad_time",))


@pytest.mark.parametrize("value", [None, "", 0, "0"])
def test_an_absent_time_is_no_fault(value: object) -> None:
    build, faults = read_record(start_time=value, end_time=value, result="SUCCESS")
    assert (build.start_ms, build.finish_ms, faults) == (None, None, ())


@pytest.mark.parametrize(
    ("value", "duration_ms", "faults"),
    [
        (100068, 100068, ()),
        ("100068", 100068, ()),
        (0, 0, ()),
        (-5, -5, ()),
        (None, None, ()),
        ("", None, ()),
        ("2 min", None, ("bad_duration",)),
        (1.5, None, ("bad_duration",)),
        ([], None, ("bad_duration",)),
    ],
)
def test_a_duration_is_milliseconds_as_a_number_or_digits(
    value: object, duration_ms: int | None, faults: tuple[str, ...]
) -> None:
    detail, found = read_detail(duration=value)
    assert (detail.duration_ms, found) == (duration_ms, faults)


@pytest.mark.parametrize(
    ("queued_time", "queued_at"),
    [
        ("2022-10-11T08:28:45.000+00:00", "2022-10-11T08:28:45Z"),
        (1665476925, "2022-10-11T08:28:45Z"),
        ("1665476925000", "2022-10-11T08:28:45Z"),
        (2000, "2022-10-11T08:28:45Z"),
        ("2000", "2022-10-11T08:28:45Z"),
        (0, "2022-10-11T08:28:47Z"),
    ],
)
def test_queued_time_is_a_timestamp_or_a_duration(queued_time: object, queued_at: str) -> None:
    detail, faults = read_detail(queued_time=queued_time, start_time="2022-10-11T08:28:47Z")
    assert (detail.queued_ms, faults) == (ms(queued_at), ())


@pytest.mark.parametrize("queued_time", [-1, 8 * DAY_MS, 10**30, "a while", []])
def test_a_queued_time_that_is_neither_is_counted(queued_time: object) -> None:
    detail, faults = read_detail(queued_time=queued_time, start_time="2022-10-11T08:28:47Z")
    assert (detail.queued_ms, faults) == (None, ("bad_time",))


def test_a_queue_duration_is_ignored_before_the_start() -> None:
    assert read_detail(queued_time=2000, start_time=None) == (BuildDetail(7), ())


FINISHED = {"start_time": "2020-12-30T17:33:11+08:00", "end_time": "2020-12-30T17:33:27+08:00"}


@pytest.mark.parametrize(
    ("word", "result"),
    [
        ("SUCCESS", Result.SUCCESS),
        ("Success", Result.SUCCESS),
        ("blue", Result.SUCCESS),
        ("FAILURE", Result.FAILURE),
        ("failed", Result.FAILURE),
        ("red", Result.FAILURE),
        ("ABORTED", Result.ABORTED),
        ("aborted", Result.ABORTED),
        ("TIMEOUT", Result.TIMEOUT),
        ("timeout", Result.TIMEOUT),
        ("SCHEDULE_FAILURE", Result.SCHEDULE_FAILURE),
        ("schedule-failure", Result.SCHEDULE_FAILURE),
    ],
)
def test_a_result_is_read_in_any_letter_case_and_as_a_colour(word: str, result: Result) -> None:
    assert read_record(result=word, **FINISHED)[0].result is result
    assert read_record(result=word) == (Build(number=7, result=result), ())
    assert read_detail(status=word) == (BuildDetail(number=7, result=result), ())


@pytest.mark.parametrize(
    ("word", "state"),
    [
        ("InQueue", State.QUEUED),
        ("IN_QUEUE", State.QUEUED),
        ("Starting", State.QUEUED),
        ("Running", State.RUNNING),
        ("running", State.RUNNING),
        ("building", State.RUNNING),
    ],
)
def test_the_state_of_an_unfinished_build(word: str, state: State) -> None:
    assert read_record(result=word) == (Build(number=7, state=state), ())
    assert read_detail(status=word) == (BuildDetail(number=7, state=state), ())


@pytest.mark.parametrize("word", [None, "", "none", "NULL", "unknown"])
def test_a_record_with_neither_end_nor_result_is_unfinished(word: object) -> None:
    assert read_record(result=word)[0].state is State.QUEUED
    running, faults = read_record(result=word, start_time=FINISHED["start_time"], end_time="")
    assert (running.state, running.result, faults) == (State.RUNNING, None, ())


def test_a_record_that_ended_without_a_result_leaves_that_to_its_detail() -> None:
    build, faults = read_record(result=None, **FINISHED)
    assert (build.result, build.state, faults) == (None, None, ())


def test_an_unknown_result_is_a_fault_and_kept_once_there_is_an_end() -> None:
    ended, faults = read_record(result="UNSTABLE", **FINISHED)
    assert (ended.result, faults) == (Result.UNKNOWN, ("unknown_result",))
    open_yet, faults = read_record(result="UNSTABLE")
    assert (open_yet.result, open_yet.state, faults) == (None, None, ("unknown_result",))
    detail, faults = read_detail(status="UNSTABLE", finish_time="2022-10-11T08:30:27Z")
    assert (detail.result, faults) == (Result.UNKNOWN, ("unknown_result",))
    assert read_detail(status="UNSTABLE")[0].result is None


@pytest.mark.parametrize("word", [7, True, [], {"state": "SUCCESS"}])
def test_an_empty_result_is_none(word: object) -> None:
    assert read_record(result=word, **FINISHED)[0].result is None


@pytest.mark.parametrize(
    ("word", "trigger", "faults"),
    [
        ("MANUAL", Trigger.MANUAL, ()),
        ("Manual", Trigger.MANUAL, ()),
        ("Manual trigger", Trigger.MANUAL, ()),
        ("Scheduled trigger", Trigger.SCHEDULE, ()),
        ("Code change trigger", Trigger.CODE_CHANGE, ()),
        ("Pipeline", Trigger.PIPELINE, ()),
        ("手工触发", Trigger.MANUAL, ()),
        ("TIMED_EXECUTION", Trigger.SCHEDULE, ()),
        ("定时触发", Trigger.SCHEDULE, ()),
        ("CODEHUB_TRIGGER", Trigger.CODE_CHANGE, ()),
        ("codehubTrigger", Trigger.CODE_CHANGE, ()),
        ("代码更新触发", Trigger.CODE_CHANGE, ()),
        ("PIPELINE_TRIGGER", Trigger.PIPELINE, ()),
        ("流水线触发", Trigger.PIPELINE, ()),
        (None, Trigger.UNKNOWN, ()),
        ("", Trigger.UNKNOWN, ()),
        ("外部触发", Trigger.UNKNOWN, ("unknown_trigger",)),
        ("trigger", Trigger.UNKNOWN, ("unknown_trigger",)),
        ("WEBHOOK", Trigger.UNKNOWN, ("unknown_trigger",)),
    ],
)
def test_a_trigger_is_read_localised_or_not_and_counted_where_it_is_unknown(
    word: object, trigger: Trigger, faults: tuple[str, ...]
) -> None:
    build, found = read_record(trigger_type=word, result="SUCCESS")
    assert (build.trigger, found) == (trigger, faults)
    detail, found = read_detail(trigger_type=word)
    assert (detail.trigger, found) == (trigger, faults)


def test_every_field_but_the_number_may_be_null_or_missing() -> None:
    names = example("period-history")["history_records"].keys() - {"build_number"}
    assert read_record(**dict.fromkeys(names)) == read_record() == (Build(7, state=State.QUEUED), ())
    names = example("record-info")["result"].keys()
    assert read_detail(**dict.fromkeys(names)) == read_detail() == (BuildDetail(7), ())


def test_every_fault_of_a_record_is_reported_and_the_rest_of_it_is_read() -> None:
    build, faults = read_record(
        start_time="soon", end_time="later", result="UNSTABLE", trigger_type="?!x", branch="main"
    )
    assert build == Build(7, branch="main")
    assert faults == ("bad_time", "bad_time", "unknown_result", "unknown_trigger")


@pytest.mark.parametrize(
    ("days", "retention_ms"),
    [(29, 29 * DAY_MS), ("29", 29 * DAY_MS), (1, DAY_MS), (0, None), (-1, None), (10**9, None), (None, None)],
)
def test_the_retention_is_in_days(days: object, retention_ms: int | None) -> None:
    assert (
        recycle_page({"result": {"keep_time": days, "total": 0, "job_list": []}}).retention_ms == retention_ms
    )


def test_a_deleted_job_needs_an_id_and_nothing_else() -> None:
    page = recycle_page({"result": {"job_list": [{"job_id": JOB}, {"job_name": "x"}, {"job_id": 7}, None]}})
    assert page.records == (RecycledJob(id=JOB, name="", project_id="", deleted_ms=None),)
    assert page.faults == ("bad_job_id", "bad_job_id", "record_not_an_object")


def test_an_impossible_deletion_time_is_a_fault() -> None:
    broken = {"job_id": JOB, "delete_time_stamp": "soon", "delete_time": "later"}
    page = recycle_page({"result": {"job_list": broken}})
    assert (page.records[0].deleted_ms, page.faults) == (None, ("bad_time",))


def test_lone_surrogates_are_replaced() -> None:
    lonely = json.loads('{"branch": "main\\ud800"}')["branch"]
    assert read_record(branch=lonely, result="SUCCESS")[0].branch == "main?"
    page = recycle_page({"result": {"job_list": [{"job_id": JOB, "project_id": lonely}]}})
    assert page.records[0].project_id == "main?"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)
record_fields = sorted(
    {*example("period-history")["history_records"], *example("record-info")["result"], "delete_time_stamp"}
)
likely_values = st.sampled_from(
    [None, 7, "7", -1, JOB, "SUCCESS", "Running", "blue", "2020-12-30T17:33:11+08:00", "1726814329"]
)
bad_records = json_values | st.dictionaries(st.sampled_from(record_fields), likely_values | json_values)
answers = json_values | st.fixed_dictionaries(
    {},
    optional={
        "total": json_values,
        "history_records": json_values | st.lists(bad_records, max_size=4),
        "result": bad_records
        | st.fixed_dictionaries({"job_list": st.lists(bad_records, max_size=4)})
        | st.fixed_dictionaries({"data": st.lists(bad_records, max_size=4), "pagination": json_values}),
    },
)


@given(answers)
def test_any_json_is_a_value_or_a_payload_error(answer: object) -> None:
    for read in (
        lambda: history_page(answer, JOB),
        lambda: build_detail(answer, JOB, 7),
        lambda: recycle_page(answer),
        lambda: records_page(answer),
    ):
        with suppress(PayloadError):
            read()


@given(answers)
def test_any_value_can_be_encoded_and_any_time_lies_in_this_century(answer: object) -> None:
    try:
        builds = history_page(answer, JOB).records
    except PayloadError:
        return
    for build in builds:
        build.branch.encode()
        assert 1 <= build.number < 2**31
        assert all(
            moment is None or ms("2000-01-01T00:00Z") <= moment < ms("2100-01-01T00:00Z")
            for moment in (build.start_ms, build.finish_ms)
        )
        assert build.result is None or build.state is None


@given(records=st.lists(bad_records, max_size=4), at=st.integers(0, 4))
def test_a_bad_record_never_changes_the_others(records: list[object], at: int) -> None:
    good = example("period-history")["history_records"]
    alone = history(*records)
    mixed = history(*records[:at], good, *records[at:])
    assert mixed.size == len(records) + 1
    assert mixed.faults == alone.faults
    [expected] = history(good).records
    added = list(mixed.records)
    added.remove(expected)
    assert added == list(alone.records)


@given(records=st.lists(bad_records, max_size=4), at=st.integers(0, 4))
def test_a_bad_deleted_job_never_changes_the_others(records: list[object], at: int) -> None:
    [good] = example("recycling-jobs")["result"]["job_list"]

    def read(jobs: list[object]) -> Page[RecycledJob]:
        return recycle_page({"result": {"job_list": jobs}})

    alone, mixed = read(records), read([*records[:at], good, *records[at:]])
    added = list(mixed.records)
    added.remove(read([good]).records[0])
    assert added == list(alone.records)
    assert mixed.faults == alone.faults


def test_epoch_timestamps_and_texts_agree() -> None:
    moment = datetime(2026, 3, 10, 4, 0, tzinfo=UTC)
    stamp = round(moment.timestamp())
    assert timestamp_ms(stamp) == timestamp_ms(str(stamp * 1000)) == timestamp_ms(moment.isoformat())
