"""The audit, with a PyPI of its own: a vulnerability fails, and no answer is not taken for a good one."""

import json
import os
import ssl
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from tests.support.certificates import make_authority
from tests.support.programs import free_port, program
from tools.audit import verdict

LOCK = "".join(
    f"{pin} --hash=sha256:{'0' * 64}\n" for pin in ("requests==2.0.0", "click==8.1.0 ; python_version >= '3'")
)
ADVISORY = {
    "id": "PYSEC-2018-28",
    "aliases": ["CVE-2018-18074"],
    "fixed_in": ["2.20.0"],
    "summary": "made up for a test",
    "details": "made up for a test",
}


@contextmanager
def index(context: ssl.SSLContext, answers: Mapping[str, object]) -> Iterator[str]:
    """A proxy that is every host itself; the value is its address."""

    class Everything(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_CONNECT(self) -> None:
            self.send_response(200)
            self.end_headers()
            try:
                self.connection = context.wrap_socket(self.connection, server_side=True)
            except ssl.SSLError:
                return
            self.rfile = self.connection.makefile("rb")
            self.wfile = self.connection.makefile("wb", buffering=0)
            self.close_connection = False

        def do_GET(self) -> None:
            body = json.dumps(answers.get(self.path, {})).encode()
            self.send_response(200 if self.path in answers else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def finish(self) -> None:
            super().finish()
            self.connection.close()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Everything) as server:
        server.daemon_threads = False
        Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


def audit(folder: Path, proxy: str, authority: Path | None = None, lock: str = LOCK) -> tuple[int, str]:
    (folder / "some.lock").write_text(lock)
    environment = os.environ | {
        "HTTPS_PROXY": proxy,
        "https_proxy": proxy,
        "NO_PROXY": "",
        "no_proxy": "",
        "PIP_AUDIT_CACHE_DIR": str(folder),
    }
    if authority:
        environment |= {"REQUESTS_CA_BUNDLE": str(authority)}
    told = subprocess.run(
        [sys.executable, "-m", "tools.audit", str(folder / "some.lock"), f"--cache-dir={folder / 'cache'}"],
        cwd=Path(__file__).parents[1],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return told.returncode, told.stdout + told.stderr


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ssl.SSLContext]:
    program("openssl")
    return make_authority(tmp_path_factory.mktemp("authority"), "DNS:pypi.org")


Authority = tuple[Path, ssl.SSLContext]
CLEAN: dict[str, object] = {
    "/pypi/requests/2.0.0/json": {"vulnerabilities": []},
    "/pypi/click/8.1.0/json": {"vulnerabilities": []},
}


def test_nothing_known_passes(authority: Authority, tmp_path: Path) -> None:
    certificate, context = authority
    with index(context, CLEAN) as proxy:
        assert audit(tmp_path, proxy, certificate) == (
            0,
            "audit: 2 packages checked, 0 known vulnerabilities\n",
        )


def test_a_known_vulnerability_fails_and_says_what_mends_it(authority: Authority, tmp_path: Path) -> None:
    certificate, context = authority
    answers = CLEAN | {"/pypi/requests/2.0.0/json": {"vulnerabilities": [ADVISORY]}}
    with index(context, answers) as proxy:
        exit_code, told = audit(tmp_path, proxy, certificate)
    assert exit_code == 1
    assert "requests 2.0.0: PYSEC-2018-28, fixed in 2.20.0\n" in told
    assert told.endswith("2 packages checked, 1 known vulnerabilities\n")


def test_one_package_that_is_not_found_is_told_and_the_rest_is_checked(
    authority: Authority, tmp_path: Path
) -> None:
    certificate, context = authority
    with index(context, {"/pypi/click/8.1.0/json": {"vulnerabilities": []}}) as proxy:
        exit_code, told = audit(tmp_path, proxy, certificate)
    assert exit_code == 0
    assert "not checked: " in told
    assert "requests" in told
    assert "1 packages checked" in told


def test_an_index_without_advisories_is_not_taken_for_a_clean_bill(
    authority: Authority, tmp_path: Path
) -> None:
    certificate, context = authority
    with index(context, {}) as proxy:
        exit_code, told = audit(tmp_path, proxy, certificate)
    assert exit_code == 0
    assert told == "audit: this index has no advisories to offer; nothing was checked\n"


@pytest.mark.parametrize("trouble", ["nobody listens", "a certificate that nobody knows"])
def test_an_index_that_cannot_be_reached_is_said_and_passes(
    trouble: str, authority: Authority, tmp_path: Path
) -> None:
    with index(authority[1], CLEAN) as proxy:
        there = proxy if trouble.startswith("a cert") else f"http://127.0.0.1:{free_port()}"
        exit_code, told = audit(tmp_path, there)
    assert exit_code == 0
    assert told == "audit: PyPI's advisories cannot be reached; nothing was checked\n"


def test_a_lock_that_cannot_be_read_fails(tmp_path: Path) -> None:
    exit_code, told = audit(tmp_path, "http://127.0.0.1:9", lock="requests\n")
    assert exit_code == 2
    assert "does not contain a hash" in told


@pytest.mark.parametrize("printed", ["", "{}", "no JSON"])
def test_what_pip_audit_never_says_is_a_failure(printed: str) -> None:
    assert verdict(printed, "Traceback: something else").exit_code == 2
