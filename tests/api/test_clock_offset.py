"""Offset of the service's clock: several responses decide, not a single one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.api.clock_offset import QUORUM, SAMPLES, ClockOffset

HOUR = 3600.0
DAY = 24 * HOUR


def median(*offsets: float) -> float | None:
    return clock_after(*offsets).seconds


def test_the_offset_is_unknown_before_the_first_response() -> None:
    assert median() is None


def test_the_first_response_sets_the_offset() -> None:
    assert median(HOUR) == HOUR


@pytest.mark.parametrize("wrong", [12 * HOUR, -12 * HOUR])
@pytest.mark.parametrize("position", range(SAMPLES))
def test_a_single_wrong_response_is_ignored_among_others(position: int, wrong: float) -> None:
    for offset in (0.0, 7200.0):
        offsets = [offset] * SAMPLES
        offsets[position] = wrong
        assert median(*offsets) == offset


@pytest.mark.parametrize("offsets", [(0.4, 12 * HOUR), (12 * HOUR, 0.4), (-12 * HOUR, 0.4)])
def test_of_two_different_offsets_the_smaller_one_is_used(
    offsets: tuple[float, float],
) -> None:
    assert median(*offsets) == 0.4


def test_a_clock_that_was_set_is_followed_once_most_responses_agree() -> None:
    half = SAMPLES // 2
    assert median(*[0.0] * SAMPLES, *[HOUR] * half) == 0
    assert median(*[0.0] * SAMPLES, *[HOUR] * (half + 1)) == HOUR


def test_old_responses_are_forgotten() -> None:
    assert median(*[0.0] * 1000, *[HOUR] * SAMPLES) == HOUR


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=3 * SAMPLES))
def test_the_offset_is_always_that_of_a_recent_response(offsets: list[float]) -> None:
    assert median(*offsets) in offsets[-SAMPLES:]


def clock_after(*offsets: float) -> ClockOffset:
    clock = ClockOffset(lambda: 0.0, lambda: 0.0)
    for offset in offsets:
        clock.add(offset, received_at=0.0)
    return clock


@pytest.mark.parametrize("offset", [2 * DAY, -2 * DAY, 20_000 * DAY])
def test_responses_that_agree_are_trusted_however_large_the_offset(offset: float) -> None:
    offsets = [offset + jitter for jitter in (0.0, 0.9, -30.0)]
    assert [clock_after(*offsets[:count]).trusted for count in range(QUORUM)] == [None] * QUORUM
    assert clock_after(*offsets).trusted == offset
    assert clock_after(0.0, 0.0, *offsets).trusted == pytest.approx(offset, abs=30)


def test_offsets_of_days_that_do_not_agree_are_not_trusted() -> None:
    assert clock_after(2 * DAY, 3 * DAY, 4 * DAY, 2 * DAY, 3 * DAY).trusted is None


def test_a_step_of_our_clock_changes_the_offset_at_once_and_no_time_of_the_service() -> None:
    ours = 1_000_000.0
    clock = ClockOffset(lambda: ours, lambda: 0.0)
    assert clock.service_ms() == 1_000_000_000
    for _ in range(SAMPLES):
        clock.add(ours, received_at=0.0)
    for step_s in (2 * HOUR, -2 * HOUR, 40 * DAY):
        ours = 1_000_000.0 + step_s
        assert clock.seconds == clock.trusted == -step_s
        assert clock.service_ms() == 1_000_000_000
        assert clock.service_ms(at=-60.0) == 999_940_000


def test_less_than_a_day_is_trusted_at_once() -> None:
    assert clock_after(12 * HOUR).trusted == 12 * HOUR


def test_an_offset_of_days_is_undecided_only_while_there_are_few_responses() -> None:
    assert [clock_after(*[2 * DAY] * count).is_undecided for count in range(5)] == [
        False,
        True,
        True,
        False,
        False,
    ]
    assert not clock_after(12 * HOUR).is_undecided
    assert not clock_after(2 * DAY, 3 * DAY, 4 * DAY).is_undecided
