"""Limits for each operation: learnt one by one, and shared only where nothing else explains the refusals."""

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.api.operation_limits import OperationLimits
from tests.api.test_adaptive_rate_limit import MINUTE, Service, most_in_any_minute

EACH: Mapping[str, int] = {"record-info": 120, "period-history": 120, "full-stages": 50, "job-list": 50}
LATENCY_S = 0.2


@dataclass
class Gateway:
    """What limits each operation; several may have the same."""

    policies: dict[str, Service]


def limited_each(window: str = "fixed", *, announces: bool = False) -> Gateway:
    """A service that limits each operation by itself."""
    offsets = {operation: 7.0 * place for place, operation in enumerate(EACH)}
    return Gateway({op: Service(limit, window, offsets[op], announces) for op, limit in EACH.items()})


def limited_together(limit: int, window: str = "fixed", *, announces: bool = False) -> Gateway:
    """A service with one limit for all operations."""
    return Gateway(dict.fromkeys(EACH, Service(limit, window, 7.0, announces)))


@dataclass
class Run:
    """Requests of all operations, as often as asked or as the limits allow, and what became of them."""

    limits: OperationLimits
    gateway: Gateway
    now: float = 0.0
    sent: list[tuple[float, str, bool]] = field(default_factory=list)

    def go(self, seconds: float, asked: Mapping[str, float]) -> "Counts":
        """Ask so many requests a minute of each operation, for that long; none waits for another's limit."""
        end, first = self.now + seconds, len(self.sent)
        due = dict.fromkeys(asked, self.now)
        answers: deque[tuple[float, str, bool]] = deque()
        while True:
            moments = {op: max(at, self.limits.next_send_at(op, self.now)) for op, at in due.items()}
            operation = min(moments, key=lambda op: (moments[op], due[op]))
            moment = moments[operation]
            if answers and answers[0][0] <= moment:
                self.now, answered, is_accepted = answers.popleft()
                self._answer(answered, is_accepted=is_accepted)
                continue
            if moment >= end:
                break
            self.now = moment
            if self.limits.next_send_at(operation, moment) > moment:
                continue
            self.limits.sent(operation, moment)
            is_accepted = self.gateway.policies[operation].accepts(moment)
            self.sent.append((moment, operation, is_accepted))
            answers.append((moment + LATENCY_S, operation, is_accepted))
            due[operation] = max(due[operation] + MINUTE / asked[operation], moment - 5.0)
        for _, answered, is_accepted in answers:
            self._answer(answered, is_accepted=is_accepted)
        self.now = end
        return Counts(self.sent[first:], seconds)

    def _answer(self, operation: str, *, is_accepted: bool) -> None:
        policy = self.gateway.policies[operation]
        if is_accepted:
            self.limits.accepted(operation, self.now)
        else:
            announced = policy.limit if policy.announces else None
            self.limits.throttled(operation, self.now, policy.retry_after, announced)


@dataclass(frozen=True)
class Counts:
    """Requests of some time, as shares."""

    sent: Sequence[tuple[float, str, bool]]
    seconds: float

    def used(self, limits: Mapping[str, int]) -> dict[str, float]:
        """The share that each operation used of its limit."""
        accepted = Counter(operation for _, operation, is_accepted in self.sent if is_accepted)
        return {op: accepted[op] / (limit * self.seconds / MINUTE) for op, limit in limits.items()}

    def total_used(self, limit: int) -> float:
        """The share that all together used of one limit."""
        return sum(is_accepted for *_, is_accepted in self.sent) / (limit * self.seconds / MINUTE)

    @property
    def refused(self) -> float:
        """The share of requests that were refused."""
        return sum(not is_accepted for *_, is_accepted in self.sent) / len(self.sent)


MORE_THAN_ALLOWED = {"record-info": 140.0, "period-history": 130.0, "full-stages": 70.0, "job-list": 60.0}
ANNOUNCED = pytest.mark.parametrize("announces", [True, False], ids=["announced", "silent"])
WINDOW = pytest.mark.parametrize("window", ["fixed", "sliding"])


def learnt(gateway: Gateway, minutes: int = 6, ceiling: float = 600) -> Run:
    """Limits that have learnt for some minutes what the service allows."""
    run = Run(OperationLimits(ceiling, 0.0), gateway)
    run.go(minutes * MINUTE, MORE_THAN_ALLOWED)
    return run


@WINDOW
@ANNOUNCED
def test_each_operation_uses_its_own_limit(window: str, announces: bool) -> None:
    run = learnt(limited_each(window, announces=announces))
    found = run.go(20 * MINUTE, MORE_THAN_ALLOWED)
    assert min(found.used(EACH).values()) >= 0.85
    assert found.refused <= 0.01
    assert not run.limits.is_shared


