"""Credentials of every kind against an IAM, a metadata service and an API on a real socket."""

import json
import os
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import pytest
import requests
from pydantic import SecretStr

from exporter.api.auth import Credentials, credentials_for
from exporter.api.auth.iam_and_ecs_agency import EcsAgencyCredentials, PasswordCredentials
from exporter.api.auth.token_and_access_key import (
    AccessKeyCredentials,
    TokenCredentials,
    TokenFileCredentials,
)
from exporter.config import (
    AccessKeyAuth,
    Auth,
    EcsAgencyAuth,
    PasswordAuth,
    TokenAuth,
    TokenFileAuth,
)
from exporter.errors import (
    ApiError,
    BackendError,
    CredentialsError,
    InvalidResponseError,
    ThrottledError,
    UnreachableError,
)
from tests.support.auth_cloud import (
    API_PATH,
    KEYS_PATH,
    LOGIN_PATH,
    METADATA_TOKEN_PATH,
    Clock,
    Cloud,
    Reply,
)

MINUTE = 60.0
HOUR = 3600.0
IAM_ERROR = b'{"error": {"code": 403, "message": "no", "title": "Forbidden"}}'
KINDS = {
    "token": TokenCredentials,
    "token_file": TokenFileCredentials,
    "password": PasswordCredentials,
    "access_key": AccessKeyCredentials,
    "ecs_agency": EcsAgencyCredentials,
}
SECRETS = [
    "correct horse",
    "good-token",
    "token-1",
    "example-secret-key",
    "made-up-security-token",
    "secret-one",
    "security-token-one",
]


class Client:
    """The part of the API client that matters here: one retry after a 401 if there are other credentials."""

    def __init__(self, credentials: Credentials, session: requests.Session, url: str) -> None:
        self.credentials = credentials
        self.session = session
        self.url = url

    def ask(self) -> int:
        response = self.send()
        if response.status_code == 401 and self.credentials.refused(response.request):
            response = self.send()
            if response.status_code == 401:
                self.credentials.refused(response.request)
        if response.status_code != 401:
            self.credentials.accepted("job-list")
        return response.status_code

    def send(self) -> requests.Response:
        return self.session.get(self.url, params={"search": "a b~/ü"}, auth=self.credentials, timeout=5)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def cloud(clock: Clock) -> Iterator[Cloud]:
    with Cloud(clock) as cloud:
        cloud.tokens.add("good-token")
        cloud.secret_keys["EXAMPLE-ACCESS-KEY"] = ("example-secret-key", "made-up-security-token")
        cloud.issue_keys("one", 24 * HOUR)
        yield cloud


@pytest.fixture
def session() -> Iterator[requests.Session]:
    with requests.Session() as session:
        yield session


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text("good-token\n")
    return path


@pytest.fixture
def configured(cloud: Cloud, token_file: Path) -> dict[str, Auth]:
    return {
        "token": TokenAuth(token=SecretStr("good-token")),
        "token_file": TokenFileAuth(path=token_file),
        "password": password_auth(),
        "access_key": AccessKeyAuth(
            access_key="EXAMPLE-ACCESS-KEY",
            secret_key=SecretStr("example-secret-key"),
            security_token=SecretStr("made-up-security-token"),
            project_id="0123456789abcdef0123456789abcdef",
        ),
        "ecs_agency": EcsAgencyAuth(metadata_endpoint=cloud.url),
    }


def password_auth() -> PasswordAuth:
    return PasswordAuth(
        domain="shop", username="exporter", password=SecretStr("correct horse"), project="cn-north-4"
    )


Connect = Callable[..., Client]


@pytest.fixture
def connect(cloud: Cloud, clock: Clock, session: requests.Session, configured: dict[str, Auth]) -> Connect:
    def connect(kind: str, *, timeout: float = 5.0, iam_endpoint: str = cloud.url) -> Client:
        credentials = credentials_for(
            configured[kind], iam_endpoint=iam_endpoint, session=session, timeout=timeout, clock=clock
        )
        return Client(credentials, session, f"{cloud.url}{API_PATH}")

    return connect


