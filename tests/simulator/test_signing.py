import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from exporter.simulator.access import parse_claim, parse_date, verify
from exporter.simulator.exchange import Request

VECTORS = json.loads((Path(__file__).parents[1] / "fixtures/signing-vectors.json").read_text())


def _request(vector: dict[str, Any]) -> Request:
    url = urlsplit(vector["url"])
    headers = {name.lower(): value for name, value in vector["headers"].items()} | {"host": url.netloc}
    target = url.path + (f"?{url.query}" if url.query else "")
    return Request(vector["method"], target, headers, vector["body"].encode())


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["url"])
def test_the_official_signature_is_accepted(vector: dict[str, Any]) -> None:
    claim = parse_claim(vector["authorization"])
    assert claim is not None
    assert verify(_request(vector), claim, vector["secret_key"])


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["url"])
def test_it_does_not_fit_another_key_path_or_date(vector: dict[str, Any]) -> None:
    claim, request = parse_claim(vector["authorization"]), _request(vector)
    assert claim is not None
    later = dict(request.headers) | {"x-sdk-date": "20250102T030406Z"}
    assert not verify(request, claim, "another-secret-key")
    assert not verify(Request("GET", "/" + request.target, request.headers), claim, vector["secret_key"])
    assert not verify(Request("GET", request.target, later), claim, vector["secret_key"])


@pytest.mark.parametrize(
    "text",
    ["", "Bearer x", "SDK-HMAC-SHA256 Access=a", "SDK-HMAC-SHA256 Access=a, SignedHeaders=b, Signature=c"],
)
def test_another_authorization_header_is_not_parsed(text: str) -> None:
    assert parse_claim(text) is None


def test_a_signing_date_is_read_as_utc() -> None:
    assert (parse_date("19700101T000001Z"), parse_date("1970-01-01")) == (1000, None)
