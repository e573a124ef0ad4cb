"""Stages as a step of their own: behind what counts, beside the polls of the same job, and few at a time."""

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from exporter.errors import ApiError, BackendError, NotVisibleError, ThrottledError
from exporter.ledger.fold_observations import Failed, Refused
from exporter.ledger.job_ledger import JobLedger
from exporter.ledger.stages import KnownStages
from exporter.poller.job_state import JobState
from exporter.poller.stage_schedule import BROKEN_AFTER, LONGEST_PAUSE_S, StageSchedule
from exporter.poller.tasks_and_results import (
    JOB_LISTS,
    JobListsResult,
    StagesFetched,
    TaskResult,
    Timer,
    Work,
    is_stages_task,
    stages_task,
)
from exporter.simulator import Fault, Fleet, ManualClock, Plan, Simulator, fault
from exporter.store import MemoryStore, SqliteStore, Store
from tests.poller.conftest import JOB
from tests.poller.test_stages import ON, counts
from tests.poller.test_workers import polling
from tests.support.programs import eventually, free_port
from tests.support.watch import HOUR, MINUTE, START_MS, Watch, watching

GOOD = StagesFetched((KnownStages(1, ()),))
BAD = StagesFetched((Failed(1), Failed(2)), BackendError("down"))
NOTHING = StagesFetched(())
REFUSED = fault("error", operation="full-stages", status=403, code="CB.00031007")
SLOW = (
    fault("delay", operation="full-stages", seconds=0.1),
    fault("hang", operation="full-stages"),
    fault("throttle", operation="full-stages", announce=False),
    fault("throttle", operation="full-stages", retry_after=300),
)


class WatchedStore(MemoryStore):
    """Notes what had been asked about stages, and when it was, when a build's count was committed."""

    def __init__(self) -> None:
        super().__init__()
        self.watch: Watch | None = None
        self.counted: list[tuple[int, int, float]] = []

    def commit(self, changed: Mapping[str, JobLedger]) -> dict[str, JobLedger]:
        for ledger in changed.values():
            builds = sum(ledger.counts.values())
            if self.watch and builds > len(self.counted):
                asked = len(self.watch.asked("full-stages"))
                self.counted.append((builds, asked, self.watch.now()))
        return super().commit(changed)


def until_steps(watch: Watch) -> list[Work]:
    """Do all that is due until builds are to be asked for their stages; that work, under way."""
    for _ in range(20):
        works = watch.poller.take(1000)
        steps = [work for work in works if is_stages_task(work.task)]
        watch.poller.settle([watch.poller.run(work) for work in works if work not in steps])
        if steps:
            return steps
    raise AssertionError("nobody asks for stages")


def build_and_poll(watch: Watch, fleet: Fleet) -> list[Work]:
    """A build that is over, and the poll that will find it, under way."""
    fleet.add_build(JOB, queue_s=0, duration_s=20)
    watch.clock.advance(2 * MINUTE)
    works = watch.poller.take(1000)
    assert JOB in [work.task for work in works]
    return works


@pytest.mark.parametrize("trouble", SLOW, ids=["delay", "hang", "throttle", "throttle-for-minutes"])
def test_a_build_is_committed_before_anybody_asks_for_its_stages(clock: ManualClock, trouble: Fault) -> None:
    counted: list[list[tuple[int, int, float]]] = []
    for faults in ([], [trouble]):
        fleet, store = Fleet(ManualClock(START_MS), seed=1), WatchedStore()
        fleet.add_job("checkout", "shop", job_id=JOB)
        with Simulator(fleet, caller_clock=fleet.clock).start(port=free_port()) as simulator:
            hangs = trouble.kind == "hang" and faults == [trouble]
            watch = Watch(simulator, settings=ON, store=store, timeout=0.3 if hangs else 5)
            watch.poll()
            store.watch = watch
            simulator.faults.replace(faults)
            fleet.add_build(JOB, queue_s=0, duration_s=20)
            watch.poll()
            assert watch.counted() == {"success": 1}
            assert watch.asked("full-stages")
            assert watch.value("job_up") == 1
            watch.close()
        counted.append(store.counted)
    assert counted[0] == counted[1]
    assert [asked for _, asked, _ in counted[0]] == [0]


