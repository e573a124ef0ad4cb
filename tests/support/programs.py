"""Find programs for tests, start them on free ports, and stop them."""

import itertools
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.support import fork_server


def program(name: str) -> str:
    """Return the path of a program; without it the test is skipped, in CI it fails.

    It is searched in PATH, also under Debian's name (``prometheus-alertmanager``), and next to Python.
    """
    beside = shutil.which(name, path=Path(sys.executable).parent)
    if found := shutil.which(name) or shutil.which(f"prometheus-{name}") or beside:
        return found
    reason = f"{name} is not installed"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def run_program(name: str, *arguments: str | Path) -> str:
    """Run a program that must succeed; return its standard output."""
    command = [program(name), *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]) % 6
_PORTS = range(10_000 + 3700 * _WORKER, 13_700 + 3700 * _WORKER)
"""Ports of this test worker only, below the ephemeral ports of Linux."""
_next = itertools.count(os.getpid())


def free_port() -> int:
    """Return an unused port of this worker, which stays free while a test's program is down."""
    while True:
        port = _PORTS[next(_next) % len(_PORTS)]
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


PATIENCE_S = 30.0
"""Minimum time to wait for a condition; generous, because the machine may be busy."""


def eventually(condition: Callable[[], object], within: float = PATIENCE_S, every: float = 0.1) -> None:
    """Wait until a condition holds; fail after ``within`` seconds, but never before `PATIENCE_S`."""
    deadline = time.monotonic() + max(within, PATIENCE_S)
    while not condition():
        assert time.monotonic() < deadline, f"not within {max(within, PATIENCE_S)} s: {condition}"
        time.sleep(every)


@contextmanager
def running(command: Sequence[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process during a block, with its output in a file."""
    with log.open("wb") as output:
        process = fork_server.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def answers(url: str) -> bool:
    """Return True if the URL answers with status 200."""
    try:
        return requests.get(url, timeout=5).status_code == 200
    except requests.RequestException:
        return False


@contextmanager
def exporter(config: Path, log: Path, *flags: str) -> Iterator[str]:
    """Run the exporter as a process; the value is its URL."""
    address = f"127.0.0.1:{free_port()}"
    command = [sys.executable, "-m", "exporter", f"--config.file={config}", f"--web.listen-address={address}"]
    with running([*command, *flags], log) as process:
        eventually(lambda: answers(f"http://{address}/-/healthy") or process.poll() is not None, 60)
        assert process.poll() is None, log.read_text()
        yield f"http://{address}"


Labels = tuple[tuple[str, str], ...]


def _labels(series: dict[str, Any]) -> Labels:
    dropped = ("__name__", "job", "instance")
    return tuple(sorted((name, value) for name, value in series["metric"].items() if name not in dropped))


@dataclass(frozen=True)
class NativeHistogram:
    """A sample of a native histogram; ``buckets`` are counts, not cumulative, by bounds."""

    count: float
    sum: float
    buckets: dict[tuple[float, float], float]


class Prometheus:
    """A real Prometheus that scrapes one target each second."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._session = requests.Session()
        self._session.trust_env = False  # else each request looks for files

    def query(self, expression: str, at_s: float | None = None) -> dict[Labels, float]:
        """Run an instant query, by default now; return values by labels, without name, job and instance."""
        return {_labels(series): float(series["value"][1]) for series in self._query(expression, at_s)}

    def samples(self, selector: str, at_s: float | None = None) -> dict[Labels, list[tuple[float, float]]]:
        """Return the samples of a range selector such as ``up[1h]``: times (s) and values, by labels."""
        return {
            _labels(series): [(time_s, float(value)) for time_s, value in series["values"]]
            for series in self._query(selector, at_s)
        }

    def histograms(self, selector: str) -> dict[Labels, list[NativeHistogram]]:
        """Return the native histograms of a range selector, by labels."""
        return {
            _labels(series): [
                NativeHistogram(
                    float(shown["count"]),
                    float(shown["sum"]),
                    {
                        (float(lower), float(upper)): float(n)
                        for _, lower, upper, n in shown.get("buckets", ())
                    },
                )
                for _, shown in series.get("histograms", ())
            ]
            for series in self._query(selector, None)
        }

    def _query(self, expression: str, at_s: float | None) -> list[dict[str, Any]]:
        params = {"query": expression} | ({} if at_s is None else {"time": str(at_s)})
        answer = self._session.get(f"{self.url}/api/v1/query", params=params, timeout=60).json()
        assert answer["status"] == "success", answer
        result: list[dict[str, Any]] = answer["data"]["result"]
        return result

    def exemplars(self, expression: str) -> list[tuple[dict[str, str], dict[str, str], float, float]]:
        """Return exemplars of the last hour: labels of series and exemplar, value, timestamp."""
        hour = {"start": str(time.time() - 3600), "end": str(time.time() + 60)}
        answer = self._session.get(
            f"{self.url}/api/v1/query_exemplars", params={"query": expression, **hour}, timeout=30
        ).json()
        assert answer["status"] == "success", answer
        return [
            (series["seriesLabels"], exemplar["labels"], float(exemplar["value"]), exemplar["timestamp"])
            for series in answer["data"]
            for exemplar in series["exemplars"]
        ]


@contextmanager
def prometheus(
    target: str, folder: Path, *flags: str, interval: str = "1s", settings: str = ""
) -> Iterator[Prometheus]:
    """Run Prometheus on a free port; it scrapes ``host:port`` each interval and stores exemplars.

    Its storage is ``tsdb`` in the folder; ``settings`` is YAML that is appended to its configuration.
    """
    port = free_port()
    config = folder / "prometheus.yml"
    config.write_text(
        f"global: {{scrape_interval: {interval}}}\n"
        f"scrape_configs: [{{job_name: codearts, static_configs: [{{targets: ['{target}']}}]}}]\n"
        f"{settings}"
    )
    command = [
        program("prometheus"),
        f"--config.file={config}",
        f"--storage.tsdb.path={folder / 'tsdb'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--enable-feature=exemplar-storage",
        *flags,
    ]
    url = f"http://127.0.0.1:{port}"
    with running(command, folder / "prometheus.log"):
        eventually(lambda: answers(f"{url}/-/ready"), 60)
        yield Prometheus(url)
