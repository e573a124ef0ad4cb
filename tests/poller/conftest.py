"""One job on a simulated service, and an exporter that polls when it is told to."""

from collections.abc import Iterator

import pytest

from exporter.simulator import Fleet, ManualClock, Plan, Simulator
from tests.support.watch import START_MS, Watch

JOB = "f9d6c8466d614a9788e9a0acf6c15f46"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(START_MS)


@pytest.fixture
def fleet(clock: ManualClock) -> Fleet:
    """One job that runs only what it is told to."""
    fleet = Fleet(clock, seed=1)
    fleet.add_job("checkout", "shop", job_id=JOB)
    return fleet


@pytest.fixture
def simulator(fleet: Fleet, clock: ManualClock) -> Iterator[Simulator]:
    with Simulator(fleet, caller_clock=clock) as running:
        yield running


@pytest.fixture
def watch(simulator: Simulator) -> Iterator[Watch]:
    """The exporter, not yet polled."""
    watch = Watch(simulator)
    yield watch
    watch.close()


@pytest.fixture
def idle_fleet(clock: ManualClock) -> Fleet:
    """A job whose builds 1 to 500 are older than anything the service still tells."""
    fleet = Fleet(clock, seed=1)
    fleet.add_job("checkout", "shop", job_id=JOB, plan=Plan(gap_s=None, first_number=501))
    return fleet
