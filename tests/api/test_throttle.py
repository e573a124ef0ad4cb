"""Threads share one rate limit, and operations take turns by weight."""

import heapq
import threading
from collections import Counter, deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.api.throttle import SIDE_OPERATIONS, WEIGHTS, YIELDS_FOR_S, Throttle
from exporter.errors import ThrottledError

MINUTE = 60.0
FOREVER: Final = float("inf")


class Time:
    """A clock that moves while a thread waits."""

    def __init__(self) -> None:
        self.now = 1000.0

    def clock(self) -> float:
        return self.now

    def wait(self, _: threading.Condition, seconds: float | None) -> None:
        assert seconds is not None, "nobody else could ever notify"
        assert seconds > 0
        self.now += seconds

    def throttle(self, ceiling: float) -> Throttle:
        return Throttle(ceiling, self.clock, self.wait)


def sent_by_one(ceiling: float, count: int) -> list[float]:
    """Return when the requests of one busy caller are sent."""
    time = Time()
    throttle = time.throttle(ceiling)
    sent = []
    for _ in range(count):
        throttle.acquire("period-history")
        sent.append(time.now)
    return sent


def assert_under(ceiling: float, sent: list[float]) -> None:
    window: deque[float] = deque()
    for moment in sorted(sent):
        window.append(moment)
        while window[0] <= moment - MINUTE + 1e-6:
            window.popleft()
        assert len(window) <= max(1, ceiling), f"{len(window)} in the minute before {moment}"


class SimulatedThreads:
    """Threads that ask as soon as they are rested; only one runs at a time, the one whose time has come.

    Each is a real thread that stops inside the throttle's wait until simulated time reaches its end, or until
    the throttle notifies all.
    """

    def __init__(self, ceiling: float) -> None:
        self.now = 0.0
        self.sent: list[tuple[float, str]] = []
        self.waited: dict[str, float] = {}
        self.throttle = Throttle(ceiling, lambda: self.now, self._wait)
        self.throttle._turn.notify_all = self._notify  # type: ignore[method-assign]
        self._sleepers: list[tuple[float, int, threading.Event]] = []
        self._waiting: list[threading.Event] = []
        self._notified: list[threading.Event] = []
        self._count = 0
        self._is_over = False
        self._idle = threading.Semaphore(0)

    def run(self, asked: Sequence[tuple[str, Sequence[float]]], until: float = FOREVER) -> None:
        """Let one thread for each operation ask after each of its rests, up to that moment."""
        self._until = until
        with ThreadPoolExecutor(len(asked)) as pool:
            asking = []
            for operation, rests in asked:
                asking.append(pool.submit(self._ask, operation, rests))
                self._idle.acquire()
                self._run_notified()
            while self._sleepers:
                self._step()
            forgotten, self._is_over = len(self._waiting), True
            self._notify()
            self._run_notified()
            for each in asking:
                each.result()
        assert not forgotten, f"{forgotten} threads are never notified"

    def _step(self) -> None:
        moment, _, wake = heapq.heappop(self._sleepers)
        if not wake.is_set():
            self.now = max(self.now, moment)
            self._let_run(wake)
        self._run_notified()

    def _run_notified(self) -> None:
        while self._notified:
            self._let_run(self._notified.pop(0))

    def _notify(self) -> None:
        self._notified += self._waiting
        self._waiting.clear()

    def _let_run(self, wake: threading.Event) -> None:
        wake.set()
        self._idle.acquire()

    def _ask(self, operation: str, rests: Sequence[float]) -> None:
        try:
            for rest in rests:
                if rest:
                    self._sleep(rest, threading.Event())
                if self.now >= self._until:
                    return
                began = self.now
                if not self.throttle.acquire(operation, lambda: self._is_over):
                    return
                self.waited[operation] = max(self.waited.get(operation, 0.0), self.now - began)
                self.sent.append((self.now, operation))
        finally:
            self._idle.release()

    def _wait(self, condition: threading.Condition, seconds: float | None) -> None:
        condition.release()
        wake = threading.Event()
        self._waiting.append(wake)
        try:
            self._sleep(seconds, wake)
        finally:
            if wake in self._waiting:
                self._waiting.remove(wake)
            condition.acquire()

    def _sleep(self, seconds: float | None, wake: threading.Event) -> None:
        if seconds is not None:
            self._count += 1
            heapq.heappush(self._sleepers, (self.now + seconds, self._count, wake))
        self._idle.release()
        wake.wait()


@pytest.mark.parametrize("ceiling", [1, 2, 5, 7.5, 50, 120, 300, 1000])
def test_never_more_than_the_ceiling_is_sent_in_any_minute(ceiling: float) -> None:
    assert_under(ceiling, sent_by_one(ceiling, round(ceiling * 4) + 4))


