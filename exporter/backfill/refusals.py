"""Tells a build that the service will never tell of from credentials that may not ask."""

from collections.abc import Callable, Sequence
from typing import Final, Generic, TypeVar

from exporter.backfill.notices import Notices
from exporter.errors import ApiError, BackfillError

Answer = TypeVar("Answer")

_MANY: Final = 20
"""So many refusals and no answer are no accident, even where there were answers in an earlier run."""


class Refusals(Generic[Answer]):
    """Holds refusals back until something is answered: then they are about single builds.

    Args:
        what: is asked for.
        otherwise: how to go without.
        was_answered: something was in an earlier run.
        real: picks those out of refused ones that are of builds which exist.
        notices: are told of a beginning without answers.
    """

    def __init__(
        self,
        what: str,
        otherwise: str,
        was_answered: bool,
        real: Callable[[Sequence[tuple[str, int, Answer | None]]], Sequence[object]],
        notices: Notices,
    ) -> None:
        self._what = what
        self._otherwise = otherwise
        self._was_answered = was_answered
        self._real = real
        self._notices = notices
        self._is_answered = False
        self._held: list[tuple[str, int, Answer | None]] = []
        self._error: ApiError | None = None

    def sifted(
        self, entry: tuple[str, int, Answer | None], error: ApiError | None
    ) -> list[tuple[str, int, Answer | None]]:
        """Take in how a question ended for good; what can be believed by now."""
        self._held.append(entry)
        self._is_answered = self._is_answered or error is None
        if self._is_answered:
            return self._released()
        self._error = error
        if len(self._held) == _MANY:
            self._notices.say(f"{self._what}: nothing but refusals so far: {error}")
        return []

    def believed(self) -> list[tuple[str, int, Answer | None]]:
        """What is left when all has been asked.

        Raises:
            BackfillError: nothing but refusals came.
        """
        refused = len(self._real(self._held))
        if refused >= _MANY or (refused and not self._was_answered):
            raise BackfillError(
                f"{self._what}: every question was refused, so none of that is kept: {self._error}\n"
                "make the user a member of the projects, with a role that may view build tasks, "
                f"and look for proxies on the way; {self._otherwise}"
            )
        return self._released()

    def _released(self) -> list[tuple[str, int, Answer | None]]:
        released, self._held = self._held, []
        return released
