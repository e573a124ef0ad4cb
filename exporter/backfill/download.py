"""Downloads what a plan needs from the API into the spool."""

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from datetime import date
from time import monotonic
from typing import Any, Final, NamedTuple

from exporter.api.client import ApiClient
from exporter.api.parsers import BUILD_FAULTS
from exporter.backfill.fetch_with_retries import Key, Notices, Value, fetch_all, fetch_with_retries
from exporter.backfill.past_build import KnownBuild, PastBuild, as_listed, missing_builds
from exporter.backfill.plan import PastJob, Period
from exporter.backfill.refusal_filter import Entry, RefusalFilter
from exporter.backfill.spool import Spool
from exporter.backfill.verified_bulk_records import EVERY, RecordsListing, RecordsReader
from exporter.errors import ApiError, BackfillError
from exporter.humanize import plural
from exporter.model import DAY_MS, Build, BuildDetail, Stage
from exporter.poller.bulk_details import RECORDS_FROM
from exporter.poller.task_requests import windows

_STORE_EVERY_S: Final = 1.0
"""A kill loses the replies of this time."""

_MARGIN_MS: Final = 2000
"""History dates builds to the second: one this close to the period may lie within it."""

_MAX_PROBES: Final = 1000
"""Missing numbers of a job that are looked up; the others count as deleted."""

_FAILURES_SHOWN: Final = 20

_IDS_KEY: Final = "ids of records"

_UNCOMPARED: Final = "not compared"

_HIDDEN_KEY: Final = "hidden by lists"


class Window(NamedTuple):
    """Some days of a job's history."""

    job_id: str
    first: date
    last: date


