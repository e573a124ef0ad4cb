"""Fixtures of a simulated service with a manual clock, for a conftest that adds its `fleet`."""

from collections.abc import Iterator

import pytest

from exporter.simulator import Fleet, ManualClock, Simulator
from tests.support.watch import START_MS

__all__ = ["JOB", "START_MS", "clock", "simulator"]

JOB = "f9d6c8466d614a9788e9a0acf6c15f46"


@pytest.fixture
def clock() -> ManualClock:
    """Make a manual clock at `START_MS`."""
    return ManualClock(START_MS)


@pytest.fixture
def simulator(fleet: Fleet, clock: ManualClock) -> Iterator[Simulator]:
    """Run the service on a socket."""
    with Simulator(fleet, caller_clock=clock) as running:
        yield running
