"""One job on a simulated service, and an exporter that polls on demand."""

from collections.abc import Iterator

import pytest

from exporter.simulator import Fleet, ManualClock, Plan, Simulator
from tests.support.service import JOB, clock, simulator
from tests.support.watch import Watch

__all__ = ["JOB", "clock", "simulator"]


@pytest.fixture
def fleet(clock: ManualClock) -> Fleet:
    """One job that runs only what a test adds."""
    fleet = Fleet(clock, seed=1)
    fleet.add_job("checkout", "shop", job_id=JOB)
    return fleet


@pytest.fixture
def watch(simulator: Simulator) -> Iterator[Watch]:
    """The exporter, not yet polled."""
    watch = Watch(simulator)
    yield watch
    watch.close()


@pytest.fixture
def idle_fleet(clock: ManualClock) -> Fleet:
    """A job whose builds 1 to 500 are older than all that the service still lists."""
    fleet = Fleet(clock, seed=1)
    fleet.add_job("checkout", "shop", job_id=JOB, plan=Plan(gap_s=None, first_number=501))
    return fleet
