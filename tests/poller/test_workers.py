"""The threads: they poll, survive what goes wrong, and stop."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from structlog.testing import capture_logs

from exporter.api.throttle import Throttle
from exporter.errors import ThrottledError
from exporter.poller import PollingThreads
from exporter.simulator import Fleet, Simulator, fault
from tests.poller.conftest import JOB
from tests.poller.test_trouble import BrokenFor
from tests.support.programs import eventually
from tests.support.watch import Watch

SETTINGS = "poll: {interval: 100ms, max_interval: 1s}\nrecycle_bin: {interval: 100ms}"


@contextmanager
def polling(watch: Watch, concurrency: int = 4) -> Iterator[PollingThreads]:
    """The watch's poller in threads, on the clock of the wall."""
    watch.start(real_time=True)
    threads = PollingThreads(watch.poller, concurrency)
    threads.start()
    try:
        yield threads
    finally:
        assert threads.stop(5)


@pytest.fixture
def watch(simulator: Simulator, fleet: Fleet) -> Iterator[Watch]:
    """Twenty jobs at a lively pace."""
    for ordinal in range(19):
        fleet.add_job(f"other-{ordinal}")
    watch = Watch(simulator, settings=SETTINGS, max_requests_per_minute=100_000)
    yield watch
    watch.close()


def test_every_job_is_polled(watch: Watch) -> None:
    with polling(watch):
        eventually(lambda: watch.poller.is_ready, 10)
        eventually(lambda: set(watch.series("codearts_build_job_up").values()) == {1.0}, 10)
        eventually(lambda: watch.value("recycle_bin_jobs") == 0, 10)


def test_builds_are_counted_once_however_many_threads(fleet: Fleet, watch: Watch) -> None:
    with polling(watch, concurrency=8):
        eventually(lambda: watch.poller.is_ready, 10)
        for _ in range(5):
            for job in watch.jobs:
                fleet.add_build(job.id, duration_s=1)
            watch.clock.advance(5)
            time.sleep(0.1)
        watch.clock.advance(60)
        eventually(lambda: sum(watch.series("codearts_build_builds_total").values()) == 100, 10)
        time.sleep(0.3)
        assert sum(watch.series("codearts_build_builds_total").values()) == 100
    assert len(watch.asked_numbers()) == 100


def test_a_bug_does_not_end_a_thread(fleet: Fleet, watch: Watch) -> None:
    fleet.add_build(JOB)
    broken = BrokenFor(watch.client, JOB)
    watch.service = broken  # type: ignore[assignment]
    with capture_logs() as lines, polling(watch, concurrency=2):
        eventually(lambda: broken.failures >= 5, 10)
        eventually(lambda: watch.value("job_up", job_name="other-0") == 1, 10)
        broken.broken = False
        eventually(lambda: watch.value("job_up", job_name="checkout") == 1, 10)
    assert [(line["event"], line["task"]) for line in lines] == [("unexpected_error", JOB)]


def test_one_request_that_hangs_does_not_hold_up_the_others(fleet: Fleet, watch: Watch) -> None:
    fleet.add_build(JOB)
    watch.simulator.faults.add(fault("hang", job=JOB))
    with polling(watch, concurrency=2):
        eventually(lambda: sum(watch.series("codearts_build_job_up").values()) == 19, 10)
        fleet.add_build(watch.jobs[3].id, duration_s=1)
        watch.clock.advance(60)
        eventually(lambda: sum(watch.series("codearts_build_builds_total").values()) == 1, 10)


def test_they_stop_though_requests_hang(watch: Watch) -> None:
    watch.simulator.faults.add(fault("hang"))
    with polling(watch, concurrency=2) as threads:
        eventually(lambda: len(watch.simulator.requests) >= 2, 10)
        began = time.monotonic()
        assert threads.stop(5)
        assert time.monotonic() - began < 3
    watch.simulator.stop()


def test_after_the_stop_nothing_more_is_requested(watch: Watch) -> None:
    before = set(threading.enumerate())
    with polling(watch) as threads:
        eventually(lambda: watch.poller.is_ready, 10)
        assert threads.stop(5)
    eventually(lambda: not new_pollers(before), 20)
    watch.simulator.reset_counts()
    time.sleep(0.3)
    assert watch.simulator.requests == []


