"""The planner: the rules that bind watchlist, lists and schedule."""

import os
import random
import subprocess
import sys
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from statistics import mean

import pytest

from exporter.config import parse
from exporter.errors import NotVisibleError
from exporter.ledger.job_ledger import JobLedger
from exporter.model import Build, JobNames, ListedJob, State
from exporter.poller import Intervals, PollPlanner
from exporter.poller.job_list_changes import JobListChanges
from exporter.poller.tasks_and_results import JOB_LISTS, RECYCLE_BIN, JobListsResult, Listing
from exporter.poller.watchlist import Watchlist
from tests.ledger.examples import at, counted, history, idle, running

MINUTE = 60.0
HOUR = 3600.0
PROJECT = "1" * 32
USUAL = Intervals(interval=60.0, max_interval=None, recycle=None)


def ids(count: int) -> list[str]:
    return [f"{number:032}" for number in range(count)]


class Planner(PollPlanner):
    """A planner that is driven by job ids, and given the ledgers that a poller would have committed."""

    def due(self, now: float, limit: int) -> list[str]:
        return [timer.task for timer in self.take(now, limit)]

    def follow(
        self, read: JobListsResult | None, ledgers: Mapping[str, JobLedger], now: float
    ) -> JobListChanges:
        for job_id, job in self.watchlist.states.items():
            job.ledger = ledgers.get(job_id)
        return self.apply_lists(read, now)

    def succeed(
        self, job_id: str, ledger: JobLedger, now: float, *, found: bool = False, found_ms: int | None = None
    ) -> bool:
        job = self.watchlist.states[job_id]
        job.ledger = ledger
        return self.poll_succeeded(job, now, Build(ledger.highest, start_ms=found_ms) if found else None)


def planner(jobs: int = 20, intervals: Intervals = USUAL, projects: str = "[]") -> Planner:
    text = (
        f"endpoint: https://example.com\nauth: {{token: x}}\n"
        f"jobs: [{', '.join(ids(jobs))}]\nprojects: {projects}\n"
    )
    watchlist = Watchlist(parse(text, source="test", environ={}, base_dir=Path()))
    return Planner(watchlist, intervals, 0.0, random.Random(7))


def show(job_id: str, **more: object) -> ListedJob:
    """A settled build 1, as ``idle()`` knows it, unless overridden."""
    fields: dict[str, object] = {
        "last_build_ms": at(0),
        "is_finished": True,
        "status": "blue",
        "number": 1,
        **more,
    }
    return ListedJob(job_id, JobNames(f"job-{job_id[-3:]}", "shop", PROJECT), **fields)  # type: ignore[arg-type]


def sweep(*jobs: ListedJob, read_ms: int = 0) -> JobListsResult:
    return JobListsResult((Listing("", {job.id: job for job in jobs}),), {}, {}, {}, read_ms)


def settled(count: int) -> tuple[Planner, dict[str, JobLedger], list[ListedJob]]:
    """Jobs whose ledgers and lists agree; swept once."""
    made = planner(count)
    ledgers = dict.fromkeys(ids(count), idle())
    shown = [show(job_id, number=ledgers[job_id].highest) for job_id in ids(count)]
    sweep_now(made, sweep(*shown), ledgers, 0.0)
    return made, ledgers, shown


def sweep_now(
    made: Planner, swept: JobListsResult | None, ledgers: Mapping[str, JobLedger], now: float
) -> dict[str, Build]:
    """Take the sweep that is due, and let it bring that."""
    assert JOB_LISTS in made.due(now, 1000)
    if swept:
        made.learn(swept, now)
    return dict(made.follow(swept, ledgers, now).running)


def due_within(made: Planner, begin: float, seconds: float) -> list[str]:
    """Jobs that come due after ``begin`` and not later than so many seconds after."""
    made.due(begin, 10_000)
    return [task for task in made.due(begin + seconds, 10_000) if len(task) == 32]


