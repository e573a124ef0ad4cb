"""JSON of the API → model, tolerant by record: builds, the recycle bin, job lists. Pure.

A page becomes a `Page`: the records that are readable, and a word for each fault. Only a response without the
requested page or build raises, and then always `PayloadError`.

Accepted beyond the documents, all of it seen live or in the provider's own examples: integers as strings and
back, null nearly anywhere, ``history_records`` as one object, four spellings of a time, times without a zone
(which are UTC+8), states in any letter case or as the colours of the job lists.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, timezone
from functools import partial
from typing import Final, Generic, TypeVar

from exporter.api.enum_words import result_or_state, state, trigger
from exporter.errors import PayloadError
from exporter.model import DAY_MS, Build, BuildDetail, JobNames, ListedJob, RecycledJob, Result, State

Record = TypeVar("Record")

BUILD_FAULTS: Final = ("record_not_an_object", "bad_build_number", "foreign_record")
"""The faults of `history_page` that cost a record."""

SERVICE_ZONE: Final = timezone(timedelta(hours=8))
"""The zone of times without one, and of the calendar days that period-history takes."""

MAX_PAGE_RECORDS: Final = 200
"""A larger page is refused as a whole; 100 records are requested."""

_MIN_TIME_MS: Final = int(datetime(2000, 1, 1, tzinfo=UTC).timestamp() * 1000)
_MAX_TIME_MS: Final = int(datetime(2100, 1, 1, tzinfo=UTC).timestamp() * 1000)
_MAX_NUMBER: Final = 2**31 - 1
_MAX_QUEUE_MS: Final = 7 * DAY_MS
_KINDS: Final = {type(None): "nothing", bool: "true or false", str: "text", list: "a list"}

_MAX_SECONDS: Final = 100_000_000_000
"""A bare number below this is seconds since the epoch (until the year 5138), from it on milliseconds."""


@dataclass(frozen=True, slots=True)
class Page(Generic[Record]):
    """The readable part of one page, in the order of the response.

    Attributes:
        size: number of records in the response, readable or not; a short page ends the paging.
        total: number of records in the whole listing; wrong at times, None if it is no number.
        faults: a snake_case word for each unreadable part.
        retention_ms: how long deleted jobs are kept; only pages of the recycle bin have it.
    """

    records: tuple[Record, ...]
    size: int
    total: int | None
    faults: tuple[str, ...]
    retention_ms: int | None = None


def history_page(body: object, job_id: str) -> Page[Build]:
    """Parse a response of period-history."""
    page = mapping(body, "not_an_object")
    return _page(page.get("history_records"), page.get("total"), partial(_build, job_id))


def build_detail(body: object, job_id: str, number: int) -> tuple[BuildDetail, tuple[str, ...]]:
    """Parse a response of record-info; returns the detail and its faults."""
    record = result_of(body)
    build_no = integer(record.get("build_no"))
    if build_no is not None and build_no != number:
        raise PayloadError("foreign_record", f"requested build {number} of {job_id}, got {build_no}")
    faults: list[str] = []
    return replace(
        _detail(record, number, faults),
        duration_ms=optional_duration_ms(record.get("duration"), faults),
        project_id=text(record.get("devcloud_project_id")),
        build_project_id=_path_part(record.get("build_project_id")),
    ), tuple(faults)


def records_page(body: object) -> Page[BuildDetail]:
    """Parse a response of records, which has the details of many builds of one job."""
    result = result_of(body)
    pagination = result.get("pagination")
    total = pagination.get("total") if isinstance(pagination, dict) else None
    return _page(result.get("data"), total, _record)


def recycle_page(body: object) -> Page[RecycledJob]:
    """Parse a response of recycling-jobs."""
    result = result_of(body)
    days = integer(result.get("keep_time")) or 0
    page = _page(result.get("job_list"), result.get("total"), _recycled_job)
    return replace(page, retention_ms=days * DAY_MS if 0 < days <= 3650 else None)


def job_list_page(body: object, project_id: str = "") -> Page[ListedJob]:
    """Parse a response of a job list; items of a project's list lack its id, which is ``project_id``."""
    page = mapping(body, "not_an_object")
    if "jobs" not in page:
        page = result_of(page)
    jobs = page.get("jobs", page.get("job_list"))
    return _page(jobs, page.get("total"), partial(_listed_job, project_id))


def project_page(body: object) -> Page[tuple[str, str]]:
    """Parse a response of the list of projects: pairs of id and name."""
    result = result_of(body)
    return _page(result.get("project_info_list"), result.get("total"), _project)


