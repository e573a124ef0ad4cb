"""A served exporter: how it ends, and what its log is like."""

import json
import re
import signal
import socket
import subprocess
import time
from collections import Counter
from datetime import datetime
from pathlib import Path

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from exporter.simulator import Simulator, fault
from tests.cli.conftest import Running, started
from tests.support.programs import answers, eventually, free_port, program

LOCAL = "--web.listen-address=127.0.0.1:0"
LOGFMT = re.compile(r'(?:^| )([a-z_]+)=("(?:[^"\\]|\\.)*"|[^\s"]*)(?= |$)')


def address(serving: Running) -> str:
    found = re.search(r'address"?[=:] ?"?([\d.:]+)', serving.says("listening"))
    assert found
    return found[1]


def ready(serving: Running) -> str:
    url = f"http://{address(serving)}"
    eventually(lambda: requests.get(f"{url}/-/ready", timeout=5).status_code == 200, 60)
    return url


def logfmt(line: str) -> dict[str, str]:
    """A line's keys and values; fails where anything is left over."""
    assert LOGFMT.sub("", line).strip() == "", line
    return dict(LOGFMT.findall(line))


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_0(config: Path, tmp_path: Path, sign: signal.Signals) -> None:
    with started(f"--config.file={config}", LOCAL, log=tmp_path / "log") as serving:
        ready(serving)
        assert serving.end(sign) == 0
        assert "event=stopped" in serving.output.splitlines()[-1]


def test_it_ends_within_5_seconds_though_every_request_hangs(
    simulator: Simulator, config: Path, tmp_path: Path
) -> None:
    simulator.faults.add(fault("hang"))
    with started(f"--config.file={config}", LOCAL, log=tmp_path / "log") as serving:
        where = address(serving)
        eventually(lambda: len(simulator.requests) >= 1, 30)
        assert requests.get(f"http://{where}/metrics", timeout=5).status_code == 200
        assert requests.get(f"http://{where}/-/ready", timeout=5).status_code == 503
        assert serving.end(within=5) == 0


def test_it_ends_within_5_seconds_though_a_scraper_reads_nothing(config: Path, tmp_path: Path) -> None:
    with started(f"--config.file={config}", LOCAL, log=tmp_path / "log") as serving:
        host, _, port = address(serving).rpartition(":")
        with (
            socket.create_connection((host, int(port))) as silent,
            socket.create_connection((host, int(port))),
        ):
            silent.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n")
            time.sleep(0.2)
            assert serving.end(within=5) == 0


def test_an_api_that_is_down_does_not_keep_it_from_starting(
    simulator: Simulator, config: Path, tmp_path: Path
) -> None:
    simulator.stop()
    with started(f"--config.file={config}", LOCAL, log=tmp_path / "log") as serving:
        url = f"http://{address(serving)}"
        serving.says("event=api_lost")
        assert "codearts_build_up 0.0" in requests.get(f"{url}/metrics", timeout=5).text
        assert requests.get(f"{url}/-/ready", timeout=5).status_code == 503
        assert serving.end() == 0
        assert serving.output.count("event=api_lost") == 1


def test_once_it_is_ready_a_scrape_shows_every_job(config: Path, tmp_path: Path) -> None:
    asked = {"Accept": "application/openmetrics-text"}
    with started(f"--config.file={config}", LOCAL, log=tmp_path / "log") as serving:
        url = f"http://{address(serving)}"
        eventually(lambda: answers(f"{url}/-/ready"), 60, every=0.01)
        shown = requests.get(f"{url}/metrics", headers=asked, timeout=5).text
    watched = shown.count("codearts_build_job_info{")
    assert shown.count("codearts_build_baseline_build_number{") == watched > 0


def test_promtool_finds_nothing_to_say_of_what_it_serves(config: Path, tmp_path: Path) -> None:
    with started(f"--config.file={config}", LOCAL, log=tmp_path / "log") as serving:
        served = requests.get(f"{ready(serving)}/metrics", timeout=5)
    assert "codearts_build_builds_total" in served.text
    ended = subprocess.run(
        [program("promtool"), "check", "metrics"],
        input=served.content,
        capture_output=True,
        timeout=30,
        check=False,
    )
    assert (ended.returncode, ended.stdout + ended.stderr) == (0, b"")


