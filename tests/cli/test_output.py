"""Output to terminals of any encoding, full disks and closed streams; signals that come early."""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from exporter.cli.credential_warnings import credential_warnings
from exporter.config import load
from exporter.simulator import Fleet, RealClock, Simulator
from tests.cli.conftest import PROGRAM, run, started
from tests.cli.test_running import LOCAL
from tests.support.programs import eventually, program

SECRET = "s3cret-of-the-day"
NOBODY = 65534
CONFIG = f"endpoint: https://build.example\nauth: {{token: {SECRET}}}\njobs: [{'a' * 32}]\n"


@pytest.fixture
def valid(tmp_path: Path) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG)
    return path


class TestTheFilterStandsBefore:
    CODE = f"""
import logging, sys, threading
import structlog
from exporter.cli import log_setup, safe_output
from exporter.redaction import register
register({SECRET!r})
log_setup.configure("debug", sys.argv[1])
safe_output.filter_tracebacks()
bad = "\\x1b[31m \\x9b \\u202e two\\nlines " + {SECRET!r}
def crash():
    raise ValueError(bad)
structlog.get_logger().info("event", error=bad, number=1, inner=[bad, {{"deep": bad}}], other=ValueError(bad))
logging.getLogger("urllib3.connectionpool").error("lost: %s", bad)
try:
    crash()
except ValueError:
    structlog.get_logger().exception("caught")
    logging.getLogger("asyncio").exception("caught")
safe_output.echo(bad)
safe_output.warn_lines(bad)
class Leaky:
    def __del__(self): crash()
Leaky()
thread = threading.Thread(target=crash)
thread.start()
thread.join()
crash()
"""

    @pytest.mark.parametrize("log_format", ["logfmt", "json"])
    def test_logs_lines_and_tracebacks(self, log_format: str) -> None:
        done = subprocess.run(
            [sys.executable, "-c", self.CODE, log_format], capture_output=True, timeout=120, check=False
        )
        shown = (done.stdout + done.stderr).decode()
        assert done.returncode == 1
        assert SECRET not in shown
        assert re.fullmatch(r"[ -~\n]*", shown)
        assert shown.count("ValueError: ") == 5
        assert shown.count("\\x1b[31m") >= 9
        if log_format == "json":
            lines = [json.loads(line) for line in shown.splitlines() if line.startswith("{")]
            assert len(lines) == 4
            assert lines[0]["number"] == 1


class TestStreams:
    @pytest.mark.parametrize(
        "arguments",
        [
            "check-config --config.file={} >/dev/full",
            "check-config --config.file={} >&-",
            "--help >/dev/full",
        ],
    )
    def test_output_that_cannot_be_written_is_one_line_and_1(self, valid: Path, arguments: str) -> None:
        code, message = self.shell(arguments.format(valid))
        assert code == 1
        assert len(message.splitlines()) == 1
        assert message.startswith("codearts-build-exporter: ")

    @pytest.mark.parametrize("redirection", ["2>/dev/full", "<&- 2>&-"])
    def test_errors_that_cannot_be_written_are_dropped(self, tmp_path: Path, redirection: str) -> None:
        missing = f"check-config --config.file={tmp_path / 'nowhere.yaml'}"
        assert self.shell(f"{missing} {redirection}") == (2, "")

    def test_it_serves_without_streams(self, config: Path, tmp_path: Path) -> None:
        """And no database or socket takes the place of a stream."""
        state = tmp_path / "state.db"
        config.write_text(
            config.read_text(encoding="utf-8").replace(":memory:", str(state)), encoding="utf-8"
        )
        command = f"exec {sys.executable} -m exporter --config.file={config} {LOCAL} <&- >&- 2>&-"
        with subprocess.Popen(["sh", "-c", command], stderr=subprocess.DEVNULL) as serving:
            eventually(state.exists, 60)
            streams = {os.readlink(f"/proc/{serving.pid}/fd/{number}") for number in range(3)}
            serving.terminate()
            assert serving.wait(60) == 0
        assert not any("state.db" in stream or "socket" in stream for stream in streams)

    def test_a_closed_pipe_is_ignored(self, valid: Path) -> None:
        code, message = self.shell(f"check-config --config.file={valid} | true")
        assert (code, message) == (0, "")

    def shell(self, command: str) -> tuple[int, str]:
        """The exit code, and what any stream that is still there said."""
        done = subprocess.run(
            ["sh", "-c", f"{sys.executable} -m exporter {command}"],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    def test_what_an_encoding_does_not_have_is_escaped(self, tmp_path: Path) -> None:
        fleet = Fleet(RealClock(), seed=3)
        job = fleet.add_job("发布 ✅", "shop")
        fleet.add_build(job.id, duration_s=0.1)
        path = tmp_path / "config.yaml"
        with Simulator(fleet).start() as simulator:
            path.write_text(
                f"endpoint: {simulator.url}\nauth: {{token: {simulator.credentials.tokens[0]}}}\n"
                f"jobs: [{job.id}]\nstate: {{path: ':memory:'}}\n"
            )
            done = subprocess.run(
                [*PROGRAM, "check-config", "--online", f"--config.file={path}"],
                env={**os.environ, "PYTHONIOENCODING": "gbk"},
                capture_output=True,
                timeout=120,
                check=False,
            )
        assert "发布 \\u2705" in done.stdout.decode("gbk")
        assert b"Traceback" not in done.stderr


@pytest.fixture(params=["click", "pydantic"])
def slow(tmp_path: Path, request: pytest.FixtureRequest) -> dict[str, str]:
    """An environment in which imports never end: those of all commands, or those of this one."""
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / f"{request.param}.py").write_text(
        f"import time\nopen({str(tmp_path / 'modules' / 'begun')!r}, 'w').close()\ntime.sleep(600)\n"
    )
    return {**os.environ, "PYTHONPATH": str(tmp_path / "modules")}


