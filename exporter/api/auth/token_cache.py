"""A value that is fetched, shared between threads, and fetched again in time."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from cachetools import TLRUCache

from exporter.api.auth.circuit_breaker import MINUTE, Clock, Pause, pause_after_refusal
from exporter.errors import ApiError, CredentialsError, UnreachableError
from exporter.text import format_utc as when

T = TypeVar("T")


@dataclass(frozen=True)
class Leased(Generic[T]):
    """A value and its times, in seconds since the epoch."""

    value: T = field(repr=False)
    renew_at: float
    expires_at: float


class Lease(Generic[T]):
    """Rule 3: a value that is fetched, shared and renewed in time, with a pause after a failure."""

    def __init__(self, fetch: Callable[[], tuple[T, float]], clock: Clock, renew_before: float) -> None:
        self._fetch = fetch
        self._clock = clock
        self._renew_before = renew_before
        self._fetching = threading.Lock()
        self._guard = threading.Lock()
        self._cache: TLRUCache[str, Leased[T], float] = TLRUCache(
            1, lambda _key, leased, _now: leased.expires_at, clock
        )
        self._after_refusal = pause_after_refusal(clock)
        self._after_trouble = Pause(clock, 5.0, MINUTE)
        self._failure = ApiError("nothing has failed yet")

    def value(self) -> T:
        """The value as it is, or fetched anew.

        Raises:
            ApiError: it could not be fetched, or it is too early to try again.
        """
        leased = self._current()
        if leased and self._clock() < leased.renew_at:
            return leased.value
        if leased is None:
            self._fetching.acquire()
        elif not self._fetching.acquire(blocking=False):
            return leased.value
        try:
            return self._renewed().value
        finally:
            self._fetching.release()

    def drop_if(self, unwanted: Callable[[T], bool]) -> bool:
        """Forget the value if it is the unwanted one; False where it has been replaced already."""
        with self._guard:
            leased = self._cache.get("")
            if leased is None or not unwanted(leased.value):
                return False
            self._cache.clear()
            return True

    def expires_at(self) -> float | None:
        """When the present value ends; None while there is none."""
        leased = self._current()
        return leased.expires_at if leased else None

    def _current(self) -> Leased[T] | None:
        with self._guard:
            return self._cache.get("")

    def _renewed(self) -> Leased[T]:
        leased = self._current()
        if leased and self._clock() < leased.renew_at:  # by the thread this one waited for
            return leased
        try:
            return self._fetched()
        except ApiError:
            leased = self._current()
            if leased is None:
                raise
            return leased

    def _fetched(self) -> Leased[T]:
        self._stop_while_paused()
        asked = self._clock()
        try:
            value, life = self._fetch()
        except ApiError as error:
            self._failure = _again(error, str(error))  # a copy; the error's traceback holds the request
            pause = self._after_refusal if isinstance(error, CredentialsError) else self._after_trouble
            pause.begin(at_least=error.retry_after or 0.0)
            raise self._failure_until(pause.left()) from None
        self._after_refusal.end()
        self._after_trouble.end()
        leased = Leased(value, asked + max(life - self._renew_before, life / 2), asked + life)
        with self._guard:
            self._cache[""] = leased
        return leased

    def _stop_while_paused(self) -> None:
        left = max(self._after_refusal.left(), self._after_trouble.left())
        if left:
            raise self._failure_until(left)

    def _failure_until(self, left: float) -> ApiError:
        text = f"{self._failure}; tried again at {when(self._clock() + left)}"
        return _again(self._failure, text, left)


def _again(error: ApiError, text: str, retry_after: float | None = None) -> ApiError:
    if isinstance(error, UnreachableError):
        again: ApiError = UnreachableError(
            text, code=error.code, retry_after=retry_after, obstacle=error.obstacle
        )
    else:
        again = type(error)(text, code=error.code, error_code=error.error_code, retry_after=retry_after)
    return again.of(error.address_key)
