"""The content of the status page: facts about the exporter, filters, and a row for each job."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from exporter import text
from exporter.ledger import JobLedger
from exporter.metrics import FleetView, JobView
from exporter.metrics.exporter_metrics import Readings
from exporter.model import ConsoleLinks, Job, Result, State
from exporter.web.status.problems import EXPLANATIONS, SEVERITY, Problem, find_problems
from exporter.web.status.query import PageQuery
from exporter.web.status.sparkline import RESULT_WORDS, Sparkline, sparkline

PAGE_SIZE: Final = 100
NO_LINKS: Final = ConsoleLinks()


@dataclass(frozen=True, slots=True)
class Fact:
    """A number or state of the exporter; ``is_bad`` if it needs attention."""

    name: str
    value: str
    remark: str = ""
    is_bad: bool = False


@dataclass(frozen=True, slots=True)
class Tag:
    """A label beside the last result; ``kind`` is ``problem``, ``active`` or ``note``; with a tooltip."""

    kind: str
    text: str
    title: str


_DISABLED: Final = Tag("note", "disabled", "the job cannot be built")


@dataclass(frozen=True, slots=True)
class JobRow:
    """A job in the table; texts are for people, and not escaped.

    Attributes:
        url: of the job in the console, ``build_url`` of its last finished build; may be empty.
        result: of the last finished build; None before the first.
        number: of the same build, as ``#532``; empty without one.
        polled: age of the last poll; ``polled_at`` is its time in ISO 8601, or empty.
        is_urgent: the job is failing or stuck.
    """

    job: Job
    url: str
    result: Result | None
    result_words: str
    number: str
    build_url: str
    tags: tuple[Tag, ...]
    sparkline: Sparkline
    duration: str
    queue: str
    failures: int
    polled: str
    polled_at: str
    is_urgent: bool


@dataclass(frozen=True, slots=True)
class Filter:
    """A link that filters jobs by problem, or shows all of them."""

    text: str
    count: int
    href: str
    title: str
    is_selected: bool


@dataclass(frozen=True, slots=True)
class Paging:
    """The position within the result; links that lead nowhere are empty."""

    page: int
    pages: int
    text: str
    first: str
    previous: str
    next: str
    last: str


@dataclass(frozen=True, slots=True)
class Status:
    """The whole page.

    Attributes:
        at: when it was made, ISO 8601, UTC.
        with_problems: jobs with a problem in the whole fleet.
        projects: choices for the project filter, sorted.
        filters: by problem, with counts of the jobs that match the other filters.
        rows: the jobs of this page, those with problems first.
        watched: jobs in the whole fleet.
    """

    at: str
    version: str
    revision: str
    with_problems: int
    facts: tuple[Fact, ...]
    query: PageQuery
    projects: tuple[str, ...]
    filters: tuple[Filter, ...]
    rows: tuple[JobRow, ...]
    paging: Paging
    watched: int


def status(
    view: FleetView,
    readings: Readings,
    query: PageQuery,
    *,
    now_ms: int,
    stale_after_ms: int,
    links: ConsoleLinks = NO_LINKS,
) -> Status:
    """Build the page for a query; a job polled longer ago than ``stale_after_ms`` is stale."""
    problems = {job.job.id: find_problems(job, now_ms, stale_after_ms) for job in view.jobs}
    matching = [job for job in view.jobs if _matches(job.job, query)]
    counts = Counter(problem for job in matching for problem in problems[job.job.id])
    selected = [job for job in matching if not query.problem or query.problem in problems[job.job.id]]
    selected.sort(key=lambda job: _sort_key(job.job, problems[job.job.id]))
    paging = _paging(query, len(selected))
    on_page = selected[(paging.page - 1) * PAGE_SIZE : paging.page * PAGE_SIZE]
    return Status(
        at=text.format_utc(now_ms),
        version=readings.version,
        revision=readings.revision,
        with_problems=sum(map(bool, problems.values())),
        facts=facts(view, readings, now_ms, stale_after_ms),
        query=query,
        projects=tuple(sorted({job.job.project for job in view.jobs} | {query.project} - {""})),
        filters=_filters(query, counts, len(matching)),
        rows=tuple(_row(job, problems[job.job.id], now_ms, links) for job in on_page),
        paging=paging,
        watched=len(view.jobs),
    )


def facts(view: FleetView, readings: Readings, now_ms: int, stale_after_ms: int) -> tuple[Fact, ...]:
    """Describe the exporter, the most important fact first."""
    up, config_ok = readings.api_up, readings.config_ok
    loaded = f"loaded {text.age(now_ms - readings.config_loaded_ms)} ago" if readings.config_loaded_ms else ""
    lag_ms = round(readings.poll_lag_s * 1000)
    gzip = f"{text.format_bytes(readings.snapshot_gzip_bytes)} gzip" if readings.snapshot_gzip_bytes else ""
    deleted = f"{len(view.recycle_bin.jobs):,} in recycle bin" if view.recycle_bin else ""
    budget = max(readings.budget_per_minute.values(), default=0.0)
    slowed = [
        f"{operation} {per_minute:,.0f}"
        for operation, per_minute in readings.budget_per_minute.items()
        if round(per_minute) < round(budget)
    ]
    api = "no request yet" if up is None else "up" if up else "down"
    return (
        Fact("API", api, readings.api_trouble, is_bad=up is False),
        Fact("Jobs", f"{len(view.jobs):,}", deleted),
        Fact("Configuration", "ok" if config_ok else "reload failed", loaded, is_bad=not config_ok),
        Fact("Request budget", f"{budget:,.0f}", ", ".join(["per minute", *slowed])),
        Fact("Poll lag", text.length(lag_ms), "most overdue", is_bad=lag_ms > stale_after_ms),
        Fact("Snapshot", text.format_bytes(readings.snapshot_bytes), gzip),
    )


def _matches(job: Job, query: PageQuery) -> bool:
    if query.project and job.project != query.project:
        return False
    if not query.text:
        return True
    searched = f"{job.name}\n{job.project}\n{job.id}".casefold()
    return all(word in searched for word in query.text.casefold().split())


def _sort_key(job: Job, problems: Sequence[Problem]) -> tuple[int, str, str, str]:
    worst = SEVERITY[problems[0]] if problems else len(SEVERITY)
    return worst, job.project.casefold(), job.name.casefold(), job.id


def _filters(query: PageQuery, counts: Counter[Problem], matching: int) -> tuple[Filter, ...]:
    filters = [
        Filter("all", matching, replace(query, problem=None, page=1).href, "all jobs", not query.problem)
    ]
    for problem in Problem:
        if counts[problem] or query.problem is problem:
            href, is_selected = replace(query, problem=problem, page=1).href, query.problem is problem
            filters.append(Filter(problem, counts[problem], href, EXPLANATIONS[problem], is_selected))
    return tuple(filters)


def _paging(query: PageQuery, jobs: int) -> Paging:
    pages = max(1, -(-jobs // PAGE_SIZE))
    page = min(query.page, pages)

    def link(to: int) -> str:
        return replace(query, page=to).href if 1 <= to <= pages and to != page else ""

    range_ = text.plural(jobs, "job")
    if pages > 1:
        range_ = f"{(page - 1) * PAGE_SIZE + 1:,}–{min(page * PAGE_SIZE, jobs):,} of {range_}"
    return Paging(page, pages, range_, link(1), link(page - 1), link(page + 1), link(pages))


def _row(view: JobView, problems: Sequence[Problem], now_ms: int, links: ConsoleLinks) -> JobRow:
    ledger = view.ledger
    last = ledger.last if ledger else None
    return JobRow(
        job=view.job,
        url=links.job(view.job),
        result=last.result if last else None,
        result_words=RESULT_WORDS[last.result] if last else "no build yet" if ledger else "not polled yet",
        number=f"#{last.number}" if last else "",
        build_url=links.build(view.job, last.number) if last else "",
        tags=(
            *_problem_tags(ledger, problems, now_ms),
            *_active_tags(ledger, now_ms),
            *((_DISABLED,) if view.disabled else ()),
        ),
        sparkline=sparkline(ledger, now_ms),
        duration=text.length(last.duration_ms if last else None),
        queue=text.length(last.queue_ms if last else None),
        failures=ledger.consecutive_failures if ledger else 0,
        polled=text.age(None if view.checked_ms is None else now_ms - view.checked_ms),
        polled_at=text.format_utc(view.checked_ms),
        is_urgent=Problem.FAILING in problems or Problem.STUCK in problems,
    )


def _problem_tags(ledger: JobLedger | None, problems: Sequence[Problem], now_ms: int) -> list[Tag]:
    """Name the problems of a job, except ``failing`` if its last result shows that already."""
    last = ledger.last if ledger else None
    result_shows_failing = last is not None and last.result not in (Result.ABORTED, Result.UNKNOWN)
    tags = []
    for problem in problems:
        label: str = problem
        if problem is Problem.STUCK and ledger and ledger.oldest_active_ms is not None:
            label = f"stuck for {text.age(now_ms - ledger.oldest_active_ms)}"
        if not (problem is Problem.FAILING and result_shows_failing):
            tags.append(Tag("problem", label, EXPLANATIONS[problem]))
    return tags


def _active_tags(ledger: JobLedger | None, now_ms: int) -> list[Tag]:
    builds = [build for build in ledger.open.values() if build.is_active] if ledger else []
    tags = []
    for state in (State.RUNNING, State.QUEUED):
        began_ms = [build.began_ms for build in builds if build.build.state is state]
        if began_ms:
            age = f"for {'up to ' if len(began_ms) > 1 else ''}{text.age(now_ms - min(began_ms))}"
            tags.append(Tag("active", f"{len(began_ms)} {state} {age}", f"builds {state} now"))
    return tags
