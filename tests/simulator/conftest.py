"""A simulator on a socket, and a simple client."""

import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import pytest

from exporter.simulator import Fleet, ManualClock, Simulator
from tests.support.service import JOB, START_MS, clock, simulator

__all__ = ["JOB", "START_MS", "WEEK", "Caller", "Reply", "clock", "simulator"]

WEEK = "start_time=2025-03-04&end_time=2025-03-11"


@dataclass(frozen=True)
class Reply:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Caller:
    """Sends requests with a good token, one connection each."""

    url: str
    token: str = "example-token"

    def send(
        self,
        method: str,
        path: str,
        body: object = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = 5,
    ) -> Reply:
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=timeout)
        try:
            content = None if body is None else json.dumps(body)
            connection.request(method, path, content, {"X-Auth-Token": self.token, **(headers or {})})
            response = connection.getresponse()
            names = {name.lower(): value for name, value in response.getheaders()}
            return Reply(response.status, names, response.read())
        finally:
            connection.close()

    def get(self, path: str, headers: Mapping[str, str] | None = None, timeout: float = 5) -> Reply:
        return self.send("GET", path, None, headers, timeout)

    def history(self, query: str = f"offset=0&limit=100&{WEEK}", job: str = JOB) -> Any:
        return self.get(f"/v3/jobs/{job}/period-history?{query}").json()

    def numbers(self, query: str = f"offset=0&limit=100&{WEEK}") -> list[int]:
        return [record["build_number"] for record in self.history(query)["history_records"]]

    def records(self, query: str = "page=0&limit=100", job: str = JOB) -> Any:
        listed = self.get("/v1/job/list?page_size=100").json()["result"]["job_list"]
        [project_id] = [item["build_project_id"] for item in listed if item["id"] == job]
        return self.get(f"/v1/record/{project_id}/records?{query}").json()["result"]

    def detail(self, number: int, job: str = JOB) -> Any:
        return self.get(f"/v4/jobs/{job}/{number}/record-info").json()["result"]


@pytest.fixture
def fleet(clock: ManualClock) -> Fleet:
    """One job with only the builds that a test adds."""
    fleet = Fleet(clock, seed=1)
    fleet.add_job("checkout-release", "shop", job_id=JOB)
    return fleet


@pytest.fixture
def caller(simulator: Simulator) -> Caller:
    return Caller(simulator.url)
