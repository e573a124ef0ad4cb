"""Concurrent requests, each retried until it succeeds or fails for good, and messages for the user."""

import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Final, Generic, TypeVar

from exporter.errors import ApiError, CredentialsError, RefusalError, ThrottledError

Key = TypeVar("Key")
Value = TypeVar("Value")

_REPEAT_S: Final = 60.0
"""A problem of the same kind is reported again after this time."""

_PAUSES_S: Final = (2.0, 10.0, 30.0, 60.0)
"""Between tries of one request; the client itself has tried three times before each."""

_THROTTLED_REPORTED: Final = 3
"""Throttling is reported from this many times in a row; below, the throttle is still learning the limit."""

_OUTAGE_AFTER: Final = 5
"""This many failed requests in a row mean that the API is down."""


class Notices:
    """Passes messages for the user on to ``say``; safe to share between threads."""

    def __init__(self, say: Callable[[str], object], clock: Callable[[], float] = time.monotonic) -> None:
        self.say = say
        self._clock = clock
        self._lock = threading.Lock()
        self._quiet_until: dict[str, float] = {}

    def problem(self, kind: str, text: str) -> None:
        """Report a problem that causes a wait, at most once a minute for each kind."""
        with self._lock:
            now = self._clock()
            if now < self._quiet_until.get(kind, now):
                return
            self._quiet_until[kind] = now + _REPEAT_S
        self.say(text)


@dataclass(frozen=True, slots=True)
class Reply(Generic[Key, Value]):
    """The outcome of a request: a value, or the error of the last try."""

    key: Key
    value: Value | None = None
    error: ApiError | None = None

    @property
    def is_final(self) -> bool:
        """A value or a refusal; after any other error a later try may succeed."""
        return self.error is None or isinstance(self.error, RefusalError)


def fetch_all(
    fetch: Callable[[Key], Value],
    keys: Iterable[Key],
    concurrency: int,
    notices: Notices,
    sleep: Callable[[float], object] = time.sleep,
) -> Iterator[Reply[Key, Value]]:
    """Fetch all keys concurrently; replies come in order of completion.

    Failed requests are retried; one that still fails yields its error as long as others succeed.

    Raises:
        ApiError: the credentials are refused, or the API is down.
    """
    remaining = iter(keys)
    work: queue.SimpleQueue[Key | None] = queue.SimpleQueue()
    done: queue.SimpleQueue[Reply[Key, Value] | Exception] = queue.SimpleQueue()

    def run() -> None:
        while (key := work.get()) is not None:
            try:
                done.put(fetch_with_retries(fetch, key, notices, sleep))
            except Exception as error:
                done.put(error)

    for index in range(concurrency):
        threading.Thread(target=run, name=f"backfill-{index}", daemon=True).start()
    failures = 0
    try:
        in_flight = _put(islice(remaining, concurrency), work)
        while in_flight:
            reply = done.get()
            if isinstance(reply, Exception):
                raise reply
            failures = 0 if reply.is_final else failures + 1
            if reply.error and failures >= _OUTAGE_AFTER:
                raise reply.error
            yield reply
            in_flight += _put(islice(remaining, 1), work) - 1
    finally:
        for _ in range(concurrency):
            work.put(None)


def _put(keys: Iterable[Key], work: "queue.SimpleQueue[Key | None]") -> int:
    count = 0
    for count, key in enumerate(keys, 1):  # noqa: B007 the count is returned
        work.put(key)
    return count


def fetch_with_retries(
    fetch: Callable[[Key], Value],
    key: Key,
    notices: Notices,
    sleep: Callable[[float], object] = time.sleep,
    hint: str = "",
) -> Reply[Key, Value]:
    """Fetch one key; retry and report errors that may pass. Throttling is waited out without limit.

    ``hint`` ends the reports.

    Raises:
        CredentialsError: a retry could lock the key.
    """
    pauses = iter(_PAUSES_S)
    throttled = 0
    while True:
        try:
            return Reply(key, fetch(key))
        except ThrottledError as error:
            throttled += 1
            if throttled >= _THROTTLED_REPORTED:
                notices.problem("throttled", f"throttled ({error}): waiting")
        except CredentialsError:
            raise
        except ApiError as error:
            pause = next(pauses, None) if error.retryable else None
            if pause is None:
                return Reply(key, error=error)
            notices.problem("no answer", f"no answer ({error}): retrying in {pause:g} s{hint}")
            sleep(pause)
