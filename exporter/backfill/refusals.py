"""Tells a build that the service will never tell of from credentials that may not ask."""

from collections.abc import Callable
from typing import Final, Generic, TypeVar

from exporter.backfill.notices import Notices
from exporter.errors import ApiError, BackfillError

Answer = TypeVar("Answer")

_MANY: Final = 20
"""That nothing but refusals came is told after so many."""

_FEW: Final = 2
"""So many builds may all have lost their records."""


class Refusals(Generic[Answer]):
    """Holds refusals back until something is answered: then they are about single builds.

    Args:
        what: is asked for.
        otherwise: how to go without.
        is_real: whether the build of a job id and a number exists, so that a refusal means something.
        control: asks once more for what an earlier run was told, and whether it is told again; False where no
            run was told anything.
        notices: are told of a beginning without answers.
    """

    def __init__(
        self,
        what: str,
        otherwise: str,
        is_real: Callable[[str, int], bool],
        control: Callable[[], bool],
        notices: Notices,
    ) -> None:
        self._what = what
        self._otherwise = otherwise
        self._is_real = is_real
        self._control = control
        self._notices = notices
        self._is_answered = False
        self._held: list[tuple[str, int, Answer | None]] = []
        self._refused = 0
        self._error: ApiError | None = None

    def sifted(
        self, entry: tuple[str, int, Answer | None], error: ApiError | None
    ) -> list[tuple[str, int, Answer | None]]:
        """Take in how a question ended for good; what can be believed by now."""
        self._held.append(entry)
        self._is_answered = self._is_answered or error is None
        if self._is_answered:
            return self._released()
        if self._is_real(*entry[:2]):
            self._error = error
            self._refused += 1
            if self._refused == _MANY:
                self._notices.say(f"{self._what}: nothing but refusals so far: {error}")
        return []

    def believed(self) -> list[tuple[str, int, Answer | None]]:
        """What is left when all has been asked.

        Raises:
            ApiError: the control question failed; asking later may help.
            BackfillError: nothing but refusals came, of the control question too.
        """
        if self._refused and not self._is_answered and not self._control():
            gone = "the records of so few builds may be gone; if not, " if self._refused <= _FEW else ""
            raise BackfillError(
                f"{self._what}: every question was refused, so none of that is kept: {self._error}\n"
                f"{gone}make the user a member of the projects, with a role that may view build tasks, "
                f"and look for proxies on the way; {self._otherwise}"
            )
        return self._released()

    def _released(self) -> list[tuple[str, int, Answer | None]]:
        released, self._held = self._held, []
        return released
