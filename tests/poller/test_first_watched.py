"""Counting begins when a job is first watched, however long its first poll takes to come."""

import time
from collections.abc import Collection, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from exporter.api.clock_offset import ClockOffset
from exporter.app import Exporter
from exporter.config import parse
from exporter.model import Result
from exporter.poller.first_watched import FirstWatched
from exporter.poller.job_state import JobState
from exporter.simulator import Fleet, ManualClock, Simulator, fault
from exporter.store import MemoryStore, SqliteStore, Store
from exporter.store.redis import RedisStore
from tests.poller.conftest import JOB
from tests.store.redis_server import RedisServer, redis_server
from tests.support.watch import DAY, HOUR, MINUTE, Watch, watching


@pytest.fixture(scope="session")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(params=["sqlite", "redis"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """It outlives the process."""
    if request.param == "sqlite":
        kept: Store = SqliteStore(str(tmp_path / "state.db"))
    else:
        server: RedisServer = request.getfixturevalue("redis")
        with server.client() as client:
            client.flushall()
        kept = RedisStore(server.url)
    with closing(kept):
        yield kept


def test_a_build_that_ends_before_the_first_poll_is_counted(fleet: Fleet, watch: Watch) -> None:
    fleet.add_build(JOB, result="failure", duration_s=5)
    watch.wait(MINUTE)
    watch.begin()
    began = watch.now()
    fleet.add_build(JOB, queue_s=1, duration_s=5)
    watch.poll(after=10 * MINUTE)
    assert watch.counted() == {"success": 1}
    assert watch.value("duration_seconds_sum", result="success") == 5
    assert watch.value("baseline_build_number") == 1
    assert watch.value("recovered_builds_total") == 0
    assert watch.poller.ledgers[JOB].since_ms == round(began * 1000)


def test_one_that_ran_when_the_job_was_first_watched_is_counted(fleet: Fleet, watch: Watch) -> None:
    fleet.add_build(JOB, duration_s=90)
    watch.wait(MINUTE)
    watch.begin()
    watch.poll()
    assert watch.counted() == {"success": 1}


@pytest.mark.skipif(not hasattr(time, "CLOCK_BOOTTIME"), reason="no clock goes on while the machine sleeps")
def test_a_build_that_ends_while_the_machine_sleeps_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    slept, clock_gettime = [0.0], time.clock_gettime
    monkeypatch.setattr(
        time, "clock_gettime", lambda which: clock_gettime(which) + slept[0] * (which == time.CLOCK_BOOTTIME)
    )
    clock = ManualClock(round(time.time() * 1000))
    fleet = Fleet(clock, seed=1)
    job = fleet.add_job("checkout", "shop")
    with Simulator(fleet, caller_clock=clock) as simulator:
        text = (
            f"endpoint: {simulator.url}\nauth: {{token: {simulator.credentials.tokens[0]}}}\n"
            f"jobs: [{job.id}]\nstate: {{path: ':memory:'}}\n"
        )
        exporter = Exporter(parse(text, source="test", environ={}, base_dir=Path()))
        fleet.add_build(job.id, queue_s=1, duration_s=5)
        slept[0] = HOUR
        clock.advance(HOUR)
        for _ in range(3):
            poller = exporter.poller
            poller.settle([poller.run(work) for work in poller.take(10)])
        assert [view.ledger and view.ledger.counts for view in exporter.view.jobs] == [{Result.SUCCESS: 1}]
        exporter.client.close()


def test_where_the_budget_is_small_every_build_of_the_first_minutes_is_counted(clock: ManualClock) -> None:
    fleet = Fleet(clock, seed=1)
    for at in range(30):
        job = fleet.add_job(f"job-{at}", "shop")
        fleet.add_build(job.id, duration_s=5)
    clock.advance(HOUR)
    with watching(fleet, max_requests_per_minute=45) as watch:
        watch.begin()
        for job in fleet.jobs():
            fleet.add_build(job.id, queue_s=1, duration_s=5)
        watch.poll(times=4)
        assert [watch.counted(job.name) for job in fleet.jobs()] == [{"success": 1}] * 30


def test_so_they_are_where_the_process_is_killed_amid_its_first_polls(
    clock: ManualClock, store: Store
) -> None:
    fleet = Fleet(clock, seed=1)
    for at in range(20):
        fleet.add_job(f"job-{at}", "shop")
        fleet.add_build(fleet.jobs()[-1].id, duration_s=5)
    clock.advance(HOUR)
    with watching(fleet, store=store) as watch:
        watch.begin()
        for job in fleet.jobs():
            fleet.add_build(job.id, queue_s=1, duration_s=5)
        clock.advance(10)
        for _ in range(2):
            works = watch.poller.take(8)
            watch.poller.settle([watch.poller.run(work) for work in works])
        assert 0 < len(watch.poller.ledgers) < 10
        watch.poller.run(watch.poller.take(1)[0])
        clock.advance(MINUTE)
        watch.begin()
        watch.poll(times=3)
        assert [watch.counted(job.name) for job in fleet.jobs()] == [{"success": 1}] * 20


def test_the_moment_is_kept_before_anything_is_asked(
    fleet: Fleet, simulator: Simulator, store: Store
) -> None:
    with closing(Watch(simulator, store=store)) as watch:
        watch.begin()
        first_ms = round(watch.now() * 1000)
        assert watch.simulator.requests == []
        assert store.first_watched([JOB], first_ms + 1) == {JOB: first_ms}
        assert store.load(None) == {}
        assert not watch.poller.is_ready
        assert watch.series("codearts_build_builds_total") == {}


def test_a_job_that_cannot_be_polled_for_days_is_counted_from_when_it_was_first_watched(
    fleet: Fleet, simulator: Simulator, store: Store
) -> None:
    fleet.add_build(JOB)
    simulator.faults.add(fault("error", status=403, code="CB.00031006"))
    with closing(Watch(simulator, store=store)) as watch:
        watch.wait(HOUR)
        watch.begin()
        for _ in range(3):
            fleet.add_build(JOB, result="failure", duration_s=5)
            watch.poll_for(20 * DAY, every=DAY)
            watch.begin()
        assert watch.series("codearts_build_builds_total") == {}
        simulator.faults.clear()
        watch.poll(after=DAY)
        assert watch.counted() == {"failure": 3}
        assert watch.value("recovered_builds_total") == 3


def test_a_store_that_fails_is_asked_to_keep_it_again(fleet: Fleet, simulator: Simulator) -> None:
    class Failing(MemoryStore):
        broken = True

        def first_watched(self, job_ids: Collection[str], at_ms: int) -> dict[str, int]:
            if self.broken:
                raise ZeroDivisionError
            return super().first_watched(job_ids, at_ms)

    store = Failing()
    simulator.faults.add(fault("error", status=403, code="CB.00031006"))
    with closing(Watch(simulator, store=store)) as watch:
        watch.begin()
        first_ms = round(watch.now() * 1000)
        watch.poll()
        assert watch.value("exporter_store_errors_total", operation="first_watched")
        store.broken = False
        watch.poll(after=HOUR)
        assert store.first_watched([JOB], 0) == {JOB: first_ms}


@pytest.mark.parametrize("ahead_s", [-3 * DAY, -7200, -120, 120, 7200, 3 * DAY])
def test_it_is_a_moment_of_the_service_whose_clock_is_another(
    fleet: Fleet, simulator: Simulator, watch: Watch, ahead_s: float
) -> None:
    """The host's clock is that much ahead, which no answer has shown when the job is first polled."""
    for operation in ("job-list", "recycling-jobs"):
        simulator.faults.add(fault("reset", operation=operation))
    fleet.add_build(JOB, result="failure", duration_s=5)
    watch.wait(30)
    watch.set_wall(ahead_s)
    watch.begin()
    first_ms = round(watch.now() * 1000)
    fleet.add_build(JOB, queue_s=1, duration_s=5)
    watch.poll(after=10, times=30)
    assert watch.counted(JOB) == {"success": 1}
    assert abs(watch.poller.ledgers[JOB].since_ms - first_ms) <= 2000


def test_a_clock_that_is_set_between_does_not_move_it(fleet: Fleet, watch: Watch) -> None:
    fleet.add_build(JOB, result="failure", duration_s=5)
    watch.wait(HOUR)
    watch.set_wall(-400 * DAY)
    watch.begin()
    watch.set_wall(0)
    fleet.add_build(JOB, queue_s=1, duration_s=5)
    watch.poll(times=2)
    assert watch.counted() == {"success": 1}


class TestFirstBuilds:
    def test_ends_without_times_are_counted(self, fleet: Fleet, simulator: Simulator, watch: Watch) -> None:
        watch.poll()
        simulator.faults.add(fault("null-fields", fields=("end_time", "start_time")))
        simulator.faults.add(fault("error", operation="record-info", status=422, code="DEVCB.00031006"))
        for _ in range(3):
            fleet.add_build(JOB, result="schedule_failure")
        watch.poll_for(2 * HOUR, every=5 * MINUTE)
        assert watch.counted() == {"schedule_failure": 3}

    def test_short_ones_are_counted_though_the_service_is_two_minutes_behind(
        self, fleet: Fleet, watch: Watch
    ) -> None:
        watch.set_wall(120)
        watch.poll()
        fleet.add_build(JOB, queue_s=1, duration_s=5)
        watch.poll(times=2)
        assert watch.counted() == {"success": 1}

    def test_a_build_in_an_unknown_phase_is_counted(
        self, fleet: Fleet, simulator: Simulator, watch: Watch
    ) -> None:
        watch.poll()
        simulator.faults.add(fault("unknown-phase"))
        fleet.add_build(JOB, duration_s=30 * DAY)
        watch.poll_for(2 * HOUR, every=5 * MINUTE)
        assert watch.counted() == {"unknown": 1}


@pytest.mark.parametrize("ahead_s", [-1_741_000_000, -40 * DAY, -2 * HOUR, 2 * HOUR, 40 * DAY])
def test_a_clock_that_was_wrong_before_the_first_answer_makes_no_old_build_count(
    fleet: Fleet, simulator: Simulator, store: Store, ahead_s: float
) -> None:
    for ago in range(20, 0, -1):
        fleet.add_build(JOB, at_ms=fleet.clock.now_ms() - round(ago * HOUR * 6 * 1000))
    with closing(Watch(simulator, store=store, ahead_s=ahead_s)) as watch:
        watch.begin()
        watch.wait(MINUTE)
    with closing(Watch(simulator, store=store)) as watch:
        watch.begin()
        fleet.add_build(JOB, queue_s=1, duration_s=5)
        watch.poll(times=3)
        assert watch.counted() == {"success": 1}
        assert watch.value("baseline_build_number") == 20


@pytest.mark.parametrize("ahead_s", [-40 * DAY, -2 * HOUR, 0, 2 * HOUR, 40 * DAY])
@pytest.mark.parametrize("later_s", [-40 * DAY, 0, 40 * DAY])
def test_after_the_first_answer_counting_begins_when_it_did_whatever_the_clocks_were(
    fleet: Fleet, simulator: Simulator, store: Store, ahead_s: float, later_s: float
) -> None:
    for ago in range(20, 0, -1):
        fleet.add_build(JOB, at_ms=fleet.clock.now_ms() - round(ago * HOUR * 6 * 1000))
    simulator.faults.add(fault("error", operation=("period-history", "record-info"), status=500))
    with closing(Watch(simulator, store=store, ahead_s=ahead_s)) as watch:
        watch.poll(times=2)
        for _ in range(3):
            fleet.add_build(JOB, queue_s=1, duration_s=5)
            watch.poll_for(HOUR)
        assert watch.counted() == {}
    simulator.faults.clear()
    with closing(Watch(simulator, store=store, ahead_s=later_s)) as watch:
        watch.begin()
        watch.poll(times=3)
        assert watch.counted() == {"success": 3}
        assert watch.value("baseline_build_number") == 20


@pytest.mark.parametrize("is_known", [False, True])
def test_a_time_in_doubt_is_not_believed_hours_later(is_known: bool) -> None:
    store, now_s = MemoryStore(), 1_741_000_000.0
    ten_hours_ago = ClockOffset(lambda: now_s - 10 * HOUR, lambda: 0.0)
    clock = ClockOffset(lambda: now_s, lambda: 0.0)
    for _ in range(3 if is_known else 0):
        clock.add(now_s, 0.0)
    for each in (ten_hours_ago, clock):
        job = JobState(JOB)
        watched = FirstWatched(store, each)
        watched.begin(job, 0.0)
        watched.keep({JOB: job}, 0.0)
    assert job.watched_at == 0
    assert len(store.first_watched([], 0)) == 0
    assert store.first_watched([JOB], 0) == {
        JOB: round(now_s * 1000) if is_known else round((now_s - 10 * HOUR) * 1000)
    }


def test_a_restart_within_minutes_needs_no_answer_before(
    fleet: Fleet, simulator: Simulator, store: Store
) -> None:
    with closing(Watch(simulator, store=store)) as watch:
        watch.begin()
        fleet.add_build(JOB, queue_s=1, duration_s=5)
        watch.wait(10 * MINUTE)
    with closing(Watch(simulator, store=store)) as watch:
        watch.poll()
        assert watch.counted() == {"success": 1}
