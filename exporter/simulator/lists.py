"""Lists: the recycle bin, the jobs of a user or of a project, the projects; damage to all lists and records.

The recycle bin rests on its document; the others on the provider's machine-readable definitions, with the
second shape of a project's job list as code run live has reported it.
"""

from collections.abc import Iterable, Sequence
from typing import Final, TypeVar

from exporter.simulator.builds import Job
from exporter.simulator.exchange import Body
from exporter.simulator.faults import Fault, Faults
from exporter.simulator.fleet import DAY_MS, Fleet
from exporter.simulator.records import USER_ID, health_score
from exporter.simulator.reported_builds import colour, commit_id, local_timestamp, phase, trigger_word

_T = TypeVar("_T")

AUTHOR: Final = {"author_id": "4105.0", "author_domain_id": USER_ID}
CREATOR: Final = {"creator_name": "exporter", "creator_id": USER_ID}


def recycling_body(fleet: Fleet, faults: Faults, page_no: int, page_size: int, search: str) -> Body:
    """The body of a recycling-jobs response; the job deleted last comes first."""
    operation = "recycling-jobs"
    as_of_ms = _as_of(fleet, faults, operation)
    oldest_ms = as_of_ms - fleet.keep_days * DAY_MS
    jobs = [
        job
        for job in fleet.jobs()
        if job.deleted_ms is not None and oldest_ms < job.deleted_ms <= as_of_ms and search in job.name
    ]
    jobs.sort(key=lambda job: -(job.deleted_ms or 0))
    listed = _unless_empty(faults, operation, jobs)
    index = page_no if faults.fire("zero-based-pages", operation) else page_no - 1
    items = [_deleted_job(job) for job in listed[index * page_size : (index + 1) * page_size]]
    result = {"keep_time": fleet.keep_days, "total": len(listed), "job_list": items}
    return {"result": result, "error": None, "status": "success"}


def jobs_body(
    fleet: Fleet, faults: Faults, project_id: str | None, query: dict[str, str], page: tuple[int, int]
) -> Body:
    """The body of a job list: of one project, or of all that the user may see; ``page`` is index and size."""
    operation = "job-list" if project_id is None else "project-job-list"
    as_of_ms = _as_of(fleet, faults, operation)
    jobs = [
        job
        for job in fleet.jobs()
        if job.created_ms <= as_of_ms
        and (job.deleted_ms is None or job.deleted_ms > as_of_ms)
        and (project_id is None or job.project_id == project_id)
        and query.get("search", "") in job.name
    ]
    listed = _unless_empty(faults, operation, _sorted(jobs, query))
    index, size = page
    shown = listed[index * size : (index + 1) * size]
    items = [_job(fleet, faults, operation, job, as_of_ms) for job in shown]
    if project_id is not None and not faults.fire("list-shape", operation):
        return {"jobs": items, "total": len(listed)}
    return {"status": "success", "result": {"total": len(listed), "job_list": items}}


def projects_body(fleet: Fleet, faults: Faults, page_no: int, page_size: int, search: str) -> Body:
    """The body of the project list."""
    matching = [(project_id, name) for project_id, name in fleet.projects.items() if search in name]
    projects = _unless_empty(faults, "projects", matching)
    items = [
        {"identifier": identifier, "name": name, **AUTHOR, "status": 1}
        for identifier, name in projects[(page_no - 1) * page_size : page_no * page_size]
    ]
    result = {"project_info_list": items, "total": len(projects)}
    return {"result": result, "error": None, "status": "success"}


def _as_of(fleet: Fleet, faults: Faults, operation: str) -> int:
    stale = faults.fire("stale-list", operation)
    return fleet.clock.now_ms() - round(stale.number("seconds") * 1000 if stale else 0)


def _unless_empty(faults: Faults, operation: str, items: Sequence[_T]) -> Sequence[_T]:
    return () if faults.fire("empty-list", operation) else items


def _sorted(jobs: list[Job], query: dict[str, str]) -> list[Job]:
    descending = query.get("sort_order", "ASC").upper() == "DESC"
    if query.get("sort_field") == "job_name":
        return sorted(jobs, key=lambda job: job.name, reverse=descending)
    return jobs[::-1] if descending else jobs


