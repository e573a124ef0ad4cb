"""A backfill without the command line, of a simulated fleet at noon of a past day."""

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from exporter.api.client import ApiClient
from exporter.api.throttle import Throttle
from exporter.app import connect, families_of
from exporter.backfill import Download, Notices, Spool, past_families
from exporter.backfill.openmetrics import PastFamily
from exporter.backfill.output import write_files
from exporter.backfill.plan import PastJob, Period
from exporter.backfill.plan_builder import watched_jobs
from exporter.backfill.replay import Replay
from exporter.config import parse
from exporter.metrics.exporter_metrics import Telemetry
from exporter.model import Job
from exporter.poller import Rules
from exporter.simulator import Fleet, ManualClock, Simulator
from tests.support.client_model import MetricFamily
from tests.support.in_process import answer_in_process
from tests.support.truth import Labels

NOON_MS = round(datetime(2025, 3, 10, 12, tzinfo=UTC).timestamp() * 1000)
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS


def counting(job: Job, since_ms: int, number: float = 1) -> list[Any]:
    """The families that an exporter shows which counts one job."""
    labels = [{"name": "job_name", "value": job.name}, {"name": "project", "value": job.project}]
    ids = [{"name": "job_id", "value": job.id}, {"name": "project_id", "value": job.project_id}]
    created = {"seconds": since_ms // 1000, "nanos": since_ms % 1000 * 1_000_000}
    metrics = {
        "builds_total": {"label": labels, "counter": {"value": 3, "created_timestamp": created}},
        "baseline_build_number": {"label": labels, "gauge": {"value": number}},
        "job_info": {"label": [*ids, *labels], "gauge": {"value": 1}},
    }
    return [MetricFamily(name=f"codearts_build_{name}", metric=[metric]) for name, metric in metrics.items()]


Shown = dict[tuple[str, Labels], dict[float, float]]
"""Values by time in seconds, by name and labels."""


@dataclass
class Past:
    """The past of a simulated fleet, as far as it has been asked for."""

    simulator: Simulator
    folder: Path
    settings: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)
    watched: str = ""
    uses_records: bool = False

    def __post_init__(self) -> None:
        jobs = f"jobs: [{', '.join(job.id for job in self.simulator.fleet.jobs())}]"
        self.config = parse(
            f"endpoint: {self.simulator.url}\nauth: {{token: {self.simulator.credentials.tokens[0]}}}\n"
            f"{self.watched or jobs}\n"
            f"poll: {{max_requests_per_minute: 100000, timeout: 2s}}\n{self.settings}",
            source="test",
            environ={},
            base_dir=Path(),
        )
        self.rules = Rules.of(self.config)
        self.families: list[PastFamily] = past_families(
            families_of(self.config),
            self.labels,
        )

    def client(self) -> ApiClient:
        """A new client, as a new start would have it."""
        _, client = connect(
            self.config, Telemetry(CollectorRegistry()), Throttle(100_000), isolates_operations=False
        )
        answer_in_process(client.session, self.simulator)
        return client

    @contextmanager
    def spool(self) -> Iterator[Spool]:
        """The answers so far."""
        with closing(Spool(self.folder / "backfill.db")) as spool:
            yield spool

    def collect(self, period: Period, *, details: bool = True, baseline: int | None = None) -> Download:
        """Ask for everything."""
        client, notices = self.client(), Notices(self.said.append)
        watched = watched_jobs(self.config, client, notices)
        ids = client.sources.build_projects if self.uses_records else {}
        listed = client.sources.listed_builds
        jobs = [
            PastJob(job, period.end_ms, baseline, ids.get(job.id, ""), listed.get(job.id)) for job in watched
        ]
        with self.spool() as spool:
            download = Download(jobs, period, period.start_ms, spool, notices)
            if details:
                list(download.fetch_records(client, 4, stages=self.config.metrics.stages))
            list(download.fetch_histories(client, 4))
            if details:
                download.use_records()
                list(download.fetch_details(client, 4))
            if self.config.metrics.stages:
                list(download.fetch_stages(client, 4))
            self.jobs = download.jobs
        return download

    def files(self, period: Period, folder: Path | None = None) -> list[Path]:
        """Write what was collected."""
        folder = folder or self.folder
        with self.spool() as spool:
            replay = Replay(self.jobs, period, self.rules, spool)
            list(write_files(replay, period.chunks(100 * len(self.jobs)), self.families, folder))
            self.faults = replay.faults
        return sorted(folder.glob("*.om"))

    def shown(self, period: Period, *, details: bool = True, baseline: int | None = None) -> Shown:
        """All of it, from asking to reading the files."""
        self.collect(period, details=details, baseline=baseline)
        return read(self.files(period))


def read(files: list[Path]) -> Shown:
    """Files as prometheus-client's parser reads them, moment by moment.

    Given all moments at once, it drops points of histograms after the first as if they were repeated.
    """
    shown: Shown = {}
    for file in files:
        for text in by_moment(file.read_text()):
            for family in text_string_to_metric_families(text):
                for sample in family.samples:
                    assert sample.timestamp is not None
                    series = shown.setdefault((sample.name, tuple(sorted(sample.labels.items()))), {})
                    assert float(sample.timestamp) not in series, sample
                    series[float(sample.timestamp)] = sample.value
    return shown


def by_moment(text: str) -> Iterator[str]:
    """An exposition for each moment."""
    lines = text.splitlines(keepends=True)
    moments = {line.split()[-1]: list[str]() for line in lines if not line.startswith("#")}
    for line in lines:
        for shown in moments.values() if line.startswith("#") else [moments[line.split()[-1]]]:
            shown.append(line)
    for _, shown in sorted(moments.items()):
        yield "".join(shown)


def series_of(shown: Shown, name: str, **labels: str) -> dict[float, float]:
    """The one series with that name and these labels, perhaps among others."""
    [found] = [
        values
        for (sample, series_labels), values in shown.items()
        if sample == f"codearts_build_{name}" and labels.items() <= dict(series_labels).items()
    ]
    return found


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOON_MS)


@pytest.fixture
def fleet(clock: ManualClock) -> Fleet:
    return Fleet(clock, seed=5, history_days=40)


@pytest.fixture
def simulator(fleet: Fleet) -> Iterator[Simulator]:
    with Simulator(fleet).start() as running:
        yield running


@pytest.fixture
def past(simulator: Simulator, fleet: Fleet, tmp_path: Path) -> Past:
    """One job that ran only the builds of a test."""
    fleet.add_job("checkout")
    return Past(simulator, tmp_path)