def quiet_index(made: Planner, shown: Sequence[ListedJob], now: float) -> int:
    """Take all jobs that are due before then; return the index of one that is not."""
    taken = made.due(now - 0.001, 10_000)
    return next(index for index, job in enumerate(shown) if job.id not in taken)


class TestCarryOver:
    """Under a configuration that was read again, half a minute after the lists were."""

    INTERVALS = Intervals(60, None, 600)
    OTHER = "[{id: 22222222222222222222222222222222}]"

    def before(self) -> tuple[Planner, dict[str, JobLedger], list[ListedJob]]:
        made = planner(20, self.INTERVALS)
        ledgers = dict.fromkeys(ids(20), idle())
        shown = [show(job_id, number=1) for job_id in ids(20)]
        sweep_now(made, sweep(*shown), ledgers, 0.0)
        made.recycle_bin_read(0.0)
        return made, ledgers, shown

    @pytest.mark.parametrize("fewer", [20, 15])
    def test_nothing_is_requested_before_it_is_due(self, fewer: int) -> None:
        before, _, _ = self.before()
        after = planner(fewer, self.INTERVALS)
        assert after.carry_over(before, same_service=True) == {JOB_LISTS, RECYCLE_BIN, *ids(fewer)}
        assert set(after.due(30, 100)) == set(before.due(30, 100)) & set(ids(fewer))
        assert JOB_LISTS in after.due(60, 100)
        assert after.lists_are_trusted(60)

    def test_what_was_under_way_is_requested_at_once(self) -> None:
        before, ledgers, shown = self.before()
        sweep_now(before, sweep(show(ids(1)[0], number=2), *shown[1:], read_ms=at(1)), ledgers, 60)
        under_way = before.due(60, 100)
        assert ids(1)[0] in under_way
        after = planner(20, self.INTERVALS)
        after.carry_over(before, same_service=True)
        assert set(after.due(60, 100)) >= set(under_way)

    @pytest.mark.parametrize(
        ("jobs", "projects", "at_once"), [(21, "[]", {JOB_LISTS}), (20, OTHER, {JOB_LISTS})]
    )
    def test_lists_are_read_at_once_for_new_jobs_and_projects(
        self, jobs: int, projects: str, at_once: set[str]
    ) -> None:
        before, _, _ = self.before()
        after = planner(jobs, self.INTERVALS, projects)
        after.carry_over(before, same_service=True)
        assert set(after.due(30, 100)) == at_once | set(before.due(30, 100))

    def test_another_interval_of_the_recycle_bin_concerns_the_recycle_bin(self) -> None:
        before, _, _ = self.before()
        after = planner(20, Intervals(60, None, 500))
        after.carry_over(before, same_service=True)
        assert set(after.due(30, 100)) == {RECYCLE_BIN, *before.due(30, 100)}

    @pytest.mark.parametrize(
        ("intervals", "same_service", "at_once"),
        [
            (INTERVALS, False, {JOB_LISTS, RECYCLE_BIN}),
            (Intervals(30, None, 600), True, {JOB_LISTS}),
            (Intervals(60, 300, 600), True, {JOB_LISTS}),
        ],
    )
    def test_other_intervals_or_another_service_start_over(
        self, intervals: Intervals, same_service: bool, at_once: set[str]
    ) -> None:
        before, _, _ = self.before()
        after = planner(20, intervals)
        after.carry_over(before, same_service=same_service)
        assert set(after.due(30, 100)) == at_once


