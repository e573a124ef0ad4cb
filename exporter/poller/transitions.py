"""The log tells what changed, not what goes on: API lost and back, a job gone and back, the store."""

from typing import Final

import structlog

from exporter.errors import ApiError, NotVisibleError, RejectedError, StoreError

LOST_AFTER: Final = 3
"""So many tasks in a row must fail before the API as a whole counts as lost, or one job as failing."""

_log = structlog.get_logger(__name__)


class Transitions:
    """Remembers what was good and what was not, and writes a line when that changes."""

    def __init__(self) -> None:
        self._in_a_row = 0
        self._api_lost = False
        self._failures: dict[str, int] = {}
        self._reported: set[str] = set()
        self._store_failed = False

    def succeeded(self, task: str) -> None:
        """A task ended well."""
        self._in_a_row = 0
        if self._api_lost:
            self._api_lost = False
            _log.info("api_back")
        self._failures.pop(task, None)
        if task in self._reported:
            self._reported.remove(task)
            _log.info("poll_works_again", task=task)

    def failed(self, task: str, error: ApiError) -> None:
        """A task ended without what it wanted."""
        failures = self._failures[task] = self._failures.get(task, 0) + 1
        its_own = isinstance(error, NotVisibleError | RejectedError)
        if not its_own:
            self._in_a_row += 1
            if self._in_a_row >= LOST_AFTER and not self._api_lost:
                self._api_lost = True
                _log.warning("api_lost", error=str(error), kind=type(error).__name__)
        persistent = its_own or (failures >= LOST_AFTER and not self._api_lost)
        if persistent and task not in self._reported:
            self._reported.add(task)
            _log.warning("poll_fails", task=task, error=str(error), kind=type(error).__name__)

    def bug(self, task: str) -> None:
        """Something went wrong that nobody thought of; call it while the exception is handled."""
        _log.exception("unexpected_error", task=task)

    def store_failed(self, error: StoreError) -> None:
        """Ledgers could not be committed."""
        if not self._store_failed:
            self._store_failed = True
            _log.error("store_fails", error=str(error))

    def store_works(self) -> None:
        """Ledgers were committed."""
        if self._store_failed:
            self._store_failed = False
            _log.info("store_works_again")
