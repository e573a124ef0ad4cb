"""Refusals, kept only if they concern single builds and not the credentials."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Generic, TypeAlias

from exporter.backfill.fetch_with_retries import Notices, Value
from exporter.errors import ApiError, BackfillError

_REPORT_AFTER: Final = 20
"""Number of refusals after which the user is informed that nothing else came."""

_FEW: Final = 2
"""This few builds may all have lost their records."""

Entry: TypeAlias = tuple[str, int, Value | None]
"""Job id and number of a build, and its value; None if refused."""


@dataclass(slots=True)
class RefusalFilter(Generic[Value]):
    """Holds refusals back until a request succeeds: then they concern single builds, not the credentials.

    Attributes:
        exists: whether a build (job id, number) is known to exist; only then a refusal means something.
        recheck: repeats a request that succeeded in an earlier run, and returns whether it still does; False
            if none did.
    """

    what: str
    workaround: str
    exists: Callable[[str, int], bool]
    recheck: Callable[[], bool]
    notices: Notices
    _succeeded: bool = False
    _refused: int = 0
    _error: ApiError | None = None
    _held: list[Entry[Value]] = field(default_factory=list)

    def add(self, entry: Entry[Value], error: ApiError | None) -> list[Entry[Value]]:
        """Add a final reply; return the entries that are trusted by now."""
        self._held.append(entry)
        self._succeeded = self._succeeded or error is None
        if self._succeeded:
            return self._release()
        if self.exists(*entry[:2]):
            self._error = error
            self._refused += 1
            if self._refused == _REPORT_AFTER:
                self.notices.say(f"{self.what}: nothing but refusals so far: {error}")
        return []

    def finish(self) -> list[Entry[Value]]:
        """Return the remaining entries after the last reply.

        Raises:
            ApiError: the recheck failed; a later run may succeed.
            BackfillError: every request was refused, the recheck too.
        """
        if self._refused and not self._succeeded and not self.recheck():
            gone = "the records of so few builds may be gone; if not, " if self._refused <= _FEW else ""
            raise BackfillError(
                f"{self.what}: every request was refused, so no result is kept: {self._error}\n"
                f"{gone}make the user a member of the projects, with a role that may view build tasks, "
                f"and check for proxies in between; {self.workaround}"
            )
        return self._release()

    def _release(self) -> list[Entry[Value]]:
        released, self._held = self._held, []
        return released
