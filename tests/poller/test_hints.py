"""Hints that a job has news: which ids a text has, when the job is polled, and how soon a build shows."""

import json
import math
import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from statistics import quantiles
from urllib.parse import quote, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.ledger.job_ledger import JobLedger, RecentBuild
from exporter.model import Build, State
from exporter.poller.hints import MIN_PAUSE_S, Hint
from exporter.poller.tasks_and_results import JOB_LISTS
from exporter.simulator import Fleet, ManualClock, fault
from exporter.web.routes import ids_in
from tests.ledger.examples import START_MS, counted, history, idle, running
from tests.poller.conftest import JOB
from tests.poller.test_planner import USUAL, Planner, ids, planner
from tests.support.watch import HOUR, MINUTE, Watch, watching

CALM = "poll: {interval: 1h}\nrecycle_bin: {enabled: false}"
"""Nothing is polled by itself."""


class TestIds:
    @pytest.mark.parametrize(
        "text",
        [
            f"job_id={JOB}",
            urlencode({"payload": json.dumps({"job": {"id": JOB}})}),
            json.dumps({"url": f"https://host/codeci/project/{'a' * 32}/job/{JOB}/7"}),
            json.dumps(json.dumps({"id": JOB})).replace('"', "\\u0022"),
            quote(f"<job>{JOB}</job>"),
            f"{JOB}{JOB}",
        ],
    )
    def test_an_id_is_found_in_any_format(self, text: str) -> None:
        assert JOB in set(ids_in(text.encode()))

    @given(st.binary(max_size=80), st.binary(max_size=80))
    def test_whatever_surrounds_an_id(self, before: bytes, after: bytes) -> None:
        assert JOB in set(ids_in(before + JOB.encode() + after))

    @pytest.mark.parametrize("text", [b"", JOB[:31].encode(), JOB.upper().encode(), b"\xff" * 100])
    def test_other_texts_have_none(self, text: bytes) -> None:
        assert list(ids_in(text)) == []


class Polled:
    """A planner of some jobs, none of which is due, and the times at which polls began."""

    def __init__(self, jobs: int = 3) -> None:
        self.planner: Planner = planner(jobs)
        self.planner.apply_lists(None, 0.0)
        for task in [task for task in self.planner.due(0.0, 100) if task != JOB_LISTS]:
            self.planner.succeed(task, idle(), 0.0)
        self.now = 1.0

    def hint(self, *job_ids: str) -> None:
        self.planner.hint(job_ids, self.now, round(self.now * 1000))

    def starts(self, until: float, ledger: JobLedger, takes_s: float = 0.0) -> dict[str, list[float]]:
        """Begin polls when they are due, each of which shows that ledger."""
        starts: dict[str, list[float]] = {}
        while self.now < until:
            for task in self.planner.due(self.now, 100):
                starts.setdefault(task, []).append(self.now)
                if task != JOB_LISTS:
                    self.planner.succeed(task, ledger, self.now + takes_s)
            self.now += 0.5
        return starts


