"""The demo shows changing metrics within a minute, without an account."""

import contextlib
import re
import socket
from pathlib import Path

import requests

from tests.cli.conftest import run, started
from tests.support.exposition import build_counters
from tests.support.programs import eventually


def counted(url: str) -> float:
    counters = build_counters(requests.get(url, timeout=30).text)
    return sum(value for (name, _), value in counters.items() if name == "codearts_build_builds_total")


def test_a_free_port_is_used_if_the_default_port_is_in_use(tmp_path: Path) -> None:
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            stack.enter_context(socket.create_server(("127.0.0.1", 10088)))
        demo = stack.enter_context(started("demo", log=tmp_path / "log"))
        url = demo.says("Metrics:").split()[1]
        assert demo.says("cannot listen on :10088").endswith("using a free port instead.")
        assert ":10088/" not in url
        eventually(lambda: requests.get(url.replace("/metrics", "/-/ready"), timeout=30).ok, 60)
        assert demo.end() == 0


def test_an_explicit_port_in_use_is_an_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = "{}:{}".format(*listener.getsockname())
        ended = run("demo", f"--web.listen-address={address}")
    assert ended.code == 1
    assert f"cannot listen on {address}" in ended.err


def test_its_metrics_change_and_agree_with_the_truth(tmp_path: Path) -> None:
    with started("demo", "--web.listen-address=127.0.0.1:0", log=tmp_path / "log") as demo:
        url = demo.says("Metrics:").split()[1]
        truth = demo.says("Truth:").split()[1]
        assert demo.says("Simulated CodeArts Build at").endswith(" with 24 watched jobs.")
        eventually(lambda: requests.get(url.replace("/metrics", "/-/ready"), timeout=30).ok, 60)
        before = counted(url)
        eventually(lambda: counted(url) >= before + 3, 60, every=0.5)
        text = requests.get(url, timeout=30).text
        jobs = requests.get(truth, timeout=30).json()["jobs"].values()
        watched = [job["job_name"] for job in jobs if job["deleted_ms"] is None]
        assert set(re.findall(r'codearts_build_job_up\{job_name="([^"]+)"[^}]*\} 1\.0', text)) == set(watched)
        assert "codearts_build_recycle_bin_jobs 3.0" in text
        assert demo.end() == 0
