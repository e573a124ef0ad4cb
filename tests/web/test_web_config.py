"""``--web.config.file``: accepted and refused content, and the messages."""

import os
import re
import ssl
from pathlib import Path

import pytest

from exporter.errors import ConfigError
from exporter.web.web_config import WebConfig, load, parse
from exporter.web.web_config_watcher import WatchedConfig
from tests.support.certificates import Authority, put
from tests.web.served import RIGHT

TLS = "tls_server_config:\n  cert_file: server.pem\n  key_file: server.key\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two certificates with their keys, and files that are neither."""
    folder = tmp_path_factory.mktemp("web")
    authority = Authority(folder / "authority")
    put(authority.issue("server"), folder)
    put(authority.issue("other"), folder, "other")
    (folder / "ca.pem").write_bytes(authority.certificate.read_bytes())
    (folder / "nothing").write_text("nothing\n")
    (folder / "broken.pem").write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    (folder / "locked.key").write_text("-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n")
    return folder


def read(text: str, folder: Path = Path()) -> WebConfig:
    return parse(text, source="web.yaml", base_dir=folder)


def complaint(text: str, folder: Path = Path()) -> str:
    with pytest.raises(ConfigError) as caught:
        read(text, folder)
    return str(caught.value)


def context(text: str, folder: Path) -> ssl.SSLContext:
    tls = read(text, folder).tls_server_config
    assert tls
    return tls.context


@pytest.mark.parametrize(
    "text", ["", "# nothing\n", "{}", "tls_server_config:\nbasic_auth_users:\n", "tls_server_config: {}"]
)
def test_an_empty_file_is_plain_http_without_passwords(text: str) -> None:
    assert read(text) == WebConfig()


def test_the_sample_of_the_toolkit_is_accepted(folder: Path) -> None:
    config = read(
        f"{TLS}basic_auth_users:\n"
        "  alice: $2y$10$mDwo.lAisC94iLAyP81MCesa29IzH37oigHC/42V2pdJlUprsJPze\n"
        "  bob: $2y$10$hLqFl9jSjoAAy95Z/zw8Ye8wkdMBM8c5Bn1ptYqP/AXyV0.oy0S8m\n"
        'rate_limit:\n  interval: "1s"\n  burst: 20\n',
        folder,
    )
    assert config.users.keys() == {b"alice", b"bob"}
    assert (config.rate_limit.interval, config.rate_limit.burst) == (1.0, 20)
    assert config.scheme == "https"


def test_every_key_of_the_toolkit_is_accepted(folder: Path) -> None:
    config = read(
        f"{TLS}  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.pem\n"
        "  client_allowed_sans: [prometheus.test]\n  min_version: TLS12\n  max_version: TLS13\n"
        "  cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, TLS_AES_128_GCM_SHA256]\n"
        "  prefer_server_cipher_suites: false\n  curve_preferences: [X25519, CurveP256]\n"
        "http_server_config:\n  http2: true\n  headers:\n    X-Frame-Options: deny\n"
        "    Content-Security-Policy: default-src 'none'\n    X-XSS-Protection: ''\n",
        folder,
    )
    assert config.http_server_config.headers == {
        "X-Frame-Options": "deny",
        "Content-Security-Policy": "default-src 'none'",
    }
    assert config.tls_server_config
    assert config.tls_server_config.ignored_keys == ("tls_server_config.curve_preferences",)
    assert config.files == (folder / "server.pem", folder / "server.key", folder / "ca.pem")


def test_certificate_and_key_can_be_inline(folder: Path) -> None:
    def inline(key: str, file: str) -> str:
        lines = (folder / file).read_text().splitlines()
        return f"  {key}: |\n" + "".join(f"    {line}\n" for line in lines)

    text = "tls_server_config:\n" + inline("cert", "server.pem") + inline("key", "server.key")
    text += inline("client_ca", "ca.pem") + "  client_auth_type: VerifyClientCertIfGiven\n"
    assert context(text, folder).verify_mode is ssl.CERT_OPTIONAL
    assert "PRIVATE" not in repr(read(text, folder))


