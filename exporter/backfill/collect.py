"""Fills a spool: histories first, then the details of what they show, then stages.

Each `ask_…` is a generator that whoever shows progress drives: a step asks, keeps the answer in the spool,
and yields. Closed early, it keeps what it has.
"""

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from time import monotonic
from typing import Any, Final, TypeVar

from exporter.api.client import ApiClient
from exporter.backfill.border import PastJob
from exporter.backfill.fetch import Reply, Window, each
from exporter.backfill.period import Period
from exporter.backfill.spool import Spool
from exporter.backfill.wanted import numbers_to_ask
from exporter.errors import ApiError
from exporter.model import DAY_MS, Build
from exporter.poller.poll import windows

Answer = TypeVar("Answer")

_KEEP_EVERY_S: Final = 1.0
"""A kill costs the answers of so long."""


class Collection:
    """What is known of some jobs, and what is still to be asked.

    Args:
        jobs: all of them.
        period: when what is counted finished.
        since_ms: history is asked for from the day before on, whatever the step of the period is.
        spool: keeps the answers.

    Attributes:
        failed: what could not be had this time, and why; asking again later may help.
    """

    def __init__(self, jobs: Sequence[PastJob], period: Period, since_ms: int, spool: Spool) -> None:
        self._jobs = {one.job.id: one for one in jobs}
        self._period = period
        self._spool = spool
        self._days = windows(since_ms - DAY_MS, period.end_ms)
        self.failed: dict[str, ApiError] = {}

    @property
    def jobs(self) -> list[PastJob]:
        """Those whose history is here."""
        return [one for one in self._jobs.values() if not any(self._windows_of(one))]

    def windows(self) -> list[Window]:
        """The stretches of history that are not here yet."""
        return [window for one in self._jobs.values() for window in self._windows_of(one)]

    def builds(self) -> Iterator[tuple[str, int]]:
        """The builds whose details are not here yet."""
        for one in self.jobs:
            known = self._spool.known(one.job.id)
            for number in numbers_to_ask(known, self._period.start_ms, one.border(known).end_ms):
                yield one.job.id, number

    def ask_histories(self, client: ApiClient, concurrency: int) -> Generator[Window]:
        """Ask for what `windows` names; each as it has been answered.

        Raises:
            ApiError: nothing is answered any more; what was answered is kept.
        """

        def ask(window: Window) -> tuple[Build, ...]:
            return client.period_history(window.job_id, window.first, window.last)

        for reply in each(ask, self.windows(), concurrency):
            window = reply.question
            if reply.error:
                self.failed[f"the history of job {window.job_id}"] = reply.error
            else:
                self._spool.add_window(window.job_id, window.first, window.last, reply.answer or ())
            yield window

    def ask_details(self, client: ApiClient, concurrency: int) -> Generator[object]:
        """Ask for what `builds` names; each as it has been answered.

        Raises:
            ApiError: nothing is answered any more; what was answered is kept.
        """
        replies = each(lambda build: client.record_info(*build), self.builds(), concurrency)
        return self._kept(replies, self._spool.add_details, "details")

    def stages(self) -> Iterator[tuple[str, int, str]]:
        """The builds whose stages are not here yet: job, number and record id."""
        start_ms = self._period.start_ms
        for one in self.jobs:
            end_ms = one.border(self._spool.known(one.job.id)).end_ms
            for number, record_id in self._spool.without_stages(one.job.id, start_ms, end_ms):
                yield one.job.id, number, record_id

    def ask_stages(self, client: ApiClient, concurrency: int) -> Generator[object]:
        """Ask for what `stages` names; each as it has been answered.

        Raises:
            ApiError: nothing is answered any more; what was answered is kept.
        """
        replies = each(lambda build: client.full_stages(build[2]), self.stages(), concurrency)
        return self._kept(replies, self._spool.add_stages, "stages")

    def _windows_of(self, one: PastJob) -> Iterator[Window]:
        for first, last in self._days:
            if not self._spool.has_window(one.job.id, first, last):
                yield Window(one.job.id, first, last)

    def _kept(
        self,
        replies: Iterable[Reply[Any, Answer]],
        keep: Callable[[list[tuple[str, int, Answer | None]]], None],
        what: str,
    ) -> Generator[object]:
        """The same replies; those that are final are kept every second and at the end, whatever ends it."""
        waiting: list[tuple[str, int, Answer | None]] = []
        kept_at = monotonic()
        try:
            for reply in replies:
                job_id, number = reply.question[:2]
                if reply.is_final:
                    waiting.append((job_id, number, reply.answer))
                elif reply.error:
                    self.failed[f"the {what} of build {number} of job {job_id}"] = reply.error
                if monotonic() - kept_at >= _KEEP_EVERY_S:
                    keep(waiting)
                    waiting, kept_at = [], monotonic()
                yield reply
        finally:
            keep(waiting)
