"""TLS: versions, certificates of servers and clients, rotation."""

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.certificates import Authority, put
from tests.support.programs import eventually
from tests.web.served import RunningServer, ask, client, connected, reaches, served, talk

TLS = "tls_server_config:\n  cert_file: server.pem\n  key_file: server.key\n"
VERSIONS = {"TLS12": ssl.TLSVersion.TLSv1_2, "TLS13": ssl.TLSVersion.TLSv1_3}


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    authority = Authority(tmp_path_factory.mktemp("tls") / "authority")
    authority.issue("server")
    authority.issue("prometheus", "DNS:prometheus.test,IP:::1")
    return authority


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    authority = Authority(tmp_path_factory.mktemp("tls") / "stranger")
    authority.issue("prometheus", "DNS:prometheus.test")
    return authority


def pair(authority: Authority, name: str) -> tuple[Path, Path]:
    return authority.folder / f"{name}.pem", authority.folder / f"{name}.key"


def configured(authority: Authority, folder: Path, more: str = "") -> Path:
    put(pair(authority, "server"), folder)
    (folder / "ca.pem").write_bytes(authority.certificate.read_bytes())
    (folder / "web.yaml").write_text(TLS + more)
    return folder / "web.yaml"


@pytest.mark.parametrize("version", VERSIONS)
def test_both_versions_are_supported(authority: Authority, tmp_path: Path, version: str) -> None:
    context = client(authority.certificate)
    context.minimum_version = context.maximum_version = VERSIONS[version]
    with served(configured(authority, tmp_path)) as site, connected(site, context) as connection:
        assert connection.version() == version.replace("TLS1", "TLSv1.")
        assert talk(connection).startswith(b"HTTP/1.1 200")
        assert talk(connection).endswith(b" jobs known\n")


@pytest.mark.parametrize(
    ("rule", "other"), [("min_version: TLS13", "TLS12"), ("max_version: TLS12", "TLS13")]
)
def test_a_version_outside_the_limits_is_refused(
    authority: Authority, tmp_path: Path, rule: str, other: str
) -> None:
    context = client(authority.certificate)
    context.minimum_version = context.maximum_version = VERSIONS[other]
    with served(configured(authority, tmp_path, f"  {rule}\n")) as site:
        with pytest.raises(ssl.SSLError):
            connected(site, context)
        assert reaches(site, client(authority.certificate))


def test_the_configured_suite_is_used(authority: Authority, tmp_path: Path) -> None:
    rule = "  max_version: TLS12\n  cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384]\n"
    with served(configured(authority, tmp_path, rule)) as site:
        with connected(site, client(authority.certificate)) as connection:
            assert connection.cipher() == ("ECDHE-ECDSA-AES256-GCM-SHA384", "TLSv1.2", 256)
        other = client(authority.certificate)
        other.set_ciphers("ECDHE-ECDSA-AES128-GCM-SHA256")
        assert not reaches(site, other)


def test_http_1_1_is_negotiated(authority: Authority, tmp_path: Path) -> None:
    context = client(authority.certificate)
    context.set_alpn_protocols(["h2", "http/1.1"])
    with served(configured(authority, tmp_path)) as site, connected(site, context) as connection:
        assert connection.selected_alpn_protocol() == "http/1.1"


def test_a_client_of_another_authority_refuses_the_server(
    authority: Authority, stranger: Authority, tmp_path: Path
) -> None:
    with served(configured(authority, tmp_path)) as site:
        with pytest.raises(ssl.SSLCertVerificationError):
            connected(site, client(stranger.certificate))
        assert reaches(site, client(authority.certificate))


def test_an_expired_certificate_is_refused_until_it_is_renewed(authority: Authority, tmp_path: Path) -> None:
    file = configured(authority, tmp_path)
    put(authority.issue("expired", days=-1), tmp_path)
    with served(file) as site:
        with pytest.raises(ssl.SSLCertVerificationError, match="certificate has expired"):
            connected(site, client(authority.certificate))
        put(pair(authority, "server"), tmp_path)
        site.apply_changes()
        assert reaches(site, client(authority.certificate))


