"""The API client against a simulated service over a socket, with all its faults."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path

import certifi
import pytest
from prometheus_client import CollectorRegistry
from pydantic import SecretStr

from exporter import __version__
from exporter.api.auth import credentials_for
from exporter.api.client import ApiClient
from exporter.api.http import new_session
from exporter.api.throttle import Throttle
from exporter.config import AccessKeyAuth, Auth, EcsAgencyAuth, PasswordAuth, TokenAuth
from exporter.errors import (
    ApiError,
    BackendError,
    CredentialsError,
    InvalidResponseError,
    NotPublishedError,
    NotVisibleError,
    RejectedError,
    RequestCancelledError,
    ThrottledError,
    UnreachableError,
)
from exporter.metrics.exporter_metrics import Telemetry
from exporter.model import (
    DAY_MS,
    Build,
    BuildDetail,
    JobNames,
    ListedJob,
    RecycledJob,
    Result,
    State,
    Trigger,
)
from exporter.simulator import AccessKey, Credentials, Fault, Fleet, ManualClock, Simulator, fault
from tests.support.auth_cloud import Clock
from tests.support.certificates import make_authority
from tests.support.programs import eventually
from tests.support.records import UNUSUAL_PAGES, name_of
from tests.support.wires import RawServer, Relay

NOW_MS = round(datetime(2026, 3, 10, 4, 0, tzinfo=UTC).timestamp() * 1000)
JOB = "f9d6c8466d614a9788e9a0acf6c15f46"
DAYS = (date(2026, 3, 4), date(2026, 3, 11))
TOKEN = TokenAuth(token=SecretStr("example-token"))
PASSWORD = PasswordAuth(
    domain="example", username="exporter", password=SecretStr("example-password"), project="cn-north-4"
)
ACCESS_KEY = AccessKeyAuth(
    access_key="EXAMPLE-ACCESS-KEY",
    secret_key=SecretStr("example-secret-key"),
    project_id="0123456789abcdef0123456789abcdef",
)


@dataclass
class Caller:
    """A client with its metrics and its pauses."""

    client: ApiClient
    telemetry: Telemetry
    slept: list[float] = field(default_factory=list)

    def history(self) -> tuple[Build, ...]:
        return self.client.period_history(JOB, *DAYS)

    def counted(self, name: str, **labels: str) -> float | None:
        return self.telemetry.registry.get_sample_value(f"codearts_build_{name}", labels)

    @property
    def up(self) -> float | None:
        return self.counted("up")

    def requests(self) -> dict[tuple[str, str], float]:
        """Requests by operation and code, as they are shown."""
        return {
            (sample.labels["operation"], sample.labels["code"]): sample.value
            for family in self.telemetry.registry.collect()
            for sample in family.samples
            if sample.name == "codearts_build_exporter_api_requests_total"
        }


Connect = Callable[..., Caller]


@pytest.fixture
def fleet() -> Fleet:
    """One job with four builds: a success, a failure, one that runs and one that waits."""
    fleet = Fleet(ManualClock(NOW_MS), seed=1)
    fleet.add_job("checkout-release", "shop", job_id=JOB)
    for ago_s, result, duration_s in (
        (4000, "success", 100.068),
        (3000, "failure", 16),
        (60, "success", 900),
    ):
        fleet.add_build(JOB, result=result, queue_s=2, duration_s=duration_s, at_ms=NOW_MS - ago_s * 1000)  # type: ignore[arg-type]
    fleet.add_build(JOB, queue_s=60, at_ms=NOW_MS - 10_000)
    return fleet


@pytest.fixture
def simulator(fleet: Fleet) -> Iterator[Simulator]:
    keys = (AccessKey("EXAMPLE-ACCESS-KEY", "example-secret-key"),)
    with Simulator(fleet, credentials=Credentials(access_keys=keys)) as simulator:
        yield simulator


@pytest.fixture
def connect(simulator: Simulator) -> Iterator[Connect]:
    sessions = []

    def connect(
        auth: Auth = TOKEN,
        *,
        endpoint: str = simulator.url,
        timeout: float = 5.0,
        throttle: Throttle | None = None,
        ca_file: Path | None = None,
        wake: Callable[[], object] = bool,
        clock: Callable[[], float] = time.time,
    ) -> Caller:
        session = new_session(str(ca_file) if ca_file else None)
        sessions.append(session)
        credentials = credentials_for(
            auth, iam_endpoint=endpoint, session=session, timeout=timeout, clock=clock
        )
        telemetry = Telemetry(CollectorRegistry())
        slept: list[float] = []

        def sleep(seconds: float) -> None:
            slept.append(seconds)
            wake()

        client = ApiClient(
            endpoint,
            session,
            credentials,
            throttle or Throttle(1_000_000),
            telemetry,
            timeout=timeout,
            sleep=sleep,
        )
        return Caller(client, telemetry, slept)

    yield connect
    for session in sessions:
        session.close()


@pytest.fixture
def caller(connect: Connect) -> Caller:
    return connect()


def failure(ask: Callable[[], object]) -> ApiError:
    with pytest.raises(ApiError) as caught:
        ask()
    return caught.value


def test_period_history_returns_every_build(caller: Caller) -> None:
    builds = {build.number: build for build in caller.history()}
    assert builds[1] == Build(
        number=1,
        result=Result.SUCCESS,
        start_ms=NOW_MS - 3_998_000,
        finish_ms=NOW_MS - 3_898_000,  # history knows whole seconds
        branch="main",
        trigger=Trigger.MANUAL,
    )
    assert [builds[number].result for number in (1, 2, 3, 4)] == [Result.SUCCESS, Result.FAILURE, None, None]
    assert [builds[number].state for number in (3, 4)] == [State.RUNNING, State.QUEUED]


def test_record_info_returns_one_build_to_the_millisecond(
    caller: Caller, fleet: Fleet, simulator: Simulator
) -> None:
    build = fleet.builds(JOB)[0]
    assert caller.client.record_info(JOB, 1) == BuildDetail(
        number=1,
        result=Result.SUCCESS,
        queued_ms=NOW_MS - 4_000_000,
        start_ms=NOW_MS - 3_998_000,
        finish_ms=NOW_MS - 3_997_932 + 100_000,
        duration_ms=100_068,
        branch="main",
        trigger=Trigger.MANUAL,
        record_id=fleet.record_id(build),
        project_id=fleet.project_id("shop"),
        build_project_id=fleet.build_project_id(JOB),
    )
    assert simulator.counts == {("record-info", 200): 1}


def test_full_stages_returns_the_stages_of_one_build(
    caller: Caller, fleet: Fleet, simulator: Simulator
) -> None:
    record_id = caller.client.record_info(JOB, 1).record_id
    stages = caller.client.full_stages(record_id)
    assert [stage.name for stage in stages] == ["initial", "Cache Check", "Code CheckOut", "Maven", "final"]
    assert sum(stage.duration_ms for stage in stages) == fleet.builds(JOB)[0].duration_ms
    assert simulator.requests[-1].target == f"/v1/record/{record_id}/full-stages"
    with pytest.raises(NotVisibleError):
        caller.client.full_stages("94baa8ec-fd3f-4cae-81af-b24385a7220f")


def test_the_recycle_bin_returns_deleted_jobs(caller: Caller, fleet: Fleet) -> None:
    assert dict(caller.client.recycle_bin().jobs) == {}
    fleet.delete_job(JOB, at_ms=NOW_MS - 60_000)
    recycled = caller.client.recycle_bin()
    assert recycled.retention_ms == 29 * DAY_MS
    assert dict(recycled.jobs) == {
        JOB: RecycledJob(JOB, "checkout-release", fleet.project_id("shop"), NOW_MS - 60_000)
    }


def test_requests_are_as_documented(caller: Caller, simulator: Simulator) -> None:
    caller.history()
    caller.client.record_info(JOB, 2)
    caller.client.recycle_bin()
    assert [(each.method, each.target) for each in simulator.requests] == [
        (
            "GET",
            f"/v3/jobs/{JOB}/period-history?offset=0&limit=100&start_time=2026-03-04&end_time=2026-03-11",
        ),
        ("GET", f"/v4/jobs/{JOB}/2/record-info"),
        ("GET", "/v1/job/recycling-jobs?page_no=1&page_size=100"),
    ]


def test_a_request_names_the_exporter(connect: Connect) -> None:
    with RawServer(b'HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n{"total":0}') as server:
        assert connect(endpoint=server.url).history() == ()
        head = server.heads[0].split("\r\n")
        assert f"User-Agent: codearts-build-exporter/{__version__}" in head
        assert "X-Auth-Token: example-token" in head


@pytest.mark.parametrize("auth", [TOKEN, PASSWORD, ACCESS_KEY], ids=lambda auth: type(auth).__name__)
def test_every_kind_of_credentials_works_for_all_operations(connect: Connect, auth: Auth) -> None:
    caller = connect(auth)
    assert len(caller.history()) == 4
    assert caller.client.record_info(JOB, 2).result is Result.FAILURE
    assert caller.client.recycle_bin().jobs == {}
    assert caller.up == 1


def test_keys_of_the_metadata_service_work(connect: Connect, simulator: Simulator) -> None:
    assert len(connect(EcsAgencyAuth(metadata_endpoint=simulator.url)).history()) == 4


def test_all_pages_of_a_long_history_are_read(caller: Caller, fleet: Fleet, simulator: Simulator) -> None:
    for minute in range(250):
        fleet.add_build(JOB, duration_s=1, at_ms=NOW_MS - 86_400_000 + minute * 60_000)
    assert {build.number for build in caller.history()} == set(range(1, 255))
    assert simulator.counts == {("period-history", 200): 3}


@pytest.mark.parametrize(
    "oddity",
    [*UNUSUAL_PAGES, fault("time-style", style="naive")],
    ids=name_of,
)
def test_unusual_pages_lose_no_build(
    caller: Caller, fleet: Fleet, simulator: Simulator, oddity: Fault
) -> None:
    for minute in range(250):
        fleet.add_build(JOB, duration_s=1, at_ms=NOW_MS - 86_400_000 + minute * 60_000)
    expected = {build.number: build for build in caller.history()}
    simulator.faults.add(oddity)
    assert {build.number: build for build in caller.history()} == expected


def test_unreadable_records_are_counted(caller: Caller, simulator: Simulator) -> None:
    simulator.faults.add(fault("garbage-records", items=(7, None, {})), fault("unknown-result", numbers=[1]))
    assert len(caller.history()) == 4
    reasons = ("record_not_an_object", "bad_build_number", "unknown_result")
    assert [
        caller.counted("exporter_payload_errors_total", operation="period-history", reason=reason)
        for reason in reasons
    ] == [2, 1, 1]


@pytest.mark.parametrize(("records", "reads"), [(200, True), (201, False)])
@pytest.mark.parametrize("operation", ["period-history", "recycling-jobs", "job-list", "projects"])
def test_a_page_much_larger_than_requested_is_refused(
    caller: Caller, simulator: Simulator, operation: str, records: int, reads: bool
) -> None:
    ask: dict[str, Callable[[], object]] = {
        "period-history": caller.history,
        "recycling-jobs": caller.client.recycle_bin,
        "job-list": lambda: caller.client.job_list("", max_jobs=None, expected=0),
        "projects": caller.client.project_names,
    }
    simulator.faults.add(fault("oversized-page", operation=operation, records=records))
    if reads:
        ask[operation]()
    else:
        with pytest.raises(InvalidResponseError, match="a page of 201 records, more than requested"):
            ask[operation]()
    faults = caller.counted("exporter_payload_errors_total", operation=operation, reason="too_many_records")
    assert faults == (None if reads else 3)


def patience(trouble: Fault) -> float:
    """Timeout for a fault: short only if no response will come."""
    return 0.2 if trouble.kind in ("hang", "slow-drip") else 5.0


@pytest.mark.parametrize(
    ("trouble", "kind", "code", "tries"),
    [
        (fault("error"), BackendError, "500", 3),
        (fault("error", status=503, code="CB.00030004"), BackendError, "503", 3),
        (fault("error", status=200, shape="fail"), BackendError, "invalid", 3),
        (fault("html", status=502), BackendError, "502", 3),
        (fault("html", status=200), InvalidResponseError, "invalid", 3),
        (fault("html", status=302), InvalidResponseError, "302", 3),
        *((fault("html", status=status), InvalidResponseError, "invalid", 3) for status in (403, 404, 422)),
        (fault("oversized-page", records=201), InvalidResponseError, "invalid", 3),
        (fault("error", status=404, code="APIGW.0101"), NotPublishedError, "404", 1),
        (fault("body", text=""), InvalidResponseError, "invalid", 3),
        (fault("body", text="[]"), InvalidResponseError, "invalid", 3),
        (fault("body", text='{"history_records": 7}'), InvalidResponseError, "invalid", 3),
        (fault("truncated"), UnreachableError, "connection", 3),
        (fault("reset"), UnreachableError, "connection", 3),
        (fault("reset", keep=0.5), UnreachableError, "connection", 3),
        (fault("hang"), UnreachableError, "timeout", 3),
        (fault("slow-drip", bytes_per_second=50), UnreachableError, "timeout", 3),
        (fault("error", status=404, code="DEVCB.00031006"), NotVisibleError, "404", 1),
        (fault("error", status=422, code="CB.00031006"), NotVisibleError, "422", 1),
        (fault("error", status=403, code="CB.00031059"), NotVisibleError, "403", 1),
        (fault("error", status=400, code="CB.00031105"), RejectedError, "400", 1),
        (fault("throttle"), ThrottledError, "429", 1),
        (fault("throttle", status=403, code="CB.00060211"), ThrottledError, "403", 1),
        (fault("throttle", status=200), ThrottledError, "invalid", 1),
        (fault("unauthorized"), CredentialsError, "401", 1),
    ],
    ids=lambda each: f"{each.kind} {each.options}" if isinstance(each, Fault) else None,
)
def test_only_retryable_errors_are_retried(
    connect: Connect, simulator: Simulator, trouble: Fault, kind: type[ApiError], code: str, tries: int
) -> None:
    simulator.faults.add(trouble)
    caller = connect(timeout=patience(trouble))
    error = failure(caller.history)
    assert (type(error), error.code) == (kind, code)
    assert caller.requests() == {("period-history", code): tries}
    assert len(caller.slept) == tries - 1
    eventually(lambda: simulator.counts.total() == tries)  # it may notice a request later than its time-out
    assert caller.counted("exporter_api_request_duration_seconds_count", operation="period-history") == tries


@pytest.mark.parametrize(
    ("trouble", "brief"),
    [
        (fault("unauthorized"), "credentials refused (401)"),
        (fault("error"), "service error (500)"),
        (fault("error", status=404, code="APIGW.0101"), "API not published (404)"),
        (fault("html", status=404), "invalid response"),
        (fault("truncated"), "unreachable (connection)"),
        (fault("body", text="[1, 2]"), "invalid response"),
    ],
    ids=lambda each: f"{each.kind} {each.options}" if isinstance(each, Fault) else None,
)
def test_the_reason_why_the_api_is_down_is_kept_until_it_is_up(
    connect: Connect, simulator: Simulator, trouble: Fault, brief: str
) -> None:
    simulator.faults.add(trouble)
    caller = connect(timeout=5)
    failure(caller.history)
    readings = caller.telemetry.readings()
    assert (readings.api_up, readings.api_trouble) == (False, brief)
    simulator.faults.clear()
    with suppress(CredentialsError):  # refused credentials rest for a while
        caller.history()
        readings = caller.telemetry.readings()
        assert (readings.api_up, readings.api_trouble) == (True, "")


def test_a_refused_connection_is_retried(connect: Connect) -> None:
    caller = connect(endpoint="http://127.0.0.1:1")
    assert failure(caller.history).code == "connection"
    assert caller.requests() == {("period-history", "connection"): 3}


def test_a_passing_error_is_only_counted(caller: Caller, simulator: Simulator) -> None:
    simulator.faults.add(fault("error", times=1), fault("reset", times=2))
    assert len(caller.history()) == 4
    assert caller.requests() == {("period-history", "connection"): 2, ("period-history", "200"): 1}
    assert caller.up == 1


def test_pauses_between_tries_are_short_and_grow(caller: Caller, simulator: Simulator) -> None:
    simulator.faults.add(fault("error"))
    for _ in range(30):
        failure(caller.history)
    assert max(caller.slept[::2]) <= 0.5
    assert 0.5 < max(caller.slept[1::2]) <= 1.0


@pytest.mark.parametrize(
    ("asked", "slept"), [("2", [2.0, 2.0]), ("10", [10.0, 10.0]), ("11", []), ("999999999", [])]
)
def test_retry_after_is_honoured_or_ends_the_retries(
    connect: Connect, asked: str, slept: list[float]
) -> None:
    busy = f"HTTP/1.1 503 Busy\r\nRetry-After: {asked}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    with RawServer(busy.encode()) as server:
        caller = connect(endpoint=server.url)
        assert type(failure(caller.history)) is BackendError
        assert caller.slept == slept


def test_a_throttled_response_is_counted_and_the_next_request_waits(
    connect: Connect, simulator: Simulator
) -> None:
    now = [1000.0]

    def wait(_: threading.Condition, seconds: float | None) -> None:
        now[0] += seconds or 0.001

    caller = connect(throttle=Throttle(300, lambda: now[0], wait))
    simulator.faults.add(fault("throttle", times=1, retry_after=17))
    error = failure(caller.history)
    assert isinstance(error, ThrottledError)
    assert (error.retry_after, error.limit_per_minute) == (17, 50)
    assert caller.counted("exporter_api_throttled_total", operation="period-history") == 1
    assert len(caller.history()) == 4
    assert 17 <= now[0] - 1000 <= 17 + 60


def test_an_expired_token_is_renewed_once(connect: Connect, simulator: Simulator) -> None:
    caller = connect(PASSWORD)
    caller.history()
    simulator.expire_tokens()
    simulator.reset_counts()
    assert len(caller.history()) == 4
    assert simulator.counts == {("period-history", 401): 1, ("auth", 201): 1, ("period-history", 200): 1}
    assert caller.requests() == {("period-history", "200"): 2, ("period-history", "401"): 1}
    assert caller.slept == []


def test_a_renewed_token_that_is_refused_too_is_not_renewed_again(
    connect: Connect, simulator: Simulator
) -> None:
    caller = connect(PASSWORD)
    caller.history()
    simulator.reset_counts()
    simulator.faults.add(fault("unauthorized", operation="period-history"))
    assert type(failure(caller.history)) is CredentialsError
    assert simulator.counts == {("period-history", 401): 2, ("auth", 201): 1}
    assert caller.up == 0


def test_a_token_that_expires_between_retries_uses_up_none_of_them(
    connect: Connect, simulator: Simulator
) -> None:
    pauses: list[int] = []

    def wake() -> None:
        pauses.append(1)
        if len(pauses) == 2:
            simulator.expire_tokens()

    caller = connect(PASSWORD, wake=wake)
    caller.history()
    simulator.faults.add(fault("error", operation="period-history", times=2))
    assert len(caller.history()) == 4
    assert caller.requests() == {
        ("period-history", "200"): 2,
        ("period-history", "500"): 2,
        ("period-history", "401"): 1,
    }


class TestOneOperationRefusesWhatOthersAccept:
    @pytest.fixture
    def moment(self) -> Clock:
        return Clock(time.time())

    @pytest.fixture(params=[TOKEN, ACCESS_KEY, PASSWORD], ids=["token", "access_key", "password"])
    def caller(self, request: pytest.FixtureRequest, connect: Connect, moment: Clock) -> Caller:
        return connect(request.param, clock=moment)

    def test_only_that_operation_is_paused(self, caller: Caller, simulator: Simulator, moment: Clock) -> None:
        caller.history()
        simulator.faults.add(fault("unauthorized", operation="recycling-jobs"))
        assert type(failure(caller.client.recycle_bin)) is BackendError
        sent = simulator.counts["recycling-jobs", 401]
        for _ in range(5):
            caller.history()
            assert type(failure(caller.client.recycle_bin)) is BackendError
        assert simulator.counts["recycling-jobs", 401] == sent
        assert caller.up == 1
        moment.advance(60)
        error = failure(caller.client.recycle_bin)
        assert (type(error), error.code, error.error_code) == (NotVisibleError, "401", "APIGW.0301")
        assert "only recycling-jobs refuses the credentials; tried again at" in str(error)
        assert caller.up == 1
        moment.advance(119)
        assert type(failure(caller.client.recycle_bin)) is NotVisibleError
        assert simulator.counts["recycling-jobs", 401] == 2 * sent
        simulator.faults.clear()
        moment.advance(1)
        assert caller.client.recycle_bin().jobs == {}
        assert len(caller.history()) == 4

    def test_expired_credentials_are_detected_by_the_next_operation(
        self, caller: Caller, simulator: Simulator
    ) -> None:
        caller.history()
        simulator.faults.add(fault("unauthorized"))
        assert type(failure(caller.client.recycle_bin)) is BackendError
        assert type(failure(caller.history)) is CredentialsError
        refused = sum(count for (_, status), count in simulator.counts.items() if status == 401)
        for ask in (caller.history, caller.client.recycle_bin, caller.client.project_names):
            failure(ask)
        assert sum(count for (_, status), count in simulator.counts.items() if status == 401) == refused <= 3

    def test_two_refusals_without_a_success_in_between_concern_the_credentials(
        self, caller: Caller, simulator: Simulator, moment: Clock
    ) -> None:
        caller.history()
        simulator.faults.add(fault("unauthorized", operation="recycling-jobs"))
        failure(caller.client.recycle_bin)
        moment.advance(60)
        assert type(failure(caller.client.recycle_bin)) is CredentialsError

    def test_an_old_success_does_not_prove_the_credentials(
        self, caller: Caller, simulator: Simulator, moment: Clock
    ) -> None:
        caller.history()
        simulator.faults.add(fault("unauthorized", operation="recycling-jobs"))
        moment.advance(601)
        assert type(failure(caller.client.recycle_bin)) is CredentialsError

    def test_refusals_of_requests_in_flight_together_count_once(
        self, caller: Caller, simulator: Simulator
    ) -> None:
        caller.history()
        simulator.faults.add(
            fault("unauthorized", operation="recycling-jobs"),
            fault("delay", operation="recycling-jobs", seconds=0.2),
        )
        with ThreadPoolExecutor(4) as pool:
            errors = list(pool.map(lambda _: type(failure(caller.client.recycle_bin)), range(4)))
        assert errors == [BackendError] * 4
        assert len(caller.history()) == 4


def test_refused_credentials_are_not_sent_again_soon(caller: Caller, simulator: Simulator) -> None:
    simulator.faults.add(fault("unauthorized"))
    for _ in range(5):
        assert type(failure(caller.history)) is CredentialsError
    assert simulator.counts == {("period-history", 401): 1}
    assert caller.requests() == {("period-history", "401"): 1}
    assert caller.up == 0


@pytest.mark.parametrize(
    ("trouble", "up"),
    [
        (fault("error"), 0),
        (fault("html", status=302), 0),
        (fault("hang"), 0),
        (fault("body"), 0),
        (fault("unauthorized"), 0),
        (fault("error", status=404, code="DEVCB.00031006"), 1),
        (fault("error", status=400, code="CB.00031105"), 1),
        (fault("throttle"), 1),
    ],
    ids=lambda each: f"{each.kind} {each.options}" if isinstance(each, Fault) else None,
)
def test_up_is_1_only_while_the_api_responds_as_expected(
    connect: Connect, simulator: Simulator, trouble: Fault, up: int
) -> None:
    caller = connect(timeout=patience(trouble))
    caller.history()
    simulator.faults.add(trouble)
    failure(caller.history)
    assert caller.up == up


@pytest.mark.parametrize("seconds", [0.0, 3600.0, -86_400.0])
def test_the_service_s_clock_is_compared_with_ours(
    caller: Caller, simulator: Simulator, seconds: float
) -> None:
    simulator.faults.add(fault("date-skew", seconds=seconds))
    caller.history()
    assert caller.client.clock.seconds == pytest.approx(seconds, abs=3)


def test_a_single_response_with_a_wrong_time_is_ignored(caller: Caller, simulator: Simulator) -> None:
    caller.history()
    simulator.faults.add(fault("date-skew", seconds=43_200.0, times=1))
    for _ in range(3):
        caller.history()
        assert caller.client.clock.seconds == pytest.approx(0, abs=3)


@pytest.mark.parametrize(
    ("trouble", "known"),
    [
        (fault("html"), False),
        (fault("body", text="<html>login</html>"), False),
        (fault("body", text="[1, 2]"), False),
        (fault("truncated"), False),
        (fault("unauthorized"), True),
        (fault("throttle"), True),
    ],
    ids=lambda each: each.kind if isinstance(each, Fault) else None,
)
def test_only_responses_of_the_service_itself_set_its_clock(
    connect: Connect, simulator: Simulator, trouble: Fault, known: bool
) -> None:
    caller = connect(timeout=0.2)
    simulator.faults.add(fault("date-skew", seconds=7200.0), trouble)
    failure(caller.history)
    assert (caller.client.clock.seconds is not None) == known


class TestCalledOff:
    @staticmethod
    def waiting(caller: Caller, pool: ThreadPoolExecutor) -> Future[tuple[Build, ...]]:
        """A question that waits for its turn for a minute."""
        caller.history()
        return pool.submit(caller.history)

    def test_a_waiting_request_is_cancelled_at_once(self, connect: Connect, simulator: Simulator) -> None:
        caller = connect(throttle=Throttle(1))
        with ThreadPoolExecutor(1) as pool:
            asking = self.waiting(caller, pool)
            caller.client.close()
            with pytest.raises(RequestCancelledError):
                asking.result(timeout=5)
        assert len(simulator.requests) == 1

    def test_later_requests_are_cancelled(self, caller: Caller, simulator: Simulator) -> None:
        caller.client.close()
        with pytest.raises(RequestCancelledError):
            caller.history()
        assert simulator.requests == []
        assert caller.requests() == {}

    def test_further_pages_are_cancelled(self, connect: Connect, simulator: Simulator) -> None:
        for minute in range(150):
            simulator.fleet.add_build(JOB, duration_s=1, at_ms=NOW_MS - 86_400_000 + minute * 60_000)
        caller = connect()

        def enough(_: object) -> bool:
            caller.client.close()
            return False

        with pytest.raises(RequestCancelledError):
            caller.client.period_history(JOB, *DAYS, is_enough=enough)
        assert len(simulator.requests) == 1

    def test_a_reopened_client_sends_requests_and_the_closed_one_does_not(self, caller: Caller) -> None:
        caller.client.close()
        again = caller.client.reopened()
        assert len(again.period_history(JOB, *DAYS)) == 4
        assert again.clock.seconds is not None
        with pytest.raises(RequestCancelledError):
            caller.history()


@pytest.mark.parametrize(
    "header", ["", "soon", "Tue, 99 Mar 2026 04:00:00 GMT", "Tue, 10 Mar 99999 04:00:00"]
)
def test_an_invalid_date_header_is_ignored(connect: Connect, header: str) -> None:
    head = f"HTTP/1.1 200 OK\r\nDate: {header}\r\nContent-Length: 2\r\n\r\n"
    with RawServer(head.encode() + b"{}") as server:
        caller = connect(endpoint=server.url)
        caller.history()
        assert caller.client.clock.seconds is None


def test_a_whole_poll_s_requests_take_one_connection(connect: Connect, simulator: Simulator) -> None:
    with Relay(simulator.port) as relay:
        caller = connect(endpoint=relay.url)
        for number in range(50):
            assert caller.client.record_info(JOB, number % 4 + 1).number == number % 4 + 1
        assert relay.connections == 1


def test_eight_threads_share_a_client(connect: Connect, simulator: Simulator) -> None:
    with Relay(simulator.port) as relay:
        shared = connect(PASSWORD, endpoint=relay.url)

        def ask(at: int) -> int:
            if at == 40:
                simulator.expire_tokens()
            return shared.client.record_info(JOB, at % 4 + 1).number

        with ThreadPoolExecutor(8) as pool:
            numbers = list(pool.map(ask, range(80)))
        assert numbers == [at % 4 + 1 for at in range(80)]
        assert relay.connections <= 9
    assert shared.requests()["record-info", "200"] == 80
    assert simulator.counts["auth", 201] == 2


class TestJobLists:
    @pytest.fixture
    def many(self, fleet: Fleet) -> Fleet:
        """250 jobs in two projects, beside the one that has builds."""
        for ordinal in range(249):
            fleet.add_job(f"job-{ordinal:03}", ("shop", "bank")[ordinal % 2])
        return fleet

    def test_a_job_is_shown_with_its_names_and_its_last_build(self, caller: Caller, fleet: Fleet) -> None:
        jobs, size, is_whole = caller.client.job_list("", max_jobs=None, expected=0)
        assert dict(jobs) == {
            JOB: ListedJob(
                JOB,
                JobNames("checkout-release", "shop", fleet.project_id("shop")),
                last_build_ms=NOW_MS - 10_000,
                is_finished=False,
                status="building",
                number=4,
                state=State.QUEUED,
                build_project_id=fleet.build_project_id(JOB),
                disabled=False,
            )
        }
        assert (size, is_whole) == (1, True)

    @pytest.mark.parametrize("shape", ["jobs", "result"])
    def test_jobs_of_a_project_list_get_the_requested_project_id(
        self, caller: Caller, fleet: Fleet, simulator: Simulator, shape: str
    ) -> None:
        if shape == "result":
            simulator.faults.add(fault("list-shape", operation="project-job-list"))
        project_id = fleet.project_id("shop")
        jobs, _, _ = caller.client.job_list(project_id, max_jobs=None, expected=0)
        assert jobs[JOB].names == JobNames("checkout-release", "", project_id)
        assert (jobs[JOB].number, jobs[JOB].last_build_ms) == (None, NOW_MS - 10_000)

    def test_pages_are_counted_from_0(self, caller: Caller, many: Fleet, simulator: Simulator) -> None:
        jobs, size, is_whole = caller.client.job_list("", max_jobs=None, expected=0)
        assert (len(jobs), size, is_whole) == (250, 250, True)
        assert [each.target for each in simulator.requests] == [
            f"/v1/job/list?page_index={index}&page_size=100" for index in range(3)
        ]
        simulator.reset_counts()
        project_id = many.project_id("bank")
        jobs, size, is_whole = caller.client.job_list(project_id, max_jobs=None, expected=0)
        assert (len(jobs), size, is_whole) == (124, 124, True)
        assert [each.target for each in simulator.requests] == [
            f"/v1/job/{project_id}/list?page_index={index}&page_size=100" for index in range(2)
        ]

    @pytest.mark.parametrize(
        "oddity",
        [
            fault("wrong-total", value=-1),
            fault("wrong-total", value="string"),
            fault("wrong-total", value=0),
            fault("wrong-total", value=101),
            fault("wrong-total", value=99_999),
            fault("wrong-total", value=None),
            fault("garbage-records"),
            fault("numbers-as-strings"),
            fault("json-string"),
        ],
        ids=lambda oddity: f"{oddity.kind} {oddity.options}",
    )
    def test_unusual_pages_lose_no_job(
        self, caller: Caller, many: Fleet, simulator: Simulator, oddity: Fault
    ) -> None:
        simulator.faults.add(oddity)
        jobs, _, is_whole = caller.client.job_list("", max_jobs=None, expected=0)
        assert set(jobs) == {job.id for job in many.jobs()}
        assert is_whole

    def test_a_total_ends_the_list_without_one_more_request(
        self, caller: Caller, many: Fleet, simulator: Simulator
    ) -> None:
        for ordinal in range(50):
            many.add_job(f"more-{ordinal}")
        caller.client.job_list("", max_jobs=None, expected=300)
        assert simulator.counts == {("job-list", 200): 3}

    def test_a_total_below_the_previous_one_is_not_trusted(
        self, caller: Caller, many: Fleet, simulator: Simulator
    ) -> None:
        simulator.faults.add(fault("wrong-total", value=100))
        jobs, _, _ = caller.client.job_list("", max_jobs=None, expected=250)
        assert len(jobs) == 250

    def test_of_a_list_longer_than_max_jobs_only_the_first_page_is_read(
        self, caller: Caller, many: Fleet, simulator: Simulator
    ) -> None:
        jobs, size, is_whole = caller.client.job_list("", max_jobs=249, expected=0)
        assert (len(jobs), size, is_whole) == (100, 250, False)
        assert simulator.counts == {("job-list", 200): 1}
        assert caller.client.job_list("", max_jobs=250, expected=0)[1:] == (250, True)

    def test_an_empty_list_is_complete(self, caller: Caller, many: Fleet, simulator: Simulator) -> None:
        simulator.faults.add(fault("empty-list", operation="job-list"))
        jobs, _, is_whole = caller.client.job_list("", max_jobs=None, expected=250)
        assert (dict(jobs), is_whole) == ({}, True)

    def test_a_refusal_and_a_failure_raise_different_errors(
        self, caller: Caller, fleet: Fleet, simulator: Simulator
    ) -> None:
        error = failure(lambda: caller.client.job_list("f" * 32, max_jobs=None, expected=0))
        assert isinstance(error, NotVisibleError)
        assert caller.up == 1
        simulator.faults.add(fault("error", status=503))
        assert isinstance(
            failure(lambda: caller.client.job_list("", max_jobs=None, expected=0)), BackendError
        )

    def test_projects_have_names(self, caller: Caller, fleet: Fleet, simulator: Simulator) -> None:
        for ordinal in range(149):
            fleet.project_id(f"project-{ordinal}")
        names = caller.client.project_names()
        assert names == fleet.projects
        assert [each.target for each in simulator.requests] == [
            f"/v1/domain/project/related-page?page_no={page}&page_size=100" for page in (1, 2)
        ]

    @pytest.mark.parametrize("text", ["{}", '{"jobs": 7}', "[]", '{"result": null}', '{"result": 7}'])
    def test_a_body_without_a_list_is_an_invalid_response(self, connect: Connect, text: str) -> None:
        body = text.encode()
        answer = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
        with RawServer(answer) as server:
            caller = connect(endpoint=server.url)
            error = failure(lambda: caller.client.job_list("", max_jobs=None, expected=0))
        assert isinstance(error, InvalidResponseError)
        assert caller.requests() == {("job-list", "invalid"): 3}


def test_the_ca_file_also_applies_to_iam_whatever_the_environment_says(
    connect: Connect, simulator: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ca_file, tls = make_authority(tmp_path)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", certifi.where())
    with Relay(simulator.port, tls) as relay:
        assert len(connect(PASSWORD, endpoint=relay.url, ca_file=ca_file).history()) == 4
