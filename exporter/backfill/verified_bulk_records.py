"""Builds from records, which reports a hundred whole builds in one response, and when these may be used.

Before any is used, three builds of the run are compared with record-info (of different results, if there are)
and a page of builds with period-history; later one build of every tenth job, and of each with more than ten
thousand builds. One difference from record-info ends the use of records, and what came from there is
requested again. That suffices, as the service computes these values in the same way for all jobs: if they
differ, as whole seconds do from milliseconds, nearly every build shows it. Equal means that counts, sums and
labels are the same to the millisecond, and with stages the record id.

A comparison cannot show that a build is missing, so that is examined in each job. Records replace a job's
history if all of them are readable and their numbers have no gap from the newest down to number 1 or to a
build that finished well before the period. The number after the newest is requested if the job list shows a
later build than records or does not tell, and in every tenth job; if one exists there, in all jobs.
"""

import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date
from itertools import pairwise
from typing import Final

from exporter.api.client import ApiClient
from exporter.api.endpoint_fallback import AGREEMENTS
from exporter.api.parsers import BUILD_FAULTS
from exporter.backfill.past_build import as_listed
from exporter.backfill.plan import PastJob
from exporter.errors import ApiError, CredentialsError, NotVisibleError, ThrottledError
from exporter.ledger.record_merge import counts_alike
from exporter.model import DAY_MS, BuildDetail

_FAILURES: Final = 3
"""Jobs in a row whose records cannot be used, after which no others are requested."""

EVERY: Final = 10
"""One build is compared, and the number after the newest requested, of one in so many jobs."""

_MANY: Final = 10_000
"""One build is compared of each job that has more builds."""

_TRIES: Final = 3
"""Errors that may pass, after each of which reading goes on; a job without records costs many requests."""

_LENGTHS: Final = 2
_MARGIN_MS: Final = (15 * 60_000, DAY_MS)
"""Builds finish in another order than they begin. Reading ends at one that finished earlier than needed by so
many times the longest build that was read, within these limits.
"""


@dataclass(slots=True)
class RecordsListing:
    """The records of one job, as far as they were read.

    Attributes:
        ordinal: the number of jobs that were begun before.
        builds: by number, unfinished ones too.
        pages: number of pages read.
        unreadable: number of records without a readable number.
        is_descending: each page has the highest number first.
        longest_ms: the longest duration of a build.
        reaches_back: the last build of a page finished so early that older ones are not needed.
        is_read: there is no more to read.
        compared: numbers of builds that were requested from record-info.
        agreed: how many of them record-info reports in the same way.
        differs: the number of one that record-info reports in another way, if any.
        equals_history: history reports the same builds in the same way; None if they were not compared.
        tries: how often it was read until an error that may pass.
        error: why no more could be read.
    """

    ordinal: int
    builds: dict[int, BuildDetail] = field(default_factory=dict)
    pages: int = 0
    unreadable: int = 0
    is_descending: bool = True
    longest_ms: int = 0
    reaches_back: bool = False
    is_read: bool = False
    compared: set[int] = field(default_factory=set)
    agreed: int = 0
    differs: int | None = None
    equals_history: bool | None = None
    tries: int = 0
    error: ApiError | None = None

    @property
    def exact(self) -> list[BuildDetail]:
        """Finished builds with exact times, the newest first; only these can replace record-info."""
        builds = sorted(self.builds.values(), key=lambda build: -build.number)
        return [build for build in builds if build.result and _is_exact(build)]

    @property
    def is_whole(self) -> bool:
        """No record is unreadable, no number is missing, and the oldest build is old enough."""
        numbers = self.builds.keys()
        is_gapless = bool(numbers) and max(numbers) - min(numbers) < len(numbers)
        is_readable = self.is_descending and not self.unreadable
        return is_gapless and is_readable and (self.reaches_back or min(numbers) == 1)

    def add(self, builds: Sequence[BuildDetail], before_ms: int) -> None:
        """Add a page; builds that finished before that time are not needed."""
        self.builds.update((build.number, build) for build in builds)
        durations_ms = [
            build.finish_ms - build.start_ms for build in builds if build.start_ms and build.finish_ms
        ]
        self.longest_ms = max(self.longest_ms, *durations_ms, 0)
        self.is_descending &= all(newer.number > older.number for newer, older in pairwise(builds))
        times = [time_ms for build in builds[-1:] for time_ms in (build.start_ms, build.finish_ms) if time_ms]
        margin_ms = min(max(_MARGIN_MS[0], _LENGTHS * self.longest_ms), _MARGIN_MS[1])
        self.reaches_back |= bool(times) and max(times) < before_ms - margin_ms


