"""What all kinds of credentials have in common."""

from abc import ABC, abstractmethod
from typing import ClassVar, Final

from requests.auth import AuthBase
from requests.models import PreparedRequest

from exporter.api.auth.gate import Gate
from exporter.api.auth.operations import RefusedOperations
from exporter.api.auth.times import Clock
from exporter.errors import ApiError

TOKEN_HEADER: Final = "X-Auth-Token"  # noqa: S105 a header's name


class Credentials(AuthBase, ABC):
    """Adds to a request what proves who sends it; safe to share between threads.

    Attributes:
        kind: the key of the configuration's ``auth`` section.
        operations: those that refuse these credentials, while others accept them.
    """

    kind: ClassVar[str]

    def __init__(self, clock: Clock, patience: float) -> None:
        self._clock = clock
        self._gate = Gate(clock, patience)
        self.operations = RefusedOperations(clock)

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """Authorize a request; calling it again on the same request replaces what it added.

        Raises:
            CredentialsError: these were refused, and it is too early to try again; nothing was sent.
            ApiError: a token or keys had to be fetched and could not.
        """
        self._gate.enter()
        try:
            self._authorize(request)
            self._gate.enter()  # a token may have taken its time, and been refused to others meanwhile
        except ApiError:
            self._gate.withdraw()
            raise
        return request

    @abstractmethod
    def _authorize(self, request: PreparedRequest) -> None: ...

    @abstractmethod
    def refused(self, request: PreparedRequest, *, alone: bool = False) -> bool:
        """Take note of a 401.

        Args:
            request: the one that was refused, as it was sent.
            alone: other operations accept the same credentials, so that nothing pauses.

        Returns:
            True if there are other credentials by now, so that one try more is worth it.
        """

    def accepted(self) -> None:
        """Take note of an answer that shows the credentials were good; costs next to nothing."""
        self._gate.accepted()

    def expires_at(self) -> float | None:
        """When what is in use at present expires, seconds since the epoch; None where that is unknown."""
        return None

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"