def refuse_credentials(cloud: Cloud) -> None:
    """Let the API refuse all credentials."""
    cloud.always[API_PATH] = Reply(401, body=b'{"error_code":"APIGW.0301"}')


def accept_credentials(cloud: Cloud) -> None:
    del cloud.always[API_PATH]


def at_once(count: int, work: Callable[[], object]) -> list[object]:
    """Call ``work`` in many threads that start together; an error is returned as a value."""
    start = threading.Barrier(count)

    def call(_: int) -> object:
        start.wait()
        try:
            return work()
        except ApiError as error:
            return error

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(call, range(count)))


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_credentials_is_accepted(connect: Connect, kind: str) -> None:
    client = connect(kind)
    assert type(client.credentials) is KINDS[kind]
    assert [client.ask(), client.ask()] == [200, 200]


@pytest.mark.parametrize("kind", KINDS)
def test_a_request_that_is_sent_again_is_authorized_again(connect: Connect, kind: str, clock: Clock) -> None:
    client = connect(kind)
    request = client.session.prepare_request(requests.Request("GET", client.url, auth=client.credentials))
    clock.advance(HOUR)
    assert client.session.send(client.credentials(request), timeout=5).status_code == 200


@pytest.mark.parametrize("kind", ["token", "token_file", "access_key"])
def test_after_a_refusal_nothing_is_sent_for_a_minute_then_twice_as_long(
    connect: Connect, cloud: Cloud, clock: Clock, kind: str
) -> None:
    client = connect(kind)
    refuse_credentials(cloud)
    for sent, pause in enumerate([60, 120, 240, 480, 600, 600], start=1):
        assert client.ask() == 401
        clock.advance(pause - 1)
        with pytest.raises(
            CredentialsError, match=r"tried again at \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$"
        ) as caught:
            client.ask()
        assert caught.value.retry_after == 1
        assert cloud.count(API_PATH) == sent
        clock.advance(1)


def test_an_accepted_request_resets_the_pause(connect: Connect, cloud: Cloud, clock: Clock) -> None:
    client = connect("token")
    refuse_credentials(cloud)
    client.ask()
    clock.advance(60)
    client.ask()
    accept_credentials(cloud)
    clock.advance(120)
    assert client.ask() == 200
    refuse_credentials(cloud)
    assert client.ask() == 401
    clock.advance(60)
    assert client.ask() == 401


def test_refusals_of_requests_in_flight_together_count_once(
    connect: Connect, cloud: Cloud, clock: Clock
) -> None:
    client = connect("token")
    client.ask()
    refuse_credentials(cloud)
    responses = [client.send() for _ in range(5)]
    for response in responses:
        assert not client.credentials.refused(response.request)
    clock.advance(60)
    accept_credentials(cloud)
    assert client.ask() == 200


def test_a_clock_that_is_set_back_does_not_prolong_a_pause(
    connect: Connect, cloud: Cloud, clock: Clock
) -> None:
    client = connect("token")
    refuse_credentials(cloud)
    client.ask()
    clock.advance(-24 * HOUR)
    accept_credentials(cloud)
    assert client.ask() == 200


@pytest.mark.parametrize("kind", ["token", "access_key"])
def test_an_unproven_key_is_sent_once_however_many_threads_there_are(
    connect: Connect, cloud: Cloud, kind: str
) -> None:
    client = connect(kind)
    refuse_credentials(cloud)
    outcomes = at_once(20, client.ask)
    assert cloud.count(API_PATH) == 1
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["CredentialsError"] * 19 + ["int"]


def test_threads_that_waited_for_the_first_answer_go_on_after_it(connect: Connect) -> None:
    assert at_once(20, connect("access_key").ask) == [200] * 20