class TestTheStart:
    def test_the_lists_come_first_and_no_job_before_they_have_ended(self) -> None:
        made = planner(3, Intervals(60, None, 600))
        assert made.due(0, 10) == [JOB_LISTS, RECYCLE_BIN]
        assert made.due(1000, 10) == []

    def test_jobs_that_built_last_come_first(self) -> None:
        made = planner(3)
        first, second, third = ids(3)
        shown = (show(first), show(second, last_build_ms=at(9)), show(third, last_build_ms=at(5)))
        sweep_now(made, sweep(*shown), {}, 0)
        assert made.due(0, 10) == [second, third, first]

    def test_those_that_no_list_shows_come_last(self) -> None:
        made = planner(3)
        first, second, third = ids(3)
        sweep_now(made, sweep(show(third)), {}, 0)
        assert made.due(0, 10) == [third, first, second]

    def test_lists_changes_and_hints_do_not_wait_for_the_first_polls(self) -> None:
        made, jobs = planner(100), ids(100)
        sweep_now(made, sweep(*map(show, jobs)), {}, 0.0)
        polled = {job_id: idle() for job_id in made.due(0, 8)}
        for job_id, ledger in polled.items():
            made.succeed(job_id, ledger, 1)
        changed, hinted = next(iter(polled)), jobs[90]
        shown = [show(job_id, number=2 if job_id == changed else 1) for job_id in jobs]
        assert made.due(60, 1) == [JOB_LISTS]
        made.learn(sweep(*shown, read_ms=at(1)), 60)
        made.follow(sweep(*shown, read_ms=at(1)), polled, 60)
        made.hint([hinted], 60, at(1))
        assert {changed, hinted} <= set(made.due(60, 3))
        assert made.schedule.lag(60) == 60, "the first polls are late"

    def test_a_sweep_that_fails_holds_nothing_up(self) -> None:
        made = planner(3)
        sweep_now(made, None, {}, 0)
        assert sorted(made.due(0, 10)) == ids(3)

    def test_a_job_without_builds_is_reported_and_not_polled(self) -> None:
        made = planner(20)
        first, second, *others = ids(20)
        never = show(first, last_build_ms=None, status="none", number=None)
        assert JOB_LISTS in made.due(0, 1)
        swept = sweep(never, show(second), *(show(other) for other in others))
        made.learn(swept, 0)
        assert made.follow(swept, {}, 0).never_built == {first}
        assert first not in made.due(0, 100)

    def test_a_restart_of_a_settled_fleet_polls_nothing_at_once(self) -> None:
        made, _, _ = settled(500)
        assert len(due_within(made, 0, MINUTE)) <= 10

    def test_only_what_differs_from_the_store_is_polled(self) -> None:
        made = planner(50)
        ledgers = dict.fromkeys(ids(50), idle())
        number = idle().highest
        shown = [show(job_id, number=number) for job_id in ids(50)]
        shown[7] = show(ids(50)[7], number=number + 1, last_build_ms=at(9))
        sweep_now(made, sweep(*shown), ledgers, 0)
        assert made.due(0, 10) == [ids(50)[7]]


