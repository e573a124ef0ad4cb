"""Questions are asked until they are answered, and no longer than that makes sense."""

import threading
from collections import Counter
from collections.abc import Callable

import pytest

from exporter.backfill.retry import Notices, Reply, fetch_all
from exporter.errors import (
    ApiError,
    BackendError,
    CredentialsError,
    NotVisibleError,
    ThrottledError,
    UnreachableError,
)


class Service:
    """Answers each question with itself, after as many errors as it is told to give first."""

    def __init__(self, errors: Callable[[int, int], ApiError | None]) -> None:
        self._errors = errors
        self._lock = threading.Lock()
        self.asked: Counter[int] = Counter()

    def __call__(self, question: int) -> int:
        with self._lock:
            self.asked[question] += 1
            error = self._errors(question, self.asked[question])
        if error:
            raise error
        return question


def ask(
    service: Service, questions: int, concurrency: int = 3, said: list[str] | None = None
) -> dict[int, Reply[int, int]]:
    notices = Notices(([] if said is None else said).append)
    answers = fetch_all(service, range(questions), concurrency, notices, sleep=lambda _: None)
    return {asked.key: asked for asked in answers}


def test_every_question_is_answered_once() -> None:
    service = Service(lambda *_: None)
    assert {q: asked.value for q, asked in ask(service, 100).items()} == {q: q for q in range(100)}
    assert set(service.asked.values()) == {1}


def test_trouble_that_passes_costs_nothing() -> None:
    service = Service(lambda _, times: BackendError("busy", code="500") if times < 4 else None)
    assert all(asked.error is None for asked in ask(service, 20).values())


def test_too_many_requests_is_waited_out_however_often_it_comes() -> None:
    service = Service(lambda _, times: ThrottledError("slow down", code="429") if times < 50 else None)
    assert all(asked.error is None for asked in ask(service, 5).values())


def test_what_is_waited_for_is_told_once() -> None:
    said: list[str] = []
    service = Service(lambda _, times: ThrottledError("slow down", code="429") if times < 50 else None)
    ask(service, 5, said=said)
    assert said == ["throttled (slow down): waiting"]
    said.clear()
    service = Service(lambda _, times: BackendError("busy", code="500") if times < 4 else None)
    ask(service, 20, said=said)
    assert said == ["no answer (busy): retrying in 2 s"]


def test_a_limit_that_is_learnt_is_no_trouble() -> None:
    said: list[str] = []
    ask(Service(lambda _, times: ThrottledError("slow down") if times < 3 else None), 20, said=said)
    assert said == []


def test_trouble_that_lasts_is_told_once_a_minute() -> None:
    said: list[str] = []
    now = 0.0
    notices = Notices(said.append, lambda: now)
    for now in (0.0, 1.0, 59.0, 60.0, 61.0):
        notices.problem("throttled", f"{now}")
    notices.problem("no answer", "another kind")
    assert said == ["0.0", "60.0", "another kind"]


def test_one_question_that_is_never_answered_ends_as_failed() -> None:
    service = Service(lambda q, _: UnreachableError("time-out", code="timeout") if q == 7 else None)
    answers = ask(service, 20)
    assert [q for q, asked in answers.items() if asked.error] == [7]
    assert service.asked[7] == 5


def test_a_refusal_is_an_answer() -> None:
    service = Service(lambda q, _: NotVisibleError("no such build", code="404") if q % 2 else None)
    assert sum(asked.error is not None for asked in ask(service, 20).values()) == 10
    assert set(service.asked.values()) == {1}


def test_when_nothing_is_answered_any_more_it_ends() -> None:
    service = Service(lambda q, _: BackendError("down", code="503") if q > 10 else None)
    with pytest.raises(BackendError):
        ask(service, 10_000)
    assert len(service.asked) < 30


def test_refused_credentials_end_it_at_once() -> None:
    service = Service(lambda q, _: CredentialsError("expired", code="401") if q == 3 else None)
    with pytest.raises(CredentialsError):
        ask(service, 10_000, concurrency=1)
    assert service.asked[3] == 1
    assert len(service.asked) == 4


def test_a_mistake_of_ours_is_not_swallowed() -> None:
    def broken(_: int) -> int:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(fetch_all(broken, range(3), 2, Notices(lambda _: None)))