class TestSignalsDuringImports:
    def begun(self, slow: dict[str, str]) -> None:
        eventually(Path(slow["PYTHONPATH"], "begun").exists, 60)

    @pytest.fixture(autouse=True)
    def interruptible(self) -> Iterator[None]:
        """Undo an ignored SIGINT, which tests in the background of a shell inherit and pass on."""
        before = signal.signal(signal.SIGINT, signal.SIG_DFL)
        yield
        signal.signal(signal.SIGINT, before)

    @pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT])
    def test_it_ends_at_once_and_silently(self, slow: dict[str, str], sign: signal.Signals) -> None:
        with subprocess.Popen(PROGRAM, env=slow, stderr=subprocess.PIPE) as starting:
            self.begun(slow)
            starting.send_signal(signal.SIGHUP)
            starting.send_signal(sign)
            assert starting.communicate(timeout=60)[1] == b""
        assert starting.returncode == -sign

    def test_as_the_first_process_it_ends_too(self, slow: dict[str, str]) -> None:
        apart = [program("unshare"), "--map-root-user", "--pid", "--fork"]
        if subprocess.run([*apart, "true"], capture_output=True, check=False).returncode:
            pytest.skip("no namespaces here")
        with subprocess.Popen([*apart, *PROGRAM], env=slow) as starting:
            self.begun(slow)
            children = Path(f"/proc/{starting.pid}/task/{starting.pid}/children").read_text().split()
            os.kill(int(children[0]), signal.SIGTERM)
            assert starting.wait(60) == 128 + signal.SIGTERM

    def test_a_reload_asked_for_then_is_made_when_it_can_be(self, config: Path, tmp_path: Path) -> None:
        with started(f"--config.file={config}", LOCAL, log=tmp_path / "log", new=True) as serving:
            caught = Path(f"/proc/{serving._process.pid}/status")
            eventually(lambda: self.catches_hangups(caught.read_text()), 60, every=0.001)
            serving._process.send_signal(signal.SIGHUP)
            serving.says("config_reloaded")
            assert serving.end() == 0

    def catches_hangups(self, status: str) -> bool:
        [mask] = re.findall(r"SigCgt:\s*([0-9a-f]+)", status)
        return bool(int(mask, 16) & 1 << signal.SIGHUP - 1)


class TestExposedCredentials:
    @pytest.fixture
    def folder(self) -> Iterator[Path]:
        with tempfile.TemporaryDirectory() as folder:
            Path(folder).chmod(0o755)
            yield Path(folder)

    def warnings(self, folder: Path, text: str = CONFIG, mode: int = 0o644) -> str:
        path = folder / "config.yaml"
        path.write_text(text)
        path.chmod(mode)
        message = "\n".join(credential_warnings(load(path, {}), path))
        assert SECRET not in message
        return message

    def test_a_secret_in_a_world_readable_file_is_reported(self, folder: Path) -> None:
        assert "contains auth.token and is readable by every user" in self.warnings(folder)

    def test_the_command_prints_it(self, folder: Path) -> None:
        self.warnings(folder)
        ended = run("check-config", f"--config.file={folder / 'config.yaml'}")
        assert (ended.code, ended.err.splitlines()) == (0, [f"note: {self.warnings(folder)}"])

    def test_redis_urls_are_secrets_if_they_hold_a_password(self, folder: Path) -> None:
        (folder / "token").write_text(SECRET)
        text = CONFIG.replace(f"token: {SECRET}", "token_file: token")
        url = "state: {{redis_url: 'redis://{}cache'}}\n"
        assert "contains state.redis_url" in self.warnings(folder, text + url.format(":Qz7xpass@"))
        assert self.warnings(folder, text + url.format("")) == ""

    def test_of_a_service_on_this_machine_a_token_is_no_secret(self, folder: Path) -> None:
        text = CONFIG.replace("https://build.example", "http://127.0.0.1:9")
        assert self.warnings(folder, text) == ""
        redis = "state: {redis_url: 'redis://:Qz7xpass@cache'}\n"
        assert "contains state.redis_url and is readable by every user" in self.warnings(folder, text + redis)
        access_key = f"access_key: {{access_key: ABC, secret_key: {SECRET}}}"
        text = text.replace(f"token: {SECRET}", access_key)
        assert "contains auth.access_key.secret_key and is readable" in self.warnings(folder, text)

    def test_a_file_or_folder_of_its_owner_alone_is_fine(self, folder: Path) -> None:
        assert self.warnings(folder, mode=0o640) == ""
        folder.chmod(0o700)
        assert self.warnings(folder) == ""

    def test_so_is_one_below_a_folder_that_this_user_may_not_enter(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        inner = folder / "closed" / "inner"
        inner.mkdir(parents=True)
        inner.chmod(0o755)
        self.warnings(inner)
        monkeypatch.chdir(inner)
        inner.parent.chmod(0)
        user = os.geteuid()
        try:
            if user == 0:
                with suppress(PermissionError):  # root without the right to do that may not enter either
                    os.seteuid(NOBODY)
            path = Path("config.yaml")
            assert list(credential_warnings(load(path, {}), path)) == []
        finally:
            os.seteuid(user)
            inner.parent.chmod(0o755)

    @pytest.mark.parametrize(
        ("endpoint", "is_reported"),
        [("http://build.example", True), ("http://127.0.0.1:9", False), ("http://localhost:9", False)],
    )
    def test_credentials_over_http_are_reported(self, folder: Path, endpoint: str, is_reported: bool) -> None:
        message = self.warnings(folder, CONFIG.replace("https://build.example", endpoint), mode=0o600)
        assert ("credentials travel unencrypted" in message) == is_reported
