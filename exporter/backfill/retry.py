"""Several questions at once, each asked until it is answered, and what is said meanwhile."""

import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Final, Generic, TypeVar

from exporter.errors import ApiError, CredentialsError, NotVisibleError, RejectedError, ThrottledError

_QUIET_S: Final = 60.0
"""Trouble of one kind is told again after so long, if it still lasts."""


class Notices:
    """Hands lines to whoever shows them; safe to share between threads.

    Args:
        say: takes a line.
        clock: monotonic seconds.
    """

    def __init__(self, say: Callable[[str], object], clock: Callable[[], float] = time.monotonic) -> None:
        self.say = say
        self._clock = clock
        self._lock = threading.Lock()
        self._quiet_until: dict[str, float] = {}

    def trouble(self, kind: str, text: str) -> None:
        """Say that something is waited for; of one kind no more than a line a minute."""
        with self._lock:
            now = self._clock()
            if now < self._quiet_until.get(kind, now):
                return
            self._quiet_until[kind] = now + _QUIET_S
        self.say(text)


Question = TypeVar("Question")

Answer = TypeVar("Answer")

_PAUSES_S: Final = (2.0, 10.0, 30.0, 60.0)
"""Between tries of one question; the client itself has tried three times before each."""

_THROTTLED_TOLD: Final = 3
"""That a question waits is told when it was throttled so often in a row; less is how a limit is learnt."""

_TROUBLE_AFTER: Final = 5
"""So many questions in a row without an answer mean that the API is in trouble: nothing is final then."""


@dataclass(frozen=True, slots=True)
class Reply(Generic[Question, Answer]):
    """A question and what came of it: an answer, or the error that stood in the end."""

    question: Question
    answer: Answer | None = None
    error: ApiError | None = None

    @property
    def is_final(self) -> bool:
        """An answer, or a refusal; not so a failure, after which asking later may help."""
        return self.error is None or isinstance(self.error, NotVisibleError | RejectedError)


def each(
    ask: Callable[[Question], Answer],
    questions: Iterable[Question],
    concurrency: int,
    notices: Notices,
    sleep: Callable[[float], object] = time.sleep,
) -> Iterator[Reply[Question, Answer]]:
    """Ask all questions, some at once; answers come as they are ready.

    What is refused comes as such. What fails is tried again, and comes as failed if others are answered.

    Raises:
        ApiError: the credentials are refused, or nothing is answered any more.
    """
    waiting = iter(questions)
    work: queue.SimpleQueue[Question | None] = queue.SimpleQueue()
    done: queue.SimpleQueue[Reply[Question, Answer] | Exception] = queue.SimpleQueue()

    def serve() -> None:
        while (question := work.get()) is not None:
            try:
                done.put(persist(ask, question, notices, sleep))
            except Exception as error:
                done.put(error)

    for index in range(concurrency):
        threading.Thread(target=serve, name=f"backfill-{index}", daemon=True).start()
    trouble = _Trouble()
    under_way = 0
    try:
        while True:
            for question in islice(waiting, concurrency - under_way):
                work.put(question)
                under_way += 1
            if not under_way:
                return
            asked = done.get()
            under_way -= 1
            if isinstance(asked, Exception):
                raise asked
            trouble.look_at(asked)
            yield asked
    finally:
        for _ in range(concurrency):
            work.put(None)


class _Trouble:
    """Tells one question that fails from an API that does."""

    def __init__(self) -> None:
        self._in_a_row = 0

    def look_at(self, reply: Reply[Question, Answer]) -> None:
        """Take in how a question ended.

        Raises:
            ApiError: too many in a row have failed.
        """
        self._in_a_row = 0 if reply.is_final else self._in_a_row + 1
        if reply.error and self._in_a_row >= _TROUBLE_AFTER:
            raise reply.error


def persist(
    ask: Callable[[Question], Answer],
    question: Question,
    notices: Notices,
    sleep: Callable[[float], object] = time.sleep,
) -> Reply[Question, Answer]:
    """Ask again what is worth it, and tell of it; too many requests is no failure, only a reason to wait.

    Raises:
        CredentialsError: asking again could lock the key.
    """
    pauses = iter(_PAUSES_S)
    throttled = 0
    while True:
        try:
            return Reply(question, ask(question))
        except ThrottledError as error:
            throttled += 1
            if throttled >= _THROTTLED_TOLD:
                notices.trouble("throttled", f"throttled ({error}): waiting")
        except CredentialsError:
            raise
        except ApiError as error:
            pause = next(pauses, None) if error.retryable else None
            if pause is None:
                return Reply(question, error=error)
            notices.trouble("no answer", f"no answer ({error}): trying again in {pause:g} s")
            sleep(pause)
