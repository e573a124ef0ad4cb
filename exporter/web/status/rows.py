"""A row of the status page for each job, and the order of the rows."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from exporter import humanize
from exporter.ledger.job_ledger import JobLedger, LastBuild
from exporter.metrics import JobView
from exporter.model import Job, Result, State
from exporter.web.status.job_problems import EXPLANATIONS, SEVERITY, Problem
from exporter.web.status.page_context import PageContext
from exporter.web.status.query import Column, PageQuery
from exporter.web.status.sparkline import RESULT_WORDS, Sparkline, sparkline
from exporter.web.status.words import Words


@dataclass(frozen=True, slots=True)
class Tag:
    """A label beside the last result; ``kind`` is ``problem``, ``active`` or ``note``; with a tooltip."""

    kind: str
    text: str
    title: str


@dataclass(frozen=True, slots=True)
class JobRow:
    """A job in the table; texts are for people, and not escaped.

    Attributes:
        href: the page of the job, relative to this one.
        url: of the job in the console, ``build_url`` of its last finished build; may be empty.
        result: of the last finished build; None before the first.
        number: of the same build, as ``#532``; empty without one.
        reason: why the last poll of the job failed; empty if it did not.
        finished: age of the last build's end; ``finished_at`` is its time in ISO 8601; empty if unknown.
        polled: age of the last poll; ``polled_at`` is its time in ISO 8601; empty before the first.
        is_failing: the job has failed since its last success.
        is_stuck: a build has been unfinished for far longer than usual.
    """

    job: Job
    href: str
    url: str
    result: Result | None
    result_words: str
    number: str
    build_url: str
    tags: tuple[Tag, ...]
    reason: str
    sparkline: Sparkline
    duration: str
    finished: str
    finished_at: str
    queue: str
    failures: int
    polled: str
    polled_at: str
    is_failing: bool
    is_stuck: bool


def job_row(view: JobView, problems: Sequence[Problem], context: PageContext) -> JobRow:
    """Describe a job."""
    ledger, links, words = view.ledger, context.links, context.words
    last = ledger.last if ledger else None
    finish_ms = last.finish_ms if last else None
    return JobRow(
        job=view.job,
        href=f"./jobs/{quote(view.job.id, safe='', errors='replace')}"
        + ("" if context.query.refreshes else "?refresh=off"),
        url=links.job(view.job),
        result=last.result if last else None,
        result_words=result_words(ledger, words),
        number=f"#{last.number}" if last else "",
        build_url=links.build(view.job, last.number) if last else "",
        tags=tags(view, problems, context),
        reason=view.failure if view.up is False else "",
        sparkline=sparkline(ledger, context.now_ms, words),
        duration=words.length(last.duration_ms if last else None),
        finished=context.ago(finish_ms),
        finished_at=humanize.format_utc(finish_ms),
        queue=words.length(last.queue_ms if last else None),
        failures=ledger.consecutive_failures if ledger else 0,
        polled=context.ago(view.checked_ms),
        polled_at=humanize.format_utc(view.checked_ms),
        is_failing=Problem.FAILING in problems,
        is_stuck=Problem.STUCK in problems,
    )


def result_words(ledger: JobLedger | None, words: Words) -> str:
    """Name the result of a job's last build."""
    if ledger and ledger.last:
        return words(RESULT_WORDS[ledger.last.result])
    return words("no build yet" if ledger else "not polled yet")


def tags(view: JobView, problems: Sequence[Problem], context: PageContext) -> tuple[Tag, ...]:
    """Name the problems of a job, its unfinished builds, and whether it is disabled."""
    words = context.words
    disabled = Tag("note", words("disabled"), words("the job cannot be built"))
    return (
        *_problem_tags(view.ledger, problems, context),
        *(_active_tags(view.ledger, context) if view.ledger else ()),
        *((disabled,) if view.disabled else ()),
    )


def _problem_tags(ledger: JobLedger | None, problems: Sequence[Problem], context: PageContext) -> list[Tag]:
    """Name the problems of a job, except ``failing`` if its last result shows that already."""
    words, last = context.words, ledger.last if ledger else None
    result_shows_failing = last is not None and last.result not in (Result.ABORTED, Result.UNKNOWN)
    found = []
    for problem in problems:
        label = words(problem)
        if problem is Problem.STUCK and ledger and ledger.oldest_active_ms is not None:
            label = words("stuck for {age}", age=words.age(context.now_ms - ledger.oldest_active_ms))
        if not (problem is Problem.FAILING and result_shows_failing):
            found.append(Tag("problem", label, words(EXPLANATIONS[problem])))
    return found


def _active_tags(ledger: JobLedger, context: PageContext) -> list[Tag]:
    """Say for how long builds have been running, and in the queue."""
    words, found = context.words, []
    for state in (State.RUNNING, State.QUEUED):
        builds = ((number, build) for number, build in ledger.open.items() if build.is_active)
        began_ms = {number: build.began_ms for number, build in builds if build.build.state is state}
        if not began_ms:
            continue
        age = words.length(context.now_ms - min(began_ms.values()))
        if len(began_ms) == 1:
            label = words("#{number} {state} for {age}", number=min(began_ms), state=words(state), age=age)
        else:
            label = words("{count} {state} for up to {age}", count=len(began_ms), state=words(state), age=age)
        found.append(Tag("active", label, words("builds that have not ended")))
    return found


_WORST_FIRST: Final = (
    Result.FAILURE,
    Result.TIMEOUT,
    Result.SCHEDULE_FAILURE,
    Result.UNKNOWN,
    Result.ABORTED,
    Result.SUCCESS,
)

_Value = tuple[int, str] | None
"""A number, or 0 and a text; None sorts last."""


def _of_last(value: Callable[[LastBuild], int | None]) -> Callable[[JobView], _Value]:
    def found(view: JobView) -> _Value:
        number = value(view.ledger.last) if view.ledger and view.ledger.last else None
        return None if number is None else (number, "")

    return found


_VALUES: Final[Mapping[Column, Callable[[JobView], _Value]]] = {
    Column.PROJECT: lambda view: (0, view.job.project.casefold()),
    Column.JOB: lambda view: (0, view.job.name.casefold()),
    Column.RESULT: _of_last(lambda last: _WORST_FIRST.index(last.result)),
    Column.DURATION: _of_last(lambda last: last.duration_ms),
    Column.FINISHED: _of_last(lambda last: last.finish_ms),
    Column.QUEUE: _of_last(lambda last: last.queue_ms),
    Column.FAILURES: lambda view: (view.ledger.consecutive_failures, "") if view.ledger else None,
    Column.POLLED: lambda view: None if view.checked_ms is None else (view.checked_ms, ""),
}


def in_order(
    views: Sequence[JobView], problems: Mapping[str, Sequence[Problem]], query: PageQuery
) -> list[JobView]:
    """Sort jobs, those with problems first, or by a column, those without a value last."""

    def key(view: JobView) -> tuple[int, str, str, str]:
        job, found = view.job, problems[view.job.id]
        worst = SEVERITY[found[0]] if found and not query.sort else len(SEVERITY)
        return worst, job.project.casefold(), job.name.casefold(), job.id

    ordered = sorted(views, key=key)
    if query.sort is None:
        return ordered
    value = _VALUES[query.sort]
    with_value = [(found, view) for view in ordered if (found := value(view)) is not None]
    with_value.sort(key=lambda pair: pair[0], reverse=query.descends)
    return [view for _, view in with_value] + [view for view in ordered if value(view) is None]
