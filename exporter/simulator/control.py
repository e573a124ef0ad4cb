"""Control over HTTP, under ``/_sim/``, for tests in other processes. No credentials are needed."""

import json
import re
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, Final
from urllib.parse import parse_qs

from exporter.simulator.access import Access
from exporter.simulator.builds import RESULTS, TRIGGERS, Build
from exporter.simulator.exchange import Request, RequestLog, Response, error_response, json_response
from exporter.simulator.faults import Fault, Faults
from exporter.simulator.fleet import Fleet, ManualClock
from exporter.simulator.truth import fleet_truth

PREFIX: Final = "/_sim/"

JOB: Final = "jobs/([0-9a-z]{32})/"

Handler = Callable[[Request, str], object]


class Control:
    """Handles requests under ``/_sim/``."""

    def __init__(self, fleet: Fleet, faults: Faults, access: Access, log: RequestLog) -> None:
        self._fleet = fleet
        self._faults = faults
        self._log = log
        self._routes: tuple[tuple[str, str, Handler], ...] = (
            ("GET", "truth", self._truth),
            ("GET", "counts", self._counts),
            ("GET", "requests", lambda *_: [asdict(exchange) for exchange in log.exchanges()]),
            ("POST", "reset-counts", lambda *_: log.reset()),
            ("GET", "faults", lambda *_: self._list_faults()),
            ("POST", "faults", self._set_faults),
            ("DELETE", "faults", self._clear_faults),
            ("POST", "expire-tokens", lambda *_: access.expire()),
            ("POST", "advance", self._advance),
            ("POST", "stop-arrivals", lambda *_: fleet.stop_arrivals()),
            ("POST", "resume-arrivals", lambda *_: fleet.resume_arrivals()),
            ("POST", "jobs", self._add_job),
            ("POST", JOB + "builds", self._add_build),
            ("POST", JOB + "finish", self._finish_build),
            ("POST", JOB + "delete", lambda _, job_id: fleet.delete_job(job_id)),
            ("POST", JOB + "restore", lambda _, job_id: fleet.restore_job(job_id)),
            ("POST", JOB + "disable", lambda _, job_id: fleet.disable_job(job_id)),
            ("POST", JOB + "enable", lambda _, job_id: fleet.enable_job(job_id)),
            ("POST", JOB + "rename", lambda r, job_id: fleet.rename_job(job_id, str(_read(r)["name"]))),
        )

    def respond(self, request: Request) -> Response:
        """Handle a request; 400 says what is wrong with it."""
        for method, pattern, handler in self._routes:
            match = re.fullmatch(PREFIX + pattern, request.path)
            if match and method == request.method:
                try:
                    result = handler(request, match[1] if match.groups() else "")
                except (KeyError, TypeError, ValueError) as error:
                    return error_response(400, "SIM.400", f"{type(error).__name__}: {error}")
                return json_response({} if result is None else result)
        return error_response(404, "SIM.404", f"no {request.method} {request.path}")

    def _truth(self, request: Request, _: str) -> object:
        query = parse_qs(request.target.partition("?")[2])
        baselines = (text.partition(":") for text in query.get("since", ()))
        since = {job_id: int(number) for job_id, _, number in baselines}
        truth = fleet_truth(self._fleet, self._faults, since, set(query.get("job", ())) or None)
        return {
            "now_ms": self._fleet.clock.now_ms(),
            "jobs": {job_id: job.to_json() for job_id, job in truth.items()},
        }

    def _counts(self, _: Request, __: str) -> object:
        counts: dict[str, dict[str, int]] = {}
        for (operation, status), count in sorted(self._log.counts().items()):
            counts.setdefault(operation, {})[str(status)] = count
        return counts

    def _list_faults(self) -> object:
        return [fault.to_json() for fault in self._faults.active()]

    def _set_faults(self, request: Request, _: str) -> object:
        body = json.loads(request.body)
        if isinstance(body, list):
            self._faults.replace([Fault.from_json(item) for item in body])
        else:
            self._faults.add(Fault.from_json(body))
        return self._list_faults()

    def _clear_faults(self, request: Request, _: str) -> object:
        self._faults.clear(request.query.get("kind"), request.query.get("operation"))
        return self._list_faults()

    def _advance(self, request: Request, _: str) -> object:
        clock = self._fleet.clock
        if not isinstance(clock, ManualClock):
            raise TypeError("the clock cannot be set")
        clock.advance(float(_read(request).get("seconds", 0)))
        return {"now_ms": clock.now_ms()}

    def _add_job(self, request: Request, _: str) -> object:
        body = _read(request)
        job = self._fleet.add_job(str(body["name"]), str(body.get("project", "shop")))
        return {"job_id": job.id, "project_id": job.project_id}

    def _add_build(self, request: Request, job_id: str) -> object:
        body = _read(request)
        duration = body.get("duration_s", 10.0)
        build = self._fleet.add_build(
            job_id,
            result=_choice(body, "result", "success", RESULTS),
            queue_s=float(body.get("queue_s", 1.0)),
            duration_s=None if duration is None else float(duration),
            at_ms=body.get("at_ms"),
            branch=str(body.get("branch", "main")),
            trigger=_choice(body, "trigger", "manual", TRIGGERS),
        )
        return _to_json(build)

    def _finish_build(self, request: Request, job_id: str) -> object:
        body = _read(request)
        result = _choice(body, "result", "success", RESULTS)
        return _to_json(self._fleet.finish_build(job_id, int(body["number"]), result))


def _read(request: Request) -> dict[str, Any]:
    body = json.loads(request.body or b"{}")
    if not isinstance(body, dict):
        raise TypeError("the body is not an object")
    return body


def _choice(body: dict[str, Any], name: str, default: str, choices: tuple[str, ...]) -> Any:
    value = body.get(name, default)
    if value not in choices:
        raise ValueError(f"unknown {name}; known: {', '.join(choices)}")
    return value


def _to_json(build: Build) -> object:
    return {"number": build.number, "start_ms": build.start_ms, "finish_ms": build.finish_ms}
