"""The content of the status page: facts about the exporter, filters, and a row for each job."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from exporter import humanize
from exporter.metrics import FleetView
from exporter.model import Job
from exporter.web.status.job_problems import EXPLANATIONS, Problem, find_problems
from exporter.web.status.page_context import PageContext
from exporter.web.status.query import Column, PageQuery
from exporter.web.status.rows import JobRow, in_order, job_row
from exporter.web.status.words import Words

PAGE_SIZE: Final = 100

HEADINGS: Final = {
    Column.PROJECT: "Project",
    Column.JOB: "Job",
    Column.RESULT: "Last result",
    Column.DURATION: "Duration",
    Column.FINISHED: "Finished",
    Column.QUEUE: "Queue",
    Column.FAILURES: "Failures",
    Column.POLLED: "Polled",
}


@dataclass(frozen=True, slots=True)
class Fact:
    """A number or state; ``is_bad`` if it needs attention, ``is_long`` if it needs a line of its own."""

    name: str
    value: str
    remark: str = ""
    is_bad: bool = False
    is_long: bool = False


@dataclass(frozen=True, slots=True)
class Heading:
    """The heading of a column: a link that sorts by it; ``order`` is for ``aria-sort``, empty if unsorted."""

    column: Column
    text: str
    href: str
    order: str


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
        with_problems: jobs with a problem in the whole fleet.
        projects: choices for the project filter, sorted.
        filters: by problem, with counts of the jobs that match the other filters.
        headings: of the columns that jobs can be sorted by.
        rows: the jobs of this page, those with problems first unless they are sorted by a column.
        watched: jobs in the whole fleet.
    """

    context: PageContext
    with_problems: int
    facts: tuple[Fact, ...]
    projects: tuple[str, ...]
    filters: tuple[Filter, ...]
    headings: dict[Column, Heading]
    rows: tuple[JobRow, ...]
    paging: Paging
    watched: int


def status(view: FleetView, context: PageContext) -> Status:
    """Build the page of the fleet."""
    query, words = context.query, context.words
    problems = {job.job.id: find_problems(job, context.now_ms, context.stale_after_ms) for job in view.jobs}
    matching = [job for job in view.jobs if _matches(job.job, query)]
    counts = Counter(problem for job in matching for problem in problems[job.job.id])
    selected = [job for job in matching if not query.problem or query.problem in problems[job.job.id]]
    paging = _paging(query, len(selected), words)
    ordered = in_order(selected, problems, query)
    on_page = ordered[(paging.page - 1) * PAGE_SIZE : paging.page * PAGE_SIZE]
    return Status(
        context=context,
        with_problems=sum(map(bool, problems.values())),
        facts=facts(view, context),
        projects=tuple(sorted({job.job.project for job in view.jobs} | {query.project} - {""})),
        filters=_filters(query, counts, len(matching), words),
        headings={column: _heading(column, query, words) for column in Column},
        rows=tuple(job_row(job, problems[job.job.id], context) for job in on_page),
        paging=paging,
        watched=len(view.jobs),
    )


def facts(view: FleetView, context: PageContext) -> tuple[Fact, ...]:
    """Describe the exporter, the most important fact first."""
    readings, words = context.readings, context.words
    up, config_ok, loaded_ms = readings.api_up, readings.config_ok, readings.config_loaded_ms
    loaded = words("loaded {ago}", ago=context.ago(loaded_ms)) if loaded_ms else ""
    lag_ms = round(readings.poll_lag_s * 1000)
    gzip_bytes = readings.snapshot_gzip_bytes
    gzip = words("{size} gzip", size=humanize.format_bytes(gzip_bytes)) if gzip_bytes else ""
    bin_ = view.recycle_bin
    deleted = words("{count} in recycle bin", count=f"{len(bin_.jobs):,}") if bin_ else ""
    budget = max(readings.budget_per_minute.values(), default=0.0)
    slowed = [
        f"{operation} {per_minute:,.0f}"
        for operation, per_minute in readings.budget_per_minute.items()
        if round(per_minute) < round(budget)
    ]
    api = words("no request yet" if up is None else "up" if up else "down")
    reload = words("ok" if config_ok else "reload failed")
    is_late = lag_ms > context.stale_after_ms
    error = Fact(words("API error"), readings.api_error, is_bad=True, is_long=True)
    state = [Fact(words("State"), trouble, is_bad=True, is_long=True) for trouble in _state_troubles(context)]
    return (
        Fact(words("API"), api, words.api_trouble(readings.api_trouble), is_bad=up is False),
        Fact(words("Jobs"), f"{len(view.jobs):,}", deleted),
        Fact(words("Configuration"), reload, loaded, is_bad=not config_ok),
        Fact(words("Request budget"), f"{budget:,.0f}", words.joined([words("per minute"), *slowed])),
        Fact(words("Poll lag"), words.length(lag_ms), words("most overdue"), is_bad=is_late),
        Fact(words("Snapshot"), humanize.format_bytes(readings.snapshot_bytes), gzip),
        *state,
        *((error,) if up is False and readings.api_error else ()),
    )


def _state_troubles(context: PageContext) -> Iterator[str]:
    readings, words = context.readings, context.words
    if since_ms := readings.store_failing_since_ms:
        age = words.age(context.now_ms - since_ms)
        yield words("not written for {age}, values stand still: {error}", age=age, error=readings.store_error)
    if unreadable := readings.unreadable_ledgers:
        jobs = words.jobs(unreadable)
        yield words("rows of {jobs} cannot be read, their values stand still; see the log", jobs=jobs)


def _matches(job: Job, query: PageQuery) -> bool:
    if query.project and job.project != query.project:
        return False
    if not query.text:
        return True
    searched = f"{job.name}\n{job.project}\n{job.id}".casefold()
    return all(word in searched for word in query.text.casefold().split())


def _heading(column: Column, query: PageQuery, words: Words) -> Heading:
    is_sorted = query.sort is column
    order = ("descending" if query.descends else "ascending") if is_sorted else ""
    return Heading(column, words(HEADINGS[column]), query.sorted_by(column).href, order)


def _filters(query: PageQuery, counts: Counter[Problem], matching: int, words: Words) -> tuple[Filter, ...]:
    everything = replace(query, problem=None, page=1).href
    filters = [Filter(words("all"), matching, everything, words("all jobs"), not query.problem)]
    for problem in Problem:
        if counts[problem] or query.problem is problem:
            href, is_selected = replace(query, problem=problem, page=1).href, query.problem is problem
            filters.append(
                Filter(words(problem), counts[problem], href, words(EXPLANATIONS[problem]), is_selected)
            )
    return tuple(filters)


def _paging(query: PageQuery, jobs: int, words: Words) -> Paging:
    pages = max(1, -(-jobs // PAGE_SIZE))
    page = min(query.page, pages)

    def link(to: int) -> str:
        return replace(query, page=to).href if 1 <= to <= pages and to != page else ""

    shown = words.jobs(jobs)
    if pages > 1:
        range_ = f"{(page - 1) * PAGE_SIZE + 1:,}–{min(page * PAGE_SIZE, jobs):,}"
        shown = words("{range} of {jobs}", range=range_, jobs=shown)
    return Paging(page, pages, shown, link(1), link(page - 1), link(page + 1), link(pages))
