"""A part of ``make fuzz``, with seeds of its own."""

import pytest

from tests.fuzz import payloads, requests


@pytest.mark.parametrize("seed", [1, 2])
def test_damaged_answers_are_read_or_refused(seed: int) -> None:
    came_to = payloads.run(10_000, seed)
    assert came_to["read"] > 2000
    assert sum(came_to.values()) == 10_000


def test_odd_requests_change_nothing() -> None:
    came_to = requests.run(1000, seed=3)
    assert {"200", "400", "404", "405"} <= came_to.keys()