def test_a_missing_first_response_does_not_hold_others_up_for_long(connect: Connect, cloud: Cloud) -> None:
    client = connect("token", timeout=0.05)
    cloud.hold.clear()
    with ThreadPoolExecutor(2) as pool:
        answers = [pool.submit(client.ask) for _ in range(2)]
        while cloud.count(API_PATH) < 2:
            time.sleep(0.01)
        cloud.hold.set()
        assert [answer.result() for answer in answers] == [200, 200]


def test_a_new_token_in_the_file_is_used_at_once(connect: Connect, cloud: Cloud, token_file: Path) -> None:
    client = connect("token_file")
    client.ask()
    cloud.tokens = {"next-token"}
    token_file.write_text("next-token")
    assert client.ask() == 200
    assert cloud.count(API_PATH) == 2


@pytest.mark.parametrize("content", [None, "fifo", b"", b" \n", b"two words", b"\xff\xfe", "tökén".encode()])
def test_a_file_that_holds_no_token_at_the_moment_keeps_the_last_one(
    connect: Connect, token_file: Path, content: bytes | str | None
) -> None:
    client = connect("token_file")
    client.ask()
    if isinstance(content, bytes):
        token_file.write_bytes(content)
    else:
        token_file.unlink()
    if content == "fifo":
        os.mkfifo(token_file)
    assert client.ask() == 200


def test_a_file_that_never_held_a_token_is_named(connect: Connect, cloud: Cloud, token_file: Path) -> None:
    token_file.unlink()
    client = connect("token_file")
    with pytest.raises(CredentialsError, match="/token: missing, empty"):
        client.ask()
    assert cloud.requests == []
    token_file.write_text("good-token")
    assert client.ask() == 200


