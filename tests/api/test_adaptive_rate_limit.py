"""Adaptive rate limit: never above the ceiling, and close below the service's limit."""

from collections import deque
from dataclasses import dataclass, field
from itertools import cycle, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.api.adaptive_rate_limit import AdaptiveRateLimit

MINUTE = 60.0


@dataclass
class Service:
    """A service with a limit of requests per minute; refused ones count in fixed windows.

    Attributes:
        window: ``fixed`` windows begin by the clock, a ``sliding`` one ends with each request.
        offset: when the fixed windows begin.
        announces: it names its limit with each refusal.
        retry_after: the ``Retry-After`` of a refusal.
        latency: seconds from a request to its answer.
    """

    limit: int
    window: str = "fixed"
    offset: float = 0.0
    announces: bool = False
    retry_after: float | None = None
    latency: float = 0.0
    _window: float | None = None
    _count: int = 0
    _taken: deque[float] = field(default_factory=deque)

    def accepts(self, now: float) -> bool:
        """Decide whether a request at that time is accepted."""
        if self.window == "sliding":
            while self._taken and self._taken[0] <= now - MINUTE:
                self._taken.popleft()
            if len(self._taken) >= self.limit:
                return False
            self._taken.append(now)
            return True
        window = (now - self.offset) // MINUTE
        self._count = self._count + 1 if window == self._window else 1
        self._window = window
        return self._count <= self.limit


@dataclass
class Sent:
    """One request: when it was sent, and whether it was accepted."""

    at: float
    is_accepted: bool


def send_without_rest(limiter: AdaptiveRateLimit, service: Service, begin: float, end: float) -> list[Sent]:
    """Send as many requests as the limiter allows; responses come in the order of the requests."""
    sent: list[Sent] = []
    answers: deque[tuple[float, bool]] = deque()
    now = begin
    while (send_at := limiter.next_send_at(now)) < end:
        if answers and answers[0][0] <= send_at:
            now, taken = answers.popleft()
            if taken:
                limiter.accepted(now)
            else:
                limiter.throttled(now, service.retry_after, service.limit if service.announces else None)
            continue
        now = send_at
        limiter.sent(now)
        sent.append(Sent(now, service.accepts(now)))
        answers.append((now + service.latency, sent[-1].is_accepted))
    return sent


def most_in_any_minute(moments: list[float]) -> int:
    """Count the requests of the fullest sixty seconds, half-open, to the microsecond."""
    window: deque[float] = deque()
    most = 0
    for moment in moments:
        window.append(moment)
        while window[0] <= moment - MINUTE + 1e-6:
            window.popleft()
        most = max(most, len(window))
    return most


def throttled_and_used(service: Service, ceiling: float) -> tuple[float, float]:
    """Return the throttled share of requests and the used share of the limit, from minute 5 to 65."""
    sent = send_without_rest(AdaptiveRateLimit(ceiling, 1000.0), service, 1000.0, 1000.0 + 65 * MINUTE)
    settled = [request for request in sent if request.at >= 1000.0 + 5 * MINUTE]
    taken = sum(request.is_accepted for request in settled)
    return 1 - taken / len(settled), taken / (60 * service.limit)


LIMITS = (5, 20, 50, 120, 300)
ANNOUNCEMENTS = {True: "announced", False: "silent"}


@pytest.mark.parametrize(
    ("limit", "window", "announces"),
    list(product(LIMITS, ("fixed", "sliding"), (True, False))),
    ids=lambda value: ANNOUNCEMENTS.get(value, str(value)) if isinstance(value, bool) else str(value),
)
def test_after_five_minutes_few_requests_are_throttled_and_most_of_the_limit_is_used(
    limit: int, window: str, announces: bool
) -> None:
    offsets = (0.0, 7.0, 31.0, 59.5) if window == "fixed" else (0.0, 0.0)
    for offset, latency in zip(offsets, cycle((0.0, 0.2)), strict=False):
        service = Service(limit, window, offset, announces, latency=latency)
        refused, used = throttled_and_used(service, ceiling=600)
        assert refused < 0.01 or refused * 60 * limit <= 5, "one probe in ten minutes is allowed"
        assert used >= 0.85


