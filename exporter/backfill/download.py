"""Asks for everything that a plan needs, and keeps it in the spool."""

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from time import monotonic
from typing import Any, Final, Generic, TypeVar

from exporter.api.client import ApiClient
from exporter.api.parsers import BUILD_FAULTS
from exporter.backfill.builds import numbers_to_ask
from exporter.backfill.plan import PastJob, Period
from exporter.backfill.retry import Notices, Reply, each, persist
from exporter.backfill.spool import Spool
from exporter.errors import (
    ApiError,
    BackfillError,
)
from exporter.model import DAY_MS, Build, BuildDetail, Stage
from exporter.poller.observe import windows

Value = TypeVar("Value")

_MANY: Final = 20
"""That nothing but refusals came is told after so many."""

_FEW: Final = 2
"""So many builds may all have lost their records."""


class Refusals(Generic[Value]):
    """Holds refusals back until something is answered: then they are about single builds.

    Args:
        what: is asked for.
        otherwise: how to go without.
        is_real: whether the build of a job id and a number exists, so that a refusal means something.
        control: asks once more for what an earlier run was told, and whether it is told again; False where no
            run was told anything.
        notices: are told of a beginning without answers.
    """

    def __init__(
        self,
        what: str,
        otherwise: str,
        is_real: Callable[[str, int], bool],
        control: Callable[[], bool],
        notices: Notices,
    ) -> None:
        self._what = what
        self._otherwise = otherwise
        self._is_real = is_real
        self._control = control
        self._notices = notices
        self._is_answered = False
        self._held: list[tuple[str, int, Value | None]] = []
        self._refused = 0
        self._error: ApiError | None = None

    def sifted(
        self, entry: tuple[str, int, Value | None], error: ApiError | None
    ) -> list[tuple[str, int, Value | None]]:
        """Take in how a question ended for good; what can be believed by now."""
        self._held.append(entry)
        self._is_answered = self._is_answered or error is None
        if self._is_answered:
            return self._released()
        if self._is_real(*entry[:2]):
            self._error = error
            self._refused += 1
            if self._refused == _MANY:
                self._notices.say(f"{self._what}: nothing but refusals so far: {error}")
        return []

    def believed(self) -> list[tuple[str, int, Value | None]]:
        """What is left when all has been asked.

        Raises:
            ApiError: the control question failed; asking later may help.
            BackfillError: nothing but refusals came, of the control question too.
        """
        if self._refused and not self._is_answered and not self._control():
            gone = "the records of so few builds may be gone; if not, " if self._refused <= _FEW else ""
            raise BackfillError(
                f"{self._what}: every question was refused, so none of that is kept: {self._error}\n"
                f"{gone}make the user a member of the projects, with a role that may view build tasks, "
                f"and look for proxies on the way; {self._otherwise}"
            )
        return self._released()

    def _released(self) -> list[tuple[str, int, Value | None]]:
        released, self._held = self._held, []
        return released


@dataclass(frozen=True, slots=True)
class Window:
    """Some days of a job's history."""

    job_id: str
    first: date
    last: date


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
            builds = client.period_history(window.job_id, window.first, window.last, on_faults=faults.extend)
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