@ANNOUNCED
def test_an_operation_that_is_throttled_slows_no_other(announces: bool) -> None:
    run = Run(OperationLimits(300, 0.0), limited_each(announces=announces))
    run.go(30 * MINUTE, {"record-info": 60.0, "full-stages": 70.0})
    assert 40 <= run.limits.limit("full-stages", run.now) <= 60
    for operation in ("record-info", "period-history"):
        assert run.limits.limit(operation, run.now) == 300
        assert run.limits.next_send_at(operation, run.now) == run.now


def test_the_pause_that_an_operation_is_asked_for_holds_for_it_alone() -> None:
    limits = OperationLimits(300, 0.0)
    limits.throttled("full-stages", 0.0, 120.0, 50.0)
    assert limits.next_send_at("full-stages", 0.0) == 120
    assert limits.next_send_at("record-info", 0.0) == 0
    assert 40 <= limits.limit("full-stages", 0.0) < 50
    assert limits.limit("record-info", 0.0) == 300


@WINDOW
@ANNOUNCED
@pytest.mark.parametrize("limit", [20, 50, 120])
def test_a_shared_limit_is_inferred_and_used(window: str, announces: bool, limit: int) -> None:
    run = learnt(limited_together(limit, window, announces=announces))
    found = run.go(20 * MINUTE, MORE_THAN_ALLOWED)
    assert run.limits.is_shared
    assert found.total_used(limit) >= 0.9
    assert found.refused <= 0.02


def test_under_a_shared_limit_one_operation_may_use_all_of_it_soon() -> None:
    run = learnt(limited_together(50, announces=True))
    run.go(2 * MINUTE, {"record-info": 140.0})
    assert run.go(10 * MINUTE, {"record-info": 140.0}).total_used(50) >= 0.9
    assert run.go(10 * MINUTE, {"period-history": 140.0}).total_used(50) >= 0.9


def test_a_shared_limit_is_given_up_where_each_operation_gets_its_own() -> None:
    run = learnt(limited_together(50))
    assert run.limits.is_shared
    run.gateway = limited_each()
    run.go(60 * MINUTE, MORE_THAN_ALLOWED)
    assert not run.limits.is_shared
    assert min(run.go(20 * MINUTE, MORE_THAN_ALLOWED).used(EACH).values()) >= 0.85


def test_operations_that_outgrow_a_shared_limit_end_it() -> None:
    run = learnt(limited_together(50))
    run.gateway = limited_together(10**9)
    run.go(60 * MINUTE, {"record-info": 140.0, "period-history": 130.0})
    assert not run.limits.is_shared
    assert run.limits.limit("record-info", run.now) == 600


@ANNOUNCED
def test_a_shared_limit_is_found_where_each_operation_had_its_own(announces: bool) -> None:
    run = learnt(limited_each(announces=announces), minutes=30)
    run.gateway = limited_together(50, announces=announces)
    run.go(20 * MINUTE, MORE_THAN_ALLOWED)
    found = run.go(20 * MINUTE, MORE_THAN_ALLOWED)
    assert found.refused <= 0.02
    assert found.total_used(50) >= 0.85


def test_a_changed_ceiling_keeps_what_was_learnt() -> None:
    run = learnt(limited_each(announces=True), minutes=2)
    before = {operation: run.limits.limit(operation, run.now) for operation in EACH}
    run.limits.ceiling = 100
    assert {operation: run.limits.limit(operation, run.now) for operation in EACH} == {
        operation: min(100, limit) for operation, limit in before.items()
    }
    run.limits.ceiling = 600
    assert {operation: run.limits.limit(operation, run.now) for operation in EACH} == before


def test_a_request_that_yields_leaves_room_under_the_ceiling() -> None:
    limits = OperationLimits(100, 0.0)
    now, sent = 0.0, 0
    while now < 59:
        limits.sent("full-stages", now)
        sent += 1
        now = limits.next_send_at("full-stages", now, yields=True)
    assert sent == 90
    for _ in range(5):
        assert limits.next_send_at("record-info", 59.0) == 59
        limits.sent("record-info", 59.0)


@given(
    ceiling=st.integers(1, 200),
    limits=st.dictionaries(st.sampled_from(sorted(EACH)), st.integers(1, 200), min_size=1),
    shared=st.booleans(),
    announces=st.booleans(),
    window=st.sampled_from(["fixed", "sliding"]),
    asked=st.sampled_from([5.0, 60.0, 200.0]),
)
def test_never_more_than_the_ceiling_is_sent_in_any_minute_and_requests_never_stop(
    ceiling: int, limits: dict[str, int], shared: bool, announces: bool, window: str, asked: float
) -> None:
    gateway = limited_together(min(limits.values()), window, announces=announces)
    if not shared:
        gateway.policies |= {op: Service(limit, window, announces=announces) for op, limit in limits.items()}
    run = Run(OperationLimits(ceiling, 0.0), gateway)
    run.go(4 * MINUTE, dict.fromkeys(limits, asked))
    assert most_in_any_minute([moment for moment, *_ in run.sent]) <= ceiling
    for operation in limits:
        assert run.limits.next_send_at(operation, run.now) <= run.now + 361
        assert 1 <= run.limits.limit(operation, run.now) <= ceiling