def test_builds_are_counted_while_a_request_for_stages_hangs(fleet: Fleet, simulator: Simulator) -> None:
    others = [fleet.add_job(f"other-{ordinal}").id for ordinal in range(5)]
    simulator.faults.add(fault("hang", operation="full-stages"))
    settings = f"{ON}\npoll: {{interval: 100ms, max_interval: 1s, concurrency: 2}}"
    watch = Watch(simulator, settings=settings, timeout=600, max_requests_per_minute=100_000)
    with polling(watch, concurrency=2):
        eventually(lambda: watch.poller.is_ready, 10)
        fleet.add_build(JOB, queue_s=0, duration_s=1)
        watch.clock.advance(60)
        eventually(lambda: len(watch.asked("full-stages")) == 1, 10)
        for job_id in (JOB, JOB, *others):
            fleet.add_build(job_id, queue_s=0, duration_s=1)
        watch.clock.advance(60)
        eventually(lambda: sum(watch.series("codearts_build_builds_total").values()) == 8, 20)
        assert len(watch.asked("full-stages")) == 1
        assert not any(counts(watch).values())
    simulator.stop()
    watch.close()


@pytest.mark.parametrize("order", ["stages first", "poll first", "together", "together, the poll first"])
def test_a_poll_and_a_step_of_one_job_at_a_time_lose_nothing(fleet: Fleet, order: str) -> None:
    with watching(fleet, settings=ON) as watch:
        watch.poll()
        fleet.add_build(JOB, queue_s=0, duration_s=20)
        watch.clock.advance(2 * MINUTE)
        [step] = until_steps(watch)
        assert watch.counted() == {"success": 1}
        polls = build_and_poll(watch, fleet)
        measured, polled = watch.poller.run(step), [watch.poller.run(work) for work in polls]
        rounds: Mapping[str, Sequence[list[TaskResult]]] = {
            "stages first": ([measured], polled),
            "poll first": (polled, [measured]),
            "together": ([measured, *polled],),
            "together, the poll first": ([*polled, measured],),
        }
        for outcomes in rounds[order]:
            watch.poller.settle(outcomes)
        assert watch.counted() == {"success": 2}
        assert set(counts(watch).values()) == {1}
        watch.poll()
        assert set(counts(watch).values()) == {2}
        assert sorted(Counter(exchange.target for exchange in watch.asked("full-stages")).values()) == [1, 1]


def test_a_kill_between_count_and_stages_costs_nothing(
    fleet: Fleet, simulator: Simulator, tmp_path: Path
) -> None:
    path = str(tmp_path / "state.db")
    store: Store = SqliteStore(path)
    watch = Watch(simulator, settings=ON, store=store)
    watch.poll()
    fleet.add_build(JOB, queue_s=0, duration_s=20)
    watch.clock.advance(2 * MINUTE)
    until_steps(watch)
    store.close()
    watch.close()
    store = SqliteStore(path)
    watch = Watch(simulator, settings=ON, store=store)
    assert (watch.counted(), counts(watch)) == ({"success": 1}, {})
    until_steps(watch)
    store.close()
    watch.close()
    store = SqliteStore(path)
    watch = Watch(simulator, settings=ON, store=store)
    watch.poll(times=20)
    assert (watch.counted(), set(counts(watch).values())) == ({"success": 1}, {1})
    assert len(watch.asked("full-stages")) == 1
    store.close()
    watch.close()


def test_stages_cost_no_other_request() -> None:
    sent: list[Counter[str]] = []
    for settings in ("", ON):
        random.seed(3)
        fleet = Fleet(ManualClock(START_MS), seed=5, history_days=0.1)
        for ordinal in range(6):
            fleet.add_job(f"job-{ordinal}", plan=Plan(gap_s=750, concurrency=2, schedule_failure_ratio=0))
        with watching(fleet, settings=settings) as watch:
            watch.poll_for(2 * HOUR, every=2 * MINUTE)
            sent.append(Counter(exchange.operation for exchange in watch.simulator.requests))
    without, with_stages = sent
    assert with_stages.pop("full-stages") > 50
    assert with_stages == without


