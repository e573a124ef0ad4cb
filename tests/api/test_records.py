"""``records`` over a socket: many whole builds of one job in one response."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from prometheus_client import CollectorRegistry
from pydantic import SecretStr

from exporter.api.auth import credentials_for
from exporter.api.client import ApiClient
from exporter.api.http import new_session
from exporter.api.throttle import Throttle
from exporter.config import AccessKeyAuth, TokenAuth
from exporter.errors import NotVisibleError
from exporter.metrics.exporter_metrics import Telemetry
from exporter.model import DAY_MS, BuildDetail
from exporter.simulator import Fault, Fleet, ManualClock, Simulator, fault
from tests.support.records import UNUSUAL_PAGES, name_of

NOW_MS = round(datetime(2026, 3, 10, 4, 0, tzinfo=UTC).timestamp() * 1000)
JOB = "f9d6c8466d614a9788e9a0acf6c15f46"
BUILDS = 250


@pytest.fixture
def fleet() -> Fleet:
    """One job with 250 builds, of which the last one still runs."""
    fleet = Fleet(ManualClock(NOW_MS), seed=1)
    fleet.add_job("checkout", "shop", job_id=JOB)
    for minute in range(BUILDS):
        at_ms = NOW_MS - (BUILDS - minute) * 60_000
        fleet.add_build(JOB, queue_s=2.5, duration_s=57.068, at_ms=at_ms)
    fleet.add_build(JOB, queue_s=0, duration_s=None, at_ms=NOW_MS - 30_000)
    return fleet


@pytest.fixture
def simulator(fleet: Fleet) -> Iterator[Simulator]:
    with Simulator(fleet) as simulator:
        yield simulator


@pytest.fixture
def telemetry() -> Telemetry:
    return Telemetry(CollectorRegistry())


@pytest.fixture
def client(simulator: Simulator, telemetry: Telemetry) -> Iterator[ApiClient]:
    session = new_session()
    auth = TokenAuth(token=SecretStr(simulator.credentials.tokens[0]))
    credentials = credentials_for(auth, iam_endpoint="", session=session, timeout=5.0, clock=time.time)
    throttle = Throttle(1_000_000)
    yield ApiClient(simulator.url, session, credentials, throttle, telemetry, 5.0, sleep=lambda _: None)
    session.close()


def by_number(details: tuple[BuildDetail, ...]) -> dict[int, BuildDetail]:
    return {detail.number: detail for detail in details}


def test_records_tell_of_each_build_what_record_info_tells(client: ApiClient, fleet: Fleet) -> None:
    builds = by_number(client.records(fleet.build_project_id(JOB)))
    assert builds.keys() == set(range(1, BUILDS + 2))
    for number in (1, 100, BUILDS + 1):
        detail = client.record_info(JOB, number)
        assert detail.build_project_id == fleet.build_project_id(JOB)
        assert builds[number] == BuildDetail(
            number=number,
            result=detail.result,
            state=detail.state,
            queued_ms=detail.queued_ms,
            start_ms=detail.start_ms,
            finish_ms=detail.finish_ms,
            duration_ms=detail.duration_ms,
            branch=detail.branch,
            trigger=detail.trigger,
            record_id=detail.record_id,
            build_project_id=detail.build_project_id,
        )


def test_the_build_project_comes_from_job_lists_too(client: ApiClient, fleet: Fleet) -> None:
    jobs, _, _ = client.job_list("", max_jobs=None, expected=0)
    assert jobs[JOB].build_project_id == fleet.build_project_id(JOB)


def test_records_are_requested_as_documented(client: ApiClient, fleet: Fleet, simulator: Simulator) -> None:
    client.records(fleet.build_project_id(JOB), NOW_MS - DAY_MS, NOW_MS, is_enough=bool)
    assert [exchange.target for exchange in simulator.requests] == [
        f"/v1/record/{fleet.build_project_id(JOB)}/records?page=0&limit=100"
        "&from_date=2026-03-09%2012%3A00%3A00&to_date=2026-03-10%2012%3A00%3A00"
    ]


def test_requests_with_dates_can_be_signed(client: ApiClient, fleet: Fleet, simulator: Simulator) -> None:
    key = simulator.credentials.access_keys[0]
    auth = AccessKeyAuth(access_key=key.access_key, secret_key=SecretStr(key.secret_key), project_id=None)
    client.credentials = credentials_for(
        auth, iam_endpoint="", session=client.session, timeout=5.0, clock=time.time
    )
    assert len(client.records(fleet.build_project_id(JOB), NOW_MS - DAY_MS, NOW_MS)) == BUILDS + 1


def test_dates_limit_records(client: ApiClient, fleet: Fleet) -> None:
    builds = client.records(fleet.build_project_id(JOB), NOW_MS - 100 * 60_000, NOW_MS - 91 * 60_000)
    assert by_number(builds).keys() == set(range(BUILDS - 99, BUILDS - 89))


@pytest.mark.parametrize(
    "oddity",
    [*UNUSUAL_PAGES, fault("strings-as-numbers")],
    ids=name_of,
)
def test_unusual_pages_of_records_lose_no_build(
    client: ApiClient, fleet: Fleet, simulator: Simulator, oddity: Fault
) -> None:
    expected = by_number(client.records(fleet.build_project_id(JOB)))
    simulator.faults.add(oddity)
    assert by_number(client.records(fleet.build_project_id(JOB))) == expected


def test_unreadable_records_are_counted(client: ApiClient, fleet: Fleet, simulator: Simulator) -> None:
    simulator.faults.add(fault("garbage-records", items=(7, {})))
    faults: list[str] = []
    client.records(fleet.build_project_id(JOB), is_enough=bool, on_faults=faults.extend)
    assert faults == ["record_not_an_object", "bad_build_number"]


def test_records_of_an_unknown_build_project_are_refused(client: ApiClient) -> None:
    with pytest.raises(NotVisibleError):
        client.records("a3270d84-ddc7-4288-b985-f801871b260d")
