"""What the configuration makes of labels: trigger, branch, the cap, and a change of mind."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from exporter.app import Exporter
from exporter.config import parse
from exporter.exposition import Format
from exporter.poller import zero_hold
from exporter.simulator import Fleet, RealClock, Simulator
from tests.support.programs import eventually
from tests.support.truth import Labels

JOBS = 10


@pytest.fixture(autouse=True)
def held_for_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A new branch shows its count one poll after its 0."""
    monkeypatch.setattr(zero_hold, "HELD_S", 0.0)


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    fleet = Fleet(RealClock(), seed=3)
    for ordinal in range(JOBS):
        fleet.add_job(f"job-{ordinal}", "shop")
    with Simulator(fleet) as running:
        yield running


@contextmanager
def exporter(simulator: Simulator, folder: Path, metrics: str) -> Iterator[Exporter]:
    jobs = ", ".join(job.id for job in simulator.fleet.jobs())
    text = (
        f"endpoint: {simulator.url}\nauth: {{token: {simulator.credentials.tokens[0]}}}\njobs: [{jobs}]\n"
        "poll: {interval: 100ms, max_interval: 100ms, max_requests_per_minute: 100000}\n"
        f"state: {{path: {folder / 'state.db'}}}\nmetrics: {metrics}\n"
    )
    running = Exporter(parse(text, source="test", environ={}, base_dir=Path()))
    poll(running)
    try:
        yield running
    finally:
        running.client.session.close()
        running.store.close()


def poll(exporter: Exporter) -> None:
    """Everything once; then publish."""
    for task in (*exporter.poller.take(1), *exporter.poller.take(1000)):
        exporter.poller.settle([exporter.poller.run(task)])
    exporter.publisher.publish()


def build(
    simulator: Simulator, exporter: Exporter, branch: str, job: int = 0, trigger: str = "manual"
) -> None:
    """One build of a job starts and ends, and is counted."""
    job_id = simulator.fleet.jobs()[job].id
    simulator.fleet.add_build(job_id, queue_s=0, duration_s=0.001, branch=branch, trigger=trigger)  # type: ignore[arg-type]
    wanted = counted(exporter) + 1

    def is_counted() -> bool:
        poll(exporter)
        return counted(exporter) == wanted

    eventually(is_counted, 20, every=0.02)


def counted(exporter: Exporter) -> float:
    return sum(shown(exporter, "builds_total").values())


def shown(exporter: Exporter, name: str) -> dict[Labels, float]:
    """The samples that are not 0, added up over the jobs."""
    snapshot = exporter.publisher.latest(Format.OPENMETRICS, gzip=False)
    assert snapshot is not None
    values: dict[Labels, float] = {}
    for line in b"".join(snapshot.identity(b"")).decode().splitlines():
        series, _, rest = line.partition("} ")
        if series.startswith(f"codearts_build_{name}{{") and float(rest.split()[0]):
            pairs = (pair.split("=") for pair in series.partition("{")[2].split(","))
            labels = {key: value.strip('"') for key, value in pairs}
            del labels["project"], labels["job_name"]
            key = tuple(sorted(labels.items()))
            values[key] = values.get(key, 0) + float(rest.split()[0])
    return values


def of(**labels: str) -> Labels:
    return tuple(sorted({"result": "success", **labels}.items()))


@pytest.mark.parametrize("shown", [False, True])
def test_creation_times_are_series_only_if_configured(
    simulator: Simulator, tmp_path: Path, shown: bool
) -> None:
    with exporter(simulator, tmp_path, f"{{created_series: {str(shown).lower()}}}") as running:
        snapshot = running.publisher.latest(Format.OPENMETRICS, gzip=False)
        assert snapshot is not None
        text = b"".join(snapshot.identity(b""))
    assert (b'codearts_build_builds_created{job_name="job-0",' in text) is shown


def test_builds_are_told_apart_by_trigger_and_allowed_branch(simulator: Simulator, tmp_path: Path) -> None:
    metrics = "{extra_labels: [trigger, branch], branches: [main, 'release/.*']}"
    with exporter(simulator, tmp_path, metrics) as running:
        for branch in ("main", "release/1.4", "feature/x", "feature/y"):
            build(simulator, running, branch)
        build(simulator, running, "main", trigger="pipeline")
        assert shown(running, "builds_total") == {
            of(trigger="manual", branch="main"): 1,
            of(trigger="manual", branch="release/1.4"): 1,
            of(trigger="manual", branch="other"): 2,
            of(trigger="pipeline", branch="main"): 1,
        }
        assert len(shown(running, "duration_seconds_count")) == 4


def test_every_trigger_is_there_at_0_from_the_first_poll_on(simulator: Simulator, tmp_path: Path) -> None:
    with exporter(simulator, tmp_path, "{extra_labels: [trigger]}") as running:
        snapshot = running.publisher.latest(Format.OPENMETRICS, gzip=False)
        assert snapshot is not None
        text = b"".join(snapshot.identity(b"")).decode()
    for trigger in ("manual", "schedule", "code_change", "pipeline", "unknown"):
        series = f'job_name="job-0",project="shop",result="failure",trigger="{trigger}"'
        assert f"codearts_build_builds_total{{{series}}} 0.0\n" in text


def test_plain_branches_are_there_at_0_from_the_first_poll_on(simulator: Simulator, tmp_path: Path) -> None:
    with exporter(simulator, tmp_path, "{extra_labels: [branch], branches: [main, 'release/.*']}") as running:
        snapshot = running.publisher.latest(Format.OPENMETRICS, gzip=False)
        assert snapshot is not None
        text = b"".join(snapshot.identity(b"")).decode()
    for branch in ("main", "other"):
        series = f'branch="{branch}",job_name="job-0",project="shop",result="failure"'
        assert f"codearts_build_builds_total{{{series}}} 0.0\n" in text
        assert f"codearts_build_duration_seconds_count{{{series}}} 0.0\n" in text


def test_a_change_of_mind_loses_no_count(simulator: Simulator, tmp_path: Path) -> None:
    with exporter(simulator, tmp_path, "{}") as running:
        build(simulator, running, "main")
        assert shown(running, "builds_total") == {of(): 1}
    with exporter(simulator, tmp_path, "{extra_labels: [branch], branches: [main]}") as running:
        assert shown(running, "builds_total") == {of(branch="other"): 1}
        build(simulator, running, "main")
        assert shown(running, "builds_total") == {of(branch="other"): 1, of(branch="main"): 1}
    with exporter(simulator, tmp_path, "{}") as running:
        assert shown(running, "builds_total") == {of(): 2}
        assert shown(running, "duration_seconds_count") == {of(): 2}


def test_beyond_the_limit_new_branches_count_under_other(simulator: Simulator, tmp_path: Path) -> None:
    metrics = "{extra_labels: [branch], branches: ['.*'], max_series: 1000}"
    with exporter(simulator, tmp_path, metrics) as running:
        for ordinal in range(30):
            build(simulator, running, f"branch-{ordinal}", job=ordinal % JOBS)
        names = {dict(labels)["branch"] for labels in shown(running, "builds_total")}
        capped = running.registry.get_sample_value("codearts_build_exporter_capped_builds_total")
        assert counted(running) == 30
        assert running.publisher.series < 1000 + 20 * JOBS
        assert "other" in names
        assert 0 < len(names) - 1 < 30
        assert capped == 31 - len(names)
        build(simulator, running, "branch-0")
        assert running.registry.get_sample_value("codearts_build_exporter_capped_builds_total") == capped
        assert running.registry.get_sample_value("codearts_build_exporter_series_limit") == 1000
