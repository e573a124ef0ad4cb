"""Requests are retried until they succeed or fail for good."""

import threading
from collections import Counter
from collections.abc import Callable

import pytest

from exporter.backfill.fetch_with_retries import Notices, Reply, fetch_all
from exporter.errors import (
    ApiError,
    BackendError,
    CredentialsError,
    NotVisibleError,
    ThrottledError,
    UnreachableError,
)


class Service:
    """Returns each key, after the given errors."""

    def __init__(self, errors: Callable[[int, int], ApiError | None]) -> None:
        self._errors = errors
        self._lock = threading.Lock()
        self.calls: Counter[int] = Counter()

    def __call__(self, key: int) -> int:
        with self._lock:
            self.calls[key] += 1
            error = self._errors(key, self.calls[key])
        if error:
            raise error
        return key


def ask(
    service: Service, keys: int, concurrency: int = 3, said: list[str] | None = None
) -> dict[int, Reply[int, int]]:
    notices = Notices(([] if said is None else said).append)
    replies = fetch_all(service, range(keys), concurrency, notices, sleep=lambda _: None)
    return {reply.key: reply for reply in replies}


def test_every_key_is_fetched_once() -> None:
    service = Service(lambda *_: None)
    assert {q: reply.value for q, reply in ask(service, 100).items()} == {q: q for q in range(100)}
    assert set(service.calls.values()) == {1}


def test_temporary_errors_are_retried() -> None:
    service = Service(lambda _, times: BackendError("busy", code="500") if times < 4 else None)
    assert all(reply.error is None for reply in ask(service, 20).values())


def test_throttling_is_waited_out_without_limit() -> None:
    service = Service(lambda _, times: ThrottledError("slow down", code="429") if times < 50 else None)
    assert all(reply.error is None for reply in ask(service, 5).values())


def test_a_wait_is_reported_once() -> None:
    said: list[str] = []
    service = Service(lambda _, times: ThrottledError("slow down", code="429") if times < 50 else None)
    ask(service, 5, said=said)
    assert said == ["throttled (slow down): waiting"]
    said.clear()
    service = Service(lambda _, times: BackendError("busy", code="500") if times < 4 else None)
    ask(service, 20, said=said)
    assert said == ["no answer (busy): retrying in 2 s"]


def test_throttling_below_the_threshold_is_not_reported() -> None:
    said: list[str] = []
    ask(Service(lambda _, times: ThrottledError("slow down") if times < 3 else None), 20, said=said)
    assert said == []


def test_a_lasting_problem_is_reported_once_a_minute() -> None:
    said: list[str] = []
    now = 0.0
    notices = Notices(said.append, lambda: now)
    for now in (0.0, 1.0, 59.0, 60.0, 61.0):
        notices.problem("throttled", f"{now}")
    notices.problem("no answer", "another kind")
    assert said == ["0.0", "60.0", "another kind"]


def test_a_request_that_always_fails_yields_its_error() -> None:
    service = Service(lambda q, _: UnreachableError("time-out", code="timeout") if q == 7 else None)
    answers = ask(service, 20)
    assert [q for q, reply in answers.items() if reply.error] == [7]
    assert service.calls[7] == 5


def test_a_refusal_is_final() -> None:
    service = Service(lambda q, _: NotVisibleError("no such build", code="404") if q % 2 else None)
    assert sum(reply.error is not None for reply in ask(service, 20).values()) == 10
    assert set(service.calls.values()) == {1}


def test_an_outage_ends_it() -> None:
    service = Service(lambda q, _: BackendError("down", code="503") if q > 10 else None)
    with pytest.raises(BackendError):
        ask(service, 10_000)
    assert len(service.calls) < 30


def test_refused_credentials_end_it_at_once() -> None:
    service = Service(lambda q, _: CredentialsError("expired", code="401") if q == 3 else None)
    with pytest.raises(CredentialsError):
        ask(service, 10_000, concurrency=1)
    assert service.calls[3] == 1
    assert len(service.calls) == 4


def test_a_programming_error_is_raised() -> None:
    def broken(_: int) -> int:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(fetch_all(broken, range(3), 2, Notices(lambda _: None)))
