"""The schedule: by priority, the most overdue first, never twice at a time, nothing that fills up."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.poller.tasks_and_results import PollReason, Timer
from exporter.poller.timer_queue import Schedule


class Named:
    """A schedule of timers that are called by names."""

    def __init__(self) -> None:
        self.schedule = Schedule()
        self.timers: dict[str, Timer] = {}

    def __contains__(self, task: str) -> bool:
        return self.timer(task).is_planned

    def timer(self, task: str) -> Timer:
        return self.timers.setdefault(task, Timer(task))

    def put(self, task: str, at: float, reason: PollReason = PollReason.CHANGED) -> None:
        self.schedule.put(self.timer(task), at, reason)

    def hasten(self, task: str, at: float) -> None:
        self.schedule.hasten(self.timer(task), at, PollReason.CHANGED)

    def remove(self, task: str) -> None:
        self.schedule.remove(self.timer(task))

    def take(self, now: float, limit: int) -> list[str]:
        return [timer.task for timer in self.schedule.take(now, limit)]

    def done(self, task: str) -> bool:
        return self.schedule.done(self.timer(task))

    def is_under_way(self, task: str) -> bool:
        return self.timer(task).is_under_way

    def requeue(self) -> None:
        self.schedule.requeue()

    def wait(self, now: float) -> float:
        return self.schedule.wait(now)

    def lag(self, now: float) -> float:
        return self.schedule.lag(now)


def schedule(**dues: float) -> Named:
    made = Named()
    for task, at in (dues or {"a": 1000.0, "b": 1000.0}).items():
        made.put(task, at)
    return made


def test_what_is_due_is_taken_and_the_rest_waits() -> None:
    due = schedule(a=1000, b=1000.5, c=999)
    assert due.take(1000, limit=9) == ["c", "a"]
    assert due.take(1000.5, limit=9) == ["b"]


def test_no_more_is_taken_than_asked_for() -> None:
    due = schedule()
    assert len(due.take(1000, limit=1)) == 1
    assert len(due.take(1000, limit=1)) == 1
    assert due.take(1000, limit=1) == []


def test_what_is_under_way_is_not_taken_again() -> None:
    due = schedule(a=1000)
    due.take(1000, limit=1)
    due.put("a", 1000)
    due.hasten("a", 1000)
    assert due.is_under_way("a")
    assert due.take(9999, limit=1) == []


def test_what_is_done_can_be_put_again() -> None:
    due = schedule(a=1000)
    due.take(1000, limit=1)
    assert due.done("a")
    assert "a" not in due
    due.put("a", 1060)
    assert (due.take(1059.9, limit=1), due.wait(1050)) == ([], 10)
    assert due.take(1060, limit=1) == ["a"]


def test_requeued_tasks_are_due_as_they_were() -> None:
    due = schedule(a=1000, b=1001, c=1002)
    due.take(1001, limit=9)
    due.remove("b")
    due.requeue()
    assert due.take(1001, limit=9) == ["a"]
    assert due.take(1002, limit=9) == ["c"]


def test_missed_slots_are_not_made_up() -> None:
    due = schedule(a=1000)
    taken = 0
    for now in (1000.0, 1600.0, 1660.0):
        for task in due.take(now, limit=9):
            taken += 1
            due.done(task)
            due.put(task, now + 60)
    assert taken == 3


def test_the_most_overdue_goes_first() -> None:
    assert schedule(a=1060, b=1030, c=1090).take(1070, limit=2) == ["b", "a"]


def routine(count: int) -> Named:
    """Tasks with names of numbers that have been due since 0."""
    made = Named()
    for number in range(count):
        made.put(str(number), 0, PollReason.FIRST)
    return made


def test_the_lists_and_what_has_news_go_first_by_their_due_times() -> None:
    due = routine(9)
    due.put("hinted", 50, PollReason.HINTED)
    due.put("changed", 40, PollReason.CHANGED)
    due.schedule.put(due.timer("lists"), 60)
    assert due.take(45, limit=1) == ["changed"]
    assert due.take(60, limit=3) == ["hinted", "lists", "0"]


def test_each_fourth_is_the_most_overdue_of_all_so_that_none_waits_for_ever() -> None:
    due, taken = routine(5), []
    for now in range(1, 21):
        due.put(f"news {now}", now, PollReason.CHANGED)
        taken += due.take(now, limit=1)
    assert [task for task in taken if "news" not in task] == ["0", "1", "2", "3", "4"]
    assert taken[3::4] == ["0", "1", "2", "3", "4"]
    assert due.take(20, limit=3) == ["news 16", "news 17", "news 18"]


def test_news_of_a_task_that_is_due_already_raise_its_priority_and_keep_its_lag() -> None:
    due = routine(9)
    due.hasten("5", 100)
    assert due.timer("5").reason is PollReason.CHANGED
    assert (due.take(100, limit=2), due.lag(100)) == (["5", "0"], 100)
    due.schedule.hasten(due.timer("8"), 100, PollReason.VERIFIED)
    assert due.timer("8").reason is PollReason.FIRST
    assert sorted(due.take(100, limit=99)) == ["1", "2", "3", "4", "6", "7", "8"]


def test_of_two_due_at_the_same_time_the_one_put_first_goes_first() -> None:
    assert schedule(b=1000, a=1000, c=1000).take(1000, limit=3) == ["b", "a", "c"]


def test_another_put_takes_the_place_of_the_first() -> None:
    due = schedule(a=1000)
    due.put("a", 1060)
    assert (due.take(1000, limit=9), due.wait(1000)) == ([], 60)
    due.put("a", 1010)
    assert due.take(1010, limit=9) == ["a"]
    assert due.take(9999, limit=9) == []


@pytest.mark.parametrize(("at", "taken"), [(1010.0, ["a"]), (1090.0, [])])
def test_hastening_never_delays(at: float, taken: list[str]) -> None:
    due = schedule(a=1060)
    due.hasten("a", at)
    assert due.take(1010, limit=9) == taken
    assert due.take(1060, limit=9) == ([] if taken else ["a"])


def test_what_is_not_scheduled_cannot_be_hastened() -> None:
    due = schedule(a=1000)
    due.hasten("b", 0)
    assert "b" not in due


def test_what_is_removed_is_never_taken() -> None:
    due = schedule()
    due.remove("a")
    assert "a" not in due
    assert due.take(1000, limit=9) == ["b"]


def test_what_is_removed_while_it_is_under_way_is_not_to_be_put_again() -> None:
    due = schedule(a=1000)
    due.take(1000, limit=1)
    due.remove("a")
    assert not due.done("a")


@pytest.mark.parametrize(("now", "lag"), [(999, 0), (1000, 0), (1000.5, 0.5), (1090, 90)])
def test_the_lag_is_that_of_the_most_overdue(now: float, lag: float) -> None:
    assert schedule(a=1000, b=1001).lag(now) == lag


def test_what_is_under_way_lags_too() -> None:
    due = schedule(a=1000)
    due.take(1000, limit=1)
    assert due.lag(1045) == 45
    due.done("a")
    assert due.lag(1045) == 0


def test_with_nothing_waiting_the_wait_is_an_hour() -> None:
    due = schedule(a=1000)
    due.take(1000, limit=1)
    assert due.wait(1000) == 3600


def test_putting_a_task_off_again_and_again_takes_no_room() -> None:
    due = schedule(a=1000, b=5000)
    for at in range(100_000):
        due.put("a", 2000 + at % 7)
    assert sum(map(len, due.schedule._heaps.values())) < 100
    assert due.take(6000, limit=9) == ["a", "b"]


@given(st.data())
def test_a_task_is_waiting_or_under_way_and_never_both(data: st.DataObject) -> None:
    due, now = Named(), 0.0
    waiting: dict[str, float] = {}
    under_way = set[str]()
    unwanted = set[str]()
    for _ in range(data.draw(st.integers(1, 30))):
        now += data.draw(st.floats(0, 200))
        task = data.draw(st.sampled_from("abcde"))
        at = now + data.draw(st.floats(-100, 300))
        match data.draw(st.sampled_from(["put", "hasten", "remove", "take", "done"])):
            case "put":
                due.put(task, at)
                if task in unwanted:
                    unwanted.discard(task)
                    under_way.add(task)
                elif task not in under_way:
                    waiting[task] = at
            case "hasten":
                due.hasten(task, at)
                if task in waiting:
                    waiting[task] = min(waiting[task], at)
            case "remove":
                due.remove(task)
                waiting.pop(task, None)
                unwanted |= under_way & {task}
                under_way.discard(task)
            case "done":
                assert due.done(task) == (task in under_way)
                under_way.discard(task)
                unwanted.discard(task)
            case "take":
                limit = data.draw(st.integers(0, 5))
                taken = due.take(now, limit)
                ripe = sorted(at for at in waiting.values() if at <= now)[:limit]
                assert [waiting.pop(each) for each in taken] == ripe
                under_way |= set(taken)
        assert {each for each in "abcde" if each in due} == waiting.keys() | under_way
        assert {each for each in "abcde" if due.is_under_way(each)} == under_way | unwanted
        assert due.wait(now) == (max(0.0, min(waiting.values()) - now) if waiting else 3600)


def test_a_task_that_is_removed_under_way_comes_back_only_when_it_is_wanted_again() -> None:
    due = Named()
    due.put("a", 1)
    due.take(1, limit=1)
    due.remove("a")
    assert due.is_under_way("a")
    assert not due.done("a")
    due.put("a", 2)
    due.take(2, limit=1)
    due.remove("a")
    due.put("a", 3)
    assert due.done("a")
