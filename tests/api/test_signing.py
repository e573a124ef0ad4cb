"""The signature, held against the official SDK's: recorded answers, and any request hypothesis finds."""

import json
import string
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from huaweicloudsdkcore.auth.credentials import BasicCredentials
from huaweicloudsdkcore.sdk_request import SdkRequest
from huaweicloudsdkcore.signer.signer import Signer
from hypothesis import example, given
from hypothesis import strategies as st

from exporter.api.signing import sign

VECTORS = json.loads((Path(__file__).parents[1] / "fixtures" / "signing-vectors.json").read_text("utf-8"))
DATE = "20260102T030405Z"
KEYS = {"access_key": "EXAMPLE-ACCESS-KEY", "secret_key": "example-secret-key"}
JOB_LIST = "https://cloudbuild-ext.cn-north-4.myhuaweicloud.com/v1/job/list"

# A lone surrogate is no text: neither side can encode it.
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
# Characters that matter to the encoding come up often.
awkward = st.text(st.sampled_from("aZ09-._~ /%25+&=:;,@!'()*中é\u00a0😀"), max_size=12)
segments = st.lists(text | awkward, max_size=4)
# The SDK ends in an IndexError on an empty path; every client sends at least "/".
decoded_paths = segments.map(lambda parts: "/" + "/".join(parts))
# As typed by a person: stray percent signs, raw unicode. "?" and "#" would end the path, and control
# characters cannot stand in a URL (the SDK, given a path apart from its URL, never notices).
raw_paths = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="?#") | st.sampled_from("%/~ 2F"),
    max_size=20,
).map(lambda path: "/" + path)
queries = st.lists(st.tuples(text | awkward, text | awkward), max_size=5)
hosts = st.sampled_from(
    ["build.example", "127.0.0.1", "[::1]", "cloudbuild-ext.cn-north-4.myhuaweicloud.com"]
)
# The SDK signs a default port that is spelt out, but no HTTP client sends it: 80 and 443 are left out.
ports = st.none() | st.integers(1, 65535).filter(lambda port: port not in (80, 443))
# Names are what HTTP calls a token. Five the SDK reads as something else, and no caller passes them: the
# first three belong to the signature itself, a Content-Type that is not JSON makes it leave the body
# unsigned, and so does the caller's own X-Sdk-Content-Sha256.
OWN = {"host", "authorization", "x-sdk-date", "content-type", "x-sdk-content-sha256"}
names = st.text(string.ascii_letters + string.digits + "-_", min_size=1, max_size=12).filter(
    lambda name: name.lower() not in OWN
)
# A line break in a value would be another header; no client sends it.
values = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=12)
extra_headers = st.one_of(
    st.lists(st.tuples(names, values), max_size=4, unique_by=lambda header: header[0].lower()).map(dict),
    st.just({"Content-Type": "application/json", "X-Project-Id": "0123", "X-Security-Token": "made-up"}),
)
secrets = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)


def sdk_authorization(
    method: str,
    host: str,
    path: str,
    query: list[tuple[str, Any]],
    headers: dict[str, str],
    body: bytes,
    secret_key: str = KEYS["secret_key"],
) -> str:
    request = SdkRequest(
        method=method,
        schema="https",
        host=host,
        resource_path=path,
        query_params=query,
        header_params={**headers, "X-Sdk-Date": DATE},
        body=body,
    )
    Signer(BasicCredentials(KEYS["access_key"], secret_key)).sign(request)
    authorization: str = request.header_params["Authorization"]
    return authorization


def netloc(host: str, port: int | None) -> str:
    return host if port is None else f"{host}:{port}"


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["url"].rpartition("/")[2][:40])
def test_signatures_match_those_recorded_from_the_sdk(vector: dict[str, Any]) -> None:
    headers = {name: value for name, value in vector["headers"].items() if name != "X-Sdk-Date"}
    added = sign(
        vector["method"],
        vector["url"],
        headers,
        vector["body"].encode(),
        access_key=vector["access_key"],
        secret_key=vector["secret_key"],
        date=vector["headers"]["X-Sdk-Date"],
    )
    assert added["Authorization"] == vector["authorization"]