def test_a_dollar_sign_has_no_meaning() -> None:
    text = "http_server_config: {headers: {Content-Security-Policy: '${HOME} $${x}'}}"
    assert read(text).http_server_config.headers == {"Content-Security-Policy": "${HOME} $${x}"}


def test_relative_paths_start_from_the_files_folder(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (folder / "web.yaml").write_text(TLS)
    assert load(folder / "web.yaml").files == (folder / "server.pem", folder / "server.key")


def test_by_default_it_is_tls_1_2_and_1_3(folder: Path) -> None:
    made = context(TLS, folder)
    assert (made.minimum_version, made.maximum_version) == (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)


def test_suites_of_tls_1_3_alone_exclude_older_versions(folder: Path) -> None:
    made = context(TLS + "  cipher_suites: [TLS_AES_128_GCM_SHA256]\n", folder)
    assert made.minimum_version is ssl.TLSVersion.TLSv1_3


def test_all_suites_of_go_are_known_to_openssl(folder: Path) -> None:
    kinds = ("AES_128_CBC_SHA", "AES_256_CBC_SHA", "AES_128_GCM_SHA256", "AES_256_GCM_SHA384")
    suites = [
        f"TLS_ECDHE_{key}_WITH_{kind}"
        for key in ("RSA", "ECDSA")
        for kind in (*kinds, "CHACHA20_POLY1305_SHA256")
    ]
    made = context(f"{TLS}  cipher_suites: [{', '.join(suites)}]\n", folder)
    assert len([suite for suite in made.get_ciphers() if suite["protocol"] != "TLSv1.3"]) == len(suites)


@pytest.mark.parametrize("written", ["[]", "", "''", "['']", "['', '  ']"])
def test_empty_allowed_names_are_refused(folder: Path, written: str) -> None:
    text = f"{TLS}  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.pem\n"
    assert complaint(f"{text}  client_allowed_sans: {written}\n", folder) == (
        "web.yaml:6: tls_server_config.client_allowed_sans: has no name, so no certificate would be "
        "accepted; add one, or drop the key"
    )


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        (">\n      default-src 'none';\n      img-src 'self'\n", "default-src 'none'; img-src 'self'"),
        ("|\n      default-src 'none';\n      img-src 'self'\n", "default-src 'none'; img-src 'self'"),
        ('"  a\\r\\nSet-Cookie: b "', "a  Set-Cookie: b"),
    ],
)
def test_a_header_of_several_lines_becomes_one_as_in_go(written: str, sent: str) -> None:
    text = f"http_server_config:\n  headers:\n    Content-Security-Policy: {written}\n"
    assert read(text).http_server_config.headers == {"Content-Security-Policy": sent}


