"""JSON of the API → model, tolerant by record: history, details, the recycle bin, job lists. Pure.

A page comes out as a `Page`: the records that could be read, and a word for each thing that could not.
Only an answer that is no page at all raises, and then always `PayloadError`.

What the readers accept beyond the documents, all of it seen live or in the provider's own examples:
integers as strings and back, null nearly anywhere, ``history_records`` as one object, three spellings of
a time, naive times (which are UTC+8), states in any letter case or as the colours of the job lists.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Final, Generic, TypeVar

from exporter.api.enums import outcome, state, trigger
from exporter.errors import PayloadError
from exporter.model import DAY_MS, Build, BuildDetail, JobNames, ListedJob, RecycledJob, Result, State

Record = TypeVar("Record")

BUILD_FAULTS: Final = ("record_not_an_object", "bad_build_number", "foreign_record")
"""What costs a record of history, of the words that `history_page` has for faults."""

SERVICE_ZONE: Final = timezone(timedelta(hours=8))
"""The zone of times that name none, and of the calendar days that period-history takes."""

LARGEST_PAGE: Final = 200
"""A page with more records is refused whole; 100 are asked for."""

_EARLIEST_MS: Final = int(datetime(2000, 1, 1, tzinfo=UTC).timestamp() * 1000)

_LATEST_MS: Final = int(datetime(2100, 1, 1, tzinfo=UTC).timestamp() * 1000)

_MAX_NUMBER: Final = 2**31 - 1

_LONGEST_QUEUE_MS: Final = 7 * DAY_MS

_SECONDS_UP_TO: Final = 100_000_000_000
"""A bare number below this is seconds since the epoch (until the year 5138), from it on milliseconds."""


@dataclass(frozen=True, slots=True)
class Page(Generic[Record]):
    """What could be read of one page.

    Attributes:
        records: in the order of the answer.
        seen: how many records the answer held, readable or not; a short page ends the paging.
        total: what the service says there is in all; wrong at times, None where it is no number.
        faults: a snake_case word for each thing that could not be read.
    """

    records: tuple[Record, ...]
    seen: int
    total: int | None
    faults: tuple[str, ...]


def history_page(answer: object, job_id: str) -> Page[Build]:
    """Read an answer of period-history.

    Raises:
        PayloadError: the answer is no page of builds.
    """
    body = mapping(answer, "not_an_object")
    return page_of(body.get("history_records"), body.get("total"), lambda record: _build(record, job_id))


def build_detail(answer: object, job_id: str, number: int) -> tuple[BuildDetail, tuple[str, ...]]:
    """Read an answer of record-info for one build; what could not be read comes as words beside it.

    Raises:
        PayloadError: the answer holds no build, or another one than was asked for.
    """
    record = mapping(mapping(answer, "not_an_object").get("result"), "no_result")
    told = integer(record.get("build_no"))
    if told is not None and told != number:
        raise PayloadError("foreign_record", f"asked for build {number} of {job_id}, got {told}")
    faults: list[str] = []
    start_ms = moment_ms(record.get("start_time"), faults)
    finish_ms = moment_ms(record.get("finish_time"), faults)
    result, state = outcome(record.get("status"), faults)
    if result is Result.UNKNOWN and finish_ms is None:
        result = None
    return BuildDetail(
        number=number,
        result=result,
        state=state,
        queued_ms=_queued(record.get("queued_time"), start_ms, faults),
        start_ms=start_ms,
        finish_ms=finish_ms,
        duration_ms=length_ms(record.get("duration"), faults),
        branch=text(record.get("branch")),
        trigger=trigger(record.get("trigger_type"), faults),
        record_id=_record_id(record.get("id")),
        project_id=text(record.get("devcloud_project_id")),
    ), tuple(faults)


def recycle_page(answer: object) -> tuple[Page[RecycledJob], int | None]:
    """Read an answer of recycling-jobs: a page of deleted jobs, and how long they are kept in milliseconds.

    Raises:
        PayloadError: the answer is no page of the recycle bin.
    """
    result = mapping(mapping(answer, "not_an_object").get("result"), "no_result")
    days = integer(result.get("keep_time"))
    kept_ms = days * DAY_MS if days is not None and 0 < days <= 3650 else None
    return page_of(result.get("job_list"), result.get("total"), _recycled_job), kept_ms


def integer(value: object) -> int | None:
    """An integer given as a number or as digits; None for anything else."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        return int(value) if value.is_integer() else None
    if isinstance(value, str) and re.fullmatch(r"\s*-?[0-9]{1,19}\s*", value):
        return int(value)
    return None