@given(
    method=st.sampled_from(["GET", "POST", "PUT", "DELETE", "patch"]),
    host=hosts,
    port=ports,
    path=decoded_paths,
    query=queries,
    plus=st.booleans(),
    headers=extra_headers,
    body=st.binary(max_size=40),
    secret_key=secrets,
)
@example("GET", "h", None, "/a b/~/%41/中", [("k", ""), ("k", "b"), ("k", "a"), ("", "")], True, {}, b"", "s")
@example("GET", "h", None, "//", [("~", "1"), ("中", "2"), (" ", "3")], False, {}, b"{}", "s")
def test_any_request_is_signed_as_the_sdk_does(
    method: str,
    host: str,
    port: int | None,
    path: str,
    query: list[tuple[str, str]],
    plus: bool,
    headers: dict[str, str],
    body: bytes,
    secret_key: str,
) -> None:
    sent_path = quote(path, safe="/~")
    sent_query = urlencode(query) if plus else urlencode(query, quote_via=quote)
    url = f"https://{netloc(host, port)}{sent_path}?{sent_query}"
    added = sign(method, url, headers, body, access_key=KEYS["access_key"], secret_key=secret_key, date=DATE)
    assert added["Authorization"] == sdk_authorization(
        method, netloc(host, port), sent_path, query, headers, body, secret_key
    )


@given(path=raw_paths)
@example("/%")
@example("/%zz/%2F/%7e/%E4%B8/%FF")
def test_a_path_with_stray_percent_signs_is_signed_as_the_sdk_does(path: str) -> None:
    added = sign("GET", f"https://build.example{path}", {}, b"", **KEYS, date=DATE)
    assert added["Authorization"] == sdk_authorization("GET", "build.example", path, [], {}, b"")


@given(query=st.dictionaries(text | awkward, st.lists(text | awkward, min_size=1, max_size=4), max_size=4))
def test_repeated_values_are_signed_as_the_sdk_signs_its_lists(query: dict[str, list[str]]) -> None:
    url = f"https://build.example/v1?{urlencode(query, doseq=True)}"
    added = sign("GET", url, {}, b"", **KEYS, date=DATE)
    assert added["Authorization"] == sdk_authorization(
        "GET", "build.example", "/v1", list(query.items()), {}, b""
    )


def test_the_order_of_the_query_does_not_matter() -> None:
    def signature(query: str) -> dict[str, str]:
        return sign("GET", f"{JOB_LIST}?{query}", {}, b"", **KEYS, date=DATE)

    assert signature("a=1&b=2&a=0") == signature("b=2&a=0&a=1")


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://build.example/", "build.example"),
        ("https://build.example:443/", "build.example"),
        ("https://build.example:80/", "build.example:80"),
        ("http://build.example:80/", "build.example"),
        ("http://127.0.0.1:10088/x", "127.0.0.1:10088"),
        ("https://user:pass@build.example:8443/", "build.example:8443"),
        ("https://[::1]/", "[::1]"),
        ("https://[::1]:8443/", "[::1]:8443"),
        ("https://build.example:/", "build.example"),
    ],
)
def test_host_is_what_an_http_client_sends(url: str, host: str) -> None:
    assert sign("GET", url, {}, b"", **KEYS, date=DATE)["Host"] == host


def test_a_host_that_is_already_set_is_signed_and_left_alone() -> None:
    added = sign("GET", "https://10.0.0.1/", {"host": "build.example"}, b"", **KEYS, date=DATE)
    elsewhere = sign("GET", "https://10.0.0.2/", {"host": "build.example"}, b"", **KEYS, date=DATE)
    assert sorted(added) == ["Authorization", "X-Sdk-Date"]
    assert added == elsewhere


def test_signing_a_request_that_was_signed_before_gives_a_fresh_signature() -> None:
    once = sign("GET", JOB_LIST, {}, b"", **KEYS, date="20250101T000000Z")
    again = sign("GET", JOB_LIST, once, b"", **KEYS, date=DATE)
    assert again["Authorization"] == sign("GET", JOB_LIST, {}, b"", **KEYS, date=DATE)["Authorization"]


@given(header=st.sampled_from(["X-Project-Id", "X-Security-Token"]))
def test_project_and_security_token_are_part_of_what_is_signed(header: str) -> None:
    one = sign("GET", JOB_LIST, {header: "one"}, b"", **KEYS, date=DATE)["Authorization"]
    two = sign("GET", JOB_LIST, {header: "two"}, b"", **KEYS, date=DATE)["Authorization"]
    assert header.lower() in one
    assert one != two


def test_the_secret_key_is_nowhere_in_what_is_sent() -> None:
    added = sign("GET", JOB_LIST, {}, b"", **KEYS, date=DATE)
    assert KEYS["secret_key"] not in str(added)
