"""Fills a spool: histories first, then the details of what they show."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from time import monotonic
from typing import Final, TypeVar

from exporter.api.client import ApiClient
from exporter.backfill.fetch import Window, each
from exporter.backfill.period import Period
from exporter.backfill.replay import PastJob
from exporter.backfill.spool import Spool
from exporter.backfill.wanted import details
from exporter.errors import ApiError
from exporter.model import Build
from exporter.poller.poll import windows

Answer = TypeVar("Answer")

_KEEP_EVERY_S: Final = 1.0
"""A kill costs the answers of so long."""


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

    def ask_details(self, client: ApiClient, concurrency: int) -> Iterator[object]:
        """Ask for what `builds` names; each as it has been answered.

        Raises:
            ApiError: nothing is answered any more; what was answered is kept.
        """
        asked = each(lambda build: client.record_info(*build), self.builds(), concurrency)
        answers = ((*one.question, one.answer) for one in asked)
        return kept(answers, self._spool.add_details)

    def stages(self) -> Iterator[tuple[str, int, str]]:
        """The builds whose stages are not here yet: job, number and record id."""
        for one in self.jobs:
            for number, record_id in self._spool.without_stages(
                one.job.id, self._period.start_ms, one.end_ms
            ):
                yield one.job.id, number, record_id

    def ask_stages(self, client: ApiClient, concurrency: int) -> Iterator[object]:
        """Ask for what `stages` names; each as it has been answered.

        Raises:
            ApiError: nothing is answered any more; what was answered is kept.
        """
        asked = each(lambda build: client.full_stages(build[2]), self.stages(), concurrency)
        answers = ((*one.question[:2], one.answer) for one in asked)
        return kept(answers, self._spool.add_stages)

    def _windows_of(self, one: PastJob) -> Iterator[Window]:
        for first, last in self._days:
            if not self._spool.has_window(one.job.id, first, last):
                yield Window(one.job.id, first, last)


def kept(answers: Iterable[Answer], keep: Callable[[list[Answer]], None]) -> Iterator[Answer]:
    """The same answers, kept every second and at the end, whatever ends it."""
    waiting: list[Answer] = []
    kept_at = monotonic()
    try:
        for answer in answers:
            waiting.append(answer)
            if monotonic() - kept_at >= _KEEP_EVERY_S:
                keep(waiting)
                waiting, kept_at = [], monotonic()
            yield answer
    finally:
        keep(waiting)