class TestClients:
    """Access with a certificate of the right authority, of another one, and with none."""

    @pytest.mark.parametrize(
        ("rule", "right", "wrong", "none"),
        [
            ("NoClientCert", True, True, True),
            ("RequestClientCert", True, True, True),
            ("VerifyClientCertIfGiven", True, False, True),
            ("RequireAndVerifyClientCert", True, False, False),
        ],
    )
    @pytest.mark.parametrize("version", VERSIONS)
    def test_access_depends_on_the_client_auth_type(
        self,
        authority: Authority,
        stranger: Authority,
        tmp_path: Path,
        version: str,
        rule: str,
        right: bool,
        wrong: bool,
        none: bool,
    ) -> None:
        more = f"  client_auth_type: {rule}\n  min_version: {version}\n  max_version: {version}\n"
        if "Verify" in rule:
            more += "  client_ca_file: ca.pem\n"
        with served(configured(authority, tmp_path, more)) as site:
            assert self.outcomes(authority, stranger, site) == (right, wrong, none)

    def outcomes(
        self, authority: Authority, stranger: Authority, site: RunningServer
    ) -> tuple[bool, bool, bool]:
        def comes_in(issuer: Authority) -> bool:
            cert, key = pair(issuer, "prometheus")
            return reaches(site, client(authority.certificate, cert=cert, key=key))

        return comes_in(authority), comes_in(stranger), reaches(site, client(authority.certificate))

    def test_a_changed_rule_applies_to_the_next_connection(
        self, authority: Authority, stranger: Authority, tmp_path: Path
    ) -> None:
        file = configured(authority, tmp_path)
        with served(file) as site:
            assert self.outcomes(authority, stranger, site) == (True, True, True)
            rule = "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.pem\n"
            file.write_text(TLS + rule)
            site.apply_changes()
            assert self.outcomes(authority, stranger, site) == (True, False, False)
            (tmp_path / "ca.pem").write_bytes(stranger.certificate.read_bytes())
            site.apply_changes()
            assert self.outcomes(authority, stranger, site) == (False, True, False)

    @pytest.mark.parametrize(
        ("allowed", "comes_in"),
        [("prometheus.test", True), ("'::1'", True), ("other.test", False), ("test", False)],
    )
    def test_access_depends_on_the_allowed_names(
        self, authority: Authority, tmp_path: Path, allowed: str, comes_in: bool
    ) -> None:
        rule = "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.pem\n"
        file = configured(authority, tmp_path, f"{rule}  client_allowed_sans: [{allowed}]\n")
        cert, key = pair(authority, "prometheus")
        with served(file) as site:
            with connected(site, client(authority.certificate, cert=cert, key=key)) as connection:
                ask(connection)
                assert connection.recv(65536).startswith(b"HTTP/1.1 200" if comes_in else b"HTTP/1.1 403")
            eventually(lambda: site.server.server_state.total_requests == comes_in, 5)


