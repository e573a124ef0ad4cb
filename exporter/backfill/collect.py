"""Fills a spool: histories first, then the details of what they show."""

from collections.abc import Iterator, Sequence
from time import monotonic
from typing import Final

from exporter.api.client import ApiClient
from exporter.backfill.fetch import Window, each
from exporter.backfill.period import Period
from exporter.backfill.replay import PastJob
from exporter.backfill.spool import Spool
from exporter.backfill.wanted import details
from exporter.errors import ApiError
from exporter.model import Build, BuildDetail
from exporter.poller.poll import windows

_KEEP_EVERY_S: Final = 1.0
"""A kill costs the details of so long."""


class Collection:
    """What is known of some jobs, and what is still to be asked.

    Attributes:
        failed: jobs whose history could not be had, and why.
    """

    def __init__(self, jobs: Sequence[PastJob], period: Period, spool: Spool) -> None:
        self._jobs = {one.job.id: one for one in jobs}
        self._period = period
        self._spool = spool
        self._days = windows(period.start_ms, period.end_ms)
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
            known = self._spool.numbers(one.job.id)
            for number in details(known, self._period.start_ms, one.end_ms):
                yield one.job.id, number

    def ask_histories(self, client: ApiClient, concurrency: int) -> Iterator[Window]:
        """Ask for what `windows` names; each as it has been answered.

        Raises:
            ApiError: nothing is answered any more; what was answered is kept.
        """

        def ask(window: Window) -> tuple[Build, ...]:
            return client.period_history(window.job_id, window.first, window.last)

        for asked in each(ask, self.windows(), concurrency):
            window = asked.question
            if asked.error:
                self.failed[window.job_id] = asked.error
            else:
                self._spool.add_window(window.job_id, window.first, window.last, asked.answer or ())
            yield window

    def ask_details(self, client: ApiClient, concurrency: int) -> Iterator[tuple[str, int]]:
        """Ask for what `builds` names; each as it has been answered.

        Raises:
            ApiError: nothing is answered any more; what was answered is kept.
        """
        waiting: list[tuple[str, int, BuildDetail | None]] = []
        kept_at = monotonic()
        try:
            for asked in each(lambda build: client.record_info(*build), self.builds(), concurrency):
                waiting.append((*asked.question, asked.answer))
                if monotonic() - kept_at >= _KEEP_EVERY_S:
                    self._spool.add_details(waiting)
                    waiting, kept_at = [], monotonic()
                yield asked.question
        finally:
            self._spool.add_details(waiting)

    def _windows_of(self, one: PastJob) -> Iterator[Window]:
        for first, last in self._days:
            if not self._spool.has_window(one.job.id, first, last):
                yield Window(one.job.id, first, last)