def test_a_refused_token_is_read_again_even_if_the_file_looks_the_same(
    connect: Connect, cloud: Cloud, token_file: Path
) -> None:
    client = connect("token_file")
    client.ask()
    before = token_file.stat()
    cloud.tokens = {"next-token"}
    token_file.write_text("next-token\n"[: before.st_size])
    os.utime(token_file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert client.ask() == 200
    assert cloud.count(API_PATH) == 3


def test_a_refused_token_that_is_still_in_the_file_is_not_sent_again(
    connect: Connect, cloud: Cloud, token_file: Path
) -> None:
    client = connect("token_file")
    client.ask()
    refuse_credentials(cloud)
    token_file.write_text("good-token\n\n")
    assert client.ask() == 401
    assert cloud.count(API_PATH) == 2


def test_a_new_token_in_the_file_ends_the_pause(connect: Connect, cloud: Cloud, token_file: Path) -> None:
    client = connect("token_file")
    cloud.tokens = {"next-token"}
    assert client.ask() == 401
    with pytest.raises(CredentialsError):
        client.ask()
    token_file.write_text("next-token")
    assert client.ask() == 200


def test_a_login_names_user_domain_and_project(connect: Connect, cloud: Cloud) -> None:
    connect("password").ask()
    login = cloud.requests[0]
    assert (login.method, login.path, login.query) == ("POST", LOGIN_PATH, "nocatalog=true")
    assert json.loads(login.body) == {
        "auth": {
            "identity": {
                "methods": ["password"],
                "password": {
                    "user": {"name": "exporter", "password": "correct horse", "domain": {"name": "shop"}}
                },
            },
            "scope": {"project": {"name": "cn-north-4"}},
        }
    }


def test_twenty_threads_log_in_once(connect: Connect, cloud: Cloud) -> None:
    assert at_once(20, connect("password").ask) == [200] * 20
    assert cloud.count(LOGIN_PATH) == 1


def test_twenty_threads_share_one_refused_login(connect: Connect, cloud: Cloud) -> None:
    cloud.password = "changed"
    outcomes = at_once(20, connect("password").ask)
    assert [type(outcome) for outcome in outcomes] == [CredentialsError] * 20
    assert cloud.count(LOGIN_PATH) == 1


def test_twenty_threads_whose_token_is_refused_log_in_once_more(connect: Connect, cloud: Cloud) -> None:
    client = connect("password")
    client.ask()
    cloud.tokens.clear()
    assert at_once(20, client.ask) == [200] * 20
    assert cloud.count(LOGIN_PATH) == 2


def test_a_refused_token_is_not_sent_again_when_renewal_fails(connect: Connect, cloud: Cloud) -> None:
    client = connect("password")
    client.ask()
    cloud.tokens.clear()
    cloud.always[LOGIN_PATH] = Reply(503)
    assert client.ask() == 401
    with pytest.raises(BackendError):
        client.ask()
    assert (cloud.count(API_PATH), cloud.count(LOGIN_PATH)) == (2, 2)


def test_a_renewed_token_is_sent_once_until_it_is_accepted(connect: Connect, cloud: Cloud) -> None:
    client = connect("password")
    client.ask()
    refuse_credentials(cloud)
    at_once(20, client.ask)
    tokens = [request.headers.get("x-auth-token") for request in cloud.requests if request.path == API_PATH]
    assert tokens.count("token-2") == 1


def test_a_late_refusal_of_a_replaced_token_causes_no_login(connect: Connect, cloud: Cloud) -> None:
    client = connect("password")
    cloud.tokens.clear()
    client.ask()
    refuse_credentials(cloud)
    late = client.send()
    accept_credentials(cloud)
    cloud.tokens.clear()
    client.ask()
    assert cloud.count(LOGIN_PATH) == 2
    assert client.credentials.refused(late.request)
    assert client.ask() == 200
    assert cloud.count(LOGIN_PATH) == 2


def test_a_new_token_that_is_refused_too_is_not_followed_by_another_at_once(
    connect: Connect, cloud: Cloud, clock: Clock
) -> None:
    client = connect("password")
    client.ask()
    refuse_credentials(cloud)
    assert client.ask() == 401
    assert cloud.count(LOGIN_PATH) == 2
    for _ in range(59):
        clock.advance(1)
        with pytest.raises(CredentialsError):
            client.ask()
    assert cloud.count(LOGIN_PATH) == 2
    accept_credentials(cloud)
    clock.advance(1)
    assert client.ask() == 200


@pytest.mark.parametrize(
    ("lifetime_s", "used_for"), [(24 * HOUR, 24 * HOUR - 10 * MINUTE), (HOUR, 50 * MINUTE), (10, 5)]
)
def test_a_token_is_renewed_ten_minutes_before_its_end_or_at_half_its_life(
    connect: Connect, cloud: Cloud, clock: Clock, lifetime_s: float, used_for: float
) -> None:
    cloud.token_lifetime_s = lifetime_s
    client = connect("password")
    client.ask()
    clock.advance(used_for - 1)
    client.ask()
    assert cloud.count(LOGIN_PATH) == 1
    clock.advance(1)
    client.ask()
    assert cloud.count(LOGIN_PATH) == 2


def test_a_token_is_renewed_in_time_by_a_machine_whose_clock_is_wrong(
    connect: Connect, cloud: Cloud, clock: Clock
) -> None:
    cloud.token_lifetime_s = HOUR
    cloud.clock = lambda: clock() - 3 * HOUR
    client = connect("password")
    client.ask()
    assert client.credentials.expires_at() == clock() + HOUR
    clock.advance(49 * MINUTE)
    client.ask()
    assert cloud.count(LOGIN_PATH) == 1
    clock.advance(MINUTE)
    client.ask()
    assert cloud.count(LOGIN_PATH) == 2


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b"[]",
        b'{"token": []}',
        b'{"token": {"expires_at": null}}',
        b'{"token": {"expires_at": "soon"}}',
        b'{"token": {"expires_at": 1767323045}}',
        b'{"token": {"expires_at": "2001-01-01T00:00:00.000000Z"}}',
        b'{"token": {"expires_at": "0001-01-01T00:00:00+23:59", "issued_at": "9999-12-31T23:59:59-23:59"}}',
    ],
)
def test_a_token_without_a_plausible_expiry_is_used_for_an_hour(
    connect: Connect, cloud: Cloud, clock: Clock, body: bytes
) -> None:
    cloud.replies[LOGIN_PATH] = deque([Reply(201, {"X-Subject-Token": "good-token"}, body)])
    client = connect("password")
    assert client.ask() == 200
    assert client.credentials.expires_at() == clock() + HOUR


