"""A configuration examined on a simulated service."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from exporter.api.throttle import Throttle
from exporter.app import connect
from exporter.config import parse
from exporter.doctor.probe import REFUSALS
from exporter.doctor.report import Mark, Report, lines_of
from exporter.doctor.run import examine
from exporter.metrics.exporter_metrics import Telemetry
from exporter.simulator import Fleet, RealClock, Simulator

FOREIGN = ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"]


@dataclass(frozen=True)
class Examined:
    """A report, and its text."""

    report: Report
    text: str

    def section(self, title: str) -> list[str]:
        """Return the findings of a section, each as ``mark: text``."""
        [section] = [section for section in self.report.sections if section.title == title]
        return [f"{finding.mark}: {finding.text}" for finding in section.findings]

    @property
    def problems(self) -> list[str]:
        """The texts of all problems."""
        findings = (finding for section in self.report.sections for finding in section.findings)
        return [finding.text for finding in findings if finding.mark is Mark.PROBLEM]


Examine = Callable[..., Examined]


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in FOREIGN:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    """Three jobs of a project, each of which has built once."""
    fleet = Fleet(RealClock(), seed=3)
    for name in ("checkout", "payment", "构建"):
        job = fleet.add_job(name, "shop")
        fleet.add_build(job.id, duration_s=0.01, queue_s=0.01)
    time.sleep(0.05)
    with Simulator(fleet) as running:
        yield running


@pytest.fixture
def examined(simulator: Simulator, tmp_path: Path) -> Examine:
    """Examine a configuration, by default one that watches all jobs with a valid key."""

    def run(
        settings: str = "",
        *,
        jobs: list[str] | None = None,
        auth: str = "{access_key: {access_key: EXAMPLE-ACCESS-KEY, secret_key: example-secret-key}}",
        endpoint: str = "",
        iam_endpoint: str = "",
        state: str = '{path: ":memory:"}',
        timeout: str = "5s",
    ) -> Examined:
        ids = [job.id for job in simulator.fleet.jobs()] if jobs is None else jobs
        text = (
            f"endpoint: {endpoint or simulator.url}\niam_endpoint: {iam_endpoint or simulator.url}\n"
            f"auth: {auth}\njobs: [{', '.join(ids)}]\nstate: {state}\n{settings}\n"
        )
        if "poll:" not in settings:
            # Of long intervals, the replay of the planner has few steps.
            text += f"poll: {{timeout: {timeout}, max_requests_per_minute: 6000, interval: 30m}}\n"
        config = parse(text, source="test", environ={}, base_dir=tmp_path)
        ceiling = config.poll.max_requests_per_minute
        credentials, client = connect(config, Telemetry(CollectorRegistry()), Throttle(ceiling), REFUSALS)
        client.sleep = lambda _: None
        report = examine(config, client, credentials, now=time.time)
        return Examined(report, "\n".join(lines_of(report)))

    return run


def statuses(simulator: Simulator, status: int) -> int:
    """Return the number of requests answered with that status."""
    return sum(count for (_, code), count in simulator.counts.items() if code == status)
