"""Credentials that are given up in time, for callers that would rather stop than lock a key."""

from requests.models import PreparedRequest

from exporter.api.auth.base import Credentials


class WaryCredentials(Credentials):
    """Other credentials, of which so many refusals in all are borne, renewed in between or not.

    Args:
        others: do the work.
        refusals: with that many, there is no try more.
    """

    def __init__(self, others: Credentials, refusals: int) -> None:
        self._others = others
        self._left = refusals
        self.operations = others.operations

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """Authorize a request as the others do."""
        return self._others(request)

    def _authorize(self, request: PreparedRequest) -> None:
        self._others(request)

    def refused(self, request: PreparedRequest, *, alone: bool = False) -> bool:
        """There are other ones only if that many refusals have not come yet."""
        self._left -= 1
        return self._left > 0 and self._others.refused(request, alone=alone)

    def accepted(self) -> None:
        """The others are good."""
        self._others.accepted()

    def expires_at(self) -> float | None:
        """As of the others."""
        return self._others.expires_at()
