"""Histograms: inclusive bounds, exact sums, native buckets, and new bounds for old observations."""

import math
from functools import reduce

from hypothesis import given
from hypothesis import strategies as st

from exporter.ledger.histogram import Buckets, Histogram, NativeBuckets, native_index

BOUNDS = (1000, 5000, 10_000)
bounds = st.lists(st.integers(1, 10**6), min_size=1, max_size=12, unique=True).map(lambda b: tuple(sorted(b)))


def observed(*values: int) -> Histogram:
    return reduce(Histogram.observed, values, Histogram.empty(BOUNDS))


def test_an_empty_histogram_has_one_more_bucket_than_bounds() -> None:
    assert (Histogram.empty(BOUNDS).counts, Histogram.empty(BOUNDS).count) == ((0, 0, 0, 0), 0)


def test_bounds_are_inclusive() -> None:
    assert observed(0, 1000, 1001, 5000, 10_000).counts == (2, 2, 1, 0)


def test_values_above_all_bounds_go_to_the_last_bucket() -> None:
    assert observed(10_001, 10**12).counts == (0, 0, 0, 2)


def test_a_sum_of_milliseconds_is_exact() -> None:
    assert observed(*[100] * 3).sum_ms == 300


def test_emptied_keeps_the_bounds() -> None:
    assert observed(1, 2).emptied() == Histogram.empty(BOUNDS)


def test_the_same_bounds_change_nothing() -> None:
    assert observed(1, 7000).with_buckets(BOUNDS) == observed(1, 7000)


def test_finer_bounds_put_observations_under_a_bound_that_holds_them() -> None:
    assert observed(500, 4000).with_buckets((500, 1000, 2500, 5000)).counts == (0, 1, 0, 1, 0)


def test_coarser_bounds_merge_buckets() -> None:
    assert observed(500, 4000, 9000, 20_000).with_buckets((5000,)).counts == (2, 2)


@given(st.lists(st.integers(0, 10**6)), bounds, bounds)
def test_new_bounds_keep_count_and_sum_and_never_underestimate(
    values: list[int], before: tuple[int, ...], after: tuple[int, ...]
) -> None:
    histogram = reduce(Histogram.observed, values, Histogram.empty(before)).with_buckets(after)
    assert (histogram.count, histogram.sum_ms) == (len(values), sum(values))
    for position, bound in enumerate(after):
        assert sum(histogram.counts[: position + 1]) <= sum(value <= bound for value in values)


def test_buckets_are_given_in_seconds() -> None:
    assert Buckets.of_seconds((0.5, 10), (1,), (300,)) == Buckets((500, 10_000), (1000,), (300_000,))


def test_the_upper_bounds_of_native_buckets_are_inclusive() -> None:
    indices = {250: -32, 500: -16, 1000: 0, 1001: 1, 1044: 1, 1045: 2, 2000: 16, 2001: 17}
    assert {ms: native_index(ms) for ms in indices} == indices


@given(st.integers(1, 10**12))
def test_a_native_bucket_holds_its_value(value_ms: int) -> None:
    index = native_index(value_ms)
    assert (
        math.nextafter(2 ** ((index - 1) / 16), 0)
        < value_ms / 1000
        <= math.nextafter(2 ** (index / 16), math.inf)
    )


def test_native_buckets_have_one_for_0_and_no_empty_ones() -> None:
    assert observed(0, 0, 1000, 900, 64_000).native == NativeBuckets(2, (-2, 0, 96), (1, 1, 1))


def test_native_buckets_stay_when_bounds_change() -> None:
    assert observed(500, 4000).with_buckets((7,)).native == observed(500, 4000).native


@given(st.lists(st.integers(0, 10**9)), st.lists(st.integers(0, 10**9)), bounds)
def test_native_buckets_are_added_in_any_order(one: list[int], two: list[int], of: tuple[int, ...]) -> None:
    halves = [reduce(Histogram.observed, values, Histogram.empty(of)) for values in (one, two)]
    whole = reduce(Histogram.observed, [*two[::-1], *one], Histogram.empty(of))
    assert halves[0].plus(halves[1]).native == halves[1].plus(halves[0]).native == whole.native
    assert whole.native.count == whole.count


@given(bounds, st.data())
def test_classic_counts_are_spread_between_their_bounds(of: tuple[int, ...], data: st.DataObject) -> None:
    size = len(of) + 1
    counts = data.draw(st.lists(st.integers(0, 1000), min_size=size, max_size=size))
    native = NativeBuckets.spread(of, counts)
    assert native.count == sum(counts)
    assert list(native.indices) == sorted(set(native.indices))
    assert min(native.counts, default=1) > 0
    for place, bound in enumerate(of):
        up_to = sum(n for i, n in zip(native.indices, native.counts, strict=True) if i <= native_index(bound))
        beyond = native_index(of[place + 1]) if place + 1 < len(of) else None
        assert up_to == sum(counts[: place + 1]) or beyond == native_index(bound)


@given(bounds, st.data())
def test_a_difference_has_as_many_native_observations_as_classic_ones(
    of: tuple[int, ...], data: st.DataObject
) -> None:
    """Also of two states of which neither is the later one, and of buckets that were spread each time."""
    counts = st.tuples(*[st.integers(0, 30)] * (len(of) + 1))
    before, after = (
        Histogram(of, drawn, native=NativeBuckets.spread(of, drawn))
        for drawn in (data.draw(counts), data.draw(counts))
    )
    more = after.since(before)
    assert more.native.count == more.count == sum(map(max, after.counts, before.counts)) - before.count


def test_spreading_is_even() -> None:
    assert NativeBuckets.spread((1000, 2000), (0, 17, 0)) == NativeBuckets(
        0, tuple(range(1, 17)), (*[1] * 15, 2)
    )