def new_pollers(before: set[threading.Thread]) -> list[str]:
    """Names of the polling threads that were started since."""
    return [thread.name for thread in set(threading.enumerate()) - before if thread.name.startswith("poller")]


def test_a_request_that_waits_for_the_budget_is_cancelled_by_a_stop(simulator: Simulator) -> None:
    before = set(threading.enumerate())
    watch = Watch(simulator, settings=SETTINGS, max_requests_per_minute=100_000)
    throttle = Throttle(1)
    throttle.acquire("period-history")
    watch.client.throttle = throttle
    watch.start(real_time=True)
    threads = PollingThreads(watch.poller, 4, watch.client.close)
    threads.start()
    eventually(lambda: len(throttle._queue) == 2, 10)
    assert threads.stop(5)
    eventually(lambda: not new_pollers(before), 5)
    assert throttle._queue == []
    assert simulator.requests == []
    watch.close()


def test_a_recycle_bin_that_waits_for_its_limit_keeps_no_thread_from_the_polls(
    fleet: Fleet, simulator: Simulator
) -> None:
    watch = Watch(simulator, settings=SETTINGS, max_requests_per_minute=100_000)
    throttle = Throttle(100_000)
    throttle.throttled("recycling-jobs", ThrottledError("too many", retry_after=300))
    watch.client.throttle = throttle
    watch.start(real_time=True)
    threads = PollingThreads(watch.poller, 1, watch.client.close)
    threads.start()
    eventually(lambda: watch.poller.is_ready, 10)
    for number in range(3):
        fleet.add_build(JOB, duration_s=1)
        watch.clock.advance(60)
        eventually(lambda: watch.counted() == {"success": number + 1}, 10)  # noqa: B023
    assert [ticket.operation for ticket in throttle._queue] == ["recycling-jobs"]
    assert threads.stop(5)
    eventually(lambda: throttle._queue == [], 5)
    watch.close()


@pytest.mark.parametrize("concurrency", [1, 2])
def test_job_lists_are_read_while_all_polls_wait_for_one_operation(
    fleet: Fleet, simulator: Simulator, concurrency: int
) -> None:
    for ordinal in range(5):
        fleet.add_job(f"other-{ordinal}")
    watch = Watch(simulator, settings=SETTINGS, max_requests_per_minute=100_000)
    throttle = watch.client.throttle = Throttle(100_000)
    with polling(watch, concurrency):
        eventually(lambda: set(watch.series("codearts_build_job_up").values()) == {1.0}, 10)
        throttle.throttled("record-info", ThrottledError("too many", retry_after=300))
        for job in watch.jobs:
            fleet.add_build(job.id, duration_s=1)
        watch.clock.advance(60)
        eventually(lambda: len(throttle._queue) == concurrency, 10)
        simulator.reset_counts()
        watch.clock.advance(600)
        eventually(
            lambda: {"job-list", "recycling-jobs"} <= {each.operation for each in simulator.requests}, 10
        )
        assert watch.value("up") == 1
    watch.close()


def test_cancelled_tasks_are_done_after_a_resume(simulator: Simulator, watch: Watch) -> None:
    simulator.faults.add(fault("hang"))
    watch.start(real_time=True)
    threads = PollingThreads(watch.poller, 4, watch.client.close)
    threads.start()
    eventually(lambda: len(simulator.requests) >= 2, 10)
    assert threads.stop(5)
    simulator.faults.clear()
    client = watch.client.reopened()
    watch.poller.resume(client)
    again = PollingThreads(watch.poller, 4, client.close)
    again.start()
    eventually(lambda: watch.poller.is_ready, 10)
    eventually(lambda: set(watch.series("codearts_build_job_up").values()) == {1.0}, 10)
    eventually(lambda: watch.value("recycle_bin_jobs") == 0, 10)
    assert again.stop(5)


def test_the_lag_grows_while_everything_hangs(watch: Watch) -> None:
    watch.simulator.faults.add(fault("hang"))
    with polling(watch, concurrency=2):
        eventually(lambda: (watch.value("exporter_poll_lag_seconds") or 0) > 0.5, 10)
    watch.simulator.stop()
