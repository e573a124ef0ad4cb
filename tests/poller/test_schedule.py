"""The schedule: due once an interval, the most overdue first, never twice at a time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.poller.schedule import Schedule


def schedule(**intervals: float) -> Schedule:
    return Schedule(intervals or {"a": 60, "b": 60}, now=1000)


def test_at_first_everything_is_due() -> None:
    assert sorted(schedule().take(1000, limit=9)) == ["a", "b"]


def test_no_more_is_taken_than_asked_for() -> None:
    due = schedule()
    assert len(due.take(1000, limit=1)) == 1
    assert len(due.take(1000, limit=1)) == 1
    assert due.take(1000, limit=1) == []


def test_what_is_under_way_is_not_taken_again() -> None:
    due = schedule(a=60)
    due.take(1000, limit=1)
    assert due.take(9999, limit=1) == []


def test_a_task_is_due_an_interval_after_it_was_last_due() -> None:
    due = schedule(a=60)
    due.take(1000, limit=1)
    due.done("a", 1007)
    assert (due.take(1059.9, limit=1), due.wait(1050)) == ([], 10)
    assert due.take(1060, limit=1) == ["a"]


def test_with_more_to_do_it_is_due_at_once() -> None:
    due = schedule(a=60)
    due.take(1000, limit=1)
    due.done("a", 1007, again=True)
    assert due.take(1007, limit=1) == ["a"]


def test_the_most_overdue_goes_first() -> None:
    due = schedule(a=60, b=30)
    for task in due.take(1000, limit=2):
        due.done(task, 1000)
    assert due.take(1070, limit=2) == ["b", "a"]


def test_each_task_has_its_own_interval() -> None:
    due = schedule(a=60, b=600)
    taken: list[str] = []
    for now in range(1000, 1600, 10):
        for task in due.take(now, limit=2):
            taken.append(task)
            due.done(task, now)
    assert (taken.count("a"), taken.count("b")) == (10, 1)


@pytest.mark.parametrize(("now", "lag"), [(1000, 0), (1000.5, 0.5), (1090, 90)])
def test_the_lag_is_that_of_the_most_overdue(now: float, lag: float) -> None:
    assert schedule().lag(now) == lag


def test_what_is_under_way_lags_too() -> None:
    due = schedule(a=60)
    due.take(1000, limit=1)
    assert due.lag(1045) == 45
    due.done("a", 1045)
    assert due.lag(1045) == 0


def test_with_nothing_waiting_there_is_time() -> None:
    due = schedule(a=60)
    due.take(1000, limit=1)
    assert due.wait(1000) == 3600


@given(st.data())
def test_a_task_is_waiting_or_under_way_and_never_both(data: st.DataObject) -> None:
    intervals = {name: data.draw(st.floats(0.1, 100)) for name in "abcde"}
    due, now, under_way = Schedule(intervals, 0.0), 0.0, set[str]()
    for _ in range(data.draw(st.integers(1, 20))):
        now += data.draw(st.floats(0, 200))
        taken = due.take(now, data.draw(st.integers(0, 5)))
        assert len(taken) == len(set(taken))
        assert not under_way & set(taken)
        under_way |= set(taken)
        for task in data.draw(st.lists(st.sampled_from(sorted(under_way)), unique=True)) if under_way else []:
            due.done(task, now, again=data.draw(st.booleans()))
            under_way.remove(task)
    for task in under_way:
        due.done(task, now)
    assert sorted(due.take(now + 1000, limit=9)) == list("abcde")