def test_an_expiry_centuries_away_is_capped_at_a_day(connect: Connect, cloud: Cloud, clock: Clock) -> None:
    cloud.sends_issued_at = False
    cloud.token_lifetime_s = 1e10
    client = connect("password")
    client.ask()
    assert client.credentials.expires_at() == clock() + 24 * HOUR


def test_a_wrong_password_never_fails_five_times_in_five_minutes(
    connect: Connect, cloud: Cloud, clock: Clock
) -> None:
    cloud.password = "changed"
    client = connect("password")
    refused_at: list[float] = []
    for _ in range(3600):
        with pytest.raises(CredentialsError):
            client.ask()
        if cloud.count(LOGIN_PATH) > len(refused_at):
            refused_at.append(clock())
        clock.advance(1)
    pauses = [later - earlier for earlier, later in pairwise(refused_at)]
    assert pauses == [60, 120, 240, 480, 600, 600, 600, 600]


def test_a_wrong_password_does_not_lock_the_key_while_iam_is_unstable(
    connect: Connect, cloud: Cloud, clock: Clock
) -> None:
    refusal, throttle, trouble = Reply(401), Reply(429, {"Retry-After": "1"}), Reply(503)
    cloud.replies[LOGIN_PATH] = deque([refusal, throttle, trouble, trouble] * 100)
    client = connect("password")
    refused_at: list[float] = []
    for _ in range(3600):
        with pytest.raises(ApiError) as caught:
            client.ask()
        if isinstance(caught.value, CredentialsError) and caught.value.retry_after in (
            60,
            120,
            240,
            480,
            600,
        ):
            refused_at.append(clock())
        clock.advance(1)
    five_in_a_row = zip(refused_at, refused_at[4:], strict=False)
    assert all(last - first > 300 for first, last in five_in_a_row)


def test_a_refused_login_names_the_time_of_the_next_attempt(
    connect: Connect, cloud: Cloud, clock: Clock
) -> None:
    cloud.password = "changed"
    client = connect("password")
    with pytest.raises(CredentialsError) as first:
        client.ask()
    clock.advance(20)
    with pytest.raises(CredentialsError) as second:
        client.ask()
    assert str(first.value) == str(second.value)
    assert str(first.value) == (
        f"IAM at {cloud.url} refused the credentials: HTTP 401; tried again at 2026-01-02T03:05:05Z"
    )
    assert (first.value.retry_after, second.value.retry_after) == (60, 40)