@pytest.mark.parametrize("ceiling", [50, 300])
def test_the_ceiling_is_reached_if_the_service_accepts_it(ceiling: int) -> None:
    refused, used = throttled_and_used(Service(ceiling), ceiling)
    assert refused == 0
    assert used >= 0.99


@pytest.mark.parametrize("announces", [True, False], ids=["announced", "silent"])
def test_throttling_does_not_grow_later(announces: bool) -> None:
    service = Service(50, "fixed", 7.0, announces, latency=0.2)
    sent = send_without_rest(AdaptiveRateLimit(300, 0.0), service, 0.0, 361 * MINUTE)
    for hour in range(6):
        taken = [
            request.is_accepted
            for request in sent
            if hour * 3600 + MINUTE <= request.at < (hour + 1) * 3600 + MINUTE
        ]
        assert taken.count(False) < 0.01 * len(taken)
        assert taken.count(True) >= 0.9 * 60 * 50


@pytest.mark.parametrize("announces", [True, False], ids=["announced", "silent"])
def test_a_raised_limit_is_found(announces: bool) -> None:
    service = Service(50, announces=announces)
    limiter = AdaptiveRateLimit(300, 0.0)
    send_without_rest(limiter, service, 0.0, 30 * MINUTE)
    assert limiter.limit(30 * MINUTE) < 60
    service.limit = 10_000
    send_without_rest(limiter, service, 30 * MINUTE, 120 * MINUTE)
    assert limiter.limit(120 * MINUTE) == 300


def test_a_lowered_limit_is_respected() -> None:
    service = Service(120)
    limiter = AdaptiveRateLimit(300, 0.0)
    send_without_rest(limiter, service, 0.0, 30 * MINUTE)
    service.limit = 20
    sent = send_without_rest(limiter, service, 30 * MINUTE, 100 * MINUTE)
    late = [request.is_accepted for request in sent if request.at >= 35 * MINUTE]
    assert late.count(False) < 0.01 * len(late)
    assert late.count(True) >= 0.85 * 65 * 20


@pytest.mark.parametrize("ceiling", [1, 2, 5, 7.5, 50, 120, 300, 1000])
def test_never_more_than_the_ceiling_is_sent_in_any_minute(ceiling: float) -> None:
    sent = send_without_rest(AdaptiveRateLimit(ceiling, 0.0), Service(10**9), 0.0, 10 * MINUTE)
    assert most_in_any_minute([request.at for request in sent]) <= ceiling
    assert len(sent) >= 9 * ceiling


@given(
    ceiling=st.integers(1, 400),
    limit=st.integers(1, 400),
    window=st.sampled_from(["fixed", "sliding"]),
    announces=st.booleans(),
    retry_after=st.none() | st.floats(0, 120),
    latency=st.sampled_from([0.0, 0.05, 0.9]),
    rests=st.lists(st.floats(0, 400), max_size=6),
)
def test_the_ceiling_holds_whatever_limit_the_service_announces(
    ceiling: int,
    limit: int,
    window: str,
    announces: bool,
    retry_after: float | None,
    latency: float,
    rests: list[float],
) -> None:
    limiter = AdaptiveRateLimit(ceiling, 0.0)
    service = Service(limit, window, announces=announces, retry_after=retry_after, latency=latency)
    sent: list[Sent] = []
    now = 0.0
    for rest in [0.0, *rests]:
        now += rest
        sent += send_without_rest(limiter, service, now, now + 2 * MINUTE)
        now += 2 * MINUTE
        assert 1 <= limiter.limit(now) <= ceiling
    assert most_in_any_minute([request.at for request in sent]) <= ceiling


@given(
    st.lists(
        st.tuples(
            st.floats(0, 4000),
            st.none() | st.tuples(st.none() | st.floats(0, 1e6), st.none() | st.floats(0, 1e6)),
        ),
        max_size=60,
    )
)
def test_requests_never_stop_for_good(
    steps: list[tuple[float, tuple[float | None, float | None] | None]],
) -> None:
    limiter, now = AdaptiveRateLimit(300, 0.0), 0.0
    for rest, refusal in steps:
        now = max(now + rest, limiter.next_send_at(now + rest))
        limiter.sent(now)
        if refusal is None:
            limiter.accepted(now)
        else:
            limiter.throttled(now, *refusal)
        assert now <= limiter.next_send_at(now) <= now + 361
        assert 1 <= limiter.limit(now) <= 300


