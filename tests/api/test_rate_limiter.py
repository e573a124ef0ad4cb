"""How fast the API may be asked: never above the limit, and close below what the service bears."""

from collections import deque
from dataclasses import dataclass, field
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.api.rate_limiter import AdaptiveRateLimit

MINUTE = 60.0


@dataclass
class Service:
    """A service that bears so many requests in a window of a minute; refused ones count in fixed windows.

    Attributes:
        window: ``fixed`` windows begin by the clock, a ``sliding`` one ends with each request.
        offset: when the fixed windows begin.
        announces: it names its limit with each refusal.
        patience: the ``Retry-After`` of a refusal.
        latency: seconds from a request to its answer.
    """

    limit: int
    window: str = "fixed"
    offset: float = 0.0
    announces: bool = False
    patience: float | None = None
    latency: float = 0.0
    _window: float | None = None
    _count: int = 0
    _taken: deque[float] = field(default_factory=deque)

    def takes(self, now: float) -> bool:
        """Whether a request at that time is answered."""
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
class Told:
    """One request: when it went out, and whether it was answered."""

    at: float
    taken: bool


def ask_without_rest(pace: AdaptiveRateLimit, service: Service, begin: float, end: float) -> list[Told]:
    """All that one greedy caller gets out of a service; answers come in the order of the requests."""
    sent: list[Told] = []
    answers: deque[tuple[float, bool]] = deque()
    now = begin
    while (go_at := pace.next_send_at(now)) < end:
        if answers and answers[0][0] <= go_at:
            now, taken = answers.popleft()
            if taken:
                pace.accepted(now)
            else:
                pace.throttled(now, service.patience, service.limit if service.announces else None)
            continue
        now = go_at
        pace.sent(now)
        sent.append(Told(now, service.takes(now)))
        answers.append((now + service.latency, sent[-1].taken))
    return sent


def most_in_any_minute(moments: list[float]) -> int:
    """The fullest sixty seconds, the first moment included and the last not, to the microsecond."""
    window: deque[float] = deque()
    most = 0
    for moment in moments:
        window.append(moment)
        while window[0] <= moment - MINUTE + 1e-6:
            window.popleft()
        most = max(most, len(window))
    return most


def throttled_and_used(service: Service, ceiling: float) -> tuple[float, float]:
    """After five minutes and for an hour: which share was refused, and how much of the allowance was used."""
    sent = ask_without_rest(AdaptiveRateLimit(ceiling, 1000.0), service, 1000.0, 1000.0 + 65 * MINUTE)
    settled = [told for told in sent if told.at >= 1000.0 + 5 * MINUTE]
    taken = sum(told.taken for told in settled)
    return 1 - taken / len(settled), taken / (60 * service.limit)


LIMITS = (5, 20, 50, 120, 300)
ANNOUNCEMENTS = {True: "announced", False: "silent"}


@pytest.mark.parametrize(
    ("limit", "window", "announces"),
    list(product(LIMITS, ("fixed", "sliding"), (True, False))),
    ids=lambda value: ANNOUNCEMENTS.get(value, str(value)) if isinstance(value, bool) else str(value),
)
def test_after_five_minutes_hardly_any_is_refused_and_most_is_used(
    limit: int, window: str, announces: bool
) -> None:
    for offset, latency in product((0.0, 7.0, 31.0, 59.5), (0.0, 0.2)):
        service = Service(limit, window, offset, announces, latency=latency)
        refused, used = throttled_and_used(service, ceiling=600)
        assert refused < 0.01 or refused * 60 * limit <= 5, "one probe in ten minutes is allowed"
        assert used >= 0.85


@pytest.mark.parametrize("ceiling", [50, 300])
def test_a_service_that_bears_the_ceiling_gets_it(ceiling: int) -> None:
    refused, used = throttled_and_used(Service(ceiling), ceiling)
    assert refused == 0
    assert used >= 0.99


@pytest.mark.parametrize("announces", [True, False], ids=["announced", "silent"])
def test_nothing_worse_comes_later(announces: bool) -> None:
    service = Service(50, "fixed", 7.0, announces, latency=0.2)
    sent = ask_without_rest(AdaptiveRateLimit(300, 0.0), service, 0.0, 361 * MINUTE)
    for hour in range(6):
        taken = [told.taken for told in sent if hour * 3600 + MINUTE <= told.at < (hour + 1) * 3600 + MINUTE]
        assert taken.count(False) < 0.01 * len(taken)
        assert taken.count(True) >= 0.9 * 60 * 50


@pytest.mark.parametrize("announces", [True, False], ids=["announced", "silent"])
def test_a_limit_that_was_lifted_is_found(announces: bool) -> None:
    service = Service(50, announces=announces)
    pace = AdaptiveRateLimit(300, 0.0)
    ask_without_rest(pace, service, 0.0, 30 * MINUTE)
    assert pace.limit(30 * MINUTE) < 60
    service.limit = 10_000
    ask_without_rest(pace, service, 30 * MINUTE, 120 * MINUTE)
    assert pace.limit(120 * MINUTE) == 300


def test_a_limit_that_was_lowered_is_kept_to() -> None:
    service = Service(120)
    pace = AdaptiveRateLimit(300, 0.0)
    ask_without_rest(pace, service, 0.0, 30 * MINUTE)
    service.limit = 20
    sent = ask_without_rest(pace, service, 30 * MINUTE, 100 * MINUTE)
    late = [told.taken for told in sent if told.at >= 35 * MINUTE]
    assert late.count(False) < 0.01 * len(late)
    assert late.count(True) >= 0.85 * 65 * 20


