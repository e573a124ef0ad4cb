"""Answers each operation of the API: routes, limits, refusals and faults of transport."""

import json
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Final

from exporter.simulator.access import Access, key_response, metadata_token_response, token_response
from exporter.simulator.builds import Build, Job
from exporter.simulator.exchange import (
    Body,
    RefusalError,
    Request,
    Response,
    error_response,
    html_response,
    json_response,
    refusal,
)
from exporter.simulator.faults import Fault, Faults
from exporter.simulator.fleet import Clock, Fleet
from exporter.simulator.lists import apply_record_faults, jobs_body, projects_body, recycling_body
from exporter.simulator.records import (
    HistoryQuery,
    RecordsQuery,
    detail_body,
    history_body,
    parse_local,
    record_list_body,
    records_body,
    stages_body,
)

WINDOW_MS = 60_000

INVALID: Final = "CB.00030001"
NO_JOB: Final = "DEVCB.00031006"
NO_HISTORY: Final = "CB.00031059"
TOO_LONG: Final = "CB.00031105"

ROUTES: Final = tuple(
    (method, operation, re.compile(pattern))
    for method, operation, pattern in (
        ("GET", "period-history", r"/v3/jobs/(?P<job>[^/]+)/period-history"),
        ("GET", "record-info", r"/v4/jobs/(?P<job>[^/]+)/(?P<number>[^/]+)/record-info"),
        ("GET", "record-info-v1", r"/v1/record/(?P<job>[^/]+)/(?P<number>[^/]+)/record-info"),
        ("GET", "recycling-jobs", r"/v1/job/recycling-jobs"),
        ("GET", "job-list", r"/v1/job/list"),
        ("GET", "project-job-list", r"/v1/job/(?P<project>[^/]+)/list"),
        ("GET", "projects", r"/v1/domain/project/related-page"),
        ("GET", "full-stages", r"/v1/record/(?P<record>[^/]+)/full-stages"),
        ("GET", "records", r"/v1/record/(?P<build_project>[^/]+)/records"),
        ("GET", "record-list", r"/v1/record/(?P<job>[^/]+)/list"),
        ("POST", "auth", r"/v3/auth/tokens"),
        ("PUT", "metadata-token", r"/meta-data/latest/api/token"),
        ("GET", "metadata-key", r"/openstack/latest/securitykey"),
    )
)


