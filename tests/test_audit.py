"""The audit with a local PyPI: a vulnerability fails, and a missing response passes with a note."""

import io
import json
import os
import ssl
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from tests.support.certificates import make_authority
from tests.support.programs import free_port, program
from tools.audit import main, verdict

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
    """Start a proxy that responds for every host itself; the value is its URL."""

    class Handler(BaseHTTPRequestHandler):
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

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = False
        Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


def audit(folder: Path, proxy: str, authority: Path | None = None) -> tuple[int, str]:
    """Return the exit code and the output of the audit of `LOCK`."""
    (folder / "some.lock").write_text(LOCK)
    output = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(output), redirect_stderr(output):
        for name, value in {"HTTPS_PROXY": proxy, "NO_PROXY": "", "PIP_AUDIT_CACHE_DIR": str(folder)}.items():
            patch.setenv(name, value)
            patch.setenv(name.lower(), value)
        if authority:
            patch.setenv("REQUESTS_CA_BUNDLE", str(authority))
        exit_code = main(str(folder / "some.lock"), f"--cache-dir={folder / 'cache'}")
    return exit_code, output.getvalue()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ssl.SSLContext]:
    program("openssl")
    return make_authority(tmp_path_factory.mktemp("authority"), "DNS:pypi.org")


Authority = tuple[Path, ssl.SSLContext]
CLEAN: dict[str, object] = {
    "/pypi/requests/2.0.0/json": {"vulnerabilities": []},
    "/pypi/click/8.1.0/json": {"vulnerabilities": []},
}


def test_no_known_vulnerability_passes(authority: Authority, tmp_path: Path) -> None:
    certificate, context = authority
    with index(context, CLEAN) as proxy:
        assert audit(tmp_path, proxy, certificate) == (
            0,
            "audit: 2 packages checked, 0 known vulnerabilities\n",
        )


def test_a_known_vulnerability_fails_and_names_the_fixed_version(
    authority: Authority, tmp_path: Path
) -> None:
    certificate, context = authority
    answers = CLEAN | {"/pypi/requests/2.0.0/json": {"vulnerabilities": [ADVISORY]}}
    with index(context, answers) as proxy:
        exit_code, output = audit(tmp_path, proxy, certificate)
    assert exit_code == 1
    assert "requests 2.0.0: PYSEC-2018-28, fixed in 2.20.0\n" in output
    assert output.endswith("2 packages checked, 1 known vulnerabilities\n")


def test_a_package_that_is_not_found_is_reported_and_the_rest_is_checked(
    authority: Authority, tmp_path: Path
) -> None:
    certificate, context = authority
    with index(context, {"/pypi/click/8.1.0/json": {"vulnerabilities": []}}) as proxy:
        exit_code, output = audit(tmp_path, proxy, certificate)
    assert exit_code == 0
    assert "not checked: " in output
    assert "requests" in output
    assert "1 packages checked" in output


def test_an_index_without_advisories_is_reported_as_unchecked(authority: Authority, tmp_path: Path) -> None:
    certificate, context = authority
    with index(context, {}) as proxy:
        exit_code, output = audit(tmp_path, proxy, certificate)
    assert exit_code == 0
    assert output == "audit: this package index has no advisories; nothing was checked\n"


@pytest.mark.parametrize("failure", ["connection refused", "unknown certificate authority"])
def test_an_unreachable_index_passes_with_a_note(failure: str, authority: Authority, tmp_path: Path) -> None:
    with index(authority[1], CLEAN) as proxy:
        address = proxy if failure.startswith("unknown") else f"http://127.0.0.1:{free_port()}"
        exit_code, output = audit(tmp_path, address)
    assert exit_code == 0
    assert output == "audit: PyPI's advisories are unreachable; nothing was checked\n"


def test_an_invalid_lock_file_fails(tmp_path: Path) -> None:
    (tmp_path / "some.lock").write_text("requests\n")
    result = subprocess.run(
        [sys.executable, "-m", "tools.audit", str(tmp_path / "some.lock"), f"--cache-dir={tmp_path}"],
        cwd=Path(__file__).parents[1],
        env=os.environ | {"HTTPS_PROXY": "http://127.0.0.1:9"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 2
    assert "does not contain a hash" in result.stderr


@pytest.mark.parametrize("output", ["", "{}", "no JSON"])
def test_unexpected_output_of_pip_audit_is_a_failure(output: str) -> None:
    assert verdict(output, "Traceback: something else").exit_code == 2
