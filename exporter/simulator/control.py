"""Control over HTTP, under ``/_sim/``, for tests whose processes are separate. No credentials are needed."""

import json
import re
from collections.abc import Callable
from typing import Any, Final, cast
from urllib.parse import parse_qs

from exporter.simulator.access import Access
from exporter.simulator.builds import RESULTS, TRIGGERS, Build, Result, Trigger
from exporter.simulator.exchange import Answer, Journal, Request, error_answer, json_answer
from exporter.simulator.faults import Fault, Faults
from exporter.simulator.fleet import Fleet, ManualClock
from exporter.simulator.truth import fleet_truth

PREFIX: Final = "/_sim/"
Handler = Callable[[Request, str], object]


class Control:
    """Answers what is asked under ``/_sim/``."""

    def __init__(self, fleet: Fleet, faults: Faults, access: Access, journal: Journal) -> None:
        self._fleet = fleet
        self._faults = faults
        self._access = access
        self._journal = journal
        self._routes: tuple[tuple[str, str, Handler], ...] = (
            ("GET", "truth", self._truth),
            ("GET", "counts", self._counts),
            ("GET", "requests", self._requests),
            ("POST", "reset-counts", self._reset_counts),
            ("GET", "faults", self._list_faults),
            ("POST", "faults", self._set_faults),
            ("POST", "expire-tokens", self._expire_tokens),
            ("POST", "advance", self._advance),
            ("POST", "stop-arrivals", self._stop_arrivals),
            ("POST", "resume-arrivals", self._resume_arrivals),
            ("POST", "jobs", self._add_job),
            ("POST", "jobs/(?P<job>[0-9a-z]{32})/builds", self._add_build),
            ("POST", "jobs/(?P<job>[0-9a-z]{32})/finish", self._finish_build),
            ("POST", "jobs/(?P<job>[0-9a-z]{32})/delete", self._delete_job),
            ("POST", "jobs/(?P<job>[0-9a-z]{32})/restore", self._restore_job),
            ("POST", "jobs/(?P<job>[0-9a-z]{32})/rename", self._rename_job),
        )

    def answer(self, request: Request) -> Answer:
        """The answer to a request; 400 says what is wrong with it."""
        for method, pattern, handler in self._routes:
            match = re.fullmatch(PREFIX + pattern, request.path)
            if match and method == request.method:
                try:
                    return json_answer(handler(request, match.groupdict().get("job", "")))
                except (KeyError, TypeError, ValueError) as error:
                    return error_answer(400, "SIM.400", f"{type(error).__name__}: {error}")
        return error_answer(404, "SIM.404", f"no {request.method} {request.path}")

    def _truth(self, request: Request, _: str) -> object:
        query = parse_qs(request.target.partition("?")[2])
        since = {
            job: int(number) for job, _, number in (each.partition(":") for each in query.get("since", ()))
        }
        wanted = set(query.get("job", ()))
        truth = fleet_truth(self._fleet, self._faults, since, wanted or None)
        return {
            "now_ms": self._fleet.clock.now_ms(),
            "jobs": {job_id: job.to_json() for job_id, job in truth.items()},
        }

    def _counts(self, _: Request, __: str) -> object:
        counts: dict[str, dict[str, int]] = {}
        for (operation, status), count in sorted(self._journal.counts().items()):
            counts.setdefault(operation, {})[str(status)] = count
        return counts

    def _requests(self, _: Request, __: str) -> object:
        return [exchange.to_json() for exchange in self._journal.exchanges()]

    def _reset_counts(self, _: Request, __: str) -> object:
        self._journal.reset()
        return {}

    def _list_faults(self, _: Request, __: str) -> object:
        return [each.to_json() for each in self._faults.active()]

    def _set_faults(self, request: Request, _: str) -> object:
        asked = json.loads(request.body)
        if isinstance(asked, list):
            self._faults.replace([Fault.from_json(each) for each in asked])
        else:
            self._faults.add(Fault.from_json(asked))
        return self._list_faults(request, "")

    def _expire_tokens(self, _: Request, __: str) -> object:
        self._access.expire()
        return {}

    def _advance(self, request: Request, _: str) -> object:
        clock = self._fleet.clock
        if not isinstance(clock, ManualClock):
            raise TypeError("the clock runs by itself")
        clock.advance(float(_read(request).get("seconds", 0)))
        return {"now_ms": clock.now_ms()}

    def _stop_arrivals(self, _: Request, __: str) -> object:
        self._fleet.stop_arrivals()
        return {}

    def _resume_arrivals(self, _: Request, __: str) -> object:
        self._fleet.resume_arrivals()
        return {}

    def _add_job(self, request: Request, _: str) -> object:
        asked = _read(request)
        job = self._fleet.add_job(str(asked["name"]), str(asked.get("project", "shop")))
        return {"job_id": job.id, "project_id": job.project_id}

    def _add_build(self, request: Request, job_id: str) -> object:
        asked = _read(request)
        duration = asked.get("duration_s", 10.0)
        build = self._fleet.add_build(
            job_id,
            result=_result(asked),
            queue_s=float(asked.get("queue_s", 1.0)),
            duration_s=None if duration is None else float(duration),
            at_ms=asked.get("at_ms"),
            branch=str(asked.get("branch", "main")),
            trigger=_trigger(asked),
        )
        return _told(build)

    def _finish_build(self, request: Request, job_id: str) -> object:
        asked = _read(request)
        return _told(self._fleet.finish_build(job_id, int(asked["number"]), _result(asked)))

    def _delete_job(self, _: Request, job_id: str) -> object:
        self._fleet.delete_job(job_id)
        return {}

    def _restore_job(self, _: Request, job_id: str) -> object:
        self._fleet.restore_job(job_id)
        return {}

    def _rename_job(self, request: Request, job_id: str) -> object:
        self._fleet.rename_job(job_id, str(_read(request)["name"]))
        return {}


def _read(request: Request) -> dict[str, Any]:
    asked = json.loads(request.body or b"{}")
    if not isinstance(asked, dict):
        raise TypeError("the body is not an object")
    return asked


def _result(asked: dict[str, Any]) -> Result:
    word = asked.get("result", "success")
    if word not in RESULTS:
        raise ValueError(f"no such result; there are {', '.join(RESULTS)}")
    return cast(Result, word)


def _trigger(asked: dict[str, Any]) -> Trigger:
    word = asked.get("trigger", "manual")
    if word not in TRIGGERS:
        raise ValueError(f"no such trigger; there are {', '.join(TRIGGERS)}")
    return cast(Trigger, word)


def _told(build: Build) -> object:
    return {"number": build.number, "start_ms": build.start_ms, "finish_ms": build.finish_ms}
