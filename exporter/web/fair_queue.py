"""A bounded, fair queue of requests for work that is done one at a time."""

import asyncio
from collections import deque
from collections.abc import Callable
from http import HTTPStatus

_Waiter = tuple[Callable[[], bool], asyncio.Future[HTTPStatus | None]]


class FairQueue:
    """Admits one request at a time; addresses take turns, and each address is served in order of arrival.

    Requests whose client has disconnected leave the queue.

    Args:
        max_per_address: requests that may wait from one address.
        max_waiting: requests that may wait in all.
    """

    def __init__(self, max_per_address: int, max_waiting: int) -> None:
        self._max_per_address = max_per_address
        self._max_waiting = max_waiting
        self._is_busy = False
        self._waiting: dict[str, deque[_Waiter]] = {}

    async def acquire(self, address: str, is_disconnected: Callable[[], bool]) -> HTTPStatus | None:
        """Wait to be admitted; return None then, or the status to refuse the request with."""
        if not self._is_busy:
            self._is_busy = True
            return None
        self._drop_disconnected()
        if len(self._waiting.get(address, ())) >= self._max_per_address:
            return HTTPStatus.TOO_MANY_REQUESTS
        if sum(map(len, self._waiting.values())) >= self._max_waiting:
            return HTTPStatus.SERVICE_UNAVAILABLE
        admission: asyncio.Future[HTTPStatus | None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(address, deque()).append((is_disconnected, admission))
        try:
            return await admission
        except asyncio.CancelledError:
            if not admission.cancelled():  # it was admitted at the same moment
                self.release()
            raise

    def release(self) -> None:
        """Admit the next request after one that was admitted."""
        self._drop_disconnected()
        if not self._waiting:
            self._is_busy = False
            return
        address = next(iter(self._waiting))
        queue = self._waiting.pop(address)
        _, admission = queue.popleft()
        if queue:
            self._waiting[address] = queue
        admission.set_result(None)

    def _drop_disconnected(self) -> None:
        for address, queue in list(self._waiting.items()):
            for is_disconnected, admission in queue:
                if not admission.done() and is_disconnected():
                    admission.set_result(HTTPStatus.UNAUTHORIZED)
            remaining = deque(waiter for waiter in queue if not waiter[1].done())
            if remaining:
                self._waiting[address] = remaining
            else:
                del self._waiting[address]