def test_an_endpoint_that_is_broken_for_all_is_asked_rarely(clock: ManualClock) -> None:
    fleet = Fleet(clock, seed=5, history_days=0.1)
    for ordinal in range(4):
        fleet.add_job(f"job-{ordinal}", plan=Plan(gap_s=900, schedule_failure_ratio=0))
    with watching(fleet, settings=ON) as watch:
        watch.simulator.faults.add(fault("error", operation="full-stages", status=500))
        watch.poll_for(HOUR, every=2 * MINUTE)
        watch.simulator.reset_counts()
        watch.poll_for(3 * HOUR, every=2 * MINUTE)
        one_step = 2 * 3
        assert 3 <= len(watch.asked("full-stages")) / one_step <= 3 * HOUR / (9 * MINUTE) + 1
        watch.simulator.faults.clear()
        watch.poll_for(HOUR, every=2 * MINUTE)
        assert not any(ledger.stages.awaited for ledger in watch.poller.ledgers.values())


def test_credentials_refused_for_stages_alone_lose_neither_the_api_nor_a_job(clock: ManualClock) -> None:
    fleet = Fleet(clock, seed=1)
    ids = [fleet.add_job(f"job-{ordinal}").id for ordinal in range(3)]
    with watching(fleet, settings=ON) as watch:
        watch.poll()
        watch.simulator.faults.add(fault("unauthorized", operation="full-stages"))
        for job_id in ids:
            fleet.add_build(job_id, queue_s=0, duration_s=20)
        watch.clock.advance(2 * MINUTE)
        with capture_logs() as lines:
            for _ in range(2):
                watch.poller.settle([watch.poller.run(step) for step in until_steps(watch)])
        assert lines == []
        assert watch.value("up") == 1
        assert set(watch.series("codearts_build_job_up").values()) == {1}


@pytest.mark.parametrize("refused", [{}, {"": NotVisibleError("403")}], ids=["asks nothing", "is refused"])
def test_only_a_sweep_that_was_answered_proves_that_stages_alone_fail(
    fleet: Fleet, refused: dict[str, ApiError]
) -> None:
    with watching(fleet, settings=ON) as watch:
        watch.poll()
        fleet.add_build(JOB, queue_s=0, duration_s=20)
        watch.clock.advance(2 * MINUTE)
        [step] = until_steps(watch)
        watch.simulator.faults.replace([fault("reset")])
        watch.poller.settle([watch.poller.run(step)])
        swept = JobListsResult((), refused, {}, {}, watch.poller.now_ms())
        watch.poller.settle([TaskResult(Timer(JOB_LISTS), swept)])
        watch.clock.advance(2 * MINUTE)
        [again] = until_steps(watch)
        assert again.count_failures == bool(refused)


class TestLog:
    @staticmethod
    def events(watch: Watch, seconds: float) -> list[str]:
        with capture_logs() as lines:
            watch.poll_for(seconds, every=MINUTE if seconds < HOUR else 4 * MINUTE)
        return [line["event"] for line in lines]

    @pytest.mark.parametrize("kind", ["html", "error", "reset"])
    def test_one_line_logs_that_stages_fail_and_one_that_they_work_again(
        self, clock: ManualClock, kind: str
    ) -> None:
        fleet = Fleet(clock, seed=1)
        ids = [fleet.add_job(f"job-{ordinal}").id for ordinal in range(4)]
        with watching(fleet, settings=ON) as watch:
            watch.poll()
            watch.simulator.faults.add(fault(kind, operation="full-stages"))
            for job_id in ids:
                fleet.add_build(job_id, queue_s=0, duration_s=20)
            assert self.events(watch, MINUTE) == []
            assert self.events(watch, 15 * MINUTE) == ["stages_failed"]
            assert self.events(watch, HOUR) == []
            watch.simulator.faults.clear()
            assert self.events(watch, HOUR) == ["stages_recovered"]
            assert self.events(watch, HOUR) == []

    def test_refused_stages_of_several_builds_are_logged_and_of_one_are_not(self, fleet: Fleet) -> None:
        with watching(fleet, settings=ON) as watch:
            watch.poll()
            watch.simulator.faults.add(
                fault("error", operation="full-stages", status=403, code="CB.00031007")
            )
            events = []
            for _ in range(4):
                fleet.add_build(JOB, queue_s=0, duration_s=20)
                events.append(self.events(watch, 5 * MINUTE))
            assert events == [[], [], ["stages_failed"], []]

    def test_where_all_of_the_api_is_in_trouble_that_is_the_news(self, fleet: Fleet) -> None:
        with watching(fleet, settings=ON) as watch:
            watch.poll()
            watch.simulator.faults.add(fault("throttle", operation="full-stages", announce=False))
            fleet.add_build(JOB, queue_s=0, duration_s=20)
            assert self.events(watch, 3 * MINUTE) == []
            watch.simulator.faults.replace([fault("reset")])
            lost = self.events(watch, HOUR)
            assert (lost.count("api_lost"), set(lost) - {"api_lost", "poll_failed"}) == (1, set())
            watch.simulator.faults.clear()
            back = self.events(watch, HOUR)
            assert (back.count("api_recovered"), set(back) - {"api_recovered", "poll_recovered"}) == (
                1,
                set(),
            )