class TestWhereListsAreUsed:
    def test_they_are_read_each_interval(self) -> None:
        made, ledgers, shown = settled(200)
        assert made.lists_are_trusted(0)
        assert JOB_LISTS not in made.due(59, 1000)
        sweep_now(made, sweep(*shown), ledgers, 60)

    @pytest.mark.parametrize(
        ("polls_are_late", "took", "next_read"),
        [(False, 50, 60), (False, 90, 90), (True, 5, 60), (True, 20, 100), (True, 90, 450)],
    )
    def test_while_polls_are_late_a_long_read_is_followed_by_a_pause(
        self, polls_are_late: bool, took: float, next_read: float
    ) -> None:
        made, ledgers, shown = settled(200)
        began = HOUR if polls_are_late else 60.0
        assert made.due(began, 1) == [JOB_LISTS]
        for now in () if polls_are_late else range(int(began), int(began + took) + 1):
            for job_id in made.due(now, 1000):
                made.succeed(job_id, ledgers[job_id], now)
        read = sweep(*shown, read_ms=at(began / 60))
        made.learn(read, began + took)
        made.follow(read, ledgers, began + took)
        assert made._fleet_timers[JOB_LISTS].due == began + next_read

    def test_a_change_is_polled_at_once(self) -> None:
        made, ledgers, shown = settled(200)
        quiet = quiet_index(made, shown, 60)
        shown[quiet] = show(
            shown[quiet].id, number=ledgers[shown[quiet].id].highest + 1, last_build_ms=at(30)
        )
        sweep_now(made, sweep(*shown), ledgers, 60)
        assert made.due(60, 1000) == [shown[quiet].id]

    def test_a_new_build_whose_number_is_listed_costs_no_poll(self) -> None:
        made, ledgers, shown = settled(200)
        quiet = quiet_index(made, shown, 60)
        number = idle().highest + 1
        begun = {"is_finished": False, "state": State.RUNNING, "status": "building"}
        shown[quiet] = show(shown[quiet].id, number=number, last_build_ms=at(30), **begun)
        running_now = sweep_now(made, sweep(*shown), ledgers, 60)
        assert running_now == {shown[quiet].id: Build(number, state=State.RUNNING, start_ms=at(30))}
        assert made.due(60, 1000) == []

    def test_a_job_of_which_two_builds_run_is_polled_each_interval(self) -> None:
        made, ledgers, shown = settled(200)
        quiet = quiet_index(made, shown, 60)
        job_id = shown[quiet].id
        shown[quiet] = show(job_id, number=3, last_build_ms=at(30), is_finished=False, state=State.RUNNING)
        sweep_now(made, sweep(*shown), ledgers, 60)
        assert made.due(60, 1000) == [job_id]
        ledger = history(idle(), running(2, minute=29), running(3, minute=30), minute=31)
        assert not made.succeed(job_id, ledger, 60, found=True, found_ms=at(30))
        assert made.schedule.wait(60) <= 60
        assert job_id in due_within(made, 61, 59)

    @pytest.mark.parametrize("jobs", [100, 1000])
    def test_so_few_are_polled_by_themselves_that_the_budget_holds(self, jobs: int) -> None:
        made, ledgers, _ = settled(jobs)
        polls = []
        step = 5
        for minute in range(step, 2000, step):
            now = minute * MINUTE
            tasks = made.due(now, 10_000)
            for task in tasks:
                if task == JOB_LISTS:
                    made.follow(sweep(show(ids(1)[0], number=idle().highest)), ledgers, now)
                else:
                    made.succeed(task, ledgers[task], now)
            polls.append(len(set(tasks) - {JOB_LISTS}))
        hours = 240 // step
        means = [mean(polls[begin : begin + hours]) / step for begin in range(0, len(polls) - 20, hours)]
        assert max(means) <= (jobs / 5 if jobs < 1000 else 1.9)
        assert max(polls) <= 25
        assert sum(polls) >= jobs

    def test_a_day_is_the_longest_that_a_job_goes_without_a_poll(self) -> None:
        assert USUAL.with_lists(5) == 600
        assert USUAL.with_lists(1000) > HOUR
        assert USUAL.with_lists(1_000_000) == 86_400
        assert Intervals(60, 1200, None).with_lists(1_000_000) == 1200

    def test_a_job_that_lists_no_longer_show_is_polled_like_one_without_lists(self) -> None:
        made, ledgers, shown = settled(500)
        lost = shown[3].id
        taken: list[str] = []
        for minute in range(1, 5):
            now = minute * MINUTE
            taken += made.due(now - 1, 1000)
            sweep_now(made, sweep(*(job for job in shown if job.id != lost)), ledgers, now)
        taken += made.due(4 * MINUTE, 10_000)
        taken += made.due(4 * MINUTE + USUAL.without_lists(500), 10_000)
        assert lost in taken, "lists do not serve it, so it is due like any other"

    def test_a_poll_that_does_not_show_what_the_list_shows_is_repeated_soon(self) -> None:
        made, ledgers, shown = settled(500)
        quiet = quiet_index(made, shown, 60)
        job_id = shown[quiet].id
        shown[quiet] = show(job_id, number=idle().highest + 1, last_build_ms=at(30))
        sweep_now(made, sweep(*shown), ledgers, 60)
        assert job_id in made.due(60, 1000)
        made.succeed(job_id, ledgers[job_id], 60)
        assert job_id in due_within(made, 60, 2 * MINUTE), "history is late: it is asked again"


