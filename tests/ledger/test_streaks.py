"""Runs: joining neighbours is associative, and reports each recovery once."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from exporter.ledger.streaks import Recovery, Run
from exporter.model import Result

SUCCESS, FAILURE, ABORTED = Result.SUCCESS, Result.FAILURE, Result.ABORTED

outcomes = st.lists(
    st.tuples(st.sampled_from([SUCCESS, FAILURE, ABORTED]), st.none() | st.integers(0, 10**6)),
    min_size=1,
    max_size=10,
)


def runs_of(*results: Result) -> list[Run]:
    """Single runs in which build n finishes at n·100 ms."""
    return [Run.single(number, result, number * 100) for number, result in enumerate(results, start=1)]


def joined(runs: list[Run], order: list[int] | None = None) -> tuple[Run, list[int]]:
    """Join runs at the given places in turn; return the run and the recoveries."""
    runs, recoveries = list(runs), []
    for place in order or [0] * (len(runs) - 1):
        left = place % (len(runs) - 1)
        both, recovery = runs[left].joined(runs[left + 1])
        runs[left : left + 2] = [both]
        if recovery is not None:
            recoveries.append(recovery.length_ms)
    return runs[0], sorted(recoveries)


def test_aborted_builds_do_not_end_a_streak() -> None:
    assert joined(runs_of(SUCCESS, FAILURE, ABORTED, FAILURE))[0].tail_failures == 2


def test_a_success_ends_a_streak() -> None:
    run, recoveries = joined([Run.baseline(0), *runs_of(FAILURE, FAILURE, SUCCESS)])
    assert (run.tail_failures, recoveries) == (0, [200])


def test_the_second_success_in_a_row_is_no_recovery() -> None:
    assert joined([Run.baseline(0), *runs_of(FAILURE, SUCCESS, SUCCESS)])[1] == [100]


def test_a_recovery_waits_until_the_first_failure_of_its_streak_is_certain() -> None:
    _, failure, success = runs_of(FAILURE, FAILURE, SUCCESS)
    both, recovery = failure.joined(success)
    assert recovery is None
    whole, recovery = Run.single(1, FAILURE, 100).joined(both)
    assert recovery is None
    assert Run.baseline(0).joined(whole)[1] == Recovery(200, number=3, at_ms=300)


def test_neutral_numbers_only_extend_the_run() -> None:
    run, recoveries = joined([Run.baseline(0), Run.single(1, FAILURE, 100), Run.neutral(2, 9)])
    assert (run.first, run.last, run.tail_failures, recoveries) == (0, 9, 1, [])


@given(outcomes, st.lists(st.integers(0, 100), min_size=10, max_size=10))
def test_the_order_of_joins_makes_no_difference(
    builds: list[tuple[Result, int | None]], order: list[int]
) -> None:
    runs = [Run.baseline(0)] + [Run.single(n, result, ms) for n, (result, ms) in enumerate(builds, start=1)]
    assert joined(runs, order[: len(runs) - 1]) == joined(runs)


@given(st.lists(st.sampled_from([SUCCESS, FAILURE, ABORTED]), max_size=12))
def test_recoveries_equal_those_found_in_sequence(results: list[Result]) -> None:
    decisive = [result for result in results if result is not ABORTED]
    changes = sum(pair == (FAILURE, SUCCESS) for pair in pairwise(decisive))
    assert len(joined([Run.baseline(0), *runs_of(*results)])[1]) == changes
