"""Circuit breakers: pause all requests after refused credentials, or those of one operation alone."""

import threading
from collections.abc import Callable
from typing import Final

from exporter.errors import ApiError, BackendError, CredentialsError, NotVisibleError
from exporter.text import format_utc

Clock = Callable[[], float]
"""Seconds since the epoch."""

MINUTE: Final = 60.0

_MAX_PAUSE_S: Final = 10 * MINUTE

_RECENT_S: Final = 10 * MINUTE
"""Credentials that another operation accepted within this time are considered valid."""


class Backoff:
    """A pause that doubles with each failure; a success resets it."""

    def __init__(self, clock: Clock, first_s: float = MINUTE, max_s: float = _MAX_PAUSE_S) -> None:
        self._clock = clock
        self._first_s = first_s
        self._max_s = max_s
        self._started = 0.0
        self._length_s = 0.0

    def start(self, at_least_s: float = 0.0) -> None:
        """Pause from now on, twice as long as the last time."""
        self._started = self._clock()
        self._length_s = min(max(self._first_s, 2 * self._length_s), self._max_s)
        self._length_s = max(self._length_s, min(at_least_s, _MAX_PAUSE_S))

    def reset(self) -> None:
        """End the pause; the next one is short again."""
        self._length_s = 0.0

    def remaining_s(self) -> float:
        """Seconds left; 0 if the clock was set back, since the pause could then last for hours."""
        elapsed = self._clock() - self._started
        return self._length_s - elapsed if 0 <= elapsed < self._length_s else 0.0


class CircuitBreaker:
    """Rules 1 and 2: hold requests back after a refusal, and until one request has proven the credentials.

    Once a request was accepted, all pass. Before that one thread sends a request, and the others wait for
    `accepted` or `refused`. If neither comes within ``probe_timeout_s``, all pass: a slow API is no reason
    to stop.
    """

    def __init__(self, clock: Clock, probe_timeout_s: float) -> None:
        self._clock = clock
        self._probe_timeout_s = probe_timeout_s
        self._backoff = Backoff(clock)
        self._changed = threading.Condition()
        self._admits_all = False
        self._is_proven = False
        self._probing_thread: int | None = None

    def before_request(self) -> None:
        """Return when a request may be sent.

        Raises:
            CredentialsError: the credentials were refused recently.
        """
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
            if not self._backoff.remaining_s():  # one pause for all requests that were in flight
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
        remaining_s = self._backoff.remaining_s()
        if remaining_s:
            retry_at = format_utc(self._clock() + remaining_s)
            raise CredentialsError(
                f"the API refused the credentials; tried again at {retry_at}",
                code="401",
                retry_after=remaining_s,
            )


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
        self._backoffs: dict[str, Backoff] = {}
        self._errors: dict[str, ApiError] = {}

    def before_request(self, operation: str) -> None:
        """Return if the operation is not paused.

        Raises:
            ApiError: as `pause` returned it; nothing was sent.
        """
        if operation in self._backoffs:
            with self._lock:
                remaining_s = self._remaining_s(operation)
                if remaining_s:
                    raise self._error(operation, remaining_s)

    def accepted(self, operation: str) -> None:
        """Resume the operation: its response shows that the credentials are valid."""
        with self._lock:
            self._accepted_at[operation] = self._clock()
            self._is_unproven = False
            self._suspects.discard(operation)
            self._backoffs.pop(operation, None)
            self._errors.pop(operation, None)

    def concerns_operation_only(self, operation: str) -> bool:
        """Record a 401 and decide whether it concerns that operation only, or the credentials."""
        with self._lock:
            if operation in self._suspects or self._remaining_s(operation):  # in flight with the first one
                return True
            oldest = self._clock() - _RECENT_S
            accepted_elsewhere = any(
                accepted_at >= oldest
                for other, accepted_at in self._accepted_at.items()
                if other != operation
            )
            if not accepted_elsewhere or self._is_unproven:
                self._accepted_at.clear()
                self._is_unproven = False
                return False
            self._suspects.add(operation)
            self._is_unproven = True
            return True

    def pause(self, operation: str, error: ApiError) -> ApiError:
        """Pause an operation after a 401 that concerns it only.

        Returns:
            The error to raise: a `BackendError` at first, since the credentials may just have expired; a
            `NotVisibleError` if it is refused again after other operations were accepted.
        """
        with self._lock:
            self._suspects.discard(operation)
            remaining_s = self._remaining_s(operation)
            if not remaining_s:
                kind = NotVisibleError if operation in self._errors else BackendError
                self._errors[operation] = kind(str(error), code=error.code, error_code=error.error_code)
                backoff = self._backoffs.setdefault(operation, Backoff(self._clock))
                backoff.start()
                remaining_s = backoff.remaining_s()
            return self._error(operation, remaining_s)

    def _remaining_s(self, operation: str) -> float:
        backoff = self._backoffs.get(operation)
        return backoff.remaining_s() if backoff else 0.0

    def _error(self, operation: str, remaining_s: float) -> ApiError:
        error = self._errors[operation]
        retry_at = format_utc(self._clock() + remaining_s)
        return error.reworded(
            f"{error}; only {operation} refuses the credentials; tried again at {retry_at}", remaining_s
        )
