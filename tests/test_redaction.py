"""The filter removes secrets and control characters from any text."""

import base64
import json
import re
import socket
import sqlite3
import ssl
import threading
import traceback
from collections.abc import Callable
from urllib.parse import quote

import pydantic
import pytest
import redis
import requests
import urllib3
import yaml
from hypothesis import given
from hypothesis import strategies as st
from redis.backoff import NoBackoff
from redis.retry import Retry

from exporter.redaction import (
    HIDDEN,
    clean,
    redact,
    redact_json,
    register,
    register_basic,
    register_header,
    register_url,
)

CORE = "Qz7x"
"""A part of every secret here, and of no other text."""
PLAIN, ODD = f"{CORE}T0psecret", f"{CORE}\"q'\\ü#/?@% {CORE}"
LONG = "".join(f"{CORE}{letter}" for letter in "abcdefghijklmnopqrstuvwxyzABCDEF")
SECRETS = pytest.mark.parametrize("secret", [PLAIN, ODD, LONG], ids=["plain", "odd", "long"])

register(PLAIN, ODD, LONG)
register_url(f"http://user:{ODD}@host")


def redis_without_hello(secret: str) -> None:
    """Connect to a server like Redis 5, whose errors repeat up to 128 characters of unknown commands."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(65536)
                arguments = f"'3' 'AUTH' 'default' '{secret}'"[:128]
                connection.sendall(
                    f"-ERR unknown command 'HELLO', with args beginning with: {arguments}\r\n".encode()
                )

        thread = threading.Thread(target=answer)
        thread.start()
        try:
            server = redis.Redis(
                port=listening.getsockname()[1], password=secret, protocol=3, retry=Retry(NoBackoff(), 0)
            )
            with server:
                server.ping()
        finally:
            thread.join()


def redis_url(secret: str) -> None:
    redis.Redis.from_url(f"redis://host:{secret}/0")


def requests_url(secret: str) -> None:
    requests.get(f"htp://user:{secret}@host/", timeout=1)


def requests_header(secret: str) -> None:
    requests.get("http://127.0.0.1:9/", headers={"X-Auth-Token": f"{secret}\n"}, timeout=1)


def urllib3_url(secret: str) -> None:
    urllib3.PoolManager().request("GET", f"http://host:{secret}/")


def urllib3_retries(secret: str) -> None:
    urllib3.PoolManager(retries=0).request("GET", f"http://127.0.0.1:9/?token={secret}", timeout=1)


def tls_curve(secret: str) -> None:
    ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).set_ecdh_curve(quote(secret))


def sqlite_column(secret: str) -> None:
    quoted = secret.replace('"', '""')
    sqlite3.connect(":memory:").execute(f'SELECT t."{quoted}" FROM (SELECT 1) AS t')


def pydantic_input(secret: str) -> None:
    pydantic.TypeAdapter(int).validate_python(secret)


def yaml_snippet(secret: str) -> None:
    yaml.safe_load(f"password: {secret[:40]}: x")


LIBRARIES: list[Callable[[str], None]] = [
    *(redis_without_hello, redis_url, requests_url, requests_header, urllib3_url, urllib3_retries),
    *(tls_curve, sqlite_column, pydantic_input, yaml_snippet),
]


@SECRETS
@pytest.mark.parametrize("library", LIBRARIES, ids=lambda function: function.__name__)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
def test_errors_of_a_library_are_shown_without_the_secret(
    library: Callable[[str], None], secret: str
) -> None:
    with pytest.raises(Exception) as caught:  # noqa: PT011 (each library has its own exception)
        library(secret)
    error = caught.value
    for text in (
        str(error),
        repr(error),
        "".join(traceback.format_exception(error, limit=0)),
        repr([str(error)]),
    ):
        assert CORE not in clean(text)
    assert CORE in str(error), "this library does not show the secret, so there is nothing to hide"


LOWER = re.sub("%..", lambda found: found[0].lower(), quote(ODD, safe=""))


@pytest.mark.parametrize("spelling", [quote(ODD), LOWER, repr(ODD), json.dumps([ODD])])
def test_a_secret_is_found_in_every_encoding(spelling: str) -> None:
    assert CORE not in clean(f"GET {spelling} failed")


@pytest.mark.parametrize("password", [PLAIN, ODD, "ab"])
def test_a_password_is_found_in_its_header(password: str) -> None:
    register_basic("exporter", password)
    encoded = base64.b64encode(f"exporter:{password}".encode()).decode()
    assert clean(f"Authorization: Basic {encoded}") == f"Authorization: Basic {HIDDEN}"


def test_the_password_of_a_url_is_hidden_and_its_host_is_not() -> None:
    register_url("redis://cache:Qz7x%40Url-9@redis.example:6379/0?ssl_password=Qz7x-key-file")
    shown = clean("redis://cache:Qz7x%40Url-9@redis.example:6379/0, Qz7x@Url-9, Qz7x-key-file")
    assert shown == f"redis://cache:{HIDDEN}@redis.example:6379/0, {HIDDEN}, {HIDDEN}"


def test_a_header_with_a_secret_name_is_hidden() -> None:
    register_header("Authorization", "Bearer Qz7x-bearer")
    register_header("X-Scope-OrgID", "some-tenant")
    assert clean("Bearer Qz7x-bearer of some-tenant") == f"Bearer {HIDDEN} of some-tenant"


@pytest.mark.parametrize(
    ("name", "value", "secret"),
    [
        ("Authorization", f"Basic {base64.b64encode(b'bob:Qz7x-basic').decode()}", "Qz7x-basic"),
        ("Cookie", "theme=dark; session=Qz7x-cookie", "Qz7x-cookie"),
        ("Authorization", 'Token user=bob, token="Qz7x-pair"', "Qz7x-pair"),
    ],
)
def test_secrets_within_a_header_are_hidden_too(name: str, value: str, secret: str) -> None:
    register_header(name, value)
    assert clean(f"no such session: {secret}") == f"no such session: {HIDDEN}"


@pytest.mark.parametrize(
    ("short", "text", "shown"),
    [
        ("a1", "a1 table, 'a1' and redis://:a1@host", f"a1 table, '{HIDDEN}' and redis://:{HIDDEN}@host"),
        ("q", "question='q'", f"question='{HIDDEN}'"),
        ("zeb9", "zeb9 zeb9ra zeb9-1", f"{HIDDEN} zeb9ra {HIDDEN}-1"),
        ("739182465", "at 17391824650 s, 739182465", f"at 17391824650 s, {HIDDEN}"),
        ("", "nothing", "nothing"),
    ],
)
def test_a_short_secret_does_not_hide_parts_of_words(short: str, text: str, shown: str) -> None:
    register(short)
    assert clean(text) == shown


def test_renewed_secrets_take_bounded_memory() -> None:
    for number in range(100):
        register(f"renewed-token-{number:03}-{CORE}", renewed=True)
    assert CORE not in clean(f"renewed-token-099-{CORE} {PLAIN}")
    assert clean("renewed-token-000-") == "renewed-token-000-"


@given(st.text(), st.integers(0, len(LONG) - 20), st.integers(20, len(LONG)))
def test_a_piece_of_a_long_secret_is_hidden_in_any_text(around: str, start: int, length: int) -> None:
    assert CORE not in redact(f"{around}{LONG[start : start + length]}{around}")


@pytest.mark.parametrize(
    "text", ["\x1b[31mred", "\x07", "\x9b2J", "a\u202egnp.exe", "\u2066x\u2069", "\ud83d", "\r\n"]
)
def test_control_characters_are_escaped(text: str) -> None:
    shown = clean(f"fine ✅ 发布 {text}")
    assert shown.startswith("fine ✅ 发布 ")
    assert re.fullmatch(r"[ -~✅发布]+", shown)
    assert clean("two\nlines\t", keep="\n") == "two\nlines\\t"


def test_secrets_are_removed_from_json_which_stays_valid() -> None:
    body = json.dumps({"name": f"x {ODD}", "numbers": [1, None, True], "inner": [{"a": PLAIN}]}).encode()
    assert json.loads(redact_json(body)) == {
        "name": f"x {HIDDEN}",
        "numbers": [1, None, True],
        "inner": [{"a": HIDDEN}],
    }
    for untouched in (b'{"a": 1}', b"<html>" + PLAIN.encode(), b"\xff"):
        assert redact_json(untouched) is untouched
