"""Clients that mean no good: polling, counting and scrapes go on as if they were not there."""

import re
import signal
import socket
import threading
from contextlib import ExitStack
from pathlib import Path

import pytest
import requests

from exporter.simulator import Simulator, fault
from tests.cli.conftest import started
from tests.cli.test_running import LOCAL, ready
from tests.support.programs import eventually


def test_idle_connections_stop_neither_polling_nor_scrapes(
    simulator: Simulator, config: Path, tmp_path: Path
) -> None:
    simulator.faults.add(fault("truncated", keep=1.0))  # the whole answer, then the connection is closed
    flags = (f"--config.file={config}", LOCAL)
    with started(*flags, log=tmp_path / "log", descriptors=64) as process, ExitStack() as stack:
        url = ready(process)
        host, _, port = url.removeprefix("http://").partition(":")
        for _ in range(200):
            idle = stack.enter_context(socket.create_connection((host, int(port)), 10))
            idle.sendall(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n")
        asked = len(simulator.requests)
        simulator.fleet.add_build(simulator.fleet.jobs()[0].id, queue_s=0, duration_s=0.05)
        eventually(lambda: 'result="success"} 1.0' in requests.get(f"{url}/metrics", timeout=5).text, 30)
        eventually(lambda: len(simulator.requests) > asked + 20, 30)
        assert requests.get(f"{url}/-/ready", timeout=5).ok
        assert "Too many open files" not in process.output


@pytest.mark.parametrize("how", ["request", "signal"])
def test_reloads_in_a_loop_starve_nothing(
    simulator: Simulator, config: Path, tmp_path: Path, how: str
) -> None:
    flags = (f"--config.file={config}", LOCAL, "--web.enable-lifecycle")
    with started(*flags, log=tmp_path / "log") as process:
        url = ready(process)
        simulator.faults.add(fault("delay", seconds=0.3))  # so that a reload finds requests under way
        ended = threading.Event()
        reloads = 0

        def loop() -> None:
            nonlocal reloads
            while not ended.is_set():
                if how == "signal":
                    process._process.send_signal(signal.SIGHUP)
                    ended.wait(0.002)
                else:
                    requests.post(f"{url}/-/reload", timeout=20)
                reloads += 1

        loops = [threading.Thread(target=loop) for _ in range(3)]
        for thread in loops:
            thread.start()
        try:
            jobs = simulator.fleet.jobs()
            for number in range(10):
                simulator.fleet.add_build(jobs[number % len(jobs)].id, queue_s=0, duration_s=0.05)

            def counted() -> int:
                text = requests.get(f"{url}/metrics", timeout=5).text
                found = re.findall(r"^codearts_build_builds_total{.*} (\d+)", text, re.MULTILINE)
                return sum(map(int, found))

            eventually(lambda: counted() == 10, 30)
            eventually(lambda: reloads > 10, 30)
        finally:
            ended.set()
            for thread in loops:
                thread.join(30)
        assert requests.post(f"{url}/-/reload", timeout=20).ok
        assert process.end() == 0