@pytest.mark.parametrize(
    ("rule", "ignored"),
    [
        ("min_version: TLS10", ["min_version"]),
        ("min_version: TLS11", ["min_version"]),
        ("min_version: TLS10\n  max_version: TLS11", ["min_version", "max_version"]),
        ("min_version: TLS12", []),
    ],
)
def test_versions_that_openssl_refuses_are_logged(
    folder: Path, tmp_path: Path, rule: str, ignored: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    if ssl.OPENSSL_VERSION_INFO < (3,):
        pytest.skip("this OpenSSL speaks old versions")
    for name in ("server.pem", "server.key"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    (tmp_path / "web.yaml").write_text(f"{TLS}  {rule}\n")
    WatchedConfig(tmp_path / "web.yaml")
    logged = re.findall(r"config_key_ignored +key=tls_server_config\.(\w+)", capsys.readouterr().out)
    assert logged == ignored


@pytest.mark.parametrize(
    ("written", "seconds"), [("0", 0.0), ("1s", 1.0), ("1.5s", 1.5), ("1m30s", 90.0), ("250ms", 0.25)]
)
def test_intervals_are_written_as_in_go(written: str, seconds: float) -> None:
    assert read(f"rate_limit: {{interval: {written}, burst: 1}}").rate_limit.interval == seconds


FOLDER = "(relative paths start from this YAML file's folder)"
SUITE = "tls_server_config.cipher_suites[0]"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tls_config: {}", '1: tls_config: is not a known key; did you mean "tls_server_config"?'),
        ("- a", "1: must be a mapping of keys to values, as in docs/tls.md"),
        (
            "tls_server_config: {cert_file: server.pem}",
            "1: tls_server_config.key_file: is missing: give key_file or key",
        ),
        (
            "tls_server_config: {key_file: server.key}",
            "1: tls_server_config.cert_file: is missing: give cert_file or cert",
        ),
        (
            "tls_server_config: {cert_file: '', key_file: server.key}",
            "1: tls_server_config.cert_file: is missing: give cert_file or cert",
        ),
        (
            TLS + "  certfile: x",
            '4: tls_server_config.certfile: is not a known key; did you mean "cert_file"?',
        ),
        (TLS + "  key: x", "4: tls_server_config.key: cannot be given together with key_file; keep one"),
        (
            "tls_server_config:\n  cert_file: gone.pem\n  key_file: server.key",
            f"2: tls_server_config.cert_file: the file cannot be read: No such file or directory {FOLDER}",
        ),
        (
            "tls_server_config:\n  cert_file: nothing\n  key_file: server.key",
            "2: tls_server_config.cert_file: holds no certificate in PEM form "
            '("-----BEGIN CERTIFICATE-----")',
        ),
        (
            "tls_server_config:\n  cert_file: server.pem\n  key_file: nothing",
            '3: tls_server_config.key_file: holds no private key in PEM form ("-----BEGIN PRIVATE KEY-----")',
        ),
        (
            "tls_server_config:\n  cert_file: server.pem\n  key_file: other.key",
            "3: tls_server_config.key_file: does not belong to the certificate",
        ),
        (
            "tls_server_config:\n  cert_file: server.pem\n  key_file: locked.key",
            "3: tls_server_config.key_file: is protected by a passphrase; use a key without one",
        ),
        (
            'tls_server_config:\n  cert_file: "server\\0.pem"\n  key_file: server.key',
            "2: tls_server_config.cert_file: contains a line break or another control character",
        ),
        (
            TLS + "  client_ca_file: ca.pem",
            "4: tls_server_config.client_ca_file: has no effect without client_auth_type: "
            "set it to RequireAndVerifyClientCert",
        ),
        (
            TLS + "  client_auth_type: RequireAndVerifyClientCert",
            "4: tls_server_config.client_auth_type: RequireAndVerifyClientCert needs client_ca_file "
            "or client_ca",
        ),
        (
            TLS + "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: broken.pem",
            "5: tls_server_config.client_ca_file: cannot be used: it is damaged",
        ),
        (
            TLS + "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: nothing",
            "5: tls_server_config.client_ca_file: holds no certificate in PEM form "
            '("-----BEGIN CERTIFICATE-----")',
        ),
        (
            TLS + "  client_auth_type: RequireAnyClientCert",
            '4: tls_server_config.client_auth_type: "RequireAnyClientCert" requires a certificate '
            "without verifying it, which is not supported; use RequireAndVerifyClientCert with "
            "client_ca_file",
        ),
        (
            TLS + "  client_auth_type: Always",
            '4: tls_server_config.client_auth_type: "Always" is not one of NoClientCert, RequestClientCert, '
            "VerifyClientCertIfGiven or RequireAndVerifyClientCert",
        ),
        (
            TLS + "  client_allowed_sans: [a]",
            "4: tls_server_config.client_allowed_sans: needs client_auth_type RequireAndVerifyClientCert",
        ),
        (
            TLS + "  min_version: TLS14",
            '4: tls_server_config.min_version: "TLS14" is not one of TLS10, TLS11, TLS12 or TLS13',
        ),
        (
            TLS + "  min_version: TLS13\n  max_version: TLS12",
            "5: tls_server_config.max_version: TLS12 is older than min_version TLS13",
        ),
        (
            TLS + "  cipher_suites: [TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA512]",
            f'4: {SUITE}: "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA512" is not the name of a cipher suite; '
            'did you mean "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"?',
        ),
        (
            TLS + "  cipher_suites: [TLS_AES_128_GCM_SHA256]\n  max_version: TLS12",
            "4: tls_server_config.cipher_suites: has no suite of TLS12, which is max_version",
        ),
        (
            TLS + "  curve_preferences: [P-256]",
            '4: tls_server_config.curve_preferences[0]: "P-256" is not the name of a curve; '
            "the known ones are CurveP256, CurveP384, CurveP521 and X25519",
        ),
        (
            "http_server_config: {headers: {Server: me}}",
            "1: http_server_config.headers.Server: cannot be set; the headers here are "
            "Content-Security-Policy, X-Frame-Options, X-Content-Type-Options, X-XSS-Protection and "
            "Strict-Transport-Security",
        ),
        (
            "http_server_config: {headers: {X-Frame-Options: DENY}}",
            '1: http_server_config.headers.X-Frame-Options: "DENY" is not deny or sameorigin',
        ),
        (
            'http_server_config: {headers: {X-XSS-Protection: "0\\0"}}',
            "1: http_server_config.headers.X-XSS-Protection: "
            "contains a line break or another control character",
        ),
        (
            "http_server_config: {http2: maybe}",
            '1: http_server_config.http2: "maybe" is neither true nor false',
        ),
        (
            "basic_auth_users:\n  alice: open sesame",
            '2: basic_auth_users.alice: is not a bcrypt hash, as htpasswd -nBC 10 "" makes it',
        ),
        ("basic_auth_users: [alice]", "1: basic_auth_users: must be a section of names and values"),
        (
            f"basic_auth_users:\n  alice: {RIGHT}\n  alice: {RIGHT}",
            "3: basic_auth_users.alice: is given twice, first in line 2; keep one",
        ),
        (
            "rate_limit: {interval: 1s}",
            "1: rate_limit.burst: must be 1 at least, or no request would be answered",
        ),
        (
            "rate_limit: {interval: soon, burst: 1}",
            '1: rate_limit.interval: "soon" is not an interval; write a number and a unit, as 1s, '
            "250ms or 1m30s",
        ),
    ],
)
def test_problems_are_reported_with_line_and_key(folder: Path, text: str, message: str) -> None:
    assert complaint(text, folder) == f"web.yaml:{message}"