class Download:
    """Downloads records, histories, details and stages of jobs, in this order; yields each when it is done.

    Each of the four raises an `ApiError` if the API is down, and a `BackfillError` if every request was
    refused, the recheck too. What has been stored until then stays. Histories begin a day before
    ``since_ms``, which is independent of the period's step.

    Attributes:
        failed: what failed, and why; a later run may succeed.
    """

    def __init__(
        self, jobs: Sequence[PastJob], period: Period, since_ms: int, spool: Spool, notices: Notices
    ) -> None:
        self._jobs = jobs
        self._period = period
        self._spool = spool
        self._notices = notices
        self._since_ms = since_ms
        self._days = windows(since_ms - DAY_MS, period.end_ms)
        self._sampled = frozenset(job.job.id for job in jobs[::EVERY])
        self.failed: dict[str, ApiError] = {}

    @property
    def jobs(self) -> list[PastJob]:
        """Jobs with a complete history."""
        return [job for job in self._jobs if not any(self._missing_windows(job))]

    def check(self) -> None:
        """Raise an error that lists the first failures, if there are any.

        Raises:
            BackfillError: something failed.
        """
        if self.failed:
            lines = [f"{what} is missing: {error}" for what, error in self.failed.items()]
            more = [f"… and {len(lines) - _FAILURES_SHOWN:,} more"] if len(lines) > _FAILURES_SHOWN else []
            rest = "everything else is complete; run the same command again to retry these"
            raise BackfillError("\n".join([*lines[:_FAILURES_SHOWN], *more, rest]))

    def windows(self) -> list[Window]:
        """History windows that are not in the spool yet."""
        return [window for job in self._jobs for window in self._missing_windows(job)]

    def builds(self) -> Iterator[tuple[str, int]]:
        """Builds (job id, number) whose details are not in the spool yet."""
        return ((job.job.id, number) for job in self.jobs for number in self._numbers(job))

    def stages(self) -> Iterator[tuple[str, int, str]]:
        """Builds (job id, number, record id) whose stages are not in the spool yet."""
        for job in self.jobs:
            end_ms = job.cutoff(self._spool.known(job.job.id)).end_ms
            builds = self._spool.without_stages(job.job.id, self._period.start_ms, end_ms)
            yield from ((job.job.id, number, record_id) for number, record_id in builds)

    def records(self) -> list[PastJob]:
        """Jobs whose builds may come from records, and are worth a request."""
        if self._spool.discarded:
            return []
        jobs = (job for job in self._jobs if job.build_project_id and not self._spool.has_records(job.job.id))
        return [
            job for job in jobs if any(self._missing_windows(job)) or len(self._numbers(job)) >= RECORDS_FROM
        ]

    def fetch_records(self, client: ApiClient, concurrency: int, *, stages: bool) -> Generator[object]:
        """Fetch `records`: one job after the other until they are proven, then several at once.

        With ``stages``, record ids have to agree with those of record-info too.
        """
        if stages and self._spool.get(_IDS_KEY) == _UNCOMPARED:
            self._end_records(
                "ids of builds from records were not compared, but stages need them", discard=True
            )
        first_ms, end_ms = self._since_ms - DAY_MS, self._period.end_ms
        reader = RecordsReader(client, self._days[-1], first_ms, end_ms, stages=stages)
        jobs = iter(self.records())
        unproven: list[tuple[PastJob, RecordsListing]] = []
        for threads in (1, concurrency):
            for reply in fetch_all(reader.read, jobs, threads, self._notices):
                if listing := reply.value:
                    reader.judge(reply.key, listing)
                    unproven.append((reply.key, listing))
                if reader.ended:
                    self._end_records(reader.ended, discard=bool(client.sources.records.ended))
                    return
                if reader.is_proven:
                    self._spool.put(_IDS_KEY, "compared" if stages else _UNCOMPARED)
                    for job, read in unproven:
                        self._store_records(job, read, replaces_history=reader.replaces_history(read))
                    unproven.clear()
                yield reply
                if reader.is_proven and threads == 1 < concurrency:
                    break

    def use_records(self) -> None:
        """Take the details from records that the history, now complete, asks for."""
        for job in self.jobs:
            if self._spool.has_records(job.job.id):
                self._spool.use_records(job.job.id, self._numbers(job))

    def fetch_histories(self, client: ApiClient, concurrency: int) -> Generator[Window]:
        """Fetch `windows`."""

        def fetch(window: Window) -> tuple[tuple[Build, ...], int]:
            faults: list[str] = []
            builds = client.period_history(window.job_id, window.first, window.last, on_faults=faults.extend)
            return builds, sum(fault in BUILD_FAULTS for fault in faults)

        for reply in fetch_all(fetch, self.windows(), concurrency, self._notices):
            window = reply.key
            if reply.error:
                self.failed[f"history of job {window.job_id}"] = reply.error
            elif reply.value:
                builds, unreadable = reply.value
                self._spool.add_window(*window, self._needed(builds), unreadable)
            yield window

    def fetch_details(self, client: ApiClient, concurrency: int) -> Generator[object]:
        """Fetch the details of `builds`; of more, if these show that job lists hide builds."""
        yield from self._fetch_details(client, concurrency)
        if not self._spool.get(_HIDDEN_KEY) and (hidden := self._hidden_build()):
            self._notices.say(
                f"records and job lists lack {hidden}: the next numbers are requested in all jobs"
            )
            self._spool.put(_HIDDEN_KEY, hidden)
            yield from self._fetch_details(client, concurrency)

    def _hidden_build(self) -> str | None:
        """Return a build of the period that records, history and a job list should have shown, if any."""
        for job in self.jobs:
            if job.listed_number is not None and self._spool.has_records(job.job.id):
                known = self._spool.known(job.job.id)
                shown, end_ms = max(newest_listed(known) or 0, job.listed_number), job.cutoff(known).end_ms
                for build in known[-1:]:
                    if build.number > shown and build.dated_ms is not None and build.dated_ms < end_ms:
                        return f"build {build.number} of job {job.job.id}"
        return None

    def _fetch_details(self, client: ApiClient, concurrency: int) -> Generator[object]:
        def fetch(build: tuple[str, int]) -> BuildDetail:
            return client.record_info(*build)

        refusals = RefusalFilter[BuildDetail](
            "details (record-info)",
            "--no-details does without",
            exists=self._spool.is_listed,
            recheck=lambda: self._succeeds(fetch, self._spool.newest_with_detail()),
            notices=self._notices,
        )
        return self._fetch(fetch, self.builds(), concurrency, self._spool.add_details, refusals, "details")

    def fetch_stages(self, client: ApiClient, concurrency: int) -> Generator[object]:
        """Fetch `stages`."""
        refusals = RefusalFilter[tuple[Stage, ...]](
            "stages (full-stages)",
            "metrics.stages: false does without",
            exists=lambda *_: True,
            recheck=lambda: self._succeeds(client.full_stages, self._spool.newest_with_stages()),
            notices=self._notices,
        )

        def fetch(build: tuple[str, int, str]) -> tuple[Stage, ...]:
            return client.full_stages(build[2])

        return self._fetch(fetch, self.stages(), concurrency, self._spool.add_stages, refusals, "stages")

    def _succeeds(self, fetch: Callable[[Key], object], key: Key | None) -> bool:
        if key is None:
            return False
        reply = fetch_with_retries(fetch, key, self._notices)
        if reply.error and not reply.is_final:
            raise reply.error
        return reply.error is None

    def _numbers(self, job: PastJob) -> list[int]:
        """List the builds to request; a job list may confirm the newest, but for the jobs of the sample."""
        known = self._spool.known(job.job.id)
        is_sampled = job.job.id in self._sampled or self._spool.get(_HIDDEN_KEY)
        listed = None if is_sampled or not self._spool.has_records(job.job.id) else job.listed_number
        times = self._period.start_ms, job.cutoff(known).end_ms
        return list(numbers_to_fetch(known, *times, listed_number=listed))

    def _store_records(self, job: PastJob, listing: RecordsListing, *, replaces_history: bool) -> None:
        """Store a listing: its details for later, and its builds as history if it is as good."""
        if listing.error:
            return
        self._spool.put_records(job.job.id, listing.exact)
        builds = self._needed(map(as_listed, listing.builds.values()))
        for window in list(self._missing_windows(job)) if replaces_history else ():
            self._spool.add_window(*window, builds, 0)

    def _end_records(self, reason: str, *, discard: bool) -> None:
        self._notices.say(f"{reason}: builds are requested from history and record-info instead")
        if discard:
            self._spool.discard_records(reason)

    def _needed(self, builds: Iterable[Build]) -> list[Build]:
        """Leave out what finished over a day before the period; how much of that is shown differs."""
        first_ms = self._since_ms - DAY_MS
        dated = ((build, PastBuild(build).dated_ms) for build in builds)
        return [build for build, dated_ms in dated if dated_ms is None or dated_ms > first_ms]

    def _missing_windows(self, job: PastJob) -> Iterator[Window]:
        for first, last in self._days:
            if not self._spool.has_window(job.job.id, first, last):
                yield Window(job.job.id, first, last)

    def _fetch(
        self,
        fetch: Callable[[Any], Value],
        builds: Iterable[tuple[str, int, *tuple[Any, ...]]],
        concurrency: int,
        store: Callable[[list[Entry[Value]]], None],
        refusals: RefusalFilter[Value],
        what: str,
    ) -> Generator[object]:
        """Yield replies; store final ones every second and at the end, however it ends."""
        pending: list[Entry[Value]] = []
        stored_at = monotonic()
        try:
            for reply in fetch_all(fetch, builds, concurrency, self._notices):
                job_id, number, *_ = reply.key
                if reply.is_final:
                    pending += refusals.add((job_id, number, reply.value), reply.error)
                elif reply.error:
                    self.failed[f"{what} of build {number} of job {job_id}"] = reply.error
                if monotonic() - stored_at >= _STORE_EVERY_S:
                    store(pending)
                    pending, stored_at = [], monotonic()
                yield reply
            pending += refusals.finish()
        finally:
            store(pending)


