"""The whole page: which jobs, in which order, how many, and what can be chosen."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from exporter.catalogue import FleetView, JobView
from exporter.telemetry import Readings
from exporter.web.status import words
from exporter.web.status.asked import Asked
from exporter.web.status.facts import Fact, facts
from exporter.web.status.rows import JobRow, row
from exporter.web.status.troubles import EXPLAINED, SEVERITY, Trouble, troubles

PAGE_SIZE: Final = 100


@dataclass(frozen=True, slots=True)
class Choice:
    """A link to fewer jobs, or to all of them again."""

    text: str
    count: int
    href: str
    title: str
    is_chosen: bool
    is_trouble: bool


@dataclass(frozen=True, slots=True)
class Paging:
    """Where in the jobs the page is; links are empty where there is nowhere to go."""

    page: int
    pages: int
    text: str
    first: str
    previous: str
    next: str
    last: str


@dataclass(frozen=True, slots=True)
class Status:
    """All that the page shows.

    Attributes:
        at: the moment it is true of, ISO 8601, UTC.
        trouble: how many jobs are in trouble, among all.
        projects: all that can be chosen, ascending.
        choices: the fleet by trouble, under the filters for project and text.
        rows: the jobs of this page, trouble first.
        watched: how many jobs there are.
    """

    at: str
    version: str
    revision: str
    trouble: int
    facts: tuple[Fact, ...]
    asked: Asked
    projects: tuple[str, ...]
    choices: tuple[Choice, ...]
    rows: tuple[JobRow, ...]
    paging: Paging
    watched: int


def status(view: FleetView, readings: Readings, asked: Asked, *, now_ms: int, stale_after_ms: int) -> Status:
    """The page that was asked for.

    Args:
        view: the fleet.
        readings: of the exporter itself.
        asked: filters and page.
        now_ms: by the clock that polls are dated with.
        stale_after_ms: a job polled longer ago than this is in trouble.
    """
    found = {one.job.id: troubles(one, now_ms, stale_after_ms) for one in view.jobs}
    matching = list(_matching(view, asked))
    shown = [one for one in matching if not asked.trouble or asked.trouble in found[one.job.id]]
    shown.sort(key=lambda one: _place(one, found[one.job.id]))
    paging = _paging(asked, len(shown))
    here = shown[(paging.page - 1) * PAGE_SIZE : paging.page * PAGE_SIZE]
    return Status(
        at=words.moment(now_ms),
        version=readings.version,
        revision=readings.revision,
        trouble=sum(map(bool, found.values())),
        facts=facts(view, readings, now_ms, stale_after_ms),
        asked=asked,
        projects=tuple(sorted({one.job.project for one in view.jobs} | {asked.project} - {""})),
        choices=_choices(asked, Counter(one for job in matching for one in found[job.job.id]), len(matching)),
        rows=tuple(row(one, found[one.job.id], now_ms) for one in here),
        paging=paging,
        watched=len(view.jobs),
    )


def _matching(view: FleetView, asked: Asked) -> Iterator[JobView]:
    wanted = asked.words
    for one in view.jobs:
        job = one.job
        if asked.project and job.project != asked.project:
            continue
        if wanted:
            text = f"{job.name}\n{job.project}\n{job.id}".casefold()
            if not all(word in text for word in wanted):
                continue
        yield one


def _place(view: JobView, found: tuple[Trouble, ...]) -> tuple[int, str, str, str]:
    """Where a job stands: by its worst trouble, then by project and name."""
    job = view.job
    worst = SEVERITY[found[0]] if found else len(SEVERITY)
    return worst, job.project.casefold(), job.name.casefold(), job.id


def _choices(asked: Asked, counts: Counter[Trouble], matching: int) -> tuple[Choice, ...]:
    every = Choice("all", matching, asked.about(None).href, "all jobs", asked.trouble is None, False)
    return (
        every,
        *(
            Choice(one, counts[one], asked.about(one).href, EXPLAINED[one], asked.trouble is one, True)
            for one in Trouble
            if counts[one] or asked.trouble is one
        ),
    )


def _paging(asked: Asked, jobs: int) -> Paging:
    pages = max(1, -(-jobs // PAGE_SIZE))
    page = min(asked.page, pages)
    first, last = (page - 1) * PAGE_SIZE + 1, min(page * PAGE_SIZE, jobs)

    def link(to: int) -> str:
        return asked.on_page(to).href if 1 <= to <= pages and to != page else ""

    text = words.count(jobs, "job", "jobs")
    if pages > 1:
        text = f"{first:,}–{last:,} of {text}"
    return Paging(page, pages, text, link(1), link(page - 1), link(page + 1), link(pages))
