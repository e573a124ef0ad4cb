"""Circuit breakers: pause all requests after refused credentials, or those of one operation alone."""

import threading
from collections.abc import Callable
from typing import Final

from exporter.errors import ApiError, BackendError, CredentialsError, NotVisibleError
from exporter.humanize import format_utc

Clock = Callable[[], float]
"""Seconds since the epoch."""

MINUTE: Final = 60.0

_MAX_PAUSE_S: Final = 10 * MINUTE
_RECENT_S: Final = 10 * MINUTE
"""Credentials that another operation accepted within this time are considered valid."""


class Backoff:
    """A pause that doubles with each failure; a success resets it.

    Attributes:
        is_repeated: the pause before was of the longest kind already.
    """

    def __init__(self, clock: Clock, first_s: float = MINUTE, max_s: float = _MAX_PAUSE_S) -> None:
        self._clock = clock
        self._first_s = first_s
        self._max_s = max_s
        self._started = 0.0
        self._length_s = 0.0
        self.is_repeated = False

    def start(self, at_least_s: float = 0.0) -> None:
        """Pause from now on, twice as long as the last time."""
        self._started = self._clock()
        self.is_repeated = self._length_s >= self._max_s
        self._length_s = min(max(self._first_s, 2 * self._length_s), self._max_s)
        self._length_s = max(self._length_s, min(at_least_s, _MAX_PAUSE_S))

    def reset(self) -> None:
        """End the pause; the next one is short again."""
        self._length_s = 0.0

    def remaining_s(self) -> float:
        """Seconds left; 0 if the clock was set back, since the pause could then last for hours."""
        elapsed = self._clock() - self._started
        return self._length_s - elapsed if 0 <= elapsed < self._length_s else 0.0

    def deferred(self, error: ApiError) -> ApiError:
        """Copy an error, with the end of the pause in its text."""
        remaining_s = self.remaining_s()
        retry_at = format_utc(round((self._clock() + remaining_s) * 1000))
        deferred = error.reworded(f"{error}; tried again at {retry_at}", remaining_s)
        deferred.cause = error
        return deferred


class CircuitBreaker:
    """Rules 1 and 2: hold requests back after a refusal, and until one request has proven the credentials.

    Once a request was accepted, all pass. Before that one thread sends a request, and the others wait for
    `accepted` or `refused`. If neither comes within ``probe_timeout_s``, all pass: a slow API is no reason
    to stop.
    """

    def __init__(self, clock: Clock, probe_timeout_s: float) -> None:
        self._probe_timeout_s = probe_timeout_s
        self._backoff = Backoff(clock)
        self._changed = threading.Condition()
        self._admits_all = False
        self._is_proven = False
        self._probing_thread: int | None = None

    def before_request(self) -> None:
        """Return when a request may be sent; raise `CredentialsError` if they were refused recently."""
        if self._admits_all:
            return
        this_thread = threading.get_ident()
        with self._changed:
            while not self._admits_all:
                self._raise_if_paused()
                if self._probing_thread in (None, this_thread):
                    self._probing_thread = this_thread
                    return
                if not self._changed.wait(self._probe_timeout_s):
                    self._raise_if_paused()
                    self._admits_all = True

    def cancel(self) -> None:
        """Let another thread send the first request, since this one sent nothing."""
        with self._changed:
            if self._probing_thread == threading.get_ident():
                self._probing_thread = None
                self._changed.notify()

    def accepted(self) -> None:
        """Admit all requests: the credentials are valid."""
        if self._is_proven:
            return
        with self._changed:
            self._is_proven = self._admits_all = True
            self._backoff.reset()
            self._changed.notify_all()

    def refused(self, *, operation_only: bool = False) -> None:
        """Pause all requests, unless the refusal concerns one operation only."""
        if operation_only:
            self.cancel()
            return
        with self._changed:
            if not self.is_paused():  # one pause for all requests that were in flight
                self._backoff.start()
            self._require_proof()

    def is_paused(self) -> bool:
        """True while no request may be sent."""
        return self._backoff.remaining_s() > 0

    def credentials_replaced(self) -> None:
        """End the pause; the new credentials have to be proven first."""
        with self._changed:
            self._backoff.reset()
            self._require_proof()

    def _require_proof(self) -> None:
        self._is_proven = self._admits_all = False
        self._probing_thread = None
        self._changed.notify_all()

    def _raise_if_paused(self) -> None:
        if self.is_paused():
            raise self._backoff.deferred(CredentialsError("the API refused the credentials", code="401"))


class OperationBreaker:
    """Rule 5: pause single operations that refuse credentials which other operations accept.

    Such an operation pauses for a minute, then twice as long each time. If nothing is accepted between two
    refusals, of whatever operations, the credentials themselves are refused. So at most two refusals come in
    a row, apart from requests that were in flight together. Safe to share between threads.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._accepted_at: dict[str, float] = {}
        self._suspects: set[str] = set()
        self._is_unproven = False
        self._paused: dict[str, tuple[Backoff, ApiError]] = {}

    def before_request(self, operation: str) -> None:
        """Return if the operation is not paused; else raise what `pause` returned. Nothing was sent then.

        It is an `ApiError.is_pause` until the operation has refused for so long that it will hardly change.
        """
        with self._lock:
            if self._remaining_s(operation):
                error = self._error(operation)
                error.is_pause = not self._paused[operation][0].is_repeated
                raise error

    def accepted(self, operation: str) -> None:
        """Resume the operation: its response shows that the credentials are valid."""
        with self._lock:
            self._accepted_at[operation] = self._clock()
            self._is_unproven = False
            self._suspects.discard(operation)
            self._paused.pop(operation, None)

    def concerns_operation_only(self, operation: str) -> bool:
        """Record a 401 and decide whether it concerns that operation only, or the credentials."""
        with self._lock:
            if operation in self._suspects or self._remaining_s(operation):  # in flight with the first one
                return True
            oldest = self._clock() - _RECENT_S
            others = (accepted_at for name, accepted_at in self._accepted_at.items() if name != operation)
            is_accepted_elsewhere = any(accepted_at >= oldest for accepted_at in others)
            if not is_accepted_elsewhere or self._is_unproven:
                self._accepted_at.clear()
                self._is_unproven = False
                return False
            self._suspects.add(operation)
            self._is_unproven = True
            return True

    def pause(self, operation: str, error: ApiError) -> ApiError:
        """Pause an operation after a 401 that concerns it only, and return the error to raise.

        That is a `BackendError` at first, since the credentials may just have expired, and a
        `NotVisibleError` if the operation is refused again after others were accepted.
        """
        with self._lock:
            self._suspects.discard(operation)
            if not self._remaining_s(operation):
                kind = NotVisibleError if operation in self._paused else BackendError
                text = f"{error}; only {operation} refuses the credentials"
                backoff, _ = self._paused.get(operation, (Backoff(self._clock), error))
                self._paused[operation] = backoff, kind(text, code=error.code, error_code=error.error_code)
                backoff.start()
            return self._error(operation)

    def _remaining_s(self, operation: str) -> float:
        return self._paused[operation][0].remaining_s() if operation in self._paused else 0.0

    def _error(self, operation: str) -> ApiError:
        backoff, error = self._paused[operation]
        return backoff.deferred(error)