def _deleted_job(job: Job) -> Body:
    deleted_ms = job.deleted_ms or 0
    return {
        "job_id": job.id,
        "job_name": job.name,
        "project_id": job.project_id,
        **CREATOR,
        "create_time": local_timestamp(job.created_ms, "naive"),
        "delete_time": local_timestamp(deleted_ms, "naive"),
        "create_time_stamp": str(job.created_ms // 1000),
        "delete_time_stamp": str(deleted_ms // 1000),
    }


def _job(fleet: Fleet, faults: Faults, operation: str, job: Job, as_of_ms: int) -> Body:
    builds = fleet.builds(job.id, as_of_ms)
    last = builds[-1] if builds else None
    finished = last is None or last.finished(as_of_ms)
    item: Body = {
        "id": job.id,
        "job_name": job.name,
        "job_creator": USER_ID,
        "user_name": "exporter",
        "last_build_time": None if last is None else last.filed_ms(as_of_ms),
        "last_build_status": colour(last, as_of_ms),
        "last_job_running_status": "Finished" if last is None or finished else phase(last, as_of_ms),
        "last_build_user": "exporter",
        "last_build_user_id": USER_ID,
        "health_score": health_score(builds, as_of_ms),
        "source_code": "codehub",
        "scm_type": "codehub",
        "build_project_id": fleet.build_project_id(job.id),
        "build_time": last.duration_ms if last and finished else 0,
        "trigger_type": trigger_word(faults, operation, last) if last else None,
        "is_finished": finished,
        "disabled": job.disabled,
        **dict.fromkeys(("favorite", "is_forbidden"), False),
        **dict.fromkeys(("is_copy", "is_delete", "is_execute", "is_modify", "is_view"), True),
    }
    if operation == "job-list":
        item |= {
            "project_id": job.project_id,
            "project_name": fleet.projects[job.project_id],
            "build_number": str(last.number) if last else None,
            "commit_id": commit_id(fleet, last) if last else None,
            "task_id": f"#{last.daily_number}" if last else None,
        }
    if last and (wrong := faults.fire("wrong-last-build", operation, job.id)):
        item["last_build_time"] = last.filed_ms(as_of_ms) + round(wrong.number("seconds") * 1000)
        if "build_number" in item:
            item["build_number"] = str(last.number + round(wrong.number("number")))
        if wrong.options["finished"] is not None:
            item["is_finished"] = wrong.options["finished"]
    return item


LISTS: Final = {
    "period-history": ("history_records", "build_number"),
    "recycling-jobs": ("job_list", "job_id"),
    "job-list": ("job_list", "id"),
    "project-job-list": ("jobs", "id"),
    "projects": ("project_info_list", "identifier"),
    "record-list": ("job_build_states", "number"),
    "records": ("data", "build_no"),
}
"""The list in a response, and the key of its records."""

RECORD_KINDS: Final = ("missing-fields", "null-fields", "numbers-as-strings", "strings-as-numbers")

ABSENT: Final = object()


def apply_record_faults(body: Body, faults: Faults, operation: str, job: str | None) -> Body:
    """Apply the faults of lists and records to a body, in place."""
    holder = body.get("result", body)
    if not isinstance(holder, dict):
        return body
    active = [fault for kind in RECORD_KINDS if (fault := faults.fire(kind, operation, job))]
    if operation not in LISTS:
        stages = holder.get("build_stages")
        _damage(stages.values() if isinstance(stages, dict) else (holder,), active)
        return body
    name = LISTS[operation][0] if LISTS[operation][0] in holder else "job_list"
    records = holder[name]
    if isinstance(records, list):
        _damage(records, active)
        holder[name] = _with_list_faults(records, faults, operation, job)
        if holder[name] is ABSENT:
            del holder[name]
    pages = holder.get("pagination")
    holder = pages if isinstance(pages, dict) else holder
    for name in ("total", "total_record"):
        if name in holder and (fault := faults.fire("wrong-total", operation, job)):
            value = fault.options["value"]
            holder[name] = str(holder[name]) if value == "string" else value
    return body


def _damage(records: Iterable[Body], active: list[Fault]) -> None:
    for record in records:
        for fault in active:
            if fault.kind == "numbers-as-strings":
                record |= {
                    name: str(value)
                    for name, value in record.items()
                    if isinstance(value, int) and not isinstance(value, bool)
                }
            if fault.kind == "strings-as-numbers":
                record |= {
                    name: int(value)
                    for name, value in record.items()
                    if isinstance(value, str) and value.isdecimal()
                }
            for name in record.keys() & set(map(str, fault.items("fields"))):
                if fault.kind == "missing-fields":
                    del record[name]
                else:
                    record[name] = None


def _with_list_faults(records: list[object], faults: Faults, operation: str, job: str | None) -> object:
    if fault := faults.fire("garbage-records", operation, job):
        garbage = fault.items("items")
        kept = records[len(garbage) :] if fault.options["replace"] else records
        records = [*garbage, *kept]
    if fault := faults.fire("oversized-page", operation, job):
        key, numbers = LISTS[operation][1], range(1, 1 + int(fault.number("records")))
        style = "{}" if key == "build_no" else "{:032x}"
        records = [{key: n if "number" in key else style.format(n), "name": f"{n}"} for n in numbers]
    if not records and (fault := faults.fire("no-records", operation, job)):
        return None if fault.text("shape") == "null" else ABSENT
    if len(records) == 1 and faults.fire("single-object", operation, job):
        return records[0]
    return records
