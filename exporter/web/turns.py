"""Work that goes on one at a time, for clients who wait for it: a bounded queue, which the gone leave."""

import asyncio
from collections import deque
from collections.abc import Callable
from http import HTTPStatus


class Turns:
    """One turn at a time; addresses that wait get theirs by rotation, each by order of arrival.

    Args:
        most_of_one: how many may wait of one address.
        most: how many may wait in all.
    """

    def __init__(self, most_of_one: int, most: int) -> None:
        self._most_of_one = most_of_one
        self._most = most
        self._is_taken = False
        self._waiting: dict[str, deque[tuple[Callable[[], bool], asyncio.Future[HTTPStatus | None]]]] = {}

    async def take(self, caller: str, is_gone: Callable[[], bool]) -> HTTPStatus | None:
        """Wait for a turn; None once it has come, else why it does not."""
        if not self._is_taken:
            self._is_taken = True
            return None
        self._dismiss_gone()
        if len(self._waiting.get(caller, ())) >= self._most_of_one:
            return HTTPStatus.TOO_MANY_REQUESTS
        if sum(map(len, self._waiting.values())) >= self._most:
            return HTTPStatus.SERVICE_UNAVAILABLE
        turn: asyncio.Future[HTTPStatus | None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(caller, deque()).append((is_gone, turn))
        try:
            return await turn
        except asyncio.CancelledError:
            if not turn.cancelled():  # it had come in the same moment
                self.give_back()
            raise

    def give_back(self) -> None:
        """The turn is over; the next one may have it."""
        self._dismiss_gone()
        if not self._waiting:
            self._is_taken = False
            return
        caller = next(iter(self._waiting))
        line = self._waiting.pop(caller)
        _, turn = line.popleft()
        if line:
            self._waiting[caller] = line
        turn.set_result(None)

    def _dismiss_gone(self) -> None:
        """Nothing is done for whoever has disconnected."""
        for caller, line in list(self._waiting.items()):
            stay = deque[tuple[Callable[[], bool], asyncio.Future[HTTPStatus | None]]]()
            for is_gone, turn in line:
                if turn.done():
                    continue
                if is_gone():
                    turn.set_result(HTTPStatus.UNAUTHORIZED)
                else:
                    stay.append((is_gone, turn))
            if stay:
                self._waiting[caller] = stay
            else:
                del self._waiting[caller]
