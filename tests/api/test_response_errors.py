"""Status, headers and body of a response → a value or one kind of error."""

import json
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st
from requests.structures import CaseInsensitiveDict

from exporter.api.response_errors import parse_response, retry_after
from exporter.errors import (
    ApiError,
    BackendError,
    CredentialsError,
    InvalidResponseError,
    NotPublishedError,
    NotVisibleError,
    RejectedError,
    ThrottledError,
)

PAGE = b"<html>\r\n<head><title>502 Bad Gateway</title></head></html>"
GATEWAY_UNKNOWN = ("APIGW.0101", "APIG.0101")
REFUSALS = (400, 403, 404, 405, 410, 414, 418, 422)
VALUES = [{}, [], {"total": 0, "history_records": []}, 7, None, True, {"status": "success", "error": None}]


def failure_of(status: int, body: object = b"", headers: Mapping[str, str] | None = None) -> ApiError:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    with pytest.raises(ApiError) as caught:
        parse_response(status, CaseInsensitiveDict(headers or {}), content)
    return caught.value


def outcome_of(status: int, headers: Mapping[str, str], body: bytes) -> object:
    try:
        return parse_response(status, headers, body)
    except ApiError as failure:
        return failure


def error(code: str, message: str = "no") -> dict[str, str]:
    return {"error_code": code, "error_msg": message}


def in_every_shape(code: str, message: str) -> list[object]:
    nested = {"code": code, "message": message}
    return [
        {"error_code": code, "error_msg": message},
        *({"status": word, "error": nested} for word in ("fail", "failed", "error", "FAIL")),
        {"status": "success", "error": nested, "result": None},
        {"success": False, "err_code": code, "message": message, "result": None},
        {"errorCode": code, "errorMsg": message},
        {"error": {**nested, "title": "Forbidden"}},
        json.dumps({"error_code": code, "error_msg": message}),
    ]


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("status", [200, 201])
def test_a_successful_response_is_its_json(status: int, value: object) -> None:
    assert parse_response(status, {}, json.dumps(value).encode()) == value


@pytest.mark.parametrize("value", [{"total": 1}, [1], None])
def test_json_inside_a_json_string_is_read(value: object) -> None:
    assert parse_response(200, {}, json.dumps(json.dumps(value)).encode()) == value


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_json_may_come_in_any_encoding_of_unicode(encoding: str) -> None:
    assert parse_response(200, {}, '{"trigger_type": "手工触发"}'.encode(encoding)) == {
        "trigger_type": "手工触发"
    }


@pytest.mark.parametrize(
    "value",
    [
        {"error_code": None, "error_msg": None, "total": 1},
        {"error_code": "", "error_msg": "", "total": 1},
        {"err_code": 0, "message": "OK", "success": True, "status": "success", "result": {}},
        {"error": {}, "status": "success", "result": {}},
        {"error": {"code": None, "message": None}, "status": "success", "result": {}},
        {"error": [], "status": "success", "result": {}},
        {"result": {"status": "FAILURE", "err_msg": "the build broke"}, "status": "success"},
        {"message": "a commit message"},
    ],
)
def test_empty_errors_beside_a_result_are_no_failure(value: object) -> None:
    assert parse_response(200, {}, json.dumps(value).encode()) == value


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (429, error("APIGW.0308"), ThrottledError),
        (429, b"", ThrottledError),
        (429, PAGE, ThrottledError),
        *(
            (status, error(code), ThrottledError)
            for status in (200, 400, 403, 500, 503)
            for code in ("APIGW.0308", "APIG.0308", "CB.00060211")
        ),
        (401, error("APIGW.0301"), CredentialsError),
        (401, b"", CredentialsError),
        (200, error("APIGW.0301"), CredentialsError),
        (403, error("APIGW.0301"), CredentialsError),
        (422, error("DEVCB.00031006"), NotVisibleError),
        (422, error("CB.00031006"), NotVisibleError),
        (500, error("CB.00031006"), NotVisibleError),
        (400, error("DEV.CB.032011"), NotVisibleError),
        (403, error("CB.00031059"), NotVisibleError),
        *((status, error("CB.99999999"), NotVisibleError) for status in (403, 404, 410, 422)),
        *((status, error(code), NotPublishedError) for status in (404, 200) for code in GATEWAY_UNKNOWN),
        (400, error("CB.00031105"), RejectedError),
        (500, error("CB.00031105"), RejectedError),
        (400, error("CB.00060200"), RejectedError),
        *((status, error("CB.99999999"), RejectedError) for status in (400, 405, 414)),
        *((status, error("CB.00060100"), BackendError) for status in (200, 400, 500)),
        (500, error("CB.00060101"), BackendError),
        (500, error("CB.00030004"), BackendError),
        (500, error("CB.99999999"), BackendError),
        (500, b"", BackendError),
        (200, error("CB.99999999"), BackendError),
        (408, b"", BackendError),
        *((status, PAGE, BackendError) for status in (500, 502, 503, 504)),
        *((status, b"", InvalidResponseError) for status in (301, 302, 304, 307, 308)),
        (407, PAGE, InvalidResponseError),
    ],
)
def test_the_error_code_or_else_the_status_decides_the_kind_of_failure(
    status: int, body: object, kind: type[ApiError]
) -> None:
    assert type(failure_of(status, body)) is kind


