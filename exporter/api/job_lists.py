"""Job lists: JSON → `ListedJob`; pure, and tolerant by record as `payload` is.

A list comes as ``{"jobs": […], "total": n}`` or as ``{"result": {"job_list": […], "total": n}}``; both are
known to happen.
"""

from exporter.api.payload import Page, integer, mapping, page_of, text, timestamp_ms
from exporter.api.words import state
from exporter.errors import PayloadError
from exporter.model import JobNames, ListedJob


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
