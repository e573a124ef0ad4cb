"""The routes of the API, its limits, and faults of transport."""

import json
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Final

from exporter.simulator.access import Access, key_answer, metadata_token_answer, token_answer
from exporter.simulator.builds import Build, Job
from exporter.simulator.details import detail_answer, read_local, records_answer, stages_answer
from exporter.simulator.exchange import (
    Answer,
    RefusalError,
    Request,
    error_answer,
    html_answer,
    json_answer,
    refuse,
)
from exporter.simulator.faults import Fault, Faults, mangle
from exporter.simulator.fleet import Clock, Fleet
from exporter.simulator.history import Period, history_answer
from exporter.simulator.lists import jobs_answer, projects_answer, recycling_answer

WINDOW_MS = 60_000


class Limiter:
    """Counts requests in fixed windows of a minute for each fault ``rate-limit``.

    Requests that are refused count too, as they do at the gateway.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._windows: dict[int, tuple[Fault, int, int]] = {}
        self._lock = threading.Lock()

    def refuse(self, fault: Fault) -> float | None:
        """Seconds until the next window if this request is one too many, else None."""
        now_ms = self._clock.now_ms()
        with self._lock:
            _, began_ms, count = self._windows.get(id(fault), (fault, now_ms, 0))
            if now_ms - began_ms >= WINDOW_MS:
                began_ms, count = now_ms, 0
            self._windows[id(fault)] = (fault, began_ms, count + 1)
        return (began_ms + WINDOW_MS - now_ms) / 1000 if count >= fault.number("per_minute") else None


def instead(faults: Faults, limiter: Limiter, operation: str, job: str | None) -> Answer | None:
    """The answer that comes in place of the one asked for; None if none does."""
    if struck := faults.fire("rate-limit", operation, job):
        wait_s = limiter.refuse(struck)
        if wait_s is not None:
            retry_after = max(1, round(wait_s)) if struck.options["retry_after"] else None
            return _throttled(struck, "APIGW.0308", retry_after, round(struck.number("per_minute")))
    if struck := faults.fire("throttle", operation, job):
        return _throttled(struck, struck.text("code"), struck.options["retry_after"], 50)
    if faults.fire("unauthorized", operation, job):
        message = "Incorrect IAM authentication information: decrypt token fail"
        return error_answer(401, "APIGW.0301", message)
    if struck := faults.fire("error", operation, job):
        status = round(struck.number("status"))
        return error_answer(status, struck.text("code"), struck.text("message"), struck.text("shape"))
    if struck := faults.fire("html", operation, job):
        return html_answer(round(struck.number("status")))
    if struck := faults.fire("body", operation, job):
        content = struck.text("text").encode()
        return Answer(round(struck.number("status")), content, struck.text("content_type"))
    return None


def send_off(answer: Answer, faults: Faults, operation: str, job: str | None) -> Answer:
    """Gives an answer its troubles on the way."""
    if faults.fire("json-string", operation, job):
        answer.body = json.dumps(answer.body.decode()).encode()
    for kind in ("hang", "delay"):
        if struck := faults.fire(kind, operation, job):
            answer.delay_s += struck.number("seconds")
    if struck := faults.fire("slow-drip", operation, job):
        answer.bytes_per_second = struck.number("bytes_per_second")
    if struck := faults.fire("date-skew", operation, job):
        answer.date_skew_s = struck.number("seconds")
    if struck := faults.fire("truncated", operation, job):
        answer.keep = struck.number("keep")
    if struck := faults.fire("reset", operation, job):
        answer.keep, answer.reset = struck.number("keep"), True
    return answer


def _throttled(struck: Fault, code: str, retry_after: object, limit: int) -> Answer:
    policy = "policy user over ratelimit"
    message = f"The throttling threshold has been reached: {policy}"
    if struck.options["announce"]:
        message += f",limit:{limit},time:1 minute"
    answer = error_answer(round(struck.number("status")), code, message)
    if retry_after is not None:
        answer.headers["Retry-After"] = str(retry_after)
    return answer


INVALID: Final = "CB.00030001"

NO_JOB: Final = "DEVCB.00031006"

NO_HISTORY: Final = "CB.00031059"

TOO_LONG: Final = "CB.00031105"

ROUTES: Final = (
    ("GET", "period-history", r"/v3/jobs/(?P<job>[^/]+)/period-history"),
    ("GET", "record-info", r"/v4/jobs/(?P<job>[^/]+)/(?P<number>[^/]+)/record-info"),
    ("GET", "record-info", r"/v1/record/(?P<job>[^/]+)/(?P<number>[^/]+)/record-info"),
    ("GET", "recycling-jobs", r"/v1/job/recycling-jobs"),
    ("GET", "job-list", r"/v1/job/list"),
    ("GET", "project-job-list", r"/v1/job/(?P<project>[^/]+)/list"),
    ("GET", "projects", r"/v1/domain/project/related-page"),
    ("GET", "full-stages", r"/v1/record/(?P<record>[^/]+)/full-stages"),
    ("GET", "record-list", r"/v1/record/(?P<job>[^/]+)/list"),
    ("POST", "auth", r"/v3/auth/tokens"),
    ("PUT", "metadata-token", r"/meta-data/latest/api/token"),
    ("GET", "metadata-key", r"/openstack/latest/securitykey"),
)

PATTERNS: Final = tuple((method, name, re.compile(pattern)) for method, name, pattern in ROUTES)

OPEN: Final = frozenset(("auth", "metadata-token", "metadata-key"))


@dataclass(frozen=True, slots=True)
class Call:
    """A request that has found its operation; ``path`` holds the parts named in the route."""

    operation: str
    request: Request
    path: Mapping[str, str]

    @property
    def job(self) -> str | None:
        """The job id it concerns."""
        return self.path.get("job")


def route(request: Request) -> Call | None:
    """Finds the operation of a request."""
    for method, operation, pattern in PATTERNS:
        if request.method == method and (match := pattern.fullmatch(request.path)):
            return Call(operation, request, match.groupdict())
    return None


class Api:
    """Answers calls from the fleet, through the faults."""

    def __init__(self, fleet: Fleet, faults: Faults, access: Access, limiter: Limiter) -> None:
        self._fleet = fleet
        self._faults = faults
        self._access = access
        self._limiter = limiter
        self._handlers: dict[str, Callable[[Call], dict[str, object]]] = {
            "period-history": self._period_history,
            "record-info": self._record_info,
            "recycling-jobs": self._recycling_jobs,
            "job-list": self._job_list,
            "project-job-list": self._project_job_list,
            "projects": self._projects,
            "full-stages": self._full_stages,
            "record-list": self._record_list,
        }

    def answer(self, call: Call) -> Answer:
        """The answer to a call, with all that the faults do to it."""
        try:
            answer = self._answer(call)
        except RefusalError as refusal:
            answer = refusal.answer
        return send_off(answer, self._faults, call.operation, call.job)

    def _answer(self, call: Call) -> Answer:
        if call.operation not in OPEN:
            self._access.check(call.request)
        replaced = instead(self._faults, self._limiter, call.operation, call.job)
        if replaced is not None:
            return replaced
        if call.operation == "auth":
            return token_answer(self._access, call.request)
        if call.operation == "metadata-token":
            return metadata_token_answer(call.request)
        if call.operation == "metadata-key":
            return key_answer(self._access)
        body = self._handlers[call.operation](call)
        return json_answer(mangle(body, self._faults, call.operation, call.job))

    def _period_history(self, call: Call) -> dict[str, object]:
        query = call.request.query
        period = Period(
            _integer(query, "offset", minimum=0),
            _integer(query, "limit", 10, minimum=0, maximum=100),
            _day(query, "start_time"),
            _day(query, "end_time"),
        )
        if period.end < period.start:
            raise refuse(400, INVALID, "end_time is before start_time.")
        if (period.end - period.start).days > 30:
            raise refuse(400, TOO_LONG, "The time range cannot exceed 30 days.")
        return history_answer(self._fleet, self._faults, self._job(call).id, period)

    def _record_info(self, call: Call) -> dict[str, object]:
        number = _integer(call.path, "number", minimum=1, maximum=2_147_483_647)
        job = self._job(call)
        return detail_answer(self._fleet, self._faults, job, self._build(job, number))

    def _recycling_jobs(self, call: Call) -> dict[str, object]:
        query = call.request.query
        page_no = _integer(query, "page_no", 1, minimum=1)
        page_size = _integer(query, "page_size", 10, minimum=1, maximum=100)
        return recycling_answer(self._fleet, self._faults, page_no, page_size, query.get("search", ""))

    def _job_list(self, call: Call) -> dict[str, object]:
        query = call.request.query
        page = (
            _integer(query, "page_index", 0, minimum=0),
            _integer(query, "page_size", 10, minimum=1, maximum=100),
        )
        return jobs_answer(self._fleet, self._faults, None, query, page)

    def _project_job_list(self, call: Call) -> dict[str, object]:
        query = call.request.query
        project_id = _identifier(call.path["project"], "project_id")
        page = (
            _integer(query, "page_index", minimum=0),
            _integer(query, "page_size", minimum=1, maximum=100),
        )
        if project_id not in self._fleet.projects:
            raise refuse(403, "CB.00031007", "No permission for the project.")
        return jobs_answer(self._fleet, self._faults, project_id, query, page)

    def _projects(self, call: Call) -> dict[str, object]:
        query = call.request.query
        page_no = _integer(query, "page_no", 1, minimum=1)
        page_size = _integer(query, "page_size", 10, minimum=1, maximum=100)
        return projects_answer(self._fleet, self._faults, page_no, page_size, query.get("search", ""))

    def _full_stages(self, call: Call) -> dict[str, object]:
        record_id = call.path["record"]
        if not re.fullmatch(r"[0-9a-z-]{36}", record_id):
            raise refuse(400, INVALID, "record_id is not a record id.")
        build = self._fleet.find_record(record_id)
        job = self._fleet.job(build.job_id) if build else None
        if build is None or job is None:
            raise refuse(404, NO_JOB, "The build record does not exist.")
        return stages_answer(self._fleet, job, build)

    def _record_list(self, call: Call) -> dict[str, object]:
        query = call.request.query
        first_ms, last_ms = read_local(query.get("start_time", "")), read_local(query.get("end_time", ""))
        if first_ms is None or last_ms is None:
            raise refuse(400, INVALID, "start_time and end_time are yyyy-MM-dd HH:mm:ss.")
        page_index = _integer(query, "page_index", 0, minimum=0)
        page_size = _integer(query, "page_size", 10, minimum=1, maximum=100)
        return records_answer(self._fleet, self._job(call), first_ms, last_ms, page_index, page_size)

    def _job(self, call: Call) -> Job:
        job = self._fleet.job(_identifier(call.path["job"], "job_id"))
        if job is None or job.deleted_ms is not None:
            raise refuse(422, NO_JOB, "The job does not exist.")
        return job

    def _build(self, job: Job, number: int) -> Build:
        build = self._fleet.find_build(job.id, number)
        if build is None and number < job.plan.first_number:
            raise refuse(403, NO_HISTORY, "The build history has been deleted.")
        lost = self._faults.strikes("lost-records", None, job.id, number)
        if build is None or (lost and lost.text("detail") != "known"):
            raise refuse(404, NO_JOB, "The build record does not exist.")
        late = self._faults.strikes("late-details", None, job.id, number)
        if late and build.finish_ms is not None:
            ended_ms = self._fleet.clock.now_ms() - build.finish_ms
            if 0 <= ended_ms < late.number("seconds") * 1000:
                raise refuse(404, NO_JOB, "The build record does not exist.")
        return build


def no_route(request: Request) -> Answer:
    """What the gateway says to a path it does not know."""
    message = f"The API does not exist or has not been published: {request.method} {request.path}"
    return error_answer(404, "APIGW.0101", message)


def _identifier(text: str, name: str) -> str:
    if not re.fullmatch(r"[0-9a-z]{32}", text):
        raise refuse(400, INVALID, f"{name} does not match ^[0-9a-z]{{32}}$.")
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
        raise refuse(400, INVALID, f"{name} is not a number from {minimum} to {maximum}.")
    return int(text)


def _day(query: Mapping[str, str], name: str) -> date:
    text = query.get(name, "")
    try:
        if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
            raise ValueError(text)
        return date.fromisoformat(text)
    except ValueError:
        raise refuse(400, INVALID, f"{name} does not match ^[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}$.") from None