class Limiter:
    """Counts requests in fixed windows of a minute for each fault ``rate-limit``.

    The operations of a fault share its allowance, unless it is for ``each``. Refused requests count too, as
    they do at the gateway.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._windows: dict[tuple[int, str], tuple[Fault, int, int]] = {}
        self._lock = threading.Lock()

    def wait_s(self, fault: Fault, operation: str) -> float | None:
        """Count a request; return the seconds until the next window if it exceeds the limit, else None."""
        now_ms = self._clock.now_ms()
        key = (id(fault), operation if fault.options["each"] else "")
        with self._lock:
            _, began_ms, count = self._windows.get(key, (fault, now_ms, 0))
            if now_ms - began_ms >= WINDOW_MS:
                began_ms, count = now_ms, 0
            self._windows[key] = (fault, began_ms, count + 1)
        return (began_ms + WINDOW_MS - now_ms) / 1000 if count >= fault.number("per_minute") else None


def replacement(faults: Faults, limiter: Limiter, operation: str, job: str | None) -> Response | None:
    """The response that a fault sends instead of the requested one, if any."""
    limits = [
        (limiter.wait_s(limit, operation), limit) for limit in faults.fire_all("rate-limit", operation, job)
    ]
    for wait_s, limit in limits:
        if wait_s is not None:
            retry_after = max(1, round(wait_s)) if limit.options["retry_after"] else None
            return _throttled(limit, "APIGW.0308", retry_after, round(limit.number("per_minute")))
    if fault := faults.fire("throttle", operation, job):
        return _throttled(fault, fault.text("code"), fault.options["retry_after"], 50)
    if faults.fire("unauthorized", operation, job):
        message = "Incorrect IAM authentication information: decrypt token fail"
        return error_response(401, "APIGW.0301", message)
    if fault := faults.fire("error", operation, job):
        status = round(fault.number("status"))
        return error_response(status, fault.text("code"), fault.text("message"), fault.text("shape"))
    if fault := faults.fire("html", operation, job):
        return html_response(round(fault.number("status")))
    if fault := faults.fire("body", operation, job):
        content = fault.text("text").encode()
        return Response(round(fault.number("status")), content, fault.text("content_type"))
    return None


def apply_transport_faults(response: Response, faults: Faults, operation: str, job: str | None) -> Response:
    """Apply the faults of transport to a response, in place."""
    if faults.fire("json-string", operation, job):
        response.body = json.dumps(response.body.decode()).encode()
    for kind in ("hang", "delay"):
        if fault := faults.fire(kind, operation, job):
            response.delay_s += fault.number("seconds")
    if fault := faults.fire("slow-drip", operation, job):
        response.bytes_per_second = fault.number("bytes_per_second")
    if fault := faults.fire("date-skew", operation, job):
        response.date_skew_s = fault.number("seconds")
    if fault := faults.fire("truncated", operation, job):
        response.keep = fault.number("keep")
    if fault := faults.fire("reset", operation, job):
        response.keep, response.reset = fault.number("keep"), True
    return response


def _throttled(fault: Fault, code: str, retry_after: object, limit: int) -> Response:
    message = "The throttling threshold has been reached: policy user over ratelimit"
    if fault.options["announce"]:
        message += f",limit:{limit},time:1 minute"
    response = error_response(round(fault.number("status")), code, message)
    if retry_after is not None:
        response.headers["Retry-After"] = str(retry_after)
    return response


@dataclass(frozen=True, slots=True)
class Call:
    """A request and its operation; ``path`` holds the parts named in the route."""

    operation: str
    request: Request
    path: Mapping[str, str]

    @property
    def job(self) -> str | None:
        """The job id it concerns."""
        return self.path.get("job")

    @property
    def search(self) -> str:
        """The text that listed names contain."""
        return self.request.query.get("search", "")

    def page(
        self, number: str, first: int | None, size: int | None = 10, limit: str = "page_size"
    ) -> tuple[int, int]:
        """The page number and the page size, in the parameters of these names; None stands for no default."""
        query = self.request.query
        index = _integer(query, number, first, minimum=first or 0)
        return index, _integer(query, limit, size, minimum=1, maximum=100)


def route(request: Request, fleet: Fleet) -> Call | None:
    """Find the operation of a request, and the job of a build project."""
    for method, operation, pattern in ROUTES:
        if request.method == method and (match := pattern.fullmatch(request.path)):
            path = match.groupdict()
            job = fleet.find_build_project(path.get("build_project", ""))
            return Call(operation, request, path | {"job": job.id} if job else path)
    return None


class Api:
    """Responds to calls from the fleet, subject to the faults."""

    def __init__(self, fleet: Fleet, faults: Faults, access: Access, limiter: Limiter) -> None:
        self._fleet = fleet
        self._faults = faults
        self._access = access
        self._limiter = limiter
        self._open: dict[str, Callable[[Call], Response]] = {
            "auth": lambda call: token_response(access, call.request),
            "metadata-token": lambda call: metadata_token_response(call.request),
            "metadata-key": lambda call: key_response(access),
        }
        self._bodies: dict[str, Callable[[Call], Body]] = {
            "period-history": self._period_history,
            "record-info": self._record_info,
            "record-info-v1": self._record_info,
            "recycling-jobs": lambda c: recycling_body(fleet, faults, *c.page("page_no", 1), c.search),
            "job-list": lambda c: jobs_body(fleet, faults, None, c.request.query, c.page("page_index", 0)),
            "project-job-list": self._project_job_list,
            "projects": lambda c: projects_body(fleet, faults, *c.page("page_no", 1), c.search),
            "full-stages": self._full_stages,
            "records": self._records,
            "record-list": self._record_list,
        }

    def respond(self, call: Call) -> Response:
        """Respond to a call, with the effects of faults."""
        try:
            response = self._respond(call)
        except RefusalError as error:
            response = error.response
        return apply_transport_faults(response, self._faults, call.operation, call.job)

    def _respond(self, call: Call) -> Response:
        if gone := self._faults.fire("withdrawn", call.operation, call.job):
            return _withdrawn(gone, call.request)
        if call.operation not in self._open:
            self._access.check(call.request)
        replaced = replacement(self._faults, self._limiter, call.operation, call.job)
        if replaced is not None:
            return replaced
        if call.operation in self._open:
            return self._open[call.operation](call)
        body = self._bodies[call.operation](call)
        return json_response(apply_record_faults(body, self._faults, call.operation, call.job))

    def _period_history(self, call: Call) -> Body:
        values = call.request.query
        query = HistoryQuery(
            _integer(values, "offset", minimum=0),
            _integer(values, "limit", 10, minimum=0, maximum=100),
            _day(values, "start_time"),
            _day(values, "end_time"),
        )
        if query.end < query.start:
            raise refusal(400, INVALID, "end_time is before start_time.")
        if (query.end - query.start).days > 30:
            raise refusal(400, TOO_LONG, "The time range cannot exceed 30 days.")
        return history_body(self._fleet, self._faults, self._job(call).id, query)

    def _record_info(self, call: Call) -> Body:
        number = _integer(call.path, "number", minimum=1, maximum=2_147_483_647)
        job = self._job(call)
        build = self._build(call.operation, job, number)
        return detail_body(self._fleet, self._faults, call.operation, job, build)

    def _project_job_list(self, call: Call) -> Body:
        project_id = _identifier(call.path["project"], "project_id")
        page = call.page("page_index", None, None)
        if project_id not in self._fleet.projects:
            raise refusal(403, "CB.00031007", "No permission for the project.")
        return jobs_body(self._fleet, self._faults, project_id, call.request.query, page)

    def _full_stages(self, call: Call) -> Body:
        record_id = call.path["record"]
        if not re.fullmatch(r"[0-9a-z-]{36}", record_id):
            raise refusal(400, INVALID, "record_id is not a record id.")
        build = self._fleet.find_record(record_id)
        job = self._fleet.job(build.job_id) if build else None
        if build is None or job is None:
            raise refusal(404, NO_JOB, "The build record does not exist.")
        return stages_body(self._fleet, job, build)

    def _record_list(self, call: Call) -> Body:
        query = call.request.query
        first_ms, last_ms = parse_local(query.get("start_time", "")), parse_local(query.get("end_time", ""))
        if first_ms is None or last_ms is None:
            raise refusal(400, INVALID, "start_time and end_time are yyyy-MM-dd HH:mm:ss.")
        page = call.page("page_index", 0)
        return record_list_body(self._fleet, self._job(call), first_ms, last_ms, *page)

    def _records(self, call: Call) -> Body:
        if not re.fullmatch(r"[0-9a-z-]{36}", call.path["build_project"]):
            raise refusal(400, INVALID, "build_project_id is not a build project id.")
        first_ms, last_ms = (_moment(call.request.query, name) for name in ("from_date", "to_date"))
        query = RecordsQuery(*call.page("page", 0, limit="limit"), first_ms, last_ms)
        return records_body(self._fleet, self._faults, self._job(call), query)

    def _job(self, call: Call) -> Job:
        job = self._fleet.job(_identifier(call.job or "0" * 32, "job_id"))
        if job is None or job.deleted_ms is not None:
            raise refusal(422, NO_JOB, "The job does not exist.")
        return job

    def _build(self, operation: str, job: Job, number: int) -> Build:
        build = self._fleet.find_build(job.id, number)
        if build is None and number < job.plan.first_number:
            raise refusal(403, NO_HISTORY, "The build history has been deleted.")
        lost = self._faults.for_build("lost-records", None, job.id, number)
        late = self._faults.for_build("late-details", operation, job.id, number)
        if build is None or (lost and lost.text("detail") != "known"):
            raise refusal(404, NO_JOB, "The build record does not exist.")
        if late and build.finish_ms is not None:
            age_ms = self._fleet.clock.now_ms() - build.finish_ms
            if 0 <= age_ms < late.number("seconds") * 1000:
                raise refusal(404, NO_JOB, "The build record does not exist.")
        return build


def no_route(request: Request, status: int = 404, code: str = "APIGW.0101") -> Response:
    """The gateway's response to an unknown path."""
    message = f"The API does not exist or has not been published: {request.method} {request.path}"
    return error_response(status, code, message)


