"""The table of differences from the exporter-toolkit, row by row."""

import re
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest

from exporter.errors import ConfigError
from exporter.web.web_config import TlsServerConfig, WebConfig, parse
from tests.support.certificates import Authority, put
from tests.support.markdown import cells
from tests.web import test_basic_auth, test_tls, test_web_config

TLS = "tls_server_config:\n  cert_file: server.pem\n  key_file: server.key\n"
VERIFIES = f"{TLS}  client_auth_type: RequireAndVerifyClientCert\n"
CLIENTS = f"{VERIFIES}  client_ca_file: ca.pem\n"
REFUSED = "refuses the file"

Accepts = Callable[[WebConfig], bool]


def tls(config: WebConfig) -> TlsServerConfig:
    assert config.tls_server_config
    return config.tls_server_config


def warns(key: str) -> Accepts:
    return lambda config: f"tls_server_config.{key}" in tls(config).ignored_keys


IN_THE_FILE: dict[str, list[tuple[str, Accepts | None]]] = {
    "`tls_server_config` without a certificate, say with `min_version` alone": [
        ("tls_server_config: {min_version: TLS13}", None),
        ("tls_server_config: {}", lambda config: config.tls_server_config is None),
    ],
    "both `cert_file` and `cert`, and alike for keys and authorities": [
        (f"{TLS}  cert: x", None),
        (f"{TLS}  key: x", None),
        (f"{CLIENTS}  client_ca: x", None),
    ],
    "`client_auth_type: RequireAnyClientCert`": [(f"{TLS}  client_auth_type: RequireAnyClientCert", None)],
    "`client_auth_type: RequestClientCert`": [
        (
            f"{TLS}  client_auth_type: RequestClientCert",
            lambda config: tls(config).context.verify_mode is ssl.CERT_NONE,
        )
    ],
    "a `client_auth_type` that verifies, without `client_ca_file` or `client_ca`": [
        (VERIFIES, None),
        (f"{TLS}  client_auth_type: VerifyClientCertIfGiven", None),
    ],
    "`client_ca_file` without a certificate in it": [(f"{VERIFIES}  client_ca_file: empty", None)],
    "`client_ca_file` with a damaged certificate beside good ones": [
        (f"{VERIFIES}  client_ca_file: damaged", None)
    ],
    "`client_allowed_sans: []`": [(f"{CLIENTS}  client_allowed_sans: []", None)],
    "`client_allowed_sans:` with nothing after it": [(f"{CLIENTS}  client_allowed_sans:", None)],
    "`min_version: TLS10` or `TLS11`": [
        (f"{TLS}  min_version: {version}", warns("min_version")) for version in ("TLS10", "TLS11")
    ],
    "several `curve_preferences`": [
        (f"{TLS}  curve_preferences: [X25519, CurveP256]", warns("curve_preferences"))
    ],
    "`cipher_suites` of TLS 1.3 alone with `max_version: TLS12`": [
        (f"{TLS}  cipher_suites: [TLS_AES_128_GCM_SHA256]\n  max_version: TLS12", None)
    ],
    "`prefer_server_cipher_suites: false`": [
        (
            f"{TLS}  prefer_server_cipher_suites: false",
            lambda config: not tls(config).context.options & ssl.OP_CIPHER_SERVER_PREFERENCE,
        )
    ],
    "`http2: true`": [("http_server_config: {http2: true}", lambda config: config.http_server_config.http2)],
    "a blank header": [
        (
            "http_server_config: {headers: {X-XSS-Protection: ''}}",
            lambda config: config.http_server_config.headers == {},
        )
    ],
    "a control character in a header or a file name": [
        ('http_server_config: {headers: {X-XSS-Protection: "0\\0"}}', None),
        (TLS.replace("server.pem", '"server\\x01.pem"'), None),
    ],
    "`rate_limit` with an `interval`, and a `burst` below 1": [
        ("rate_limit: {interval: 1s}", None),
        ("rate_limit: {interval: 1s, burst: 0}", None),
        ("rate_limit: {interval: 1s, burst: -1}", None),
    ],
    "an `interval` without a unit, or below 0": [
        ("rate_limit: {interval: 1, burst: 1}", None),
        ("rate_limit: {interval: -1s, burst: 1}", None),
    ],
    "a number or a switch in quotes": [
        ("rate_limit: {interval: 1s, burst: '20'}", lambda config: config.rate_limit.burst == 20),
        ("http_server_config: {http2: 'false'}", lambda config: not config.http_server_config.http2),
    ],
}

AT_RUN_TIME: dict[str, Callable[..., None]] = {
    "the file has changed": test_tls.TestClients.test_a_changed_rule_applies_to_the_next_connection,
    "the file has become invalid": test_tls.test_a_broken_rotation_keeps_the_last_good_certificate,
    "TLS or all passwords are removed from the file": (
        test_web_config.TestReloading.test_a_truncated_file_does_not_remove_protection
    ),
    "a certificate without an allowed name": test_tls.TestClients.test_access_depends_on_the_allowed_names,
    "a wrong password": test_basic_auth.test_every_path_requires_a_password,
    "many passwords at once": (test_basic_auth.test_the_queue_is_bounded_across_addresses),
}
"""The test of each row."""


def table(first_column: str) -> dict[str, str]:
    """The rows of one of the two tables: what this exporter does, by the first cell."""
    text = (Path(__file__).parents[2] / "docs/tls.md").read_text(encoding="utf-8")
    _, _, section = text.partition(f"\n| {first_column} | the toolkit | this exporter |\n|---|---|---|\n")
    rows = [cells(line) for line in re.split(r"\n(?!\|)", section)[0].splitlines()]
    return {row[0]: row[2] for row in rows}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("toolkit")
    authority = Authority(folder / "authority")
    put(authority.issue("server"), folder)
    good = authority.certificate.read_text()
    damaged = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    (folder / "ca.pem").write_text(good)
    (folder / "damaged").write_text(good + damaged)
    (folder / "empty").write_text("")
    return folder


def test_every_difference_has_a_test() -> None:
    assert list(table("in the file")) == list(IN_THE_FILE)
    assert list(table("at run time")) == list(AT_RUN_TIME)


@pytest.mark.parametrize(
    ("row", "text", "accepts"),
    [(row, text, accepts) for row, cases in IN_THE_FILE.items() for text, accepts in cases],
)
def test_a_file_is_treated_as_documented(folder: Path, row: str, text: str, accepts: Accepts | None) -> None:
    documented = table("in the file")[row]
    try:
        config = parse(text, source="web.yaml", base_dir=folder)
    except ConfigError:
        assert accepts is None
        assert documented.startswith(REFUSED)
    else:
        assert accepts is not None
        assert accepts(config)
        assert documented != REFUSED
