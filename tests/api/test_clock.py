"""The service's clock against ours: what several answers tell is believed, not what one does."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.api.clock import QUORUM, SAMPLES, ClockOffset

HOUR = 3600.0
DAY = 24 * HOUR


def told(*offsets: float) -> float | None:
    clock = ClockOffset()
    for offset in offsets:
        clock.add(offset)
    return clock.seconds


def test_without_an_answer_it_is_not_known() -> None:
    assert told() is None


def test_the_first_answer_is_believed_since_there_is_no_other() -> None:
    assert told(HOUR) == HOUR


@pytest.mark.parametrize("wrong", [12 * HOUR, -12 * HOUR])
@pytest.mark.parametrize("position", range(SAMPLES))
def test_a_single_answer_that_is_wrong_is_not_believed_beside_others(position: int, wrong: float) -> None:
    for offset in (0.0, 7200.0):
        offsets = [offset] * SAMPLES
        offsets[position] = wrong
        assert told(*offsets) == offset


@pytest.mark.parametrize("offsets", [(0.4, 12 * HOUR), (12 * HOUR, 0.4), (-12 * HOUR, 0.4)])
def test_of_two_answers_that_disagree_the_one_is_believed_that_agrees_with_us(
    offsets: tuple[float, float],
) -> None:
    assert told(*offsets) == 0.4


def test_a_clock_that_was_set_is_followed_when_most_answers_tell_so() -> None:
    half = SAMPLES // 2
    assert told(*[0.0] * SAMPLES, *[HOUR] * half) == 0
    assert told(*[0.0] * SAMPLES, *[HOUR] * (half + 1)) == HOUR


def test_answers_of_long_ago_are_forgotten() -> None:
    assert told(*[0.0] * 1000, *[HOUR] * SAMPLES) == HOUR


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=3 * SAMPLES))
def test_it_is_always_what_some_late_answer_told(offsets: list[float]) -> None:
    assert told(*offsets) in offsets[-SAMPLES:]


def heard(*offsets: float) -> ClockOffset:
    clock = ClockOffset()
    for offset in offsets:
        clock.add(offset)
    return clock


@pytest.mark.parametrize("offset", [2 * DAY, -2 * DAY, 20_000 * DAY])
def test_answers_that_agree_are_believed_however_far_off(offset: float) -> None:
    told = [offset + jitter for jitter in (0.0, 0.9, -30.0)]
    assert [heard(*told[:count]).trusted for count in range(QUORUM)] == [None] * QUORUM
    assert heard(*told).trusted == offset
    assert heard(0.0, 0.0, *told).trusted == pytest.approx(offset, abs=30)


def test_answers_that_are_days_off_and_do_not_agree_are_not_believed() -> None:
    assert heard(2 * DAY, 3 * DAY, 4 * DAY, 2 * DAY, 3 * DAY).trusted is None


def test_less_than_a_day_is_believed_at_once() -> None:
    assert heard(12 * HOUR).trusted == 12 * HOUR


def test_it_is_undecided_only_while_few_answers_tell_that_it_is_days() -> None:
    assert [heard(*[2 * DAY] * count).is_undecided for count in range(5)] == [False, True, True, False, False]
    assert not heard(12 * HOUR).is_undecided
    assert not heard(2 * DAY, 3 * DAY, 4 * DAY).is_undecided