@given(
    ceiling=st.floats(1, 200),
    asked=st.lists(
        st.tuples(
            st.sampled_from([*WEIGHTS, "projects"]),
            st.lists(st.just(0.0) | st.floats(0.001, 90), min_size=1, max_size=30),
        ),
        min_size=1,
        max_size=6,
    ),
)
def test_the_ceiling_holds_and_all_get_through_however_many_threads_there_are(
    ceiling: float, asked: list[tuple[str, list[float]]]
) -> None:
    threads = SimulatedThreads(ceiling)
    threads.run(asked)
    assert len(threads.sent) == sum(len(rests) for _, rests in asked)
    assert_under(ceiling, [moment for moment, _ in threads.sent])


def test_the_ceiling_holds_after_a_long_rest() -> None:
    time = Time()
    throttle = time.throttle(50)
    sent = []
    for rest in (0, 600, 30, 3600):
        time.now += rest
        for _ in range(70):
            throttle.acquire("period-history")
            sent.append(time.now)
    assert_under(50, sent)


@pytest.mark.parametrize("ceiling", [50, 120, 300])
def test_most_of_the_ceiling_can_be_used(ceiling: int) -> None:
    sent = sent_by_one(ceiling, ceiling * 5)
    assert sent[-1] - sent[0] < 5 * MINUTE


def test_a_few_requests_need_not_wait() -> None:
    assert sent_by_one(300, 20) == [1000.0] * 20


class TestFairness:
    OPERATIONS = tuple(WEIGHTS)

    def greedy(self, threads_each: int, ceiling: float = 50, minutes: float = 10) -> SimulatedThreads:
        """So many threads for each operation, which all ask without rest."""
        threads = SimulatedThreads(ceiling)
        endless = [0.0] * 10_000
        asked = [(operation, endless) for operation in self.OPERATIONS for _ in range(threads_each)]
        threads.run(asked, until=minutes * MINUTE)
        return threads

    @pytest.mark.parametrize("threads_each", [1, 3])
    def test_shares_follow_the_weights_where_all_wait(self, threads_each: int) -> None:
        shares = Counter(operation for _, operation in self.greedy(threads_each).sent)
        whole = sum(WEIGHTS.values())
        for operation, weight in WEIGHTS.items():
            assert shares[operation] / shares.total() == pytest.approx(weight / whole, rel=0.1)

    def test_no_operation_waits_longer_than_its_share_requires(self) -> None:
        threads = self.greedy(1)
        for operation, weight in WEIGHTS.items():
            turns = sum(WEIGHTS.values()) / weight + 2 * len(WEIGHTS)
            assert threads.waited[operation] <= turns * MINUTE / 50

    def test_a_rare_request_does_not_wait_behind_many_others(self) -> None:
        threads = SimulatedThreads(60)
        flood = [("record-info", [0.0] * 10_000)] * 20
        threads.run([*flood, ("recycling-jobs", [100.0] * 5)], until=600)
        assert threads.waited["recycling-jobs"] <= WEIGHTS["record-info"] + 2
        assert sum(operation == "recycling-jobs" for _, operation in threads.sent) == 5

    def test_an_idle_operation_does_not_accumulate_turns(self) -> None:
        threads = SimulatedThreads(60)
        threads.run([("record-info", [0.0] * 10_000), ("job-list", [300.0, *[0.0] * 10_000])], until=600)
        late = Counter(operation for moment, operation in threads.sent if moment >= 302)
        assert late["record-info"] / late["job-list"] == pytest.approx(4, rel=0.1)

    def test_details_go_before_lists_that_asked_at_the_same_time(self) -> None:
        threads = SimulatedThreads(1)
        wanted = ("recycling-jobs", "job-list", "period-history", "record-info")
        threads.run([("projects", [0.0]), *((operation, [1.0]) for operation in wanted)])
        assert [operation for _, operation in threads.sent] == ["projects", *reversed(wanted)]

    def test_one_operation_alone_gets_everything(self) -> None:
        threads = SimulatedThreads(60)
        threads.run([("job-list", [0.0] * 10_000)] * 3, until=600)
        assert len(threads.sent) >= 600

    def test_a_side_operation_alone_leaves_a_tenth_for_what_may_come(self) -> None:
        threads = SimulatedThreads(60)
        threads.run([("recycling-jobs", [0.0] * 10_000)] * 3, until=600)
        assert 530 <= len(threads.sent) <= 550

    @pytest.mark.parametrize("operation", sorted(SIDE_OPERATIONS))
    def test_side_operations_yield_but_never_starve(self, operation: str) -> None:
        threads = SimulatedThreads(60)
        threads.run([("record-info", [0.0] * 10_000)] * 4 + [(operation, [10.0] * 10)], until=600)
        assert YIELDS_FOR_S <= threads.waited[operation] <= YIELDS_FOR_S + 10
        assert sum(sent == operation for _, sent in threads.sent) == 10

    def test_what_counts_goes_at_once_though_a_side_operation_takes_all_it_can(self) -> None:
        threads = SimulatedThreads(60)
        rare = ("record-info", [61.0] * 9)
        threads.run([*[("recycling-jobs", [0.0] * 10_000)] * 3, rare], until=600)
        assert threads.waited["record-info"] <= 0.001