@pytest.mark.parametrize("key", ["cert_file", "key_file", "client_ca_file"])
def test_a_pipe_in_place_of_a_file_is_refused(folder: Path, tmp_path: Path, key: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    files = {"cert_file": folder / "server.pem", "key_file": folder / "server.key", key: tmp_path / "pipe"}
    message = complaint(
        "tls_server_config:\n" + "".join(f"  {name}: {path}\n" for name, path in files.items())
    )
    assert f"tls_server_config.{key}: the file cannot be read: it is not a regular file" in message


def test_a_damaged_certificate_is_refused_with_the_reason_of_openssl(folder: Path) -> None:
    message = complaint("tls_server_config: {cert_file: broken.pem, key_file: server.key}", folder)
    assert message.startswith("web.yaml:1: tls_server_config.cert_file: cannot be used with its key: ")


def test_all_problems_are_reported_at_once(folder: Path) -> None:
    message = complaint(TLS + "  min_version: x\nbasic_auth_users: {a: b}\nrate_limit: {burst: -1}\n", folder)
    assert [line.split(": ")[1] for line in message.splitlines()] == [
        "tls_server_config.min_version",
        "basic_auth_users.a",
        "rate_limit.burst",
    ]


def test_no_secret_is_printed(folder: Path) -> None:
    assert RIGHT not in repr(read(f"basic_auth_users: {{alice: {RIGHT}}}", folder))
    assert "sesame" not in complaint("basic_auth_users: {alice: sesame}", folder)


class TestReloading:
    @pytest.fixture
    def file(self, folder: Path, tmp_path: Path) -> Path:
        for name in ("server.pem", "server.key"):
            (tmp_path / name).write_bytes((folder / name).read_bytes())
        (tmp_path / "web.yaml").write_text(f"{TLS}basic_auth_users: {{alice: {RIGHT}}}\n")
        return tmp_path / "web.yaml"

    def test_nothing_is_read_again_without_a_change(self, file: Path) -> None:
        config = WatchedConfig(file)
        before = config.current
        for _ in range(3):
            config.check()
        assert config.current is before

    def test_a_change_is_applied_once_two_checks_agree(self, file: Path) -> None:
        config = WatchedConfig(file)
        file.write_text(f"{TLS}basic_auth_users: {{bob: {RIGHT}}}\n")
        config.check()
        assert config.current.users.keys() == {b"alice"}
        config.check()
        assert config.current.users.keys() == {b"bob"}

    def test_a_wrong_file_changes_nothing_and_is_logged_once(
        self, file: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        config = WatchedConfig(file)
        before = config.current
        right = file.read_text()
        file.write_text("basic_auth_users: {alice: sesame}\n")
        for _ in range(5):
            config.check()
        assert config.current is before
        logged = capsys.readouterr().out
        assert logged.count("web_config_refused") == 1
        assert "basic_auth_users.alice: is not a bcrypt hash" in logged
        assert "sesame" not in logged
        file.write_text(right.replace("alice", "carol"))
        config.check()
        config.check()
        assert config.current.users.keys() == {b"carol"}

    def test_a_key_that_comes_after_its_certificate_is_waited_for(self, folder: Path, file: Path) -> None:
        config = WatchedConfig(file)
        before = config.current
        (file.parent / "server.pem").write_bytes((folder / "other.pem").read_bytes())
        config.check()
        config.check()
        assert config.current is before
        (file.parent / "server.key").write_bytes((folder / "other.key").read_bytes())
        config.check()
        config.check()
        assert config.current is not before

    def test_a_file_that_is_named_before_it_exists_is_waited_for(self, folder: Path, file: Path) -> None:
        config = WatchedConfig(file)
        file.write_text(file.read_text().replace("server.", "next."))
        config.check()
        config.check()
        assert config.current.files == (file.parent / "server.pem", file.parent / "server.key")
        for ending in ("pem", "key"):
            (file.parent / f"next.{ending}").write_bytes((folder / f"other.{ending}").read_bytes())
        config.check()
        assert config.current.files == (file.parent / "next.pem", file.parent / "next.key")

    @pytest.mark.parametrize(
        ("left", "taken"),
        [
            ("", "tls_server_config and basic_auth_users"),
            (TLS, "basic_auth_users"),
            (f"basic_auth_users: {{alice: {RIGHT}}}\n", "tls_server_config"),
        ],
    )
    def test_a_truncated_file_does_not_remove_protection(
        self, file: Path, left: str, taken: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        config = WatchedConfig(file)
        before = config.current
        file.write_text(left)
        config.check()
        config.check()
        assert config.current is before
        assert f"{taken} cannot be removed without a restart" in capsys.readouterr().out

    def test_a_deleted_file_changes_nothing(self, file: Path) -> None:
        config = WatchedConfig(file)
        before = config.current
        file.unlink()
        config.check()
        config.check()
        assert config.current is before

    def test_without_a_file_there_is_nothing_to_check(self) -> None:
        config = WatchedConfig()
        config.start()
        config.check()
        assert config.current == WebConfig()
