"""Threads around a `Poller`: one that decides and commits, and some that ask the API."""

import queue
import threading
from collections.abc import Callable
from typing import Final

from exporter.errors import NO_THREADS, ExporterError
from exporter.poller.poller import Poller
from exporter.poller.tasks import TaskResult, Work

_LONGEST_NAP_S: Final = 1.0
"""The deciding thread looks around at least so often, which keeps the lag metric fresh."""


class PollingThreads:
    """Runs a poller in the background.

    All threads are daemons: a request that hangs does not keep the process from ending. What it would have
    brought was not committed, so it is asked for again after the next start.

    Args:
        poller: is driven.
        concurrency: requests under way at once.
        call_off: keeps the poller's service from asking anything more.
    """

    def __init__(
        self, poller: Poller, concurrency: int, call_off: Callable[[], object] = lambda: None
    ) -> None:
        self._poller = poller
        self._concurrency = concurrency
        self._call_off = call_off
        self._work: queue.SimpleQueue[Work] = queue.SimpleQueue()
        self._results: queue.SimpleQueue[TaskResult | None] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self._failed = False
        self._coordinator = threading.Thread(target=self._run, name="poller", daemon=True)

    @property
    def is_healthy(self) -> bool:
        """The deciding thread has not died of something that nobody thought of."""
        return not self._failed

    def start(self) -> None:
        """Begin to poll.

        Raises:
            ExporterError: no thread can be started; it is not healthy then.
        """
        try:
            self._coordinator.start()
            for index in range(self._concurrency):
                threading.Thread(target=self._serve, name=f"poller-{index}", daemon=True).start()
        except RuntimeError:
            self._failed = True
            raise ExporterError(NO_THREADS) from None

    def stop(self, timeout: float | None) -> bool:
        """Begin nothing new, finish the commit in hand; what is asked at the moment comes to nothing.

        Returns:
            Whether that was done within ``timeout`` seconds; None waits for as long as it takes.
        """
        self._stopping.set()
        self._call_off()
        self._results.put(None)
        self._coordinator.join(timeout)
        return not self._coordinator.is_alive()

    def _coordinate(self) -> None:
        idle = self._concurrency
        while not self._stopping.is_set():
            for work in self._poller.take(idle):
                idle -= 1
                self._work.put(work)
            nap = min(self._poller.wait(), _LONGEST_NAP_S) if idle else _LONGEST_NAP_S
            results = self._drain(nap)
            idle += len(results)
            if results:
                self._poller.settle(results)
        self._poller.finish()

    def _run(self) -> None:
        """Decide until told to stop; if that fails, the process must not look healthy."""
        try:
            self._coordinate()
        except BaseException:
            self._failed = True
            raise

    def _drain(self, nap: float) -> list[TaskResult]:
        """Everything that has ended, waiting a while for the first: a round is committed as one."""
        ended: list[TaskResult] = []
        try:
            result = self._results.get(timeout=nap)
            while True:
                if result is not None:
                    ended.append(result)
                result = self._results.get_nowait()
        except queue.Empty:
            return ended

    def _serve(self) -> None:
        while not self._stopping.is_set():
            try:
                work = self._work.get(timeout=_LONGEST_NAP_S)
            except queue.Empty:
                continue
            result = self._poller.run(work)
            if not self._stopping.is_set():  # else it may have been called off, which is no failure
                self._results.put(result)