def gaps(spool: Spool) -> Iterator[str]:
    """Messages about builds in a spool that are incomplete or not counted."""
    again = f"remove {spool.path} to request them again"
    if without_detail := spool.without_detail():
        yield f"{plural(without_detail, 'build')} without details, counted without queue time; {again}"
    if refused := spool.refused_stages():
        yield f"{plural(refused, 'build')} with refused stages, counted without them; {again}"
    if undated := spool.undated():
        yield f"{plural(undated, 'build')} not counted, as the end time is unknown"
    if spool.discarded:
        yield f"nothing is taken from records: {spool.discarded}"
    if unreadable := spool.unreadable():
        yield (
            f"{plural(unreadable, 'record')} in histories cannot be read: "
            "such builds count only if their numbers had details"
        )


def newest_listed(known: Iterable[KnownBuild]) -> int | None:
    """Return the number of the newest build that history lists."""
    return max((build.number for build in known if build.is_listed), default=None)


def numbers_to_fetch(
    known: Sequence[KnownBuild], start_ms: int, end_ms: int, *, listed_number: int | None = None
) -> Iterator[int]:
    """Numbers to request from record-info: those of the period, missing ones, and the one after the newest.

    The last one is there in case the newest record of history is lost or was unreadable. It is left out if
    a job list shows no later build either: then ``listed_number`` is its number. ``known`` ascends.
    """
    first_ms, last_ms = start_ms - _MARGIN_MS, end_ms + _MARGIN_MS
    for number, dated_ms, _, is_fetched in known:
        if not is_fetched and (dated_ms is None or first_ms <= dated_ms <= last_ms):
            yield number
    probes = _MAX_PROBES - sum(not build.is_listed for build in known)
    for first, last in missing_builds(known):
        yield from range(first, min(last, first + probes - 1) + 1)
        probes = max(0, probes - (last - first + 1))
    newest = newest_listed(known)
    is_confirmed = listed_number is not None and newest is not None and listed_number <= newest
    if newest is not None and not is_confirmed and all(build.number != newest + 1 for build in known):
        yield newest + 1