@pytest.mark.parametrize(
    ("reply", "error", "pause"),
    [
        (Reply(401), CredentialsError, 60),
        *((Reply(status, body=IAM_ERROR), CredentialsError, 60) for status in (400, 401, 403)),
        *((Reply(status, body=b"<html>"), InvalidResponseError, 5) for status in (400, 403)),
        (Reply(429), ThrottledError, 60),
        (Reply(429, {"Retry-After": "7"}), ThrottledError, 7),
        (Reply(429, {"Retry-After": "999999"}), ThrottledError, 600),
        (Reply(403, body=b'{"error_code": "APIGW.0308", "error_msg": "-"}'), ThrottledError, 60),
        (Reply(500), BackendError, 5),
        (Reply(503, {"Retry-After": "30"}), BackendError, 30),
        (Reply(404), InvalidResponseError, 5),
        (Reply(302, {"Location": "/elsewhere"}), InvalidResponseError, 5),
        (Reply(302, {"Location": "http://[half"}), InvalidResponseError, 5),
        (Reply(201, body=b"<html>"), InvalidResponseError, 5),
        (Reply(201, body=b"{}"), InvalidResponseError, 5),
        (Reply(201, {"X-Subject-Token": ""}, b"{}"), InvalidResponseError, 5),
        (Reply(201, {"X-Subject-Token": "two words"}, b"{}"), InvalidResponseError, 5),
        (Reply(201, {"X-Subject-Token": "good-token"}, b"{", endless=True), InvalidResponseError, 5),
        (Reply(302, {"Location": "/elsewhere"}, endless=True), InvalidResponseError, 5),
        (Reply(200, body=b'{"error": {"code": "IAM.0011", "message": "-"}}'), InvalidResponseError, 5),
    ],
)
def test_a_login_that_fails_is_tried_again_after_a_pause(
    connect: Connect, cloud: Cloud, clock: Clock, reply: Reply, error: type[ApiError], pause: float
) -> None:
    cloud.replies[LOGIN_PATH] = deque([reply])
    client = connect("password")
    with pytest.raises(error) as caught:
        client.ask()
    assert caught.value.retry_after == pause
    clock.advance(pause - 1)
    with pytest.raises(error):
        client.ask()
    assert [request.path for request in cloud.requests] == [LOGIN_PATH]
    clock.advance(1)
    assert client.ask() == 200


def test_an_unreachable_iam_is_retried_with_growing_pauses(connect: Connect, clock: Clock) -> None:
    client = connect("password", iam_endpoint="http://127.0.0.1:1")
    for pause in (5, 10, 20, 40, 60, 60):
        with pytest.raises(UnreachableError, match="cannot be reached: ConnectionError") as caught:
            client.ask()
        assert (caught.value.code, caught.value.retry_after) == ("connection", pause)
        clock.advance(pause)


def test_a_login_times_out(connect: Connect, cloud: Cloud) -> None:
    cloud.hold.clear()
    with pytest.raises(UnreachableError, match="did not respond in time") as caught:
        connect("password", timeout=0.05).ask()
    assert caught.value.code == "timeout"


def test_a_token_is_used_to_its_end_while_iam_is_away(connect: Connect, cloud: Cloud, clock: Clock) -> None:
    cloud.token_lifetime_s = HOUR
    client = connect("password")
    client.ask()
    cloud.always[LOGIN_PATH] = Reply(503)
    clock.advance(HOUR - 1)
    assert client.ask() == 200
    clock.advance(5)
    with pytest.raises(BackendError):
        client.ask()


def test_a_valid_token_is_used_while_it_is_being_renewed(
    connect: Connect, cloud: Cloud, clock: Clock
) -> None:
    client = connect("password")
    client.ask()
    clock.advance(24 * HOUR - MINUTE)
    renewing = threading.Event()
    answer, usual = threading.Event(), cloud.answer

    def slow_login(request: object) -> Reply:
        if getattr(request, "path", "") == LOGIN_PATH:
            renewing.set()
            answer.wait(10)
        return usual(request)  # type: ignore[arg-type]

    cloud.answer = slow_login  # type: ignore[method-assign]
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(client.ask)
        assert renewing.wait(10)
        assert client.ask() == 200
        assert cloud.requests[-1].headers["x-auth-token"] == "token-1"
        answer.set()
        assert slow.result() == 200


def test_the_session_s_own_credentials_do_not_go_to_iam(
    connect: Connect, cloud: Cloud, session: requests.Session
) -> None:
    client = connect("password")
    session.auth = client.credentials
    assert client.ask() == 200
    assert "authorization" not in cloud.requests[0].headers
    assert "x-auth-token" not in cloud.requests[0].headers


