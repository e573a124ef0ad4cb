"""period-history, record-info, full-stages and the newer lists of records, as the API answers them.

period-history and record-info rest on their documents; stages and ``records`` on the provider's
machine-readable definitions, and the record list on that and live reports. Guesses: words for unfinished
builds; in ``records``, the order, status codes, which of record-info's ids is ``id``, and that dates are
UTC+8 and compared with the creation.
The example of ``records`` has no durations and no total; both are right here without the faults
``zero-durations`` and ``wrong-total``.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final

from exporter.simulator.builds import LOCAL, Build, Job, Stage, hex_id, stages_of, uuid_id
from exporter.simulator.exchange import Body
from exporter.simulator.faults import Faults
from exporter.simulator.fleet import Fleet
from exporter.simulator.reported_builds import (
    RESULT_WORDS,
    BuildAsOf,
    commit_id,
    local_timestamp,
    page_of,
    phase,
    reported_build,
    reported_builds,
    timestamp,
    trigger_word,
)

USER_ID: Final = "ae22fd035f354cfa8d82a3f1c8940446"
DOMAIN_ID: Final = "60021bab32fd450aa2cb89226f425e06"
HISTORY: Final = "period-history"
RECORDS: Final = "records"


@dataclass(frozen=True, slots=True)
class HistoryQuery:
    """The page and the days of a request for period-history."""

    offset: int
    limit: int
    start: date
    end: date


def history_body(fleet: Fleet, faults: Faults, job_id: str, query: HistoryQuery) -> Body:
    """The body of a period-history response."""
    builds = reported_builds(fleet, faults, HISTORY, job_id)
    end = query.end - timedelta(days=1 if faults.fire("exclusive-end", HISTORY, job_id) else 0)
    first_ms, last_ms = _midnight_ms(query.start), _midnight_ms(end + timedelta(days=1))
    matching = [(build, ms) for build, ms in builds if first_ms <= build.filed_ms(ms) < last_ms]
    page = page_of(fleet, faults, HISTORY, matching, query.offset, query.limit)
    records: list[object] = [_history_record(fleet, faults, build, ms) for build, ms in page]
    return {"total": len(matching), "history_records": records}


def detail_body(fleet: Fleet, faults: Faults, operation: str, job: Job, build: Build) -> Body:
    """The body of a record-info response, of either version."""
    now_ms = fleet.clock.now_ms()
    reported = reported_build(faults, operation, build, now_ms)
    format_time = _time_format(faults, operation, job.id)
    queue_as_number = faults.fire("queue-as-number", operation, job.id)
    queue_ms = None if reported.start_ms is None else reported.start_ms - reported.queued_ms
    result: Body = {
        "id": fleet.record_id(build),
        "build_project_id": fleet.build_project_id(job.id),
        "build_record_id": _build_record_id(fleet, build),
        "devcloud_project_id": job.project_id,
        "codeci_job_id": job.id,
        "user_id": USER_ID,
        "build_no": build.number,
        "daily_build_num": build.daily_number,
        "execution_id": _execution_id(fleet, build),
        "repo_name": job.name.partition("-")[0],
        "repo_id": str(2111616838 + job.ordinal),
        "branch": build.branch,
        "commit": commit_id(fleet, build),
        "commit_message": f"Change {build.number}",
        "commit_create_time": format_time(build.created_ms),
        "trigger_type": trigger_word(faults, operation, build),
        "build_type": "branch",
        "status": reported.result or phase(build, now_ms),
        "domain_id": DOMAIN_ID,
        "create_time": format_time(build.created_ms),
        "schedule_time": format_time(reported.start_ms),
        "queued_time": queue_ms if queue_as_number else format_time(reported.queued_ms),
        "start_time": format_time(reported.start_ms),
        "runnable_time": format_time(build.created_ms - 758_000),
        "finish_time": format_time(reported.finish_ms),
        "duration": reported.duration_ms,
        "use_private_slave": 0,
        "region": "cn-north-4",
        **dict.fromkeys(("parent_record_id", "tag", "record_status", "err_msg")),
        "build_config_type": "YAML",
    }
    return {"status": "success", "result": result}


def stages_body(fleet: Fleet, job: Job, build: Build) -> Body:
    """The body of a full-stages response; the stages' durations add up to the build's."""
    now_ms = fleet.clock.now_ms()
    finished = build.finished(now_ms)
    stages = {
        stage.key: _stage(fleet, build, sequence, stage)
        for sequence, stage in enumerate(stages_of(build, job.plan))
        if finished or stage.start_ms <= now_ms
    }
    return {"result": {"build_stages": stages, "check_stages": None}, "error": None, "status": "success"}


@dataclass(frozen=True, slots=True)
class RecordsQuery:
    """The page and the limits of time, in ms since the epoch, of a request for ``records``."""

    page: int
    limit: int
    first_ms: int | None
    last_ms: int | None


def records_body(fleet: Fleet, faults: Faults, job: Job, query: RecordsQuery) -> Body:
    """The body of a ``records`` response."""
    dates = faults.fire("records-dates", RECORDS, job.id)
    by = dates.text("by") if dates else "created"
    shift_ms = round((8 - dates.number("hours")) * 3_600_000) if dates else 0
    first_ms = float("-inf") if query.first_ms is None else query.first_ms + shift_ms
    last_ms = float("inf") if query.last_ms is None else query.last_ms + shift_ms

    def matches(pair: BuildAsOf) -> bool:
        build, as_of_ms = pair
        at_ms: int | None = build.created_ms
        if by == "started":
            at_ms = build.filed_ms(as_of_ms)
        elif by == "finished":
            at_ms = build.finish_ms if build.finished(as_of_ms) else None
        return by == "nothing" or (at_ms is not None and first_ms <= at_ms // 1000 * 1000 <= last_ms)

    builds = [pair for pair in reported_builds(fleet, faults, RECORDS, job.id) if matches(pair)]
    page = page_of(fleet, faults, RECORDS, builds, query.page, query.limit)
    data = [_whole_record(fleet, faults, job, build, as_of_ms) for build, as_of_ms in page]
    pagination = {"page": query.page, "limit": query.limit, "total": len(builds)}
    return {"error": None, "result": {"data": data, "pagination": pagination}, "status": "success"}


def record_list_body(
    fleet: Fleet, job: Job, first_ms: int, last_ms: int, page_index: int, page_size: int
) -> Body:
    """The body of the newer record list; its counts are strings."""
    now_ms = fleet.clock.now_ms()
    all_builds = fleet.builds(job.id)
    builds = [b for b in all_builds[::-1] if first_ms <= b.filed_ms(now_ms) <= last_ms]
    page = builds[page_index * page_size : (page_index + 1) * page_size]
    result = {
        "health_score": str(health_score(all_builds, now_ms)),
        "job_build_states": [_state(fleet, build) for build in page],
        "page_index": str(page_index),
        "total_page": str(-(-len(builds) // page_size)),
        "total_record": str(len(builds)),
    }
    return {"result": result, "error": None, "status": "success"}


def health_score(builds: Sequence[Build], now_ms: int) -> int:
    """Percentage of successes among the last five finished builds."""
    last = [build for build in builds[-12:] if build.finished(now_ms)][-5:]
    return 100 * sum(build.result == "success" for build in last) // len(last) if last else 0


def parse_local(text: str) -> int | None:
    """Parse ``2024-09-20 14:38:49`` (UTC+8) to ms since the epoch; None if it is invalid."""
    try:
        return round(datetime.strptime(text, "%Y-%m-%d %H:%M:%S").replace(tzinfo=LOCAL).timestamp() * 1000)
    except ValueError:
        return None


def _time_format(faults: Faults, operation: str, job_id: str) -> Callable[[int | None], str | None]:
    if operation == RECORDS and (fault := faults.fire("time-style", operation, job_id)):
        style = fault.text("style")
        return lambda at_ms: local_timestamp(at_ms, style)
    unit_ms = 1000 if faults.fire("whole-seconds", operation, job_id) else 1
    return lambda at_ms: timestamp(None if at_ms is None else at_ms // unit_ms * unit_ms)


def _history_record(fleet: Fleet, faults: Faults, build: Build, as_of_ms: int) -> Body:
    reported = reported_build(faults, HISTORY, build, as_of_ms)
    fault = faults.fire("time-style", HISTORY, build.job_id)
    style = fault.text("style") if fault else "colon"
    end_time, result = local_timestamp(reported.finish_ms, style), reported.result
    if reported.finish_ms is None and (show := faults.fire("running-builds", HISTORY, build.job_id)):
        if show.text("show") == "phase":
            result = phase(build, as_of_ms)
        elif show.text("show") == "empty":
            end_time, result = "", ""
    return {
        "record_id": build.daily_number,
        "job_id": build.job_id,
        "build_number": build.number,
        "start_time": local_timestamp(reported.start_ms, style),
        "end_time": end_time,
        "result": result,
        "branch": build.branch,
        "commit_id": commit_id(fleet, build),
        "commit_message": f"Change {build.number}",
        "executor": "exporter",
        "trigger_type": trigger_word(faults, HISTORY, build),
    }


def _midnight_ms(day: date) -> int:
    return round(datetime(day.year, day.month, day.day, tzinfo=LOCAL).timestamp() * 1000)


def _whole_record(fleet: Fleet, faults: Faults, job: Job, build: Build, as_of_ms: int) -> Body:
    reported = reported_build(faults, RECORDS, build, as_of_ms)
    format_time = _time_format(faults, RECORDS, job.id)
    status: str | None = reported.result or phase(build, as_of_ms)
    finish_time = format_time(reported.finish_ms)
    if reported.result is None and (show := faults.fire("running-builds", RECORDS, job.id)):
        blank = "" if show.text("show") == "empty" else None
        status, finish_time = (status if show.text("show") == "phase" else blank), blank
    pending_ms = 0 if reported.start_ms is None else reported.start_ms - reported.queued_ms
    build_ms = reported.duration_ms or 0
    if faults.fire("zero-durations", RECORDS, job.id):
        pending_ms = build_ms = 0
    other_id = faults.fire("build-record-ids", RECORDS, job.id)
    trigger, repository = trigger_word(faults, RECORDS, build), f"https://repo.example/{job.name}"
    return {
        "branch": build.branch,
        "build_duration": build_ms,
        "build_no": str(build.number),
        "build_record_type": {"record_type": "JOB", "trigger_type": trigger},
        "build_yml_path": ".cloudbuild/build.yml",
        "build_yml_url": f"{repository}/blob/{build.branch}/.cloudbuild/build.yml",
        "create_time": format_time(build.created_ms),
        **dict.fromkeys(("daily_build_no", "daily_build_number"), build.daily_number),
        "dev_cloud_build_type": "branch",
        "display_name": job.name,
        "duration": pending_ms + build_ms,
        "execution_id": _execution_id(fleet, build),
        "finish_time": finish_time,
        "group_name": "",
        "id": _build_record_id(fleet, build) if other_id else fleet.record_id(build),
        "parameters": [{"name": "codeBranch", "secret": False, "value": build.branch}],
        "pending_duration": pending_ms,
        "project_id": fleet.build_project_id(job.id),
        "queued_time": format_time(reported.queued_ms),
        "repository": f"{repository}.git",
        "revision": commit_id(fleet, build),
        "schedule_time": format_time(reported.start_ms),
        "scm_type": "codehub",
        "scm_web_url": f"{repository}/home",
        "start_time": format_time(reported.start_ms),
        "status": status,
        "status_code": 8 if build.result == "aborted" and build.finished(as_of_ms) else 0,
        "trigger_name": "exporter",
        "trigger_type": trigger,
        "user_id": USER_ID,
    }


def _build_record_id(fleet: Fleet, build: Build) -> str:
    return uuid_id(fleet.seed, "build-record", build.job_id, build.number)


def _execution_id(fleet: Fleet, build: Build) -> str:
    return "j_" + hex_id(fleet.seed, "execution", build.job_id, build.number)[:8]


def _stage(fleet: Fleet, build: Build, sequence: int, stage: Stage) -> Body:
    ended = build.finish_ms is not None and stage.finish_ms <= fleet.clock.now_ms()
    duration_ms = stage.duration_ms if ended else None
    wait_ms = min(1000, stage.duration_ms // 10)
    begin_ms = stage.start_ms if stage.ran else build.created_ms
    return {
        "id": uuid_id(fleet.seed, "stage", build.job_id, build.number, stage.key),
        "build_record_id": _build_record_id(fleet, build),
        "execution_id": _execution_id(fleet, build),
        "execution_stage_name": stage.key,
        "display_name": stage.name,
        "sequence": sequence,
        "status": RESULT_WORDS[stage.result] if ended else "Running",
        "status_code": 0,
        "node_id": None,
        "log_status": None,
        **dict.fromkeys(("create_time", "schedule_time", "queued_time"), timestamp(begin_ms)),
        "start_time": timestamp(begin_ms + wait_ms),
        "finish_time": timestamp(stage.finish_ms) if ended else None,
        "duration": duration_ms,
        "build_duration": None if duration_ms is None else duration_ms - wait_ms,
        "pending_duration": wait_ms,
    }


def _state(fleet: Fleet, build: Build) -> Body:
    now_ms = fleet.clock.now_ms()
    finished = build.finished(now_ms)
    commit = commit_id(fleet, build)
    return {
        "number": build.number,
        "daily_build_number": build.daily_number,
        "state": RESULT_WORDS[build.result] if finished else None,
        "job_running_status": "Finished" if finished else phase(build, now_ms),
        "start_time": build.start_ms if build.started(now_ms) else None,
        "build_time": build.duration_ms if finished else None,
        "cost_time": build.duration_ms if finished else None,
        "build_type": "branch",
        "code_branch": build.branch,
        "commit_id": commit,
        "commit_info": {"commit_id": commit, "created_at": timestamp(build.created_ms)},
        "commit_detail_url": f"https://repo.example/{commit}/commitdetail",
        "executor": "exporter",
        "nickname": "exporter",
        "scm_type": "codehub",
        "scm_web_url": "https://repo.example/home",
        "trigger_type": "Manual",
        "user_id": USER_ID,
    }
