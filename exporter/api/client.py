"""The only HTTP client of the API: one method for each endpoint, returning model values.

History and details of builds have two endpoints each; the newer one is asked once the older one was
withdrawn.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from functools import partial
from typing import TypeVar

from exporter.api.base_client import BaseClient
from exporter.api.endpoint_fallback import DISAGREES, HISTORY, RECORD_INFO, is_missing
from exporter.api.pagination import PAGE_SIZE, Pages
from exporter.api.parsers import (
    SERVICE_ZONE,
    Page,
    build_detail,
    history_page,
    job_list_page,
    project_page,
    records_page,
    recycle_page,
)
from exporter.api.stage_parser import build_stages
from exporter.errors import ApiError, InvalidResponseError, NotVisibleError
from exporter.model import Build, BuildDetail, ListedJob, RecycleBin, RecycledJob, Stage, State

Value = TypeVar("Value")

Faults = Callable[[Sequence[str]], object]
"""Gets the faults of each page."""


@dataclass(eq=False, repr=False)
class ApiClient(BaseClient):
    """Client of CodeArts Build; safe to share between threads.

    Methods raise an `ApiError` on failure (a `NotVisibleError` is permanent), and a `RequestCancelledError`
    after `close`.
    """

    def period_history(
        self,
        job_id: str,
        start: date,
        end: date,
        is_enough: Callable[[Sequence[Build]], bool] | None = None,
        on_faults: Faults | None = None,
    ) -> tuple[Build, ...]:
        """Return the builds of a job in those days (UTC+8, at most 30 apart).

        Each record comes once for each page it was on; order and completeness are the service's. Paging stops
        early once the records so far satisfy ``is_enough``. ``on_faults`` gets the faults of each page.
        """

        def older() -> tuple[Build, ...]:
            path = f"/v3/jobs/{job_id}/period-history"
            days = {"start_time": start.isoformat(), "end_time": end.isoformat()}
            pages: Pages[Build] = Pages(PAGE_SIZE, key=lambda build: build.number)
            read = self._read_pages(
                HISTORY, path, partial(history_page, job_id=job_id), pages, "offset", days
            )
            return _until_enough(read, pages, is_enough, on_faults)

        def newer() -> tuple[Build, ...]:
            def suffices(details: Sequence[BuildDetail]) -> bool:
                return is_enough is not None and is_enough([_as_build(detail) for detail in details])

            days_ms = _midnight_ms(start), _midnight_ms(end + timedelta(days=1))
            details = self.records(self._build_project(job_id), *days_ms, suffices, on_faults)
            return tuple(map(_as_build, details))

        def is_proven() -> bool:
            return bool(self.records(self._build_project(job_id), is_enough=bool))

        return self._from_either(HISTORY, job_id, older, newer, is_proven)

    def record_info(self, job_id: str, number: int) -> BuildDetail:
        """Return the detail of one build."""

        def read(path: str) -> BuildDetail:
            detail, faults = self._get(RECORD_INFO, path, {}, lambda body: build_detail(body, job_id, number))
            self._count_faults(RECORD_INFO, faults)
            self.sources.learn(job_id, detail.build_project_id)
            return detail

        return self._from_either(
            RECORD_INFO,
            job_id,
            lambda: read(f"/v4/jobs/{job_id}/{number}/record-info"),
            lambda: read(f"/v1/record/{job_id}/{number}/record-info"),
        )

    def records(
        self,
        build_project_id: str,
        start_ms: int | None = None,
        end_ms: int | None = None,
        is_enough: Callable[[Sequence[BuildDetail]], bool] | None = None,
        on_faults: Faults | None = None,
        first_page: int = 0,
    ) -> tuple[BuildDetail, ...]:
        """Return whole builds of a job, unfinished ones too, as `period_history` does; from a page on.

        Neither the zone of the dates in the request nor which of a build's times they limit is documented:
        leave a margin of a day at both ends.
        """
        path = f"/v1/record/{build_project_id}/records"
        limits = {"from_date": start_ms, "to_date": end_ms}
        dates = {
            name: datetime.fromtimestamp(ms / 1000, SERVICE_ZONE).strftime("%Y-%m-%d %H:%M:%S")
            for name, ms in limits.items()
            if ms is not None
        }
        pages: Pages[BuildDetail] = Pages(PAGE_SIZE, key=lambda build: build.number, index=first_page)
        read = self._read_pages("records", path, records_page, pages, "page", dates)
        return _until_enough(read, pages, is_enough, on_faults)

    def records_compared(self, *, agreed: bool) -> None:
        """Record whether records and record-info agree on a build."""
        self.sources.records.compared(agreed=agreed)
        if not agreed:
            self._count_faults("records", [DISAGREES])

    def full_stages(self, record_id: str) -> tuple[Stage, ...]:
        """Return the stages of one build that ran, in order."""
        stages, faults = self._get("full-stages", f"/v1/record/{record_id}/full-stages", {}, build_stages)
        self._count_faults("full-stages", faults)
        return stages

    def recycle_bin(self) -> RecycleBin:
        """Return all deleted jobs that can still be restored."""
        pages: Pages[RecycledJob] = Pages(PAGE_SIZE, key=lambda job: job.id)
        path = "/v1/job/recycling-jobs"
        read = list(self._read_pages("recycling-jobs", path, recycle_page, pages, "page_no"))
        retention_ms = next((page.retention_ms for page in read if page.retention_ms is not None), None)
        return RecycleBin(retention_ms, {job.id: job for job in pages.records})

    def job_list(
        self, project_id: str, *, max_jobs: int | None, expected: int
    ) -> tuple[Mapping[str, ListedJob], int, bool]:
        """Return the jobs of a project, or with ``""`` all visible ones; the total; and if they are complete.

        Of more than ``max_jobs`` only the first page is read. A total not below ``expected`` is trusted.
        """
        operation = "project-job-list" if project_id else "job-list"
        path = f"/v1/job/{project_id}/list" if project_id else "/v1/job/list"
        pages: Pages[ListedJob] = Pages(PAGE_SIZE, key=lambda job: job.id, trusts_total_from=expected)
        total, is_complete = 0, True
        parse = partial(job_list_page, project_id=project_id)
        for page in self._read_pages(operation, path, parse, pages, "page_index"):
            total = max(total, page.total or 0)
            is_complete = not pages.is_cut and (max_jobs is None or total <= max_jobs or not pages.more)
            if not is_complete:
                break
        jobs = {job.id: job for job in pages.records}
        for job in jobs.values():
            self.sources.learn(job.id, job.build_project_id)
            if job.number is not None:
                known = self.sources.listed_builds.get(job.id, 0)
                self.sources.listed_builds[job.id] = max(known, job.number)
        return jobs, max(total, len(jobs)), is_complete

    def project_names(self) -> Mapping[str, str]:
        """Return the names of the CodeArts projects that the credentials can see, by id."""
        path = "/v1/domain/project/related-page"
        pages: Pages[tuple[str, str]] = Pages(PAGE_SIZE, key=lambda project: project[0], trusts_total_from=0)
        for _ in self._read_pages("projects", path, project_page, pages, "page_no"):
            pass
        return dict(pages.records)

    def _build_project(self, job_id: str) -> str:
        """Return the id of a job in requests for records, asking for its builds if need be.

        Of a job whose newest known build is denied, the next one shows it as soon as there is one.
        """
        known, denial = self.sources.known_builds.get(job_id, 1), None
        for number in (known, known + 1):
            if job_id in self.sources.build_projects:
                break
            try:
                self.record_info(job_id, number)
            except NotVisibleError as error:
                denial = denial or error
        if project := self.sources.build_projects.get(job_id):
            return project
        text = f"no answer has shown the build_project_id of {job_id}"
        raise denial or InvalidResponseError(text, code="invalid")

    def _from_either(
        self,
        operation: str,
        job_id: str,
        older: Callable[[], Value],
        newer: Callable[[], Value],
        is_proven: Callable[[], bool] = lambda: True,
    ) -> Value:
        """Ask the older endpoint, or the newer one where the older was withdrawn.

        A withdrawal is believed only once the newer endpoint has answered what the older one did not.
        """
        endpoint = self.sources.endpoints[operation]
        if not endpoint.asks_older(self.clock.monotonic()):
            return newer()
        before = endpoint.in_use
        try:
            value = older()
        except ApiError as error:
            tries_newer = endpoint.failed(
                job_id, error, self.clock.monotonic(), others_answer=self.sources.has_answered
            )
            if endpoint.is_withdrawn:
                return newer()
            if not tries_newer:
                raise
            try:
                if not is_proven():
                    endpoint.undecided()
                    raise
                value = newer()
            except ApiError as newer_error:
                if not is_missing(newer_error):
                    endpoint.undecided()
                raise error from None
            endpoint.withdraw(self.clock.monotonic())
        else:
            endpoint.answered(job_id)
        finally:
            if endpoint.in_use != before:
                self.telemetry.show_source(operation, endpoint.in_use)
        return value


def _until_enough(
    read: Iterator[Page[Value]],
    pages: Pages[Value],
    is_enough: Callable[[Sequence[Value]], bool] | None,
    on_faults: Faults | None,
) -> tuple[Value, ...]:
    for page in read:
        if on_faults:
            on_faults(page.faults)
        if is_enough and pages.records and is_enough(pages.records):
            break
    return tuple(pages.records)


def _as_build(detail: BuildDetail) -> Build:
    """Return what period-history would report of a build."""
    state = detail.state
    if detail.result is None and state is None and detail.finish_ms is None:
        state = State.QUEUED if detail.start_ms is None else State.RUNNING
    return Build(
        detail.number, detail.result, state, detail.start_ms, detail.finish_ms, detail.branch, detail.trigger
    )


def _midnight_ms(day: date) -> int:
    return round(datetime.combine(day, time(), SERVICE_ZONE).timestamp() * 1000)