def test_project_and_security_token_are_sent_and_signed(connect: Connect, cloud: Cloud) -> None:
    assert connect("access_key").ask() == 200
    headers = cloud.requests[0].headers
    assert headers["x-project-id"] == "0123456789abcdef0123456789abcdef"
    assert headers["x-security-token"] == "made-up-security-token"
    assert "SignedHeaders=host;x-project-id;x-sdk-date;x-security-token," in headers["authorization"]


def test_an_access_key_alone_signs_host_and_date(
    connect: Connect, cloud: Cloud, configured: dict[str, Auth]
) -> None:
    cloud.secret_keys["EXAMPLE-ACCESS-KEY"] = ("example-secret-key", "")
    configured["access_key"] = AccessKeyAuth(
        access_key="EXAMPLE-ACCESS-KEY", secret_key=SecretStr("example-secret-key")
    )
    assert connect("access_key").ask() == 200
    headers = cloud.requests[0].headers
    assert headers["x-sdk-date"] == "20260102T030405Z"
    assert "SignedHeaders=host;x-sdk-date," in headers["authorization"]


@pytest.mark.parametrize("body", [b'{"a": "\xc3\xbc"}', '{"a": "ü"}'])
def test_a_body_is_signed(connect: Connect, body: str | bytes) -> None:
    client = connect("access_key")
    headers = {"Content-Type": "application/json"}
    answer = client.session.post(client.url, data=body, headers=headers, auth=client.credentials, timeout=5)
    assert answer.status_code == 200


def test_a_wrong_secret_key_is_refused(connect: Connect, cloud: Cloud) -> None:
    cloud.secret_keys["EXAMPLE-ACCESS-KEY"] = ("another", "made-up-security-token")
    assert connect("access_key").ask() == 401


@pytest.mark.parametrize("status", [404, 405, 503])
def test_an_older_metadata_service_without_tokens_is_supported(
    connect: Connect, cloud: Cloud, status: int
) -> None:
    cloud.always[METADATA_TOKEN_PATH] = Reply(status)
    assert connect("ecs_agency").ask() == 200
    assert [request.path for request in cloud.requests] == [METADATA_TOKEN_PATH, KEYS_PATH, API_PATH]


def test_the_metadata_service_is_never_asked_through_a_proxy(
    connect: Connect, cloud: Cloud, session: requests.Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    with pytest.raises(requests.ConnectionError):
        session.get(cloud.url, timeout=5)
    client = connect("ecs_agency")
    with pytest.raises(requests.ConnectionError):
        client.ask()
    assert [request.path for request in cloud.requests] == [METADATA_TOKEN_PATH, KEYS_PATH]


@pytest.mark.parametrize("path", [METADATA_TOKEN_PATH, KEYS_PATH])
@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (Reply(302, {"Location": "/elsewhere"}), InvalidResponseError),
        (Reply(200, body=b""), InvalidResponseError),
        (Reply(200, body=b"two words"), InvalidResponseError),
        (Reply(200, body=b"{", endless=True), InvalidResponseError),
        (Reply(200, body=b'{"credential": {"access": "a", "secret": 1}}'), InvalidResponseError),
        (Reply(401), CredentialsError),
        (Reply(500), BackendError),
    ],
)
def test_each_response_without_keys_raises_its_own_error(
    connect: Connect, cloud: Cloud, path: str, reply: Reply, error: type[ApiError]
) -> None:
    cloud.always[path] = reply
    with pytest.raises(error):
        connect("ecs_agency").ask()
    assert cloud.requests[-1].path == path


def test_a_machine_without_an_agency_is_refused(connect: Connect, cloud: Cloud) -> None:
    cloud.keys = None
    with pytest.raises(CredentialsError, match=r"metadata service at .* refused the credentials: HTTP 404"):
        connect("ecs_agency").ask()


