"""Details of many builds in few requests: from records, as far as these agree with record-info."""

from collections.abc import Callable, Collection, Sequence
from typing import Final, Protocol

from exporter.api.endpoint_fallback import Sources
from exporter.api.pagination import PAGE_SIZE
from exporter.errors import ApiError, NotPublishedError, RefusalError
from exporter.ledger.fold_observations import DetailAnswer
from exporter.ledger.job_ledger import JobLedger
from exporter.ledger.record_merge import contradicts, counts_alike
from exporter.model import DAY_MS, BuildDetail

DETAILS_AT_ONCE: Final = 50
"""Maximum number of requests for single builds in one poll; their answers are then committed."""

RECORDS_FROM: Final = 5
"""Wanted details from which records are cheaper, comparisons included."""

_MOST_PAGES: Final = 20
_FEW_PAGES: Final = 3
_LEAST_OF_A_PAGE: Final = 10
"""Wanted builds on each page, after the first few pages, below which reading on is not worth it."""

Ask = Callable[[Sequence[int]], tuple[list[DetailAnswer], ApiError | None]]
"""Requests builds from record-info, until the API as a whole fails."""


class RecordsApi(Protocol):
    """The requests for many builds of one job; see `exporter.api.client.ApiClient`."""

    @property
    def sources(self) -> Sources:
        """Knowledge of the endpoints, from all answers so far."""

    def records(
        self,
        build_project_id: str,
        start_ms: int | None = None,
        end_ms: int | None = None,
        is_enough: Callable[[Sequence[BuildDetail]], bool] | None = None,
    ) -> tuple[BuildDetail, ...]:
        """Whole builds of a job between those times, as far as needed."""

    def records_compared(self, *, agreed: bool) -> None:
        """Record whether records and record-info agree on a build."""


def ask_many(
    job_id: str, wanted: Sequence[int], ledger: JobLedger, api: RecordsApi, ask: Ask, *, stages: bool
) -> tuple[list[DetailAnswer], ApiError | None]:
    """Request details: many from records and a few from record-info, or all from there.

    Compared with record-info are the first builds ever, one build of each answer, and those that history
    reports otherwise. Only while all of these agree exactly, the others are taken from records. If `stages`
    are measured, record ids have to agree too. The ledger has what history reports of the builds.
    """
    trust = api.sources.records
    if len(wanted) < RECORDS_FROM or trust.ended:
        return ask(wanted[:DETAILS_AT_ONCE])
    answers, error = ask([] if job_id in api.sources.build_projects else wanted[:1])
    if error:
        return answers, error
    records = _read(job_id, wanted, ledger, api)
    for answer in answers:
        _compare(answer, records, api, stages=stages)
    asked = {answer.number for answer in answers}
    doubtful = {
        number
        for number, record in records.items()
        if number not in asked and number in ledger.open and contradicts(ledger.open[number].build, record)
    }
    certain = sorted(records.keys() - doubtful - asked)
    to_compare = [*sorted(doubtful), *certain[: trust.to_compare]] if not trust.ended else []
    compared, error = ask(to_compare[:DETAILS_AT_ONCE])
    for answer in compared:
        _compare(answer, records, api, stages=stages)
    answers += compared
    asked.update(answer.number for answer in compared)
    taken = [records[number] for number in certain if number not in asked] if trust.is_proven else []
    answers += taken
    answered = asked.union(record.number for record in taken)
    rest = [number for number in wanted if number not in answered]
    if error or (taken and len(rest) >= RECORDS_FROM):
        return answers, error
    single, error = ask(rest[: max(0, DETAILS_AT_ONCE - len(asked))])
    return answers + single, error


def _read(job_id: str, wanted: Collection[int], ledger: JobLedger, api: RecordsApi) -> dict[int, BuildDetail]:
    """Return the wanted builds that records show as finished, to the millisecond."""
    needed = set(wanted)
    builds = [ledger.open[number].build for number in needed if number in ledger.open]
    times = [ms for build in builds for ms in (build.start_ms, build.finish_ms) if ms is not None]
    build_project_id = api.sources.build_projects.get(job_id)
    if not times or not build_project_id:
        return {}

    def is_enough(read: Sequence[BuildDetail]) -> bool:
        found, pages = len(needed.intersection(record.number for record in read)), len(read) / PAGE_SIZE
        is_waste = pages >= _FEW_PAGES and found < pages * _LEAST_OF_A_PAGE
        return found == len(needed) or pages >= _MOST_PAGES or is_waste

    trust = api.sources.records
    try:
        # Neither the zone of the dates nor which time they limit is documented.
        read = api.records(build_project_id, min(times) - DAY_MS, max(times) + DAY_MS, is_enough)
    except (RefusalError, NotPublishedError):
        trust.end("refused")
        return {}
    except ApiError:
        return {}
    finished = {record.number: record for record in read if record.number in needed and record.result}
    # A precise record has both times, and a duration to the millisecond.
    precise = {
        number: record
        for number, record in finished.items()
        if None not in (record.start_ms, record.finish_ms) and record.has_exact_duration
    }
    if finished and not precise and not trust.agreed:
        trust.end("imprecise")
    return precise


def _compare(answer: DetailAnswer, records: dict[int, BuildDetail], api: RecordsApi, *, stages: bool) -> None:
    if isinstance(answer, BuildDetail) and answer.result and (record := records.get(answer.number)):
        api.records_compared(agreed=counts_alike(answer, record, stages=stages))
