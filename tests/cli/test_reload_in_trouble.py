"""What a reload makes of lists that are refused, and of a recycle bin that was read a while ago."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from exporter.app import Exporter
from exporter.config import load
from exporter.simulator import Fleet, RealClock, Simulator, fault
from tests.support.programs import eventually

NOBODYS = "f" * 32


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    fleet = Fleet(RealClock(), seed=3)
    for name in ("checkout", "payment", "build"):
        fleet.add_build(fleet.add_job(name, "shop").id, queue_s=0.1, duration_s=0.1)
    with Simulator(fleet) as running:
        yield running


def write(config: Path, simulator: Simulator, settings: str) -> None:
    config.write_text(
        f"endpoint: {simulator.url}\nauth: {{token: {simulator.credentials.tokens[0]}}}\n"
        f"state: {{path: {config.with_name('state.db')}}}\n{settings}\n",
        encoding="utf-8",
    )


@contextmanager
def running(config: Path) -> Iterator[Exporter]:
    """An exporter without a server, for the length of a block."""
    one = Exporter(load(config))
    one.publisher.start()
    one.threads.start()
    try:
        yield one
    finally:
        assert one.stop(10)


def test_it_is_ready_though_the_list_of_a_project_is_still_refused(
    simulator: Simulator, tmp_path: Path
) -> None:
    simulator.faults.add(fault("error", operation="job-list", status=403, code="DEV.CB.0403001"))
    shop = simulator.fleet.project_id("shop")
    extra = simulator.fleet.add_job("extra", "elsewhere").id
    config = tmp_path / "config.yaml"
    polls = f"projects: [{shop}, {NOBODYS}]\npoll: {{interval: 1s, max_interval: 2s}}"
    write(config, simulator, polls)
    with running(config) as one:
        eventually(lambda: one.is_ready, 20)
        write(config, simulator, f"{polls}\njobs: [{extra}]")
        one.reload(lambda: load(config))
        assert one.poller.watched == 4
        eventually(lambda: one.is_ready, 20)


def test_a_reload_leaves_no_connection_behind(simulator: Simulator, tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    polls = f"jobs: [{simulator.fleet.jobs()[0].id}]\npoll: {{interval: 200ms, max_interval: 200ms}}\n"
    write(config, simulator, polls)
    with running(config) as one:
        eventually(lambda: one.is_ready, 20)
        pools = one.client.session.get_adapter(simulator.url).poolmanager.pools  # type: ignore[attr-defined]
        assert len(pools) == 1
        one.reload(lambda: load(config))
        simulator.reset_counts()
        eventually(lambda: len(simulator.requests) > 3, 20)
        assert len(pools) == 0


def test_a_job_that_came_back_from_the_recycle_bin_stays(simulator: Simulator, tmp_path: Path) -> None:
    fleet = simulator.fleet
    deleted = fleet.jobs()[0].id
    fleet.delete_job(deleted)
    config = tmp_path / "config.yaml"
    polls = f"projects: [{fleet.project_id('shop')}]\npoll: {{interval: 1s, max_interval: 1s}}\n"
    write(config, simulator, polls + "recycle_bin: {interval: 1h}")
    with running(config) as one:
        eventually(lambda: one.is_ready and one.view.recycle_bin is not None, 20)
        assert one.poller.watched == 2
        fleet.restore_job(deleted)
        eventually(lambda: one.poller.watched == 3, 20)
        one.reload(lambda: load(config))
        assert one.poller.watched == 3
        assert deleted in {view.job.id for view in one.view.jobs}