class TestSchedule:
    def test_a_job_is_polled_at_once_and_others_are_not(self) -> None:
        polled = Polled()
        polled.now = 10.0
        polled.hint(ids(3)[1])
        assert polled.planner.due(10.0, 100) == [ids(3)[1]]

    def test_an_unknown_id_changes_nothing(self) -> None:
        polled = Polled()
        before = polled.planner.schedule.wait(5.0)
        polled.hint("f" * 32)
        assert polled.planner.schedule.wait(5.0) == before

    def test_a_storm_of_hints_polls_a_job_once_in_two_seconds(self) -> None:
        polled, job = Polled(), ids(3)[0]
        starts = []
        while polled.now < 30.0:
            polled.hint(job, job)
            for task in polled.planner.due(polled.now, 100):
                if task == job:
                    starts.append(polled.now)
                    polled.planner.succeed(task, idle(), polled.now)
            polled.now += 0.1
        assert len(starts) >= 14
        assert all(later - earlier >= MIN_PAUSE_S - 0.01 for earlier, later in pairwise([0.0, *starts]))

    def test_without_a_build_it_looks_again_after_2_4_8_16_and_32_seconds(self) -> None:
        polled, job = Polled(), ids(3)[0]
        polled.now = 10.0
        polled.hint(job)
        assert polled.starts(60.0, idle())[job] == [10.0, 12.0, 14.0, 18.0, 26.0, 42.0]

    def test_a_new_build_that_has_ended_ends_it(self) -> None:
        polled, job = Polled(), ids(3)[0]
        polled.now = 10.0
        polled.hint(job)
        assert polled.starts(12.0, idle())[job] == [10.0]
        assert polled.starts(58.0, counted(idle(), 2))[job] == [12.0]

    def test_where_polls_wait_for_the_throttle_pauses_grow(self) -> None:
        polled, job = Polled(), ids(3)[0]
        polled.now = 10.0
        polled.hint(job)
        assert polled.starts(40.0, idle(), takes_s=4.0)[job][:3] == [10.0, 18.0, 26.0]

    def test_a_refusal_ends_it(self) -> None:
        polled, job = Polled(), ids(3)[0]
        polled.now = 10.0
        polled.hint(job)
        assert polled.planner.due(10.0, 100) == [job]
        polled.planner.poll_failed(polled.planner.watchlist.states[job], 10.0, refused=True)
        assert job not in polled.starts(60.0, idle())

    def test_a_failure_is_followed_by_growing_pauses(self) -> None:
        polled, job = Polled(), ids(3)[0]
        polled.now = 10.0
        polled.hint(job)
        starts = []
        while polled.now < 45.0:
            for task in polled.planner.due(polled.now, 100):
                if task == job:
                    starts.append(polled.now)
                    polled.planner.poll_failed(
                        polled.planner.watchlist.states[job], polled.now, refused=False
                    )
            polled.now += 0.5
        assert starts == [10.0, 12.0, 14.0, 18.0, 26.0, 42.0]

    def test_a_poll_that_began_before_the_hint_is_followed_by_another(self) -> None:
        polled, job = Polled(), ids(3)[0]
        polled.now = 10.0
        polled.hint(job)
        assert polled.planner.due(10.0, 100) == [job]
        polled.now = 11.0
        polled.hint(job)
        polled.planner.succeed(job, counted(idle(), 2), 11.0)
        assert polled.starts(20.0, counted(idle(), 2))[job][0] == 12.0

    def test_a_poll_that_began_before_the_hint_may_end_the_build_that_it_is_about(self) -> None:
        polled, job = Polled(), ids(3)[0]
        polled.now = 10.0
        polled.hint(job)
        polled.starts(11.0, history(counted(idle(), 2), running(3)))
        polled.now = 12.0
        assert polled.planner.due(12.0, 100) == [job]
        polled.now = 13.0
        polled.hint(job)
        polled.planner.succeed(job, counted(idle(), 3), 13.0)
        assert polled.starts(40.0, counted(idle(), 3))[job] == [14.0]

    def test_it_goes_on_under_a_configuration_that_was_read_again(self) -> None:
        polled, job = Polled(), ids(3)[0]
        polled.now = 10.0
        polled.hint(job)
        polled.starts(12.0, idle())
        after = Planner(planner(3).watchlist, USUAL, 12.0, random.Random(0))
        for each in after.watchlist.states.values():
            each.ledger = idle()
        after.carry_over(polled.planner, same_service=True)
        polled.planner = after
        assert polled.starts(58.0, idle())[job] == [12.0, 14.0, 18.0, 26.0, 42.0]


class TestExpectedEnd:
    """The last builds took a minute, so the next is expected to take 54 to 66 seconds."""

    LAST = counted(idle(), 2)

    def pause(self, ledger: JobLedger, age: float) -> float | None:
        """The pause after a poll that long after a hint that came at the start of build 3."""
        hint = Hint.of(ledger, 0.0, START_MS)
        after = hint.after_poll(ledger, age)
        return after.pause(ledger, age, MINUTE) if after else None

    @pytest.mark.parametrize(
        ("age", "pause"),
        [
            (2, 2),
            (4, 4),
            (16, 16),
            (32, 22),
            (53, 2),
            (54, 2),
            (60, 2),
            (66, 2),
            (69, 3),
            (90, 24),
            (125, 59),
        ],
    )
    def test_pauses_grow_after_the_hint_and_shrink_towards_the_end(self, age: float, pause: float) -> None:
        assert self.pause(history(self.LAST, running(3)), age) == pause

    def test_a_build_that_is_long_overdue_is_left_to_the_usual_polls(self) -> None:
        assert self.pause(history(self.LAST, running(3)), 127) is None

    def test_a_job_without_finished_builds_is_left_to_them_after_the_interval(self) -> None:
        first = history(idle(), running(2))
        first = replace(first, recent=())
        assert (self.pause(first, 60), self.pause(first, 61)) == (60, None)

    def test_a_build_that_waits_in_the_queue_costs_no_more_polls_than_usual(self) -> None:
        queued = history(self.LAST, Build(3, state=State.QUEUED))
        assert [self.pause(queued, age) for age in (2, 60, 600, 90_000)] == [2, 60, 600, None]

    def test_durations_far_apart_are_polled_at_most_300_times(self) -> None:
        recent = self.LAST.recent[0]
        durations = [replaced(recent, hours * 3_600_000) for hours in (1, 4)]
        hours_long = replace(history(self.LAST, running(3)), recent=tuple(durations))
        assert self.pause(hours_long, 2 * HOUR) == pytest.approx(5.5 * HOUR / 300 + 0.5 * HOUR / 300, rel=0.1)