class TestRateLimits:
    def test_a_step_is_not_begun_while_it_would_have_to_wait(self, fleet: Fleet) -> None:
        """The throttle of a watch moves the clock while a request waits."""
        other = fleet.add_job("other").id
        with watching(fleet, settings=ON) as watch:
            watch.poll()
            watch.simulator.faults.add(fault("throttle", operation="full-stages", retry_after=300))
            fleet.add_build(JOB, queue_s=0, duration_s=20)
            watch.poll()
            assert len(watch.asked("full-stages")) == 1
            began = watch.now()
            fleet.add_build(other, queue_s=0, duration_s=20)
            fleet.add_build(JOB, queue_s=0, duration_s=20)
            watch.poll(times=4)
            assert watch.now() - began == 4 * MINUTE
            assert (watch.counted(), watch.counted("other")) == ({"success": 2}, {"success": 1})
            assert len(watch.asked("full-stages")) == 1
            watch.simulator.faults.clear()
            watch.poll(times=12)
            assert len(watch.asked("full-stages")) == 4

    def test_a_step_ends_before_a_request_that_would_have_to_wait(self, fleet: Fleet) -> None:
        with watching(fleet, settings=ON) as watch:
            watch.poll()
            watch.client.throttle.throttled(
                "full-stages", ThrottledError("too many", retry_after=0, limit_per_minute=12)
            )
            for _ in range(8):
                fleet.add_build(JOB, queue_s=0, duration_s=1)
            began = watch.now()
            watch.poll()
            assert watch.now() - began == MINUTE
            assert watch.counted() == {"success": 8}
            assert 1 <= len(watch.asked("full-stages")) <= 2
            watch.poll_for(2 * MINUTE, every=5)
            assert watch.now() - began == 3 * MINUTE
            assert len(watch.asked("full-stages")) == 8


class Steps(StageSchedule):
    """Steps of jobs that are called by numbers."""

    def __init__(self, concurrency: int = 8) -> None:
        super().__init__(60, concurrency, random.Random(7), lambda: 0.0)
        self.jobs = {str(ordinal): JobState(str(ordinal)) for ordinal in range(99)}

    def due(self, now: float, limit: int) -> list[str]:
        return [timer.task for timer in self.take(now, limit)]


