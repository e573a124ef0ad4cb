"""Requests keep under a ceiling, and stop for a while when the service says that they are too many."""

import heapq
import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.api.throttle import Throttle
from exporter.errors import ThrottledError

MINUTE = 60.0


class Time:
    """Moves when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now += seconds


def sent_by_one(ceiling: float, count: int) -> list[float]:
    """When one caller that never rests gets through."""
    time = Time()
    throttle = Throttle(ceiling, time.clock, time.sleep)
    sent = []
    for _ in range(count):
        throttle.acquire()
        sent.append(time.now)
    return sent


def assert_under(ceiling: float, sent: list[float]) -> None:
    window: deque[float] = deque()
    for moment in sorted(sent):
        window.append(moment)
        while window[0] <= moment - MINUTE:
            window.popleft()
        assert len(window) <= max(1, ceiling), f"{len(window)} in the minute before {moment}"


class SimulatedThreads:
    """Threads that ask as soon as they are rested; only one runs at a time, the one whose time has come.

    Each is a real thread that stops inside the throttle's sleep until simulated time reaches its end.
    """

    def __init__(self, ceiling: float, rests: list[list[float]]) -> None:
        self.now = 0.0
        self.sent: list[float] = []
        self._throttle = Throttle(ceiling, lambda: self.now, self._sleep)
        self._rests = rests
        self._sleepers: list[tuple[float, int, threading.Event]] = []
        self._count = 0
        self._idle = threading.Semaphore(0)

    def run(self) -> list[float]:
        with ThreadPoolExecutor(len(self._rests)) as pool:
            asking = []
            for rests in self._rests:
                asking.append(pool.submit(self._ask, rests))
                self._idle.acquire()
            while self._sleepers:
                until, _, wake = heapq.heappop(self._sleepers)
                self.now = max(self.now, until)
                wake.set()
                self._idle.acquire()
            for each in asking:
                each.result()
        return self.sent

    def _ask(self, rests: list[float]) -> None:
        try:
            for rest in rests:
                if rest:
                    self._sleep(rest)
                self._throttle.acquire()
                self.sent.append(self.now)
        finally:
            self._idle.release()

    def _sleep(self, seconds: float) -> None:
        wake = threading.Event()
        self._count += 1
        heapq.heappush(self._sleepers, (self.now + seconds, self._count, wake))
        self._idle.release()
        wake.wait()


@pytest.mark.parametrize("ceiling", [1, 2, 5, 7.5, 50, 120, 300, 1000])
def test_never_more_than_the_ceiling_goes_out_in_any_minute(ceiling: float) -> None:
    assert_under(ceiling, sent_by_one(ceiling, round(ceiling * 4) + 4))


@given(
    ceiling=st.floats(1, 200),
    rests=st.lists(
        st.lists(st.just(0.0) | st.floats(0.001, 90), min_size=1, max_size=30), min_size=1, max_size=6
    ),
)
def test_the_ceiling_holds_however_many_threads_there_are(ceiling: float, rests: list[list[float]]) -> None:
    sent = SimulatedThreads(ceiling, rests).run()
    assert len(sent) == sum(len(each) for each in rests)
    assert_under(ceiling, sent)


def test_the_ceiling_holds_after_a_long_rest() -> None:
    time = Time()
    throttle = Throttle(50, time.clock, time.sleep)
    sent = []
    for rest in (0, 600, 30, 3600):
        time.now += rest
        for _ in range(70):
            throttle.acquire()
            sent.append(time.now)
    assert_under(50, sent)


@pytest.mark.parametrize("ceiling", [50, 120, 300])
def test_most_of_the_ceiling_can_be_used(ceiling: int) -> None:
    sent = sent_by_one(ceiling, ceiling * 5)
    assert sent[-1] - sent[0] < 6 * MINUTE


def test_a_few_requests_need_not_wait() -> None:
    assert sent_by_one(300, 20) == [1000.0] * 20


@pytest.mark.parametrize(("retry_after", "pause"), [(7.0, 7.0), (120.0, 120.0)])
def test_nothing_goes_out_for_as_long_as_the_service_asks(retry_after: float, pause: float) -> None:
    time = Time()
    throttle = Throttle(300, time.clock, time.sleep)
    throttle.acquire()
    throttle.throttled(ThrottledError("too many", retry_after=retry_after))
    throttle.acquire()
    assert time.now - 1000 == pytest.approx(pause)


def test_a_throttled_answer_that_names_no_time_causes_a_pause_of_its_own() -> None:
    time = Time()
    throttle = Throttle(300, time.clock, time.sleep)
    throttle.throttled(ThrottledError("too many"))
    throttle.acquire()
    assert 5 <= time.now - 1000 <= MINUTE


def test_a_pause_is_never_endless() -> None:
    time = Time()
    throttle = Throttle(300, time.clock, time.sleep)
    throttle.throttled(ThrottledError("too many", retry_after=86_400.0))
    throttle.acquire()
    assert time.now - 1000 <= 600


def test_a_shorter_pause_does_not_cut_a_longer_one_short() -> None:
    time = Time()
    throttle = Throttle(300, time.clock, time.sleep)
    throttle.throttled(ThrottledError("too many", retry_after=100.0))
    throttle.throttled(ThrottledError("too many", retry_after=1.0))
    throttle.acquire()
    assert time.now - 1000 == pytest.approx(100)


def test_a_pause_holds_for_those_who_were_waiting_for_their_turn() -> None:
    time = Time()
    throttle = Throttle(10, time.clock, lambda seconds: sleep(seconds))
    throttle.acquire()

    def sleep(seconds: float) -> None:
        if time.now == 1000:  # another thread is told so while this one waits
            throttle.throttled(ThrottledError("too many", retry_after=60.0))
        time.sleep(seconds)

    throttle.acquire()
    assert time.now - 1000 >= 60


def test_after_a_pause_requests_do_not_go_out_all_at_once() -> None:
    time = Time()
    throttle = Throttle(100, time.clock, time.sleep)
    throttle.throttled(ThrottledError("too many", retry_after=30.0))
    sent = []
    for _ in range(5):
        throttle.acquire()
        sent.append(time.now)
    assert sent[0] - 1000 == pytest.approx(30)
    assert sorted(set(sent)) == sent
