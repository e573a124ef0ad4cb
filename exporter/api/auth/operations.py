"""A 401 for one operation alone: refused there, while the same credentials are accepted elsewhere."""

import threading
from typing import Final

from exporter.api.auth.circuit_breaker import MINUTE, Clock, Pause, pause_after_refusal
from exporter.errors import ApiError, BackendError, NotVisibleError
from exporter.text import format_utc as when

_MOMENTS: Final = 10 * MINUTE
"""Credentials that another operation accepted so long ago at the most are taken to be good."""


class RefusedOperations:
    """Rule 5: which operations refuse credentials that others accept; safe to share between threads.

    Such an operation alone is held back, for a minute, then twice as long each time. Where nothing is
    accepted between two refusals, of whatever operations, the credentials themselves are refused. So at most
    two come in a row, apart from requests that were under way together.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._accepted: dict[str, float] = {}
        self._suspects: set[str] = set()
        self._unproven = False
        self._held: dict[str, Pause] = {}
        self._errors: dict[str, ApiError] = {}

    def check(self, operation: str) -> None:
        """Pass, unless the operation is held back.

        Raises:
            ApiError: as `hold` returned it; nothing was sent.
        """
        if operation in self._held:
            with self._lock:
                left = self._left(operation)
                if left:
                    raise self._error(operation, left)

    def accepted(self, operation: str) -> None:
        """An answer of that operation shows that the credentials are good."""
        with self._lock:
            self._accepted[operation] = self._clock()
            self._unproven = False
            self._suspects.discard(operation)
            self._held.pop(operation, None)
            self._errors.pop(operation, None)

    def is_alone(self, operation: str) -> bool:
        """Take note of a 401; whether it says nothing of the credentials, only of that operation."""
        with self._lock:
            if operation in self._suspects or self._left(operation):  # it was under way with the first one
                return True
            oldest = self._clock() - _MOMENTS
            others = any(at >= oldest for other, at in self._accepted.items() if other != operation)
            if not others or self._unproven:
                self._accepted.clear()
                self._unproven = False
                return False
            self._suspects.add(operation)
            self._unproven = True
            return True

    def hold(self, operation: str, error: ApiError) -> ApiError:
        """Hold an operation back that `is_alone`.

        Returns:
            What to raise: trouble at first, for the credentials may have ended at this moment; a refusal of
            that operation when it comes again after others were accepted.
        """
        with self._lock:
            self._suspects.discard(operation)
            left = self._left(operation)
            if not left:
                kind = NotVisibleError if operation in self._errors else BackendError
                self._errors[operation] = kind(str(error), code=error.code, error_code=error.error_code)
                pause = self._held.setdefault(operation, pause_after_refusal(self._clock))
                pause.begin()
                left = pause.left()
            return self._error(operation, left)

    def _left(self, operation: str) -> float:
        pause = self._held.get(operation)
        return pause.left() if pause else 0.0

    def _error(self, operation: str, left: float) -> ApiError:
        known = self._errors[operation]
        text = (
            f"{known}; {operation} alone refuses the credentials; tried again at {when(self._clock() + left)}"
        )
        return type(known)(text, code=known.code, error_code=known.error_code, retry_after=left)