class TestRefusals:
    """A client learns why its handshake was refused, and the log says so once a minute."""

    RULE = "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.pem\n"

    @pytest.mark.parametrize("version", VERSIONS)
    @pytest.mark.parametrize(
        ("issuer", "alert", "logged"),
        [
            (None, "(certificate required|handshake failure)", "peer did not return a certificate"),
            ("stranger", "unknown ca", "unable to get local issuer certificate"),
        ],
    )
    def test_the_alert_reaches_the_client(
        self,
        authority: Authority,
        stranger: Authority,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
        version: str,
        issuer: str | None,
        alert: str,
        logged: str,
    ) -> None:
        files = dict(zip(("cert", "key"), pair(stranger, "prometheus"), strict=True)) if issuer else {}
        context = client(authority.certificate, **files)
        context.minimum_version = context.maximum_version = VERSIONS[version]
        with served(configured(authority, tmp_path, self.RULE)) as site:
            for _ in range(3):
                with (
                    pytest.raises(ssl.SSLError, match=f"alert {alert}"),
                    connected(site, context) as connection,
                ):
                    talk(connection)
        logs = capsys.readouterr().out
        assert logs.count("tls_handshake_refused") == 1
        assert logged in logs

    @pytest.mark.parametrize("method", ["GET", "POST", "HEAD", "OPTIONS"])
    def test_plain_http_gets_a_400_as_in_go(self, authority: Authority, tmp_path: Path, method: str) -> None:
        with (
            served(configured(authority, tmp_path)) as site,
            socket.create_connection(site.address, timeout=10) as plain,
        ):
            plain.sendall(f"{method} / HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            heard = b""
            while part := plain.recv(4096):
                heard += part
        assert heard.startswith(b"HTTP/1.0 400 Bad Request\r\n")
        assert heard.endswith(b"Client sent an HTTP request to an HTTPS server.\n")

    def test_a_refused_client_that_does_not_close_is_cut_off(
        self, authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("exporter.web.connection.HANDSHAKE_TIMEOUT_S", 0.5)
        with (
            served(configured(authority, tmp_path)) as site,
            socket.create_connection(site.address, timeout=10) as plain,
        ):
            plain.sendall(b"GET / HTTP/1.1\r\n\r\n")
            eventually(lambda: not site.server.server_state.connections, 10)

    def test_a_connection_without_a_byte_is_not_logged(
        self, authority: Authority, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with served(configured(authority, tmp_path)) as site:
            socket.create_connection(site.address, timeout=10).close()
            assert reaches(site, client(authority.certificate))
        assert "tls_handshake_refused" not in capsys.readouterr().out


class TestCertificateFiles:
    """Text around the blocks of a PEM file is ignored, as OpenSSL and Go do."""

    def test_comments_in_any_language_are_ignored(self, authority: Authority, tmp_path: Path) -> None:
        rule = "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.pem\n"
        file = configured(authority, tmp_path, rule)
        for name in ("ca.pem", "server.pem", "server.key"):
            content = (tmp_path / name).read_bytes()
            noise = "# 证书颁发机构, not ENCRYPTED\n".encode() + b"\xff\xfe\n"
            (tmp_path / name).write_bytes(noise + content + noise)
        cert, key = pair(authority, "prometheus")
        with served(file) as site:
            assert reaches(site, client(authority.certificate, cert=cert, key=key))
            assert not reaches(site, client(authority.certificate))

    def test_comments_in_a_changed_file_are_ignored(
        self, authority: Authority, stranger: Authority, tmp_path: Path
    ) -> None:
        rule = "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.pem\n"
        with served(configured(authority, tmp_path, rule)) as site:
            other = "# 证书\n".encode() + stranger.certificate.read_bytes()
            (tmp_path / "ca.pem").write_bytes(other)
            site.apply_changes()
            cert, key = pair(stranger, "prometheus")
            assert reaches(site, client(authority.certificate, cert=cert, key=key))


class Scraper(threading.Thread):
    """Sends requests over new connections and over one that is kept."""

    def __init__(self, site: RunningServer, context: ssl.SSLContext) -> None:
        super().__init__(daemon=True)
        self._site, self._context = site, context
        self.stopping = threading.Event()
        self.serials: list[str] = []
        self.failures: list[str] = []

    def run(self) -> None:
        with connected(self._site, self._context) as kept:
            while not self.stopping.wait(0.02):
                try:
                    self.ask(kept)
                    with connected(self._site, self._context) as new:
                        self.serials.append(str((new.getpeercert() or {})["serialNumber"]))
                        self.ask(new)
                except OSError as error:
                    self.failures.append(repr(error))

    def ask(self, connection: ssl.SSLSocket) -> None:
        if not talk(connection).startswith(b"HTTP/1.1 200"):
            self.failures.append("no answer")


@pytest.fixture
def scraper(authority: Authority, tmp_path: Path) -> Iterator[Scraper]:
    with served(configured(authority, tmp_path)) as site:
        site.config.start()
        scraper = Scraper(site, client(authority.certificate))
        scraper.start()
        yield scraper
        scraper.stopping.set()
        scraper.join(10)
        site.config.stop()


def test_no_scrape_fails_while_certificates_are_rotated(
    authority: Authority, tmp_path: Path, scraper: Scraper
) -> None:
    for turn in range(3):
        eventually(lambda: bool(scraper.serials), 10)
        before = scraper.serials[-1]
        put(authority.issue(f"turn-{turn}"), tmp_path)
        eventually(lambda before=before: scraper.serials[-1] != before, 15)  # type: ignore[misc]
    assert len(dict.fromkeys(scraper.serials)) == 4
    assert scraper.failures == []


def test_a_broken_rotation_keeps_the_last_good_certificate(authority: Authority, tmp_path: Path) -> None:
    with served(configured(authority, tmp_path)) as site:
        (tmp_path / "server.pem").write_text("half a certif")
        site.apply_changes()
        assert reaches(site, client(authority.certificate))


def test_a_client_without_tls_is_refused_and_affects_no_other(authority: Authority, tmp_path: Path) -> None:
    with served(configured(authority, tmp_path)) as site:
        for sent in (b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\xff\xff", b"\0" * 70_000):
            with socket.create_connection(site.address, timeout=10) as plain:
                plain.sendall(sent)
                plain.shutdown(socket.SHUT_WR)
                try:
                    heard = plain.recv(65536)
                except ConnectionError:
                    heard = b""
            assert b"HTTP/1.1 200" not in heard
        assert reaches(site, client(authority.certificate))


def test_an_unfinished_handshake_is_cut_off(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("exporter.web.connection.HANDSHAKE_TIMEOUT_S", 0.3)
    with (
        served(configured(authority, tmp_path)) as site,
        socket.create_connection(site.address, timeout=10) as silent,
    ):
        assert silent.recv(1) == b""


def test_an_unfinished_handshake_does_not_delay_shutdown(authority: Authority, tmp_path: Path) -> None:
    with served(configured(authority, tmp_path)) as site:
        silent = socket.create_connection(site.address, timeout=10)
        time.sleep(0.2)
        began = time.monotonic()
    assert time.monotonic() - began < 5
    silent.close()