def _withdrawn(fault: Fault, request: Request) -> Response:
    status, code = round(fault.number("status")), fault.options["code"]
    return html_response(status) if code is None else no_route(request, status, str(code))


def _identifier(text: str, name: str) -> str:
    if not re.fullmatch(r"[0-9a-z]{32}", text):
        raise refusal(400, INVALID, f"{name} does not match ^[0-9a-z]{{32}}$.")
    return text


def _integer(
    values: Mapping[str, str],
    name: str,
    default: int | None = None,
    *,
    minimum: int,
    maximum: int = 2**31 - 1,
) -> int:
    text = values.get(name)
    if text is None and default is not None:
        return default
    if text is None or not re.fullmatch(r"-?[0-9]{1,10}", text) or not minimum <= int(text) <= maximum:
        raise refusal(400, INVALID, f"{name} is not a number from {minimum} to {maximum}.")
    return int(text)


def _moment(query: Mapping[str, str], name: str) -> int | None:
    text = query.get(name)
    at_ms = None if text is None else parse_local(text)
    if text is not None and at_ms is None:
        raise refusal(400, INVALID, f"{name} is not yyyy-MM-dd HH:mm:ss.")
    return at_ms


def _day(query: Mapping[str, str], name: str) -> date:
    text = query.get(name, "")
    try:
        if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
            raise ValueError(text)
        return date.fromisoformat(text)
    except ValueError:
        raise refusal(400, INVALID, f"{name} does not match ^[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}$.") from None