class RecordsReader:
    """Reads the records of jobs and compares some of them; `read` is safe to call from several threads.

    Args:
        client: sends the requests, and knows how far records can be used.
        days: the latest days of history that one request may ask for.
        first_ms: builds that finished before are not needed.
        end_ms: nor are builds that began later.
        stages: record ids have to agree too, since stages are requested with them.

    Attributes:
        ended: why records are not used any more; empty while they are.
    """

    def __init__(
        self, client: ApiClient, days: tuple[date, date], first_ms: int, end_ms: int, *, stages: bool
    ) -> None:
        self._client = client
        self._trust = client.sources.records
        self._days = days
        self._first_ms = first_ms
        self._end_ms = end_ms if end_ms + DAY_MS < time.time() * 1000 else None
        self._stages = stages
        self._failures = 0
        self._equals_history: bool | None = None
        self._lock = threading.Lock()
        self._listings: dict[str, RecordsListing] = {}
        self.ended = ""

    @property
    def is_proven(self) -> bool:
        """Enough builds were compared, and none differs."""
        return not self.ended and self._trust.is_proven

    def replaces_history(self, listing: RecordsListing) -> bool:
        """Return whether a job needs no request for its history."""
        return self._equals_history is True and listing.is_whole

    def read(self, job: PastJob) -> RecordsListing:
        """Read a job's records and compare a few; called again after an error, it goes on where it stopped.

        Raises:
            ApiError: to be called again, or the credentials are refused.
        """
        with self._lock:
            listing = self._listings.setdefault(job.job.id, RecordsListing(len(self._listings)))
        try:
            self._read(job.build_project_id, listing)
            self._compare(job.job.id, listing)
        except (ThrottledError, CredentialsError):
            raise
        except ApiError as error:
            listing.tries += 1
            if error.retryable and listing.tries < _TRIES:
                raise
            listing.error = error
        return listing

    def judge(self, job: PastJob, listing: RecordsListing) -> None:
        """Learn from a listing that was read whether records may be used."""
        with self._lock:
            self._listings[job.job.id] = RecordsListing(listing.ordinal)  # frees the builds
        was_proven = self.is_proven
        for _ in range(listing.agreed):
            self._client.records_compared(agreed=True)
        if listing.equals_history is not None:
            self._equals_history = listing.equals_history and self._equals_history is not False
        if listing.differs is not None:
            self._client.records_compared(agreed=False)
            self.ended = f"records and record-info differ in build {listing.differs} of job {job.job.id}"
        elif listing.error or (listing.builds and not listing.agreed and not was_proven):
            self._failures += 1
            if self._failures >= _FAILURES:
                reason = listing.error or "record-info does not confirm them"
                self.ended = f"records cannot be used: {reason}"
        else:
            self._failures = 0

    def _read(self, build_project_id: str, listing: RecordsListing) -> None:
        """Read pages; the newest builds come first, else the service has to leave out older ones."""
        until_ms = None if self._end_ms is None else self._end_ms + DAY_MS
        since_ms = None if listing.is_descending else self._first_ms - DAY_MS
        added = 0

        def is_enough(records: Sequence[BuildDetail]) -> bool:
            nonlocal added
            listing.add(records[added:], self._first_ms)
            added = len(records)
            return since_ms is None and (listing.reaches_back or not listing.is_descending)

        def count(faults: Sequence[str]) -> None:
            listing.pages += 1
            listing.unreadable += sum(fault in BUILD_FAULTS for fault in faults)

        if not listing.is_read:
            self._client.records(build_project_id, since_ms, until_ms, is_enough, count, listing.pages)
            listing.is_read = listing.is_descending or since_ms is not None
            if not listing.is_read:
                listing.pages = 0
                self._read(build_project_id, listing)

    def _compare(self, job_id: str, listing: RecordsListing) -> None:
        exact = listing.exact
        wanted = int(listing.ordinal % EVERY == 0 or len(listing.builds) > _MANY)
        if not self.is_proven:
            wanted = AGREEMENTS
            if exact and listing.equals_history is None:
                listing.equals_history = self._compare_with_history(job_id, listing)
        for build in _samples(exact, listing.ordinal)[: 2 * wanted]:
            if listing.agreed >= wanted or listing.differs is not None:
                return
            if build.number not in listing.compared:
                self._compare_build(job_id, build, listing)

    def _compare_build(self, job_id: str, build: BuildDetail, listing: RecordsListing) -> None:
        try:
            detail = self._client.record_info(job_id, build.number)
        except NotVisibleError:
            detail = BuildDetail(build.number)
        listing.compared.add(build.number)
        if detail.result and counts_alike(detail, build, stages=self._stages):
            listing.agreed += 1
        elif detail.result:
            listing.differs = build.number

    def _compare_with_history(self, job_id: str, listing: RecordsListing) -> bool | None:
        history = self._client.period_history(job_id, *self._days, is_enough=lambda _: True)
        finished = [build for build in history if build.result and build.number >= min(listing.builds)]
        records = [listing.builds.get(build.number) for build in finished]
        alike = (
            record and as_listed(record) == build for build, record in zip(finished, records, strict=True)
        )
        return all(alike) if finished else None


def _samples(exact: Iterable[BuildDetail], ordinal: int) -> list[BuildDetail]:
    """Order builds for comparison: one of each result first, beginning with another one in each job."""
    by_result = {build.result: build for build in exact}
    first = [*by_result.values()]
    turn = ordinal // EVERY % max(1, len(first))
    rest = [build for build in exact if by_result[build.result] is not build]
    return [*first[turn:], *first[:turn], *rest]


def _is_exact(build: BuildDetail) -> bool:
    """Return whether the duration is known to the millisecond, or follows from the times."""
    if build.start_ms is None or build.finish_ms is None:
        return build.finish_ms is not None
    return build.has_exact_duration
