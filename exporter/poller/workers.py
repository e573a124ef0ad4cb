"""Threads around a `Poller`: one that coordinates and commits, and some that send requests."""

import queue
import threading
from collections.abc import Callable
from typing import Final

from exporter.errors import NO_THREADS, ExporterError
from exporter.poller.poller import Poller
from exporter.poller.tasks_and_results import FLEET_TASKS, TaskResult, Work

_LONGEST_NAP_S: Final = 1.0
"""Longest sleep of the coordinator, so that the lag metric stays fresh."""


class PollingThreads:
    """Runs a poller in the background.

    All threads are daemons: a hanging request does not keep the process from ending. Its answer was not
    committed, so it is requested again after the next start.

    Job lists and recycle bin have threads of their own: they may have to wait long for the rate limits, and
    no poll should lack a thread meanwhile.

    Args:
        poller: must not be driven by others.
        concurrency: maximum number of requests under way, without those of job lists and recycle bin.
        cancel: cancels the requests of the poller's service, and refuses further ones.
        hints: ids of jobs that are said to have news; outlives the threads.
    """

    def __init__(
        self,
        poller: Poller,
        concurrency: int,
        cancel: Callable[[], object] = lambda: None,
        hints: "queue.SimpleQueue[tuple[str, ...]] | None" = None,
    ) -> None:
        self._poller = poller
        self._hints = queue.SimpleQueue() if hints is None else hints
        self._concurrency = concurrency
        self._cancel = cancel
        self._work: queue.SimpleQueue[Work] = queue.SimpleQueue()
        self._of_fleet: dict[str, queue.SimpleQueue[Work]] = {
            task: queue.SimpleQueue() for task in FLEET_TASKS
        }
        self._results: queue.SimpleQueue[TaskResult | None] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self._failed = False
        self._coordinator = threading.Thread(target=self._coordinate, name="poller", daemon=True)

    @property
    def is_healthy(self) -> bool:
        """The coordinator has not ended with an unexpected exception."""
        return not self._failed

    def start(self) -> None:
        """Start to poll.

        Raises:
            ExporterError: no thread can be started; it is not healthy then.
        """
        try:
            self._coordinator.start()
            served = [*[self._work] * self._concurrency, *self._of_fleet.values()]
            for index, work in enumerate(served):
                name = f"poller-{index}"
                threading.Thread(target=self._serve, args=(work,), name=name, daemon=True).start()
        except RuntimeError:
            self._failed = True
            raise ExporterError(NO_THREADS) from None

    def hint(self, job_ids: tuple[str, ...]) -> None:
        """Poll jobs soon; may be called on any thread. During a reload, the next threads do that."""
        self._hints.put(job_ids)
        self._results.put(None)

    def stop(self, timeout: float | None) -> bool:
        """Start no new task, finish the current commit, and discard requests under way.

        Returns:
            Whether that was done within `timeout` seconds; None waits as long as it takes.
        """
        self._stopping.set()
        self._cancel()
        self._results.put(None)
        self._coordinator.join(timeout)
        return not self._coordinator.is_alive()

    def _coordinate(self) -> None:
        idle = self._concurrency
        try:
            while not self._stopping.is_set():
                hinted: list[str] = []
                while not self._hints.empty():
                    hinted += self._hints.get()
                for work in self._poller.take(idle, hinted):
                    if of_fleet := self._of_fleet.get(work.task):
                        of_fleet.put(work)
                    else:
                        idle -= 1
                        self._work.put(work)
                nap = min(self._poller.wait(), _LONGEST_NAP_S) if idle else _LONGEST_NAP_S
                results = self._drain(nap)
                idle += sum(result.task not in FLEET_TASKS for result in results)
                if results:
                    self._poller.settle(results)
            self._poller.commits.restore()
        except BaseException:
            self._failed = True
            raise

    def _drain(self, nap: float) -> list[TaskResult]:
        """Return all results, waiting for the first; they are committed together."""
        results: list[TaskResult] = []
        try:
            result = self._results.get(timeout=nap)
            while True:
                if result is not None:
                    results.append(result)
                result = self._results.get_nowait()
        except queue.Empty:
            return results

    def _serve(self, waiting: queue.SimpleQueue[Work]) -> None:
        while not self._stopping.is_set():
            try:
                work = waiting.get(timeout=_LONGEST_NAP_S)
            except queue.Empty:
                continue
            result = self._poller.run(work)
            if not self._stopping.is_set():  # otherwise it may have been cancelled, which is no failure
                self._results.put(result)
