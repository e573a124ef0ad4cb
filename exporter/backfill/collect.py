"""Fills a spool: histories first, then the details of what they show, then stages.

Each `ask_…` is a generator that whoever shows progress drives: a step asks, keeps the answer in the spool,
and yields. Closed early, it keeps what it has.
"""

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from time import monotonic
from typing import Any, Final, TypeVar

from exporter.api.client import ApiClient
from exporter.api.payload import BUILD_FAULTS
from exporter.backfill.border import PastJob
from exporter.backfill.fetch import Reply, Window, each, persist
from exporter.backfill.notices import Notices
from exporter.backfill.period import Period
from exporter.backfill.refusals import Refusals
from exporter.backfill.spool import Spool
from exporter.backfill.wanted import numbers_to_ask
from exporter.errors import ApiError
from exporter.model import DAY_MS, Build, BuildDetail, Stage
from exporter.poller.observe import windows

Answer = TypeVar("Answer")
Question = TypeVar("Question")

_KEEP_EVERY_S: Final = 1.0
"""A kill costs the answers of so long."""


class Collection:
    """What is known of some jobs, and what is still to be asked.

    Args:
        jobs: all of them.
        period: when what is counted finished.
        since_ms: history is asked for from the day before on, whatever the step of the period is.
        spool: keeps the answers.
        notices: are told of what is waited for.

    Attributes:
        failed: what could not be had this time, and why; asking again later may help.
    """

    def __init__(
        self, jobs: Sequence[PastJob], period: Period, since_ms: int, spool: Spool, notices: Notices
    ) -> None:
        self._jobs = {one.job.id: one for one in jobs}
        self._period = period
        self._spool = spool
        self._notices = notices
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

        def ask(window: Window) -> tuple[tuple[Build, ...], int]:
            faults: list[str] = []
            builds = client.period_history(
                window.job_id, window.first, window.last, tell_faults=faults.extend
            )
            return builds, sum(fault in BUILD_FAULTS for fault in faults)

        for reply in each(ask, self.windows(), concurrency, self._notices):
            window = reply.question
            if reply.error:
                self.failed[f"the history of job {window.job_id}"] = reply.error
            elif reply.answer:
                self._spool.add_window(window.job_id, window.first, window.last, *reply.answer)
            yield window

    def ask_details(self, client: ApiClient, concurrency: int) -> Generator[object]:
        """Ask for what `builds` names; each as it has been answered.

        Raises:
            ApiError: nothing is answered any more; what was answered is kept.
            BackfillError: everything was refused, what an earlier run was told too; nothing of that is kept.
        """

        def ask(build: tuple[str, int]) -> BuildDetail:
            return client.record_info(*build)

        replies = each(ask, self.builds(), concurrency, self._notices)
        refusals = Refusals[BuildDetail](
            "details (record-info)",
            "--no-details goes without",
            is_real=self._spool.is_listed,
            control=lambda: self._is_answered(ask, self._spool.newest_detailed()),
            notices=self._notices,
        )
        return self._kept(replies, self._spool.add_details, refusals, "details")

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
            BackfillError: everything was refused, what an earlier run was told too; nothing of that is kept.
        """
        replies = each(lambda build: client.full_stages(build[2]), self.stages(), concurrency, self._notices)
        refusals = Refusals[tuple[Stage, ...]](
            "stages (full-stages)",
            "metrics.stages: false goes without",
            is_real=lambda *_: True,
            control=lambda: self._is_answered(client.full_stages, self._spool.newest_staged()),
            notices=self._notices,
        )
        return self._kept(replies, self._spool.add_stages, refusals, "stages")

    def _is_answered(self, ask: Callable[[Question], object], question: Question | None) -> bool:
        """Whether that is answered, not refused.

        Raises:
            ApiError: neither; asking later may help.
        """
        if question is None:
            return False
        reply = persist(ask, question, self._notices)
        if reply.error and not reply.is_final:
            raise reply.error
        return reply.error is None

    def _windows_of(self, one: PastJob) -> Iterator[Window]:
        for first, last in self._days:
            if not self._spool.has_window(one.job.id, first, last):
                yield Window(one.job.id, first, last)

    def _kept(
        self,
        replies: Iterable[Reply[Any, Answer]],
        keep: Callable[[list[tuple[str, int, Answer | None]]], None],
        refusals: Refusals[Answer],
        what: str,
    ) -> Generator[object]:
        """The same replies; those that are final are kept every second and at the end, whatever ends it."""
        waiting: list[tuple[str, int, Answer | None]] = []
        kept_at = monotonic()
        try:
            for reply in replies:
                job_id, number = reply.question[:2]
                if reply.is_final:
                    waiting += refusals.sifted((job_id, number, reply.answer), reply.error)
                elif reply.error:
                    self.failed[f"the {what} of build {number} of job {job_id}"] = reply.error
                if monotonic() - kept_at >= _KEEP_EVERY_S:
                    keep(waiting)
                    waiting, kept_at = [], monotonic()
                yield reply
            waiting += refusals.believed()
        finally:
            keep(waiting)
