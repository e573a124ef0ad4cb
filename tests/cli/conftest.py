"""The command line as processes of their own, on a simulated service."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from exporter.simulator import Fleet, RealClock, Simulator
from tests.support import fork_server
from tests.support.programs import eventually, free_port

PROGRAM = [sys.executable, "-m", "exporter"]


@dataclass(frozen=True)
class Ended:
    """What a command said and how it ended."""

    code: int
    out: str
    err: str


def run(
    *arguments: str, folder: Path | None = None, program: list[str] | None = None, new: bool = False
) -> Ended:
    """A command that ends by itself; a ``new`` one is not forked."""
    done = (subprocess.run if new else fork_server.run)(
        [*(program or PROGRAM), *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
    )
    return Ended(done.returncode, done.stdout, done.stderr)


class Running:
    """A command that runs until a signal ends it."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self._process = process
        self._log = log

    @property
    def output(self) -> str:
        """All it has said so far, on either stream."""
        return self._log.read_text(encoding="utf-8")

    def says(self, text: str, within: float = 60) -> str:
        """Wait for a line with this text."""

        def lines() -> list[str]:
            return [line for line in self.output.splitlines() if text in line]

        eventually(lambda: bool(lines()) or self._process.poll() is not None, within)
        assert lines(), self.output
        return lines()[0]

    def end(self, sign: signal.Signals = signal.SIGTERM, within: float = 30) -> int:
        """Tell it to end; its exit code."""
        self._process.send_signal(sign)
        return self._process.wait(within)


@contextlib.contextmanager
def started(
    *arguments: str, log: Path, descriptors: int | None = None, new: bool = False
) -> Iterator[Running]:
    """A command for the length of a block, perhaps with a limit of descriptors that it cannot raise.

    A ``new`` one is not forked.
    """
    limited = ["sh", "-c", f'ulimit -n {descriptors}; exec "$@"', "sh"] if descriptors else []
    with log.open("wb") as output:
        process = (subprocess.Popen if new else fork_server.Popen)(
            [*limited, *PROGRAM, *arguments],
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "LC_ALL": "C"},
        )
        try:
            yield Running(process, log)
        finally:
            process.kill()
            process.wait()


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    """Three jobs that have run a little."""
    fleet = Fleet(RealClock(), seed=3)
    for name in ("checkout", "payment", "构建"):
        job = fleet.add_job(name, "shop")
        fleet.add_build(job.id, duration_s=0.1, queue_s=0.1, at_ms=fleet.clock.now_ms() - 1000)
    with Simulator(fleet).start(port=free_port()) as running:
        yield running


@pytest.fixture
def config(simulator: Simulator, tmp_path: Path) -> Path:
    """A configuration that watches them all, with a password in it."""
    known = simulator.credentials
    jobs = "".join(
        f"  - {{id: {job.id}, name: {job.name}, project: shop}}\n" for job in simulator.fleet.jobs()
    )
    path = tmp_path / "config.yaml"
    path.write_text(
        f"endpoint: {simulator.url}\niam_endpoint: {simulator.url}\n"
        f"auth: {{password: {{domain: {known.domain}, username: {known.username}, "
        f"password: {known.password}, project: {known.project}}}}}\n"
        f"jobs:\n{jobs}"
        "poll: {interval: 500ms, max_interval: 1s, timeout: 30s}\n"
        'state: {path: ":memory:"}\n',
        encoding="utf-8",
    )
    return path
