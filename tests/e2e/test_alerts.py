"""From a failing build to the alert in a real Alertmanager, and its resolution.

The configurations are the example files of `prometheus/`, with the addresses of this test and shorter times
(`shortened`): Prometheus scrapes and evaluates each second, and the alert waits for two seconds instead of
minutes. Expressions, labels and annotations are the real ones.
"""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from tests.e2e.processes import Service, service
from tests.support.programs import answers, eventually, exporter, free_port, program, running

pytestmark = pytest.mark.timeout(300)

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "prometheus"
ALERT = "CodeArtsBuildFailingRepeatedly"
QUIET_S = 4.0
"""Time after which an alert that waits for two seconds would have fired."""
PATIENCE_S = 60.0
"""Generous, because the machine may be busy; expected values appear within seconds."""


def example(name: str) -> Any:
    return yaml.safe_load((EXAMPLES / name).read_text(encoding="utf-8"))


def write(path: Path, content: object) -> Path:
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return path


def shortened(name: str) -> Any:
    """Return the example rules with the default interval, and a shorter wait for the alert of this test."""
    groups = example(name)["groups"]
    for group in groups:
        group.pop("interval", None)
        for rule in group["rules"]:
            if rule.get("alert") == ALERT:
                rule["for"] = "2s"
    return {"groups": groups}


class Alertmanager:
    """A client of a real Alertmanager."""

    def __init__(self, url: str) -> None:
        self.url = url

    def alerts(self) -> dict[str, Any]:
        """Return the active alerts by name."""
        answer = requests.get(f"{self.url}/api/v2/alerts", timeout=10)
        assert answer.ok, answer.text
        return {alert["labels"]["alertname"]: alert for alert in answer.json()}


@contextlib.contextmanager
def alertmanager(folder: Path) -> Iterator[Alertmanager]:
    """Start Alertmanager with the example configuration; notifications go to an unused port."""
    address, unused = (f"127.0.0.1:{free_port()}" for _ in range(2))
    config = example("alertmanager.yml")
    for receiver in config["receivers"]:
        for webhook in receiver["webhook_configs"]:
            webhook["url"] = f"http://{unused}/"
    command = [
        program("alertmanager"),
        f"--config.file={write(folder / 'alertmanager.yml', config)}",
        f"--storage.path={folder / 'alertmanager'}",
        f"--web.listen-address={address}",
        "--cluster.listen-address=",
    ]
    with running(command, folder / "alertmanager.log"):
        eventually(lambda: answers(f"http://{address}/-/ready"), PATIENCE_S)
        yield Alertmanager(f"http://{address}")


@contextlib.contextmanager
def prometheus(target: str, receiver: Alertmanager, folder: Path) -> Iterator[str]:
    """Start Prometheus with the example configuration and rules; the value is its URL."""
    address = f"127.0.0.1:{free_port()}"
    config = example("prometheus.yml")
    for name in config["rule_files"]:
        write(folder / name, shortened(name))
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["alerting"]["alertmanagers"] = [
        {"static_configs": [{"targets": [receiver.url.removeprefix("http://")]}]}
    ]
    for scraped in config["scrape_configs"]:
        targets = [target if scraped["job_name"] == "codearts-build" else address]
        scraped["static_configs"] = [{"targets": targets}]
    command = [
        program("prometheus"),
        f"--config.file={write(folder / 'prometheus.yml', config)}",
        f"--storage.tsdb.path={folder / 'tsdb'}",
        f"--web.listen-address={address}",
        "--rules.alert.resend-delay=1s",
    ]
    with running(command, folder / "prometheus.log"):
        eventually(lambda: answers(f"http://{address}/-/ready"), PATIENCE_S)
        yield f"http://{address}"


def configuration(simulator: Service, job_id: str, folder: Path, detail: str) -> Path:
    path = folder / "config.yaml"
    path.write_text(
        f"endpoint: {simulator.url}\nauth: {{token: example-token}}\n"
        f"jobs:\n  - {{id: {job_id}, name: checkout, project: shop}}\n"
        "poll: {interval: 300ms, max_interval: 600ms, max_requests_per_minute: 100000, timeout: 5s}\n"
        f"recycle_bin: {{interval: 1s}}\nstate: {{path: {folder / 'state.db'}}}\n"
        f"metrics: {{detail: {detail}}}\n"
    )
    return path


def build(simulator: Service, job_id: str, result: str) -> None:
    simulator.post(f"jobs/{job_id}/builds", {"result": result, "queue_s": 0, "duration_s": 0.1})


def failing_rules(url: str) -> list[str]:
    groups = requests.get(f"{url}/api/v1/rules", timeout=10).json()["data"]["groups"]
    return [rule["name"] for group in groups for rule in group["rules"] if rule["health"] == "err"]


@pytest.mark.parametrize("detail", ["full", "lean"])
def test_five_failures_reach_the_alertmanager_and_a_success_resolves_them(
    tmp_path: Path, detail: str
) -> None:
    for name in ("prometheus", "alertmanager"):
        program(name)
    with contextlib.ExitStack() as stack:
        simulator = stack.enter_context(service(tmp_path))
        job_id = simulator.post("jobs", {"name": "checkout", "project": "shop"})["job_id"]
        config = configuration(simulator, job_id, tmp_path, detail)
        exporting = stack.enter_context(exporter(config, tmp_path / "exporter.log"))
        held = stack.enter_context(alertmanager(tmp_path))
        prometheus_url = stack.enter_context(prometheus(exporting.removeprefix("http://"), held, tmp_path))
        eventually(lambda: answers(f"{exporting}/-/ready"), PATIENCE_S)

        for _ in range(2):
            build(simulator, job_id, "failure")
        await_failures(prometheus_url, 2)
        time.sleep(QUIET_S)
        assert held.alerts() == {}

        for _ in range(3):
            build(simulator, job_id, "failure")
        await_failures(prometheus_url, 5)
        eventually(lambda: "failed 5 times" in description(held), PATIENCE_S)
        alerts = held.alerts()
        assert alerts.keys() == {ALERT}
        assert alerts[ALERT]["labels"] == {
            "alertname": ALERT,
            "project": "shop",
            "job_name": "checkout",
            "severity": "warning",
        }
        assert alerts[ALERT]["annotations"] == {
            "summary": "A job keeps failing.",
            "description": "Job checkout of project shop has failed 5 times in a row. "
            "Aborted builds are not counted.",
            "runbook_url": "https://github.com/codearts-build-exporter/codearts-build-exporter/blob/main/"
            f"docs/runbooks/{ALERT}.md",
        }
        assert alerts[ALERT]["status"]["state"] == "active"

        build(simulator, job_id, "success")
        await_failures(prometheus_url, 0)
        eventually(lambda: held.alerts() == {}, PATIENCE_S)
        assert failing_rules(prometheus_url) == []


def description(held: Alertmanager) -> str:
    """Return the description of this test's alert, or an empty text without it."""
    alert = held.alerts().get(ALERT)
    return str(alert["annotations"]["description"]) if alert else ""


def await_failures(url: str, count: int) -> None:
    """Wait until Prometheus has this number of consecutive failures."""
    query = {"query": f'codearts_build_consecutive_failures{{job_name="checkout"}} == {count}'}

    def has_count() -> bool:
        answer = requests.get(f"{url}/api/v1/query", params=query, timeout=10).json()
        return bool(answer["data"]["result"])

    eventually(has_count, PATIENCE_S)