@pytest.mark.parametrize(("lifetime_s", "used_for"), [(24 * HOUR, 24 * HOUR - 40 * MINUTE), (HOUR, HOUR / 2)])
def test_keys_are_renewed_forty_minutes_before_their_end_or_at_half_their_life(
    connect: Connect, cloud: Cloud, clock: Clock, lifetime_s: float, used_for: float
) -> None:
    cloud.issue_keys("short", lifetime_s)
    client = connect("ecs_agency")
    client.ask()
    assert client.credentials.expires_at() == clock() + lifetime_s
    clock.advance(used_for - 1)
    client.ask()
    assert cloud.count(KEYS_PATH) == 1
    cloud.issue_keys("next", lifetime_s)
    clock.advance(1)
    client.ask()
    assert cloud.count(KEYS_PATH) == 2
    assert cloud.requests[-1].headers["x-security-token"] == "security-token-next"


def test_keys_are_used_to_their_end_while_they_cannot_be_renewed(
    connect: Connect, cloud: Cloud, clock: Clock
) -> None:
    client = connect("ecs_agency")
    client.ask()
    cloud.always[KEYS_PATH] = Reply(500)
    clock.advance(24 * HOUR - 1)
    assert [client.ask() for _ in range(5)] == [200] * 5
    assert cloud.count(KEYS_PATH) == 2
    clock.advance(5)
    with pytest.raises(BackendError):
        client.ask()


def test_twenty_threads_fetch_keys_once(connect: Connect, cloud: Cloud) -> None:
    assert at_once(20, connect("ecs_agency").ask) == [200] * 20
    assert cloud.count(KEYS_PATH) == 1


def test_refused_keys_are_fetched_again_and_sent_if_they_changed(connect: Connect, cloud: Cloud) -> None:
    client = connect("ecs_agency")
    client.ask()
    cloud.secret_keys.clear()
    cloud.issue_keys("two", HOUR)
    assert client.ask() == 200


def test_refused_keys_that_are_still_the_same_are_not_sent_again(connect: Connect, cloud: Cloud) -> None:
    client = connect("ecs_agency")
    client.ask()
    refuse_credentials(cloud)
    assert client.ask() == 401
    assert cloud.count(API_PATH) == 2
    with pytest.raises(CredentialsError):
        client.ask()
    assert cloud.count(API_PATH) == 2


def assert_no_secret_in(text: str) -> None:
    assert [secret for secret in SECRETS if secret in text] == []


@pytest.mark.parametrize("kind", KINDS)
def test_no_repr_shows_a_secret(connect: Connect, kind: str) -> None:
    client = connect(kind)
    client.ask()
    assert_no_secret_in(f"{client.credentials} {client.credentials!r}")


@pytest.mark.parametrize("kind", ["password", "ecs_agency"])
@pytest.mark.parametrize("status", [200, 201, 302, 400, 401, 403, 404, 429, 500])
def test_no_error_repeats_the_text_of_a_response(
    connect: Connect, cloud: Cloud, kind: str, status: int
) -> None:
    said = {
        "error": {"code": "correct horse", "message": "correct horse"},
        "credential": {"secret": "secret-one"},
    }
    headers = {"X-Subject-Token": "token-1 and more", "Location": "http://token-1/"}
    reply = Reply(status, headers, json.dumps(said).encode())
    cloud.always[LOGIN_PATH] = cloud.always[KEYS_PATH] = reply
    with pytest.raises(ApiError) as caught:
        connect(kind).ask()
    assert_no_secret_in(f"{caught.value} {caught.value!r} {caught.value.error_code}")
    assert_no_secret_in("".join(traceback.format_exception(caught.value)))


@pytest.mark.parametrize("kind", KINDS)
def test_no_refusal_shows_a_secret(connect: Connect, cloud: Cloud, kind: str) -> None:
    client = connect(kind)
    refuse_credentials(cloud)
    client.ask()
    with pytest.raises(CredentialsError) as caught:
        client.ask()
    assert_no_secret_in(repr(caught.value) + "".join(traceback.format_exception(caught.value)))
