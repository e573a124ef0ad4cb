"""Answers between poll and commit: a finished build is asked for once, even while commits fail."""

import threading
from collections.abc import Callable
from copy import copy
from datetime import date
from typing import Final

from cachetools import TTLCache

from exporter.model import Build, BuildDetail, Stage
from exporter.poller.poll import Api, Enough

SECOND_TRY_S: Final = 10.0
"""A record that history shows and record-info denies is asked for again after so long: replicas lag."""

_KEPT: Final = 10_000
_KEPT_S: Final = 3600.0


class RememberedDetails:
    """The API, with a memory for builds that have ended; safe to share between threads.

    A build that began after the one that is remembered under its number had ended is another one.

    Args:
        api: is asked what is not remembered.
        monotonic: seconds that never jump.
    """

    def __init__(self, api: Api, monotonic: Callable[[], float]) -> None:
        self._api = api
        self._known: TTLCache[tuple[str, int], BuildDetail] = TTLCache(_KEPT, _KEPT_S, timer=monotonic)
        self._stages: TTLCache[str, tuple[Stage, ...]] = TTLCache(_KEPT, _KEPT_S, timer=monotonic)
        self._denied: TTLCache[tuple[str, int], float] = TTLCache(_KEPT, _KEPT_S, timer=monotonic)
        self._monotonic = monotonic
        self._lock = threading.Lock()

    def through(self, api: Api) -> "RememberedDetails":
        """The same memory, before another API that tells the same."""
        other = copy(self)
        other._api = api
        return other

    def period_history(
        self, job_id: str, start: date, end: date, enough: Enough | None = None
    ) -> tuple[Build, ...]:
        """The builds of a job in those days, as far as needed."""
        builds = self._api.period_history(job_id, start, end, enough)
        with self._lock:
            for build in builds:
                known = self._known.get((job_id, build.number))
                if known and known.finish_ms and build.start_ms and build.start_ms > known.finish_ms:
                    del self._known[job_id, build.number]
        return builds

    def record_info(self, job_id: str, number: int) -> BuildDetail:
        """One build in detail; asked for once after it has ended."""
        key = (job_id, number)
        with self._lock:
            known = self._known.get(key)
        if known is not None:
            return known
        detail = self._api.record_info(job_id, number)
        if detail.result is not None:
            with self._lock:
                self._known[key] = detail
        return detail

    def denial_stands(self, job_id: str, number: int) -> bool:
        """Whether a build that history shows was denied before, at least `SECOND_TRY_S` ago."""
        now = self._monotonic()
        with self._lock:
            return now - self._denied.setdefault((job_id, number), now) >= SECOND_TRY_S

    def full_stages(self, record_id: str) -> tuple[Stage, ...]:
        """The stages of one finished build; asked for once."""
        with self._lock:
            known = self._stages.get(record_id)
        if known is None:
            known = self._api.full_stages(record_id)
            with self._lock:
                self._stages[record_id] = known
        return known