@pytest.mark.parametrize("status", REFUSALS)
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"Forbidden",
        PAGE,
        b"{",
        b"[]",
        b"{}",
        b'{"message": "no Route matched with those values"}',
        b'{"code": 403, "message": "blocked"}',
        b'{"timestamp": 7, "status": 404, "error": "Not Found", "path": "/v3"}',
    ],
)
def test_a_refusal_without_an_error_code_is_an_invalid_response(status: int, body: bytes) -> None:
    failure = failure_of(status, body)
    assert (type(failure), failure.code, failure.retryable) == (InvalidResponseError, "invalid", True)
    assert str(failure).startswith(f"HTTP {status} with ")


@pytest.mark.parametrize("status", [200, 403, 500])
@pytest.mark.parametrize("body", in_every_shape("CB.00031059", "The build history has been deleted."))
def test_a_failure_is_recognized_in_every_shape_and_with_any_status(status: int, body: object) -> None:
    failure = failure_of(status, body)
    assert type(failure) is NotVisibleError
    assert failure.error_code == "CB.00031059"
    assert failure.code == ("invalid" if status == 200 else str(status))
    assert str(failure) == f"HTTP {status} CB.00031059 The build history has been deleted."


@pytest.mark.parametrize(
    "body",
    [{"status": "fail"}, {"success": False}, {"success": "false"}, {"status": "Failed", "error": "no"}],
)
def test_a_failure_inside_200_needs_no_code(body: object) -> None:
    failure = failure_of(200, body)
    assert (type(failure), failure.code, failure.error_code) == (BackendError, "invalid", "")


def test_a_failure_of_iam_may_have_a_number_as_its_code() -> None:
    failure = failure_of(401, {"error": {"code": 401, "message": "wrong", "title": "Unauthorized"}})
    assert (type(failure), failure.error_code) == (CredentialsError, "401")