class TestTheLog:
    def trouble(self, simulator: Simulator, serving: Running) -> str:
        """Let something of every kind happen; then the whole log."""
        ready(serving)
        hidden = simulator.fleet.jobs()[0].id
        simulator.faults.add(
            fault("error", job=hidden, status=404, code="DEV.CB.032011", message='No "job"\nhere = 任务')
        )
        serving.says("poll_failed")
        simulator.faults.add(fault("unauthorized"))
        serving.says("api_lost")
        simulator.faults.clear()
        assert serving.end() == 0
        return serving.output

    def test_logfmt_can_be_parsed(self, simulator: Simulator, config: Path, tmp_path: Path) -> None:
        flags = [LOCAL, "--log.level=debug"]
        with started(f"--config.file={config}", *flags, log=tmp_path / "log") as serving:
            lines = [logfmt(line) for line in self.trouble(simulator, serving).splitlines()]
        assert {"listening", "poll_failed", "api_lost", "stopped"} <= {line["event"] for line in lines}
        assert all(line["level"] in ("debug", "info", "warning", "error") for line in lines)
        assert all(datetime.fromisoformat(line["ts"]) for line in lines)

    def test_json_can_be_parsed(self, simulator: Simulator, config: Path, tmp_path: Path) -> None:
        flags = [LOCAL, "--log.level=debug", "--log.format=json"]
        with started(f"--config.file={config}", *flags, log=tmp_path / "log") as serving:
            lines = [json.loads(line) for line in self.trouble(simulator, serving).splitlines()]
        assert {"listening", "poll_failed", "api_lost", "stopped"} <= {line["event"] for line in lines}
        assert all({"ts", "level", "event"} <= line.keys() for line in lines)

    def test_no_secret_is_in_it(self, simulator: Simulator, config: Path, tmp_path: Path) -> None:
        flags = [LOCAL, "--log.level=debug"]
        with started(f"--config.file={config}", *flags, log=tmp_path / "log") as serving:
            url = ready(serving)
            pages = [requests.get(f"{url}{path}", timeout=5).text for path in ("/metrics", "/", "/-/ready")]
            output = self.trouble(simulator, serving) + "".join(pages)
        issued = [token for token in simulator._access._tokens if token.startswith("MIIS")]
        assert issued
        for secret in (simulator.credentials.password, *issued):
            assert secret not in output

    def test_a_level_hides_what_is_below(self, simulator: Simulator, config: Path, tmp_path: Path) -> None:
        address = f"127.0.0.1:{free_port()}"
        flags = [f"--web.listen-address={address}", "--log.level=error"]
        simulator.stop()
        with started(f"--config.file={config}", *flags, log=tmp_path / "log") as serving:
            eventually(lambda: answers(f"http://{address}/-/healthy"), 60)
            assert serving.end() == 0
            assert serving.output == ""


def test_what_ends_before_a_kill_amid_the_first_polls_is_counted(
    simulator: Simulator, config: Path, tmp_path: Path
) -> None:
    settings = config.read_text(encoding="utf-8").replace(":memory:", str(tmp_path / "state.db"))
    config.write_text(settings, encoding="utf-8")
    first, *others = simulator.fleet.jobs()
    for job in others:
        simulator.faults.add(fault("hang", operation="period-history", job=job.id))
    with started(f"--config.file={config}", LOCAL, log=tmp_path / "log") as serving:
        url = f"http://{address(serving)}"
        eventually(lambda: builds(url).keys() == {first.name}, 60)
        made = [simulator.fleet.add_build(job.id, queue_s=0.1, duration_s=0.1) for job in (first, *others)]
        last_ms = max(build.finish_ms or 0 for build in made)
        eventually(lambda: time.time() * 1000 > last_ms and builds(url) == {first.name: 1}, 60)
        serving.end(signal.SIGKILL)
    simulator.faults.clear()
    with started(f"--config.file={config}", LOCAL, log=tmp_path / "log") as serving:
        url = ready(serving)
        expected = dict.fromkeys((job.name for job in (first, *others)), 1)
        eventually(lambda: builds(url) == expected, 60)


def builds(url: str) -> dict[str, float]:
    """How many builds are counted, by the names of jobs."""
    counted: Counter[str] = Counter()
    for family in text_string_to_metric_families(requests.get(f"{url}/metrics", timeout=5).text):
        for sample in family.samples:
            if sample.name == "codearts_build_builds_total":
                counted[sample.labels["job_name"]] += int(sample.value)
    return dict(counted)