class TestTurns:
    def steps(self, jobs: int = 9, concurrency: int = 8) -> Steps:
        made = Steps(concurrency)
        for ordinal in range(jobs):
            made.want(made.jobs[str(ordinal)], 0)
        return made

    @pytest.mark.parametrize(("concurrency", "most"), [(1, 1), (2, 1), (7, 1), (8, 2), (64, 16)])
    def test_a_quarter_of_the_threads_and_always_one_may_work_on_stages(
        self, concurrency: int, most: int
    ) -> None:
        made = self.steps(99, concurrency)
        assert len(made.due(0, 99)) == most
        assert (made.due(0, 99), made.wait(0)) == ([], 3600)
        made.ended(made.jobs["0"], 0, GOOD)
        assert made.wait(0) == 0
        assert made.due(0, 99) == [stages_task(str(most))]

    def test_steps_wait_as_long_as_the_rate_limits_hold_them(self) -> None:
        held_s = 7.5
        made = StageSchedule(60, 8, random.Random(7), lambda: held_s)
        made.want(JobState("1"), 10)
        assert (made.take(10, 9), made.wait(10)) == ([], 7.5)
        assert made.wait(5) == 5
        held_s = 0.0
        assert made.wait(10) == 0
        assert [timer.task for timer in made.take(10, 9)] == [stages_task("1")]

    def test_what_is_under_way_is_wanted_once_more_when_it_is_done(self) -> None:
        made = self.steps(1)
        assert made.due(0, 9) == [stages_task("0")]
        made.want(made.jobs["0"], 0)
        assert made.due(0, 9) == []
        made.ended(made.jobs["0"], 0, GOOD)
        made.want(made.jobs["0"], 0)
        assert made.due(0, 9) == [stages_task("0")]

    def test_a_job_whose_stages_fail_waits_ever_longer_and_for_no_build_less(self) -> None:
        made, now = Steps(), 0.0
        pauses = []
        for _ in range(8):
            made.want(made.jobs["0"], now)
            made.want(made.jobs["0"], now)
            pauses.append(made.wait(now))
            now += pauses[-1]
            assert made.due(now, 9)
            made.ended(made.jobs["0"], now, BAD)
        assert pauses[:2] == [0, pytest.approx(57, abs=3.1)]
        assert max(pauses) == pytest.approx(570, abs=30.1)
        made.want(made.jobs["0"], now)
        made.due(now + LONGEST_PAUSE_S, 9)
        made.ended(made.jobs["0"], now, GOOD)
        made.want(made.jobs["0"], now)
        assert made.wait(now) == 0

    def test_after_several_steps_without_an_answer_one_at_a_time_is_tried(self) -> None:
        made = self.steps()
        for ordinal in range(BROKEN_AFTER):
            assert stages_task(str(ordinal)) in made.due(0, 1)
            made.ended(made.jobs[str(ordinal)], 0, BAD)
        assert made.due(0, 99) == []
        assert 50 < made.wait(0) <= 60
        assert made.due(60, 99) == [stages_task(str(BROKEN_AFTER))]
        made.ended(made.jobs[str(BROKEN_AFTER)], 60, GOOD)
        assert len(made.due(60, 99)) == 2

    def test_a_failing_build_makes_only_its_own_job_wait(self) -> None:
        made = self.steps(2)
        made.due(0, 1)
        made.ended(made.jobs["0"], 0, StagesFetched((Failed(1), Refused(2)), BackendError("down")))
        made.want(made.jobs["0"], 0)
        assert made.due(0, 99) == [stages_task("1")]
        assert 50 < made.wait(0) <= 60

    def test_a_failure_counts_where_polls_were_answered_since_the_one_before(self) -> None:
        made = self.steps(2)
        made.due(0, 9)
        made.poll_answered()
        assert not made.failures_count(made.jobs["0"])
        made.ended(made.jobs["0"], 0, BAD)
        assert not made.failures_count(made.jobs["0"])
        made.poll_answered()
        assert (made.failures_count(made.jobs["0"]), made.failures_count(made.jobs["1"])) == (True, False)
        made.want(made.jobs["0"], 0)
        made.due(60, 9)
        made.ended(made.jobs["0"], 60, BAD)
        assert not made.failures_count(made.jobs["0"])

    def test_a_job_that_is_dropped_is_not_asked_about(self) -> None:
        made = self.steps(3)
        made.due(0, 1)
        made.drop([made.jobs["0"], made.jobs["1"]])
        made.ended(made.jobs["0"], 0, BAD)
        assert made.due(0, 99) == [stages_task("2")]

    def test_a_step_without_requests_proves_nothing(self) -> None:
        made = self.steps()
        for ordinal, fetched in enumerate((BAD, BAD, NOTHING)):
            assert stages_task(str(ordinal)) in made.due(0, 1)
            made.ended(made.jobs[str(ordinal)], 0, fetched)
        assert made.due(0, 1) == [stages_task("3")]
        made.ended(made.jobs["3"], 0, BAD)
        assert made.due(0, 99) == []

    def test_a_step_without_requests_leaves_its_job_unchanged(self) -> None:
        made = self.steps(1)
        made.due(0, 1)
        made.ended(made.jobs["0"], 0, BAD)
        made.poll_answered()
        made.want(made.jobs["0"], 0)
        made.due(60, 1)
        made.ended(made.jobs["0"], 60, NOTHING)
        assert made.failures_count(made.jobs["0"])