@pytest.mark.parametrize(
    ("body", "what"),
    [
        (b"", "an empty body"),
        (b" \r\n ", "an empty body"),
        (PAGE, "an HTML page"),
        (b"<!DOCTYPE html><p>login", "an HTML page"),
        (b'{"total": 1, "hist', "truncated or broken JSON"),
        (b"[1, 2", "truncated or broken JSON"),
        (b'{"a": 1} {"b": 2}', "truncated or broken JSON"),
        (b"[" * 100_000, "truncated or broken JSON"),
        (b"OK", "text"),
        (b'"no JSON in here"', "text"),
        (b"\xff\xfe\xfa", "text"),
        (b"9" * 5000, "text"),
    ],
)
def test_a_body_that_is_no_json_is_named(body: bytes, what: str) -> None:
    failure = failure_of(200, body)
    assert (type(failure), failure.code) == (InvalidResponseError, "invalid")
    assert str(failure) == f"HTTP 200 with {what} instead of JSON"
    assert str(failure_of(404, body)) == f"HTTP 404 with {what} instead of the service's error"
    assert str(failure_of(302, body)) == f"HTTP 302 with {what}"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": ""}, None),
        ({"Retry-After": "7"}, 7.0),
        ({"retry-after": " 120 "}, 120.0),
        ({"Retry-After": "0"}, 0.0),
        ({"Retry-After": "-3"}, None),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "1e9"}, None),
        ({"Retry-After": "9999999999"}, None),
        (
            {
                "Date": "Tue, 10 Mar 2026 04:00:00 GMT",
                "Retry-After": "Tue, 10 Mar 2026 04:01:30 GMT",
            },
            90.0,
        ),
        (
            {
                "Date": "Tue, 10 Mar 2026 04:00:00 GMT",
                "Retry-After": "Tue, 10 Mar 2026 03:00:00 GMT",
            },
            0.0,
        ),
        ({"Retry-After": "Tue, 10 Mar 2026 04:01:30 GMT"}, None),
        ({"Date": "Tue, 10 Mar 2026 04:00:00 -0000", "Retry-After": "Tue, 10 Mar 2026 04:01:30 GMT"}, None),
    ],
)
def test_retry_after_is_seconds_or_a_date_by_the_service_s_clock(
    headers: dict[str, str], seconds: float | None
) -> None:
    case_insensitive = CaseInsensitiveDict(headers)
    assert retry_after(case_insensitive) == seconds
    assert failure_of(429, b"", headers).retry_after == seconds
    assert failure_of(503, b"", headers).retry_after == seconds


@pytest.mark.parametrize(
    ("message", "limit"),
    [
        ("policy user over ratelimit,limit:50,time:1 minute", 50.0),
        ("limit:120,time:1 minute", 120.0),
        ("limit:5,time:1 second", 300.0),
        ("LIMIT: 600 , time: 1 HOUR", 10.0),
        ("limit:1440,time:1 day", 1.0),
        ("limit:100,time:2 minute", 50.0),
        ("limit:0,time:1 minute", None),
        ("limit:50,time:0 minute", None),
        ("limit:50", None),
        ("", None),
    ],
)
def test_the_limit_is_read_from_the_message_of_a_throttled_response(
    message: str, limit: float | None
) -> None:
    failure = failure_of(429, error("APIGW.0308", message))
    assert isinstance(failure, ThrottledError)
    assert failure.limit_per_minute == limit


def test_a_failure_is_one_short_line() -> None:
    text = str(failure_of(500, error("CB.1", "first\r\nsecond \ud800" + "x" * 1000)))
    assert text.startswith("HTTP 500 CB.1 first second ?xxx")
    assert len(text.encode()) < 250


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["error", "error_code", "err_code", "message", "status", "success", "code"])
            | st.text(),
            inner,
            max_size=4,
        )
    ),
    max_leaves=10,
)
header_texts = st.text() | st.sampled_from(
    ["Tue, 10 Mar 2026 04:00:00 GMT", "Tue, 99 Mar 99999 99:99:99 +9999"]
)


@given(
    status=st.integers(100, 599),
    headers=st.dictionaries(st.sampled_from(["Retry-After", "Date"]), header_texts),
    body=st.binary() | json_values.map(lambda value: json.dumps(value).encode()),
)
def test_any_response_is_a_value_or_an_api_error(status: int, headers: dict[str, str], body: bytes) -> None:
    outcome = outcome_of(status, headers, body)
    if isinstance(outcome, ApiError):
        assert outcome.code in ("invalid", str(status))
        assert "\n" not in str(outcome)
    else:
        assert 200 <= status < 300
