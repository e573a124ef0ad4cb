"""Histograms: inclusive bounds, exact sums, and new bounds for old observations."""

from functools import reduce

from hypothesis import given
from hypothesis import strategies as st

from exporter.ledger import Buckets, Histogram

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