@pytest.mark.parametrize("asked", [0.5, 7.0, 120.0, 300.0])
def test_nothing_is_sent_for_as_long_as_the_service_asks(asked: float) -> None:
    limiter = AdaptiveRateLimit(300, 0.0)
    limiter.sent(0.0)
    limiter.throttled(0.0, asked, None)
    assert limiter.next_send_at(0.0) >= asked
    assert limiter.next_send_at(asked) <= asked + MINUTE


def test_no_pause_is_longer_than_five_minutes() -> None:
    limiter = AdaptiveRateLimit(300, 0.0)
    limiter.throttled(0.0, 86_400.0, None)
    assert limiter.next_send_at(0.0) == 300


def test_pauses_without_retry_after_grow_until_a_request_is_accepted() -> None:
    limiter, now, pauses = AdaptiveRateLimit(300, 0.0), 0.0, []
    for _ in range(9):
        limiter.throttled(now, None, None)
        pauses.append(limiter.next_send_at(now) - now)
        now = limiter.next_send_at(now)
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    limiter.accepted(now)
    now += 10 * MINUTE
    limiter.throttled(now, None, None)
    assert limiter.next_send_at(now) - now == 1


def test_requests_that_are_refused_together_lengthen_the_pause_once() -> None:
    limiter = AdaptiveRateLimit(300, 0.0)
    for arrived in range(8):
        limiter.throttled(arrived / 100, None, None)
    assert limiter.next_send_at(0.1) == pytest.approx(1.07)
    limiter.throttled(1.1, None, None)
    assert limiter.next_send_at(1.1) == pytest.approx(3.1)


def test_a_shorter_pause_does_not_cut_a_longer_one_short() -> None:
    limiter = AdaptiveRateLimit(300, 0.0)
    limiter.throttled(0.0, 100.0, None)
    limiter.throttled(0.0, 1.0, None)
    assert limiter.next_send_at(0.0) == 100


def test_an_announced_limit_is_respected_at_once() -> None:
    limiter = AdaptiveRateLimit(300, 0.0)
    for _ in range(200):
        limiter.accepted(0.0)
    limiter.throttled(0.0, None, 50.0)
    assert 40 <= limiter.limit(0.0) < 50
    assert 45 <= limiter.limit(10 * MINUTE) < 50


def test_after_a_pause_requests_are_not_sent_all_at_once() -> None:
    limiter = AdaptiveRateLimit(100, 0.0)
    limiter.throttled(0.0, 30.0, None)
    sent = send_without_rest(limiter, Service(10**9), 0.0, 40.0)
    assert sent[0].at == 30
    assert sum(request.at < 31 for request in sent) <= 10


def test_throttling_under_low_load_barely_lowers_the_limit() -> None:
    limiter = AdaptiveRateLimit(300, 0.0)
    for minute in range(10):
        now = minute * MINUTE
        assert limiter.next_send_at(now) == now
        limiter.sent(now)
        limiter.accepted(now)
    limiter.throttled(10 * MINUTE, None, None)
    assert 100 <= limiter.limit(10 * MINUTE) < 300


def test_other_users_of_the_same_limit_do_not_bring_it_to_a_standstill() -> None:
    limiter, refused = AdaptiveRateLimit(300, 0.0), 0
    for minute in range(120):
        for turn in range(12):
            now = max(minute * MINUTE + turn * 5, limiter.next_send_at(minute * MINUTE + turn * 5))
            limiter.sent(now)
            if minute % 10 == 0 and turn == 3:
                refused += 1
                limiter.throttled(now, None, 50.0)
            else:
                limiter.accepted(now)
        assert limiter.limit((minute + 1) * MINUTE) >= 24
    assert refused == 12


def test_a_day_of_throttling_is_survived_with_few_requests() -> None:
    limiter = AdaptiveRateLimit(300, now=0.0)
    now = 0.0
    for _ in range(2000):
        now = max(now, limiter.next_send_at(now))
        limiter.sent(now)
        limiter.throttled(now, None, None)
    assert limiter.next_send_at(now) - now == pytest.approx(60, abs=1)
