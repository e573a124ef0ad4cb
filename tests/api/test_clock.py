"""The service's clock against ours: what several answers tell is believed, not what one does."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.api.clock import KEPT, ClockOffset

HOUR = 3600.0


def told(*offsets: float) -> float | None:
    clock = ClockOffset()
    for offset in offsets:
        clock.tell(offset)
    return clock.seconds


def test_without_an_answer_it_is_not_known() -> None:
    assert told() is None


def test_the_first_answer_is_believed_since_there_is_no_other() -> None:
    assert told(HOUR) == HOUR


@pytest.mark.parametrize("wrong", [12 * HOUR, -12 * HOUR])
@pytest.mark.parametrize("position", range(KEPT))
def test_a_single_answer_that_is_wrong_is_not_believed_beside_others(position: int, wrong: float) -> None:
    for offset in (0.0, 7200.0):
        offsets = [offset] * KEPT
        offsets[position] = wrong
        assert told(*offsets) == offset


@pytest.mark.parametrize("offsets", [(0.4, 12 * HOUR), (12 * HOUR, 0.4), (-12 * HOUR, 0.4)])
def test_of_two_answers_that_disagree_the_one_is_believed_that_agrees_with_us(
    offsets: tuple[float, float],
) -> None:
    assert told(*offsets) == 0.4


def test_a_clock_that_was_set_is_followed_when_most_answers_tell_so() -> None:
    half = KEPT // 2
    assert told(*[0.0] * KEPT, *[HOUR] * half) == 0
    assert told(*[0.0] * KEPT, *[HOUR] * (half + 1)) == HOUR


def test_answers_of_long_ago_are_forgotten() -> None:
    assert told(*[0.0] * 1000, *[HOUR] * KEPT) == HOUR


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=3 * KEPT))
def test_it_is_always_what_some_late_answer_told(offsets: list[float]) -> None:
    assert told(*offsets) in offsets[-KEPT:]