class TestLimitsOfOperations:
    def test_a_request_that_may_be_sent_earlier_than_its_thread_expects_holds_up_no_other(self) -> None:
        threads = SimulatedThreads(300)
        threads.throttle.throttled("full-stages", ThrottledError("too many", limit_per_minute=5.0))
        # After 48 s the growing limit allows one more in a minute, which nobody notices until 58 s.
        threads.run([*[("full-stages", [0.0] * 5)] * 2, *[("record-info", [1.0] * 41 + [17.0])] * 2])
        assert threads.waited["record-info"] == 0

    @pytest.mark.parametrize("retry_after", [None, 300.0])
    def test_an_operation_that_waits_for_its_own_limit_holds_up_no_other(
        self, retry_after: float | None
    ) -> None:
        threads = SimulatedThreads(300)
        for _ in range(6):
            error = ThrottledError("too many", retry_after=retry_after, limit_per_minute=5.0)
            threads.throttle.throttled("full-stages", error)
        side = [("full-stages", [0.0] * 10_000)] * 3
        threads.run([*side, *[("record-info", [1.0] * 200)] * 2], until=200)
        assert threads.waited["record-info"] == 0
        sent = Counter(operation for sent_at, operation in threads.sent if sent_at < 200)
        assert sent["full-stages"] <= 200 / 60 * 5
        assert sent["record-info"] >= 398

    def test_a_throttled_answer_slows_its_operation_only(self) -> None:
        throttle = Time().throttle(300)
        throttle.throttled("full-stages", ThrottledError("too many", limit_per_minute=50.0))
        assert 40 <= throttle.requests_per_minute("full-stages") < 50
        assert throttle.requests_per_minute("record-info") == 300
        assert throttle.wait_s("full-stages") >= 1
        assert throttle.wait_s("projects") == 0

    def test_a_lower_ceiling_keeps_what_was_learnt(self) -> None:
        throttle = Time().throttle(300)
        throttle.throttled("full-stages", ThrottledError("too many", limit_per_minute=50.0))
        throttle.set_ceiling(100)
        assert throttle.requests_per_minute("record-info") == 100
        assert 40 <= throttle.requests_per_minute("full-stages") < 50


def test_real_threads_all_get_through() -> None:
    throttle = Throttle(6000)
    with ThreadPoolExecutor(16) as pool:
        asking = [
            pool.submit(throttle.acquire, operation)
            for operation in (*WEIGHTS, "projects")
            for _ in range(110)
        ]
        for each in asking:
            each.result(timeout=30)


def test_a_cancelled_wait_ends_at_once_and_takes_no_turn() -> None:
    throttle = Throttle(1)
    given_up = threading.Event()
    throttle.acquire("record-info")
    with ThreadPoolExecutor(8) as pool:
        waiting = [pool.submit(throttle.acquire, "record-info", given_up.is_set) for _ in range(8)]
        given_up.set()
        throttle.wake()
        assert not any(each.result(timeout=5) for each in waiting)


def test_a_cancelled_request_costs_its_operation_no_turn() -> None:
    throttle = Time().throttle(60)
    asked = iter([False, *[True] * 100])
    for _ in range(50):
        assert not throttle.acquire("full-stages", lambda: True)
    assert throttle._shares["full-stages"] == 0
    assert throttle.acquire("full-stages", lambda: next(asked))


@pytest.mark.parametrize(("retry_after", "pause"), [(7.0, 7.0), (120.0, 120.0)])
def test_nothing_is_sent_for_as_long_as_the_service_asks(retry_after: float, pause: float) -> None:
    time = Time()
    throttle = time.throttle(300)
    throttle.acquire("period-history")
    throttle.throttled("period-history", ThrottledError("too many", retry_after=retry_after))
    throttle.acquire("period-history")
    assert pause <= time.now - 1000 <= pause + MINUTE


def test_a_throttled_response_without_retry_after_causes_a_default_pause() -> None:
    time = Time()
    throttle = time.throttle(300)
    throttle.throttled("period-history", ThrottledError("too many"))
    throttle.acquire("period-history")
    assert 1 <= time.now - 1000 <= MINUTE


def test_a_pause_is_never_endless() -> None:
    time = Time()
    throttle = time.throttle(300)
    throttle.throttled("period-history", ThrottledError("too many", retry_after=86_400.0))
    throttle.acquire("period-history")
    assert time.now - 1000 <= 600


def test_a_pause_holds_for_those_who_were_waiting_for_their_turn() -> None:
    time = Time()

    def wait(condition: threading.Condition, seconds: float | None) -> None:
        if time.now == 1000:  # another thread gets that refusal while this one waits
            throttle.throttled("period-history", ThrottledError("too many", retry_after=60.0))
        time.wait(condition, seconds)

    throttle = Throttle(10, time.clock, wait)
    throttle.acquire("period-history")
    throttle.acquire("period-history")
    assert time.now - 1000 >= 60


def test_the_current_limit_is_readable() -> None:
    time = Time()
    throttle = time.throttle(300)
    assert throttle.requests_per_minute("period-history") == 300
    for _ in range(20):
        throttle.acquire("period-history")
        throttle.accepted("period-history")
    throttle.throttled("period-history", ThrottledError("too many", limit_per_minute=50.0))
    assert 10 <= throttle.requests_per_minute("period-history") < 50