def mapping(value: object, reason: str, what: str = "the answer") -> Mapping[str, object]:
    """Return a JSON object; anything else raises a `PayloadError` with that ``reason`` about ``what``."""
    if not isinstance(value, dict):
        raise PayloadError(reason, f"{what}: {_KINDS.get(type(value), 'a number')} instead of a JSON object")
    return value


def result_of(body: object) -> Mapping[str, object]:
    """Return the object ``result`` of a response; without one, raise `PayloadError`."""
    return mapping(mapping(body, "not_an_object").get("result"), "no_result", "its field result")


def text(value: object) -> str:
    """Return a string or ``""``; lone surrogates, allowed in JSON but not in UTF-8, become question marks."""
    if not isinstance(value, str):
        return ""
    return value if value.isascii() else value.encode("utf-8", "replace").decode()


def integer(value: object) -> int | None:
    """Return an integer given as a number or as digits; None for anything else."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and re.fullmatch(r"\s*-?[0-9]{1,19}\s*", value):
        return int(value)
    return None


def timestamp_ms(value: object) -> int | None:
    """Return a time in milliseconds since the epoch; None if it is absent or impossible.

    Accepts ``2022-10-11T08:28:42.000+00:00``, ``…+0800``, ``2024-09-20 14:38:49`` (UTC+8), ``Wed Jun 26
    16:25:09 CST 2024`` (UTC+8), and timestamps in seconds or milliseconds as numbers or digits. Times outside
    2000 to 2100 count as impossible.
    """
    number = integer(value)
    if number is not None:
        time_ms = number * 1000 if number < _MAX_SECONDS else number
    elif isinstance(value, str):
        try:
            parsed = _datetime(value.strip())
        except ValueError:
            return None
        time_ms = round(parsed.replace(tzinfo=parsed.tzinfo or SERVICE_ZONE).timestamp() * 1000)
    else:
        return None
    return time_ms if _MIN_TIME_MS <= time_ms < _MAX_TIME_MS else None


def _datetime(value: str) -> datetime:
    if " CST " in value:
        return datetime.strptime(value.replace(" CST ", " "), "%a %b %d %H:%M:%S %Y").replace(
            tzinfo=SERVICE_ZONE
        )
    return datetime.fromisoformat(value)


def optional_time_ms(value: object, faults: list[str], *absent: object) -> int | None:
    """Return `timestamp_ms`; an impossible value that is not one of ``absent`` is the fault ``bad_time``."""
    if value in (None, "", 0, "0", *absent):
        return None
    time_ms = timestamp_ms(value)
    if time_ms is None:
        faults.append("bad_time")
    return time_ms


def optional_duration_ms(value: object, faults: list[str]) -> int | None:
    """Return a duration in milliseconds; a value that is no integer is the fault ``bad_duration``."""
    duration_ms = integer(value)
    if duration_ms is None and value not in (None, ""):
        faults.append("bad_duration")
    return duration_ms


def _page(
    items: object, total: object, parse: Callable[[Mapping[str, object], list[str]], Record]
) -> Page[Record]:
    if items is None:
        items = []
    elif isinstance(items, dict):
        items = [items] if items else []
    if not isinstance(items, list):
        raise PayloadError(
            "not_a_list", f"{_KINDS.get(type(items), 'a number')} instead of a list of records"
        )
    if len(items) > MAX_PAGE_RECORDS:
        raise PayloadError("too_many_records", f"a page of {len(items):,} records, more than requested")
    records: list[Record] = []
    faults: list[str] = []
    for item in items:
        try:
            records.append(parse(mapping(item, "record_not_an_object"), faults))
        except PayloadError as error:
            faults.append(error.reason)
    return Page(tuple(records), len(items), integer(total), tuple(faults))


def _required_number(record: Mapping[str, object], key: str) -> int:
    number = integer(record.get(key))
    if number is None or not 1 <= number <= _MAX_NUMBER:
        raise PayloadError("bad_build_number", f"a record without a readable {key}")
    return number


def _build(job_id: str, record: Mapping[str, object], faults: list[str]) -> Build:
    number = _required_number(record, "build_number")
    owner = text(record.get("job_id"))
    if owner and owner != job_id:
        raise PayloadError("foreign_record", f"build {number} belongs to another job, {owner}")
    start_ms = optional_time_ms(record.get("start_time"), faults)
    finish_ms = optional_time_ms(record.get("end_time"), faults)
    result, state = result_or_state(record.get("result"), faults)
    if result is Result.UNKNOWN and finish_ms is None:
        result = None
    elif result is None and state is None and finish_ms is None:
        state = State.QUEUED if start_ms is None else State.RUNNING
    return Build(
        number=number,
        result=result,
        state=state,
        start_ms=start_ms,
        finish_ms=finish_ms,
        branch=text(record.get("branch")),
        trigger=trigger(record.get("trigger_type"), faults),
    )


def _record(record: Mapping[str, object], faults: list[str]) -> BuildDetail:
    detail = _detail(record, _required_number(record, "build_no"), faults)
    return replace(
        detail,
        duration_ms=_fitting_duration_ms(record, detail, faults),
        build_project_id=_path_part(record.get("project_id")),
    )


def _fitting_duration_ms(record: Mapping[str, object], detail: BuildDetail, faults: list[str]) -> int | None:
    """Return the duration that fits start and finish, which may be whole seconds; None if several do.

    ``duration`` includes the queue in one of the provider's examples, and is 0 in another one.
    """
    durations = {optional_duration_ms(record.get(name), faults) for name in ("build_duration", "duration")}
    if detail.start_ms is None or detail.finish_ms is None:
        return None
    length_ms = detail.finish_ms - detail.start_ms
    within_ms = 1 if detail.start_ms % 1000 or detail.finish_ms % 1000 else 1000
    fitting = {
        duration_ms for duration_ms in durations if duration_ms and abs(duration_ms - length_ms) < within_ms
    }
    return fitting.pop() if len(fitting) == 1 else None


def _detail(record: Mapping[str, object], number: int, faults: list[str]) -> BuildDetail:
    """Parse what record-info and records have in common."""
    start_ms = optional_time_ms(record.get("start_time"), faults)
    finish_ms = optional_time_ms(record.get("finish_time"), faults)
    result, state = result_or_state(record.get("status"), faults)
    if result is Result.UNKNOWN and finish_ms is None:
        result = None
    return BuildDetail(
        number=number,
        result=result,
        state=state,
        queued_ms=_queued_ms(record.get("queued_time"), start_ms, faults),
        start_ms=start_ms,
        finish_ms=finish_ms,
        branch=text(record.get("branch")),
        trigger=trigger(record.get("trigger_type"), faults),
        record_id=_path_part(record.get("id")),
    )


def _path_part(value: object) -> str:
    """Return an id that becomes part of a path, or ``""``."""
    part = text(value)
    return part if re.fullmatch(r"[0-9A-Za-z-]{1,64}", part) else ""


def _recycled_job(record: Mapping[str, object], faults: list[str]) -> RecycledJob:
    job_id = text(record.get("job_id"))
    if not job_id:
        raise PayloadError("bad_job_id", "a deleted job without job_id")
    deleted_ms = timestamp_ms(record.get("delete_time_stamp"))
    if deleted_ms is None:
        deleted_ms = optional_time_ms(record.get("delete_time"), faults)
    name, project_id = text(record.get("job_name")), text(record.get("project_id"))
    return RecycledJob(job_id, name, project_id, deleted_ms)


def _listed_job(project_id: str, item: Mapping[str, object], faults: list[str]) -> ListedJob:
    job_id = text(item.get("id"))
    if not job_id:
        raise PayloadError("bad_job_id", "a listed job without id")
    number = integer(item.get("build_number"))
    return ListedJob(
        id=job_id,
        names=JobNames(
            name=text(item.get("job_name")),
            project=text(item.get("project_name")),
            project_id=text(item.get("project_id")) or project_id,
        ),
        last_build_ms=optional_time_ms(item.get("last_build_time"), faults, -1),
        is_finished=_boolean(item.get("is_finished")),
        status=text(item.get("last_build_status")).lower(),
        number=number if number and number > 0 else None,
        state=state(item.get("last_job_running_status")),
        build_project_id=_path_part(item.get("build_project_id")),
        disabled=_boolean(item.get("disabled")),
    )


def _project(item: Mapping[str, object], _faults: list[str]) -> tuple[str, str]:
    project_id, name = text(item.get("identifier")), text(item.get("name"))
    if not project_id or not name:
        raise PayloadError("bad_project", "a project without identifier or name")
    return project_id, name


def _queued_ms(value: object, start_ms: int | None, faults: list[str]) -> int | None:
    """Parse ``queued_time``: a time in its examples, a duration in milliseconds by its description."""
    duration_ms = integer(value)
    if duration_ms is None or timestamp_ms(value) is not None:
        return optional_time_ms(value, faults)
    if not 0 <= duration_ms <= _MAX_QUEUE_MS:
        faults.append("bad_time")
        return None
    return None if start_ms is None else start_ms - duration_ms


def _boolean(value: object) -> bool | None:
    if isinstance(value, bool):
        return value
    return {"true": True, "false": False}.get(value.lower()) if isinstance(value, str) else None