def timestamp_ms(value: object) -> int | None:
    """A time in milliseconds since the epoch; None where there is none or none that can be right.

    Takes ``2022-10-11T08:28:42.000+00:00``, ``…+0800``, naive ``2024-09-20 14:38:49`` (UTC+8), and stamps in
    seconds or milliseconds as numbers or digits. Times outside 2000 to 2100 are taken for clock trouble.
    """
    number = integer(value)
    if number is not None:
        moment = number * 1000 if number < _SECONDS_UP_TO else number
    elif isinstance(value, str):
        try:
            read = datetime.fromisoformat(value.strip())
        except ValueError:
            return None
        zoned = read if read.tzinfo else read.replace(tzinfo=SERVICE_ZONE)
        moment = round(zoned.timestamp() * 1000)
    else:
        return None
    return moment if _EARLIEST_MS <= moment < _LATEST_MS else None


def page_of(
    listed: object, total: object, read: Callable[[object], tuple[Record, tuple[str, ...]]]
) -> Page[Record]:
    """Read each record of a page; what ``read`` cannot read becomes a fault, and the rest stays.

    Raises:
        PayloadError: there is no list of records, or it is larger than any that was asked for.
    """
    if listed is None:
        listed = []
    elif isinstance(listed, dict):
        listed = [listed] if listed else []
    if not isinstance(listed, list):
        raise PayloadError("not_a_list", f"a list of records was expected, not {type(listed).__name__}")
    if len(listed) > LARGEST_PAGE:
        raise PayloadError("too_many_records", f"a page of {len(listed):,} records, more than was asked for")
    records: list[Record] = []
    faults: list[str] = []
    for item in listed:
        try:
            record, oddities = read(item)
        except PayloadError as error:
            faults.append(error.reason)
        else:
            records.append(record)
            faults.extend(oddities)
    return Page(tuple(records), len(listed), integer(total), tuple(faults))


def _build(value: object, job_id: str) -> tuple[Build, tuple[str, ...]]:
    record = mapping(value, "record_not_an_object")
    number = integer(record.get("build_number"))
    if number is None or not 1 <= number <= _MAX_NUMBER:
        raise PayloadError("bad_build_number", "a record without a readable build_number")
    owner = text(record.get("job_id"))
    if owner and owner != job_id:
        raise PayloadError("foreign_record", f"build {number} belongs to another job, {owner}")
    faults: list[str] = []
    start_ms = moment_ms(record.get("start_time"), faults)
    finish_ms = moment_ms(record.get("end_time"), faults)
    result, state = outcome(record.get("result"), faults)
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
    ), tuple(faults)


def _recycled_job(value: object) -> tuple[RecycledJob, tuple[str, ...]]:
    record = mapping(value, "record_not_an_object")
    job_id = text(record.get("job_id"))
    if not job_id:
        raise PayloadError("bad_job_id", "a deleted job without job_id")
    faults: list[str] = []
    deleted_ms = timestamp_ms(record.get("delete_time_stamp"))
    if deleted_ms is None:
        deleted_ms = moment_ms(record.get("delete_time"), faults)
    return RecycledJob(
        id=job_id,
        name=text(record.get("job_name")),
        project_id=text(record.get("project_id")),
        deleted_ms=deleted_ms,
    ), tuple(faults)