@pytest.mark.parametrize("ceiling", [1, 2, 5, 7.5, 50, 120, 300, 1000])
def test_never_more_than_the_ceiling_goes_out_in_any_minute(ceiling: float) -> None:
    sent = ask_without_rest(AdaptiveRateLimit(ceiling, 0.0), Service(10**9), 0.0, 10 * MINUTE)
    assert most_in_any_minute([told.at for told in sent]) <= ceiling
    assert len(sent) >= 9 * ceiling


@given(
    ceiling=st.integers(1, 400),
    limit=st.integers(1, 400),
    window=st.sampled_from(["fixed", "sliding"]),
    announces=st.booleans(),
    patience=st.none() | st.floats(0, 120),
    latency=st.sampled_from([0.0, 0.05, 0.9]),
    rests=st.lists(st.floats(0, 400), max_size=6),
)
def test_the_ceiling_holds_whatever_the_service_says(
    ceiling: int,
    limit: int,
    window: str,
    announces: bool,
    patience: float | None,
    latency: float,
    rests: list[float],
) -> None:
    pace = AdaptiveRateLimit(ceiling, 0.0)
    service = Service(limit, window, announces=announces, patience=patience, latency=latency)
    sent: list[Told] = []
    now = 0.0
    for rest in [0.0, *rests]:
        now += rest
        sent += ask_without_rest(pace, service, now, now + 2 * MINUTE)
        now += 2 * MINUTE
        assert 1 <= pace.limit(now) <= ceiling
    assert most_in_any_minute([told.at for told in sent]) <= ceiling


@given(
    st.lists(
        st.tuples(
            st.floats(0, 4000),
            st.none() | st.tuples(st.none() | st.floats(0, 1e6), st.none() | st.floats(0, 1e6)),
        ),
        max_size=60,
    )
)
def test_it_never_stands_still(steps: list[tuple[float, tuple[float | None, float | None] | None]]) -> None:
    pace, now = AdaptiveRateLimit(300, 0.0), 0.0
    for rest, refusal in steps:
        now = max(now + rest, pace.next_send_at(now + rest))
        pace.sent(now)
        if refusal is None:
            pace.accepted(now)
        else:
            pace.throttled(now, *refusal)
        assert now <= pace.next_send_at(now) <= now + 361
        assert 1 <= pace.limit(now) <= 300


@pytest.mark.parametrize("asked", [0.5, 7.0, 120.0, 300.0])
def test_nothing_goes_out_for_as_long_as_the_service_asks(asked: float) -> None:
    pace = AdaptiveRateLimit(300, 0.0)
    pace.sent(0.0)
    pace.throttled(0.0, asked, None)
    assert pace.next_send_at(0.0) >= asked
    assert pace.next_send_at(asked) <= asked + MINUTE


def test_no_pause_is_longer_than_five_minutes() -> None:
    pace = AdaptiveRateLimit(300, 0.0)
    pace.throttled(0.0, 86_400.0, None)
    assert pace.next_send_at(0.0) == 300


def test_pauses_of_its_own_grow_until_something_is_answered() -> None:
    pace, now, pauses = AdaptiveRateLimit(300, 0.0), 0.0, []
    for _ in range(9):
        pace.throttled(now, None, None)
        pauses.append(pace.next_send_at(now) - now)
        now = pace.next_send_at(now)
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    pace.accepted(now)
    now += 10 * MINUTE
    pace.throttled(now, None, None)
    assert pace.next_send_at(now) - now == 1


def test_a_shorter_pause_does_not_cut_a_longer_one_short() -> None:
    pace = AdaptiveRateLimit(300, 0.0)
    pace.throttled(0.0, 100.0, None)
    pace.throttled(0.0, 1.0, None)
    assert pace.next_send_at(0.0) == 100


def test_a_limit_that_is_named_is_kept_to_at_once() -> None:
    pace = AdaptiveRateLimit(300, 0.0)
    for _ in range(200):
        pace.accepted(0.0)
    pace.throttled(0.0, None, 50.0)
    assert 40 <= pace.limit(0.0) < 50
    assert 45 <= pace.limit(10 * MINUTE) < 50


def test_after_a_pause_requests_do_not_go_out_all_at_once() -> None:
    pace = AdaptiveRateLimit(100, 0.0)
    pace.throttled(0.0, 30.0, None)
    sent = ask_without_rest(pace, Service(10**9), 0.0, 40.0)
    assert sent[0].at == 30
    assert sum(told.at < 31 for told in sent) <= 10


def test_a_refusal_that_comes_while_little_is_asked_says_little_of_what_is_borne() -> None:
    pace = AdaptiveRateLimit(300, 0.0)
    for minute in range(10):
        now = minute * MINUTE
        assert pace.next_send_at(now) == now
        pace.sent(now)
        pace.accepted(now)
    pace.throttled(10 * MINUTE, None, None)
    assert 100 <= pace.limit(10 * MINUTE) < 300


def test_people_who_use_the_same_limit_now_and_then_do_not_bring_it_to_a_standstill() -> None:
    pace, refused = AdaptiveRateLimit(300, 0.0), 0
    for minute in range(120):
        for turn in range(12):
            now = max(minute * MINUTE + turn * 5, pace.next_send_at(minute * MINUTE + turn * 5))
            pace.sent(now)
            if minute % 10 == 0 and turn == 3:
                refused += 1
                pace.throttled(now, None, 50.0)
            else:
                pace.accepted(now)
        assert pace.limit((minute + 1) * MINUTE) >= 24
    assert refused == 12


def test_a_day_of_refusals_is_waited_out_patiently() -> None:
    pace = AdaptiveRateLimit(300, now=0.0)
    now = 0.0
    for _ in range(2000):
        now = max(now, pace.next_send_at(now))
        pace.sent(now)
        pace.throttled(now, None, None)
    assert pace.next_send_at(now) - now == pytest.approx(60, abs=1)
