"""A part of ``make fuzz``, with different seeds."""

import pytest

from tests.fuzz import payloads, requests


@pytest.mark.parametrize("seed", [1, 2])
def test_damaged_responses_are_parsed_or_refused(seed: int) -> None:
    outcomes = payloads.run(5000, seed)
    assert outcomes["parsed"] > 1000
    assert sum(outcomes.values()) == 5000


def test_malformed_requests_change_nothing() -> None:
    outcomes = requests.run(1000, seed=3)
    assert {"200", "400", "404", "405"} <= outcomes.keys()
