"""Who may ask, over a socket."""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from exporter.simulator import AccessKey, Credentials, Fleet, ManualClock, Simulator
from exporter.simulator.access import signature_of
from exporter.simulator.exchange import Request

from .conftest import START_MS, Caller, Reply

PATH = "/v1/job/list?page_size=10&page_index=0"
KNOWN = Credentials()
KEY = KNOWN.access_keys[0]


def _login(caller: Caller, **changes: str) -> Reply:
    known = {
        "user": KNOWN.username,
        "password": KNOWN.password,
        "domain": KNOWN.domain,
        "scope": KNOWN.project,
    }
    known |= changes
    user = {"name": known["user"], "password": known["password"], "domain": {"name": known["domain"]}}
    identity = {"methods": ["password"], "password": {"user": user}}
    body = {"auth": {"identity": identity, "scope": {"project": {"name": known["scope"]}}}}
    return caller.send("POST", "/v3/auth/tokens?nocatalog=true", body)


def _signed(
    caller: Caller, key: AccessKey = KEY, at_ms: int = START_MS, extra: Mapping[str, str] | None = None
) -> Reply:
    date = datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y%m%dT%H%M%SZ")
    headers = {"X-Sdk-Date": date, "Host": caller.url.removeprefix("http://"), **(extra or {})}
    names = tuple(sorted(name.lower() for name in headers))
    lower = {name.lower(): value for name, value in headers.items()}
    signature = signature_of(Request("GET", PATH, lower), names, key.secret_key)
    access = (
        f"SDK-HMAC-SHA256 Access={key.access_key}, SignedHeaders={';'.join(names)}, Signature={signature}"
    )
    return replace(caller, token="").get(PATH, {**headers, "Authorization": access})


def test_a_request_without_credentials_is_refused(caller: Caller) -> None:
    reply = replace(caller, token="").get(PATH)
    assert (reply.status, reply.json()["error_code"]) == (401, "APIGW.0301")


def test_a_password_gives_a_token_that_works_and_expires(caller: Caller, clock: ManualClock) -> None:
    login = _login(caller)
    assert login.status == 201
    assert login.json()["token"]["expires_at"] == "2025-03-11T04:00:00.000000Z"
    mine = replace(caller, token=login.headers["x-subject-token"])
    assert mine.get(PATH).status == 200
    clock.advance(86_400)
    assert mine.get(PATH).status == 401


def test_all_tokens_can_be_expired_at_once(caller: Caller, simulator: Simulator) -> None:
    mine = replace(caller, token=_login(caller).headers["x-subject-token"])
    simulator.expire_tokens()
    assert (mine.get(PATH).status, caller.get(PATH).status) == (401, 401)


@pytest.mark.parametrize("wrong", ["user", "password", "domain", "scope"])
def test_a_wrong_login_is_refused_in_the_shape_of_iam(caller: Caller, wrong: str) -> None:
    reply = _login(caller, **{wrong: "another"})
    assert (reply.status, sorted(reply.json()["error"])) == (401, ["code", "message", "title"])


def test_an_invalid_login_is_a_bad_request(caller: Caller) -> None:
    assert caller.send("POST", "/v3/auth/tokens", {"auth": {}}).status == 400


def test_a_good_signature_is_accepted(caller: Caller) -> None:
    assert _signed(caller).status == 200
    assert _signed(caller, extra={"X-Project-Id": KNOWN.project_id}).status == 200


@pytest.mark.parametrize("seconds", [-901, 901])
def test_a_signature_is_valid_for_fifteen_minutes(caller: Caller, seconds: int) -> None:
    assert _signed(caller, at_ms=START_MS + seconds * 1000).status == 401


def test_an_unsigned_header_invalidates_the_signature(caller: Caller) -> None:
    date = "20250310T040000Z"
    signature = signature_of(Request("GET", PATH, {"x-sdk-date": date}), ("x-sdk-date",), KEY.secret_key)
    access = f"SDK-HMAC-SHA256 Access={KEY.access_key}, SignedHeaders=x-sdk-date, Signature={signature}"
    reply = replace(caller, token="").get(PATH, {"Authorization": access, "X-Sdk-Date": date})
    assert (reply.status, "not signed: host" in reply.json()["error_msg"]) == (401, True)


def test_five_wrong_signatures_lock_the_key_for_five_minutes(caller: Caller, clock: ManualClock) -> None:
    wrong = AccessKey(KEY.access_key, "another-secret-key")
    for _ in range(5):
        assert _signed(caller, wrong).status == 401
    assert _signed(caller).status == 401
    clock.advance(301)
    assert _signed(caller, at_ms=clock.now_ms()).status == 200


def test_a_success_resets_the_failures(caller: Caller) -> None:
    wrong = AccessKey(KEY.access_key, "another-secret-key")
    for key in (wrong, wrong, wrong, wrong, KEY, wrong):
        _signed(caller, key)
    assert _signed(caller).status == 200


def test_five_wrong_passwords_lock_the_user(caller: Caller, clock: ManualClock) -> None:
    for _ in range(5):
        _login(caller, password="another")
    assert _login(caller).status == 401
    clock.advance(301)
    assert _login(caller).status == 201


def test_the_metadata_service_gives_keys_that_work_with_their_token(fleet: Fleet, clock: ManualClock) -> None:
    credentials = Credentials(key_lifetime_s=3600)
    with Simulator(fleet, credentials=credentials, caller_clock=clock) as simulator:
        caller = Caller(simulator.url, token="")
        lifetime = {"X-Metadata-Token-Ttl-Seconds": "21600"}
        token = caller.send("PUT", "/meta-data/latest/api/token", headers=lifetime).body.decode()
        answer = caller.get("/openstack/latest/securitykey", {"X-Metadata-Token": token}).json()
        given = answer["credential"]
        assert given["expires_at"] == "2025-03-10T05:00:00.000000Z"
        key = AccessKey(given["access"], given["secret"])
        session = {"X-Security-Token": given["securitytoken"]}
        assert _signed(caller, key).status == 401
        assert _signed(caller, key, extra=session).status == 200
        clock.advance(3600)
        late = _signed(caller, key, clock.now_ms(), session)
        assert late.status == 401


def test_secrets_are_not_in_a_repr() -> None:
    text = repr(KNOWN)
    assert KNOWN.password not in text
    assert KEY.secret_key not in text
    assert json.dumps(KNOWN.username)[1:-1] in text
