"""A token or key that is fetched, shared between threads, and renewed before it expires."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from exporter.api.auth.circuit_breaker import MINUTE, Backoff, Clock
from exporter.errors import ApiError, CredentialsError

T = TypeVar("T")


@dataclass(frozen=True)
class _Entry(Generic[T]):
    """A value and its times, in seconds since the epoch."""

    value: T = field(repr=False)
    renew_at: float
    expires_at: float


class CachedToken(Generic[T]):
    """Rule 3: one thread fetches the value for all, with a pause after a failure.

    ``fetch`` returns the value and its lifetime in seconds. It is renewed ``renew_before_s`` before its end,
    but not before half its lifetime.
    """

    def __init__(self, fetch: Callable[[], tuple[T, float]], clock: Clock, renew_before_s: float) -> None:
        self._fetch = fetch
        self._clock = clock
        self._renew_before_s = renew_before_s
        self._fetching = threading.Lock()
        self._entry_lock = threading.Lock()
        self._entry: _Entry[T] | None = None
        self._after_refusal = Backoff(clock)
        self._after_failure = Backoff(clock, 5.0, MINUTE)
        self._failure = ApiError("nothing has failed yet")

    def value(self) -> T:
        """Return the cached value or a new one; `ApiError` if that fails, or it is too early to try again."""
        entry = self._current()
        if entry is None:
            self._fetching.acquire()
        elif self._clock() < entry.renew_at or not self._fetching.acquire(blocking=False):
            return entry.value
        try:
            entry = self._current()
            if entry and self._clock() < entry.renew_at:  # by the thread this one waited for
                return entry.value
            return self._fetched()
        except ApiError:
            entry = self._current()
            if entry is None:
                raise
            return entry.value
        finally:
            self._fetching.release()

    def invalidate(self, is_refused: Callable[[T], bool]) -> bool:
        """Forget the value if it was refused; False if it has been replaced already."""
        with self._entry_lock:
            entry = self._current()
            if entry is None or not is_refused(entry.value):
                return False
            self._entry = None
            return True

    def expires_at(self) -> float | None:
        """Expiry of the cached value; None if there is none."""
        entry = self._current()
        return entry.expires_at if entry else None

    def _current(self) -> _Entry[T] | None:
        entry = self._entry
        return entry if entry and self._clock() < entry.expires_at else None

    def _fetched(self) -> T:
        backoff = max(self._after_refusal, self._after_failure, key=Backoff.remaining_s)
        if backoff.remaining_s():
            raise backoff.deferred(self._failure)
        requested_at = self._clock()
        try:
            value, lifetime_s = self._fetch()
        except ApiError as error:
            self._failure = error.reworded(str(error), None)  # a copy, since the traceback holds the request
            backoff = self._after_refusal if isinstance(error, CredentialsError) else self._after_failure
            backoff.start(at_least_s=error.retry_after or 0.0)
            raise backoff.deferred(self._failure) from None
        self._after_refusal.reset()
        self._after_failure.reset()
        renew_at = requested_at + max(lifetime_s - self._renew_before_s, lifetime_s / 2)
        with self._entry_lock:
            self._entry = _Entry(value, renew_at, requested_at + lifetime_s)
        return value