def replaced(build: RecentBuild, duration_ms: int) -> RecentBuild:
    return build._replace(duration_ms=duration_ms)


def run_until(watch: Watch, is_over: Callable[[], bool], hint_at: float = math.inf) -> None:
    """Do what is due until then; the job is hinted at that time."""
    while not is_over():
        hinted = [JOB] if watch.now() >= hint_at else []
        hint_at = math.inf if hinted else hint_at
        if works := watch.poller.take(8, hinted):
            watch.poller.settle([watch.poller.run(work) for work in works])
        else:
            watch.wait(max(0.001, min(watch.poller.wait(), 0.5)))


def shown(watch: Watch) -> int:
    """The number of builds that a scrape would show as counted."""
    return sum(sum(view.ledger.counts.values()) for view in watch.poller.view.jobs if view.ledger)


@pytest.fixture
def watch(fleet: Fleet, clock: ManualClock) -> Iterator[Watch]:
    """An exporter that polls nothing by itself; the job's last twenty builds took 30 to 60 seconds."""
    rng = random.Random(1)
    for number in range(20, 0, -1):
        fleet.add_build(JOB, duration_s=rng.uniform(30, 60), at_ms=clock.now_ms() - number * 100_000)
    with watching(fleet, settings=CALM) as watch:
        watch.begin()
        begin = watch.now()
        run_until(watch, lambda: watch.now() > begin + 1)
        yield watch


WHEN: dict[str, Callable[[float, float], float]] = {
    "when it starts": lambda start, _: start,
    "when it has ended": lambda _, end: end,
    "just before it ends": lambda _, end: end - 3.3,
}


class TestOnASimulatedService:
    @pytest.mark.parametrize("when", WHEN.values(), ids=WHEN)
    def test_a_build_shows_soon_after_it_has_ended(
        self, fleet: Fleet, watch: Watch, when: Callable[[float, float], float]
    ) -> None:
        rng, delays = random.Random(2), []
        for number in range(1, 16):
            build = fleet.add_build(JOB, queue_s=1, duration_s=rng.uniform(30, 60))
            end = (build.finish_ms or 0) / 1000
            run_until(watch, lambda: shown(watch) == number, when(watch.now(), end))  # noqa: B023
            delays.append(watch.now() - end)
            run_until(watch, lambda: watch.now() > end + 20)  # noqa: B023
        cuts = quantiles(delays, n=100, method="inclusive")
        assert (cuts[49] < 1.5, cuts[98] < 5) == (True, True), delays

    def test_a_hint_costs_a_poll_and_the_details_of_the_build(self, fleet: Fleet, watch: Watch) -> None:
        asked = len(watch.simulator.requests)
        build = fleet.add_build(JOB, duration_s=30)
        end = (build.finish_ms or 0) / 1000
        run_until(watch, lambda: watch.now() > end + 300, end)
        assert (shown(watch), len(watch.simulator.requests) - asked) == (1, 2)

    @pytest.mark.parametrize("kind", ["late-records", "late-details"])
    def test_a_build_that_the_service_shows_late_is_waited_for(
        self, fleet: Fleet, watch: Watch, kind: str
    ) -> None:
        build = fleet.add_build(JOB, duration_s=1)
        end = (build.finish_ms or 0) / 1000
        watch.simulator.faults.add(fault(kind, seconds=7.0))
        run_until(watch, lambda: shown(watch) == 1, end)
        assert end + 5 < watch.now() < end + 15

    def test_without_a_hint_it_waits_for_the_interval(self, fleet: Fleet, watch: Watch) -> None:
        fleet.add_build(JOB, duration_s=30)
        begin = watch.now()
        run_until(watch, lambda: watch.now() > begin + 600)
        assert shown(watch) == 0