class TestWhereListsDoNotServe:
    def refused(self, jobs: int, ledgers: Mapping[str, JobLedger]) -> Planner:
        made = planner(jobs)
        made.due(0, 10)
        swept = JobListsResult((), {"": NotVisibleError("403")}, {}, {}, 0)
        made.learn(swept, 0)
        made.follow(swept, ledgers, 0)
        return made

    def test_it_says_so(self) -> None:
        assert not self.refused(20, {}).lists_are_trusted(1)

    def test_lists_are_not_trusted_before_any_was_read(self) -> None:
        made = planner(20)
        assert not made.lists_are_trusted(0)
        sweep_now(made, None, {}, 0)
        assert not made.lists_are_trusted(0)

    def test_a_quiet_job_is_asked_ever_more_rarely_up_to_the_longest(self) -> None:
        jobs = 200
        made = self.refused(jobs, {})
        asked: dict[str, list[float]] = {job_id: [] for job_id in ids(jobs)}
        for second in range(0, 7200, 10):
            for task in made.due(second, 10_000):
                if task == JOB_LISTS:
                    made.follow(JobListsResult((), {"": NotVisibleError("403")}, {}, {}, 0), {}, second)
                else:
                    asked[task].append(second)
                    made.succeed(task, idle(), second)
        for moments in asked.values():
            rests = [later - earlier for earlier, later in pairwise(moments)]
            assert rests[0] <= 70
            assert rests[-1] <= 610
            assert 8 <= len(moments) <= 24

    def test_a_building_job_is_asked_each_interval(self) -> None:
        made = self.refused(20, {})
        ledger = history(idle(), running(2, minute=1), minute=2)
        for minute in range(20):
            tasks = made.due(minute * MINUTE, 100)
            assert minute == 0 or ids(1)[0] in tasks
            for task in tasks:
                if task == JOB_LISTS:
                    refused = JobListsResult((), {"": NotVisibleError("403")}, {}, {}, 0)
                    made.follow(refused, {}, minute * MINUTE)
                else:
                    busy = task == ids(1)[0]
                    made.succeed(task, ledger if busy else idle(), minute * MINUTE)

    def test_a_job_that_builds_again_is_busy_again(self) -> None:
        made = self.refused(200, {})
        job_id = ids(1)[0]
        for task in made.due(0, 1000):
            made.succeed(task, idle(), 0)
        for hour in range(1, 4):
            for task in made.due(hour * HOUR, 1000):
                if task != JOB_LISTS:
                    found = task == job_id and hour == 3
                    made.succeed(task, counted(idle(), 2), hour * HOUR, found=found, found_ms=None)
        assert job_id in due_within(made, 3 * HOUR, 60)

    @pytest.mark.parametrize(
        "swept", [None, JobListsResult((Listing("", {}),), {}, {}, {}, 0)], ids=["failed", "empty"]
    )
    def test_lists_without_jobs_for_some_intervals_are_not_used(self, swept: JobListsResult | None) -> None:
        made, ledgers, _ = settled(500)
        for minute in range(1, 6):
            made.due(minute * MINUTE - 1, 1000)
            sweep_now(made, swept, ledgers, minute * MINUTE)
        assert not made.lists_are_trusted(5 * MINUTE)
        made.due(5 * MINUTE, 10_000)
        taken = set(made.due(5 * MINUTE + USUAL.without_lists(500), 10_000)) - {JOB_LISTS}
        assert len(taken) > 300

    def test_a_hidden_build_ends_their_use_for_a_while(self) -> None:
        made, ledgers, shown = settled(20)
        for minute in range(1, 6):
            made.due(minute * MINUTE - 1, 1000)
            sweep_now(made, sweep(*shown, read_ms=at(100 + minute)), ledgers, minute * MINUTE)
        assert made.succeed(ids(1)[0], counted(idle(), 2), 301, found=True, found_ms=at(100))
        assert not made.lists_are_trusted(302)
        sweep_now(made, sweep(*shown, read_ms=at(200)), ledgers, 360)
        assert not made.lists_are_trusted(361)
        made.due(2 * HOUR, 1000)
        made.follow(sweep(*shown, read_ms=at(300)), ledgers, 2 * HOUR)
        assert made.lists_are_trusted(2 * HOUR)