def mapping(value: object, reason: str) -> Mapping[str, object]:
    """A JSON object.

    Raises:
        PayloadError: it is something else; ``reason`` says what that means.
    """
    if not isinstance(value, dict):
        raise PayloadError(reason, f"a JSON object was expected, not {type(value).__name__}")
    return value


def text(value: object) -> str:
    """A string; half a surrogate pair, which JSON can hold and UTF-8 cannot, becomes a question mark."""
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else ""


def moment_ms(value: object, faults: list[str]) -> int | None:
    """As `timestamp_ms`; what is told and cannot be right adds ``bad_time`` to ``faults``."""
    if value in (None, "", 0, "0"):
        return None
    moment = timestamp_ms(value)
    if moment is None:
        faults.append("bad_time")
    return moment


def _record_id(value: object) -> str:
    """What full-stages is asked by; it becomes part of a path, so that anything else counts as not told."""
    told = text(value)
    return told if re.fullmatch(r"[0-9A-Za-z-]{1,64}", told) else ""


def _queued(value: object, start_ms: int | None, faults: list[str]) -> int | None:
    """``queued_time``: a moment in its examples, a length in milliseconds by its description."""
    length = integer(value)
    if length is None or timestamp_ms(value) is not None:
        return moment_ms(value, faults)
    if not 0 <= length <= _LONGEST_QUEUE_MS:
        faults.append("bad_time")
        return None
    return None if start_ms is None else start_ms - length


def length_ms(value: object, faults: list[str]) -> int | None:
    """A length in milliseconds; what is told and is no integer adds ``bad_duration`` to ``faults``."""
    length = integer(value)
    if length is None and value not in (None, ""):
        faults.append("bad_duration")
    return length


def job_list_page(answer: object, project_id: str = "") -> Page[ListedJob]:
    """Read an answer of a job list.

    Args:
        answer: its JSON.
        project_id: the project that was asked for, whose id the items then do not carry.

    Raises:
        PayloadError: the answer is no page of jobs.
    """
    body = mapping(answer, "not_an_object")
    if "jobs" not in body:
        body = mapping(body.get("result"), "no_result")
    return page_of(
        body.get("jobs", body.get("job_list")), body.get("total"), lambda item: _listed_job(item, project_id)
    )


def project_page(answer: object) -> Page[tuple[str, str]]:
    """Read an answer of the list of projects: pairs of id and name.

    Raises:
        PayloadError: the answer is no page of projects.
    """
    result = mapping(mapping(answer, "not_an_object").get("result"), "no_result")
    return page_of(result.get("project_info_list"), result.get("total"), _project)


def _project(value: object) -> tuple[tuple[str, str], tuple[str, ...]]:
    item = mapping(value, "record_not_an_object")
    identifier, name = text(item.get("identifier")), text(item.get("name"))
    if not identifier or not name:
        raise PayloadError("bad_project", "a project without identifier or name")
    return (identifier, name), ()


def _listed_job(value: object, project_id: str) -> tuple[ListedJob, tuple[str, ...]]:
    item = mapping(value, "record_not_an_object")
    job_id = text(item.get("id"))
    if not job_id:
        raise PayloadError("bad_job_id", "a listed job without id")
    faults: list[str] = []
    told = item.get("last_build_time")
    last_build_ms = timestamp_ms(told)
    if last_build_ms is None and told not in (None, "", 0, "0", -1):
        faults.append("bad_time")
    number = integer(item.get("build_number"))
    return ListedJob(
        id=job_id,
        names=JobNames(
            name=text(item.get("job_name")),
            project=text(item.get("project_name")),
            project_id=text(item.get("project_id")) or project_id,
        ),
        last_build_ms=last_build_ms,
        is_finished=_truth(item.get("is_finished")),
        status=text(item.get("last_build_status")).lower(),
        number=number if number and number > 0 else None,
        state=state(item.get("last_job_running_status")),
    ), tuple(faults)


def _truth(value: object) -> bool | None:
    if isinstance(value, bool):
        return value
    return {"true": True, "false": False}.get(value.lower()) if isinstance(value, str) else None