class TestTasks:
    def test_a_poll_that_fails_is_tried_again_an_interval_later(self) -> None:
        made = planner(2)
        sweep_now(made, None, {}, 0)
        made.due(0, 10)
        made.poll_failed(made.watchlist.states[ids(1)[0]], 5, refused=False)
        assert ids(1)[0] in due_within(made, 6, 60)

    def test_a_job_that_keeps_failing_is_polled_at_growing_intervals(self) -> None:
        made = planner(1)
        sweep_now(made, None, {}, 0)
        moments = []
        for second in range(0, 14_400, 5):
            for task in made.due(second, 10):
                if task == JOB_LISTS:
                    made.follow(None, {}, second)
                else:
                    moments.append(second)
                    made.poll_failed(made.watchlist.states[task], second, refused=True)
        assert 24 <= len(moments) <= 34

    def test_with_more_details_to_request_it_is_due_at_once(self) -> None:
        made = planner(1)
        sweep_now(made, None, {}, 0)
        made.due(0, 10)
        made.poll_again(made.watchlist.states[ids(1)[0]], 5)
        assert made.due(5, 10) == ids(1)

    def test_what_is_dropped_while_it_is_under_way_does_not_come_back(self) -> None:
        made = planner(0, projects=f"[{{id: {PROJECT}}}]")
        sweep_now(made, sweep(show(ids(1)[0])), {}, 0)
        [timer] = [timer for timer in made.take(0, 10) if timer.task == ids(1)[0]]
        assert [job.id for job in made.drop_deleted(ids(1))] == ids(1)
        made.schedule.done(timer)
        assert ids(1)[0] not in made.due(100_000, 10)

    def test_the_recycle_bin_has_its_own_interval_without_catching_up(self) -> None:
        made = planner(1, Intervals(60, None, 600))
        moments: list[float] = []
        for now in (0.0, 300.0, 599.0, 600.0, 2000.0, 2001.0, 2600.0):
            if RECYCLE_BIN in made.due(now, 10):
                moments.append(now)
                made.recycle_bin_read(now)
        assert moments == [0, 600, 2000, 2600]

    def test_no_two_jobs_are_polled_in_step(self) -> None:
        made = planner(500)
        sweep_now(made, None, {}, 0)
        bursts = []
        for second in range(3600):
            tasks = [task for task in made.due(second, 10_000) if task != JOB_LISTS]
            for task in tasks:
                made.succeed(task, idle(), second)
            bursts.append(len(tasks))
        assert max(bursts[1800:]) <= 20


class TestAReplay:
    @staticmethod
    def plan() -> list[tuple[str, float | None]]:
        """The due times of jobs after lists stopped showing every other one of them."""
        made, ledgers, shown = settled(50)
        for now in (60.0, 120.0, 180.0):
            sweep_now(made, sweep(*shown[::2], read_ms=round(now * 1000)), ledgers, now)
        return [(job.id, job.poll.due) for job in made.watchlist.states.values()]

    def test_gives_the_same_plan_in_any_process(self) -> None:
        code = f"from {__name__} import TestAReplay; print(TestAReplay.plan())"
        plans = [
            subprocess.run(
                [sys.executable, "-c", code],
                env={**os.environ, "PYTHONHASHSEED": seed},
                capture_output=True,
                text=True,
                check=True,
            ).stdout
            for seed in ("1", "2")
        ]
        assert plans[0] == plans[1]
        assert ids(50)[1] in plans[0]
