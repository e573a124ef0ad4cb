"""The status page as plain values: the fleet, its facts and its rows. Pure."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from exporter import text
from exporter.ledger import JobLedger
from exporter.metrics import FleetView, JobView
from exporter.metrics.exporter_metrics import Readings
from exporter.model import Result, State
from exporter.web.status.problems import EXPLAINED, SEVERITY, Trouble, troubles
from exporter.web.status.query import Asked
from exporter.web.status.sparkline import RESULT_WORDS, Strip, strip


@dataclass(frozen=True, slots=True)
class Fact:
    """A name, a value, and a remark; ``is_bad`` where somebody should look."""

    name: str
    value: str
    remark: str = ""
    is_bad: bool = False


def facts(view: FleetView, readings: Readings, now_ms: int, stale_after_ms: int) -> tuple[Fact, ...]:
    """What is told of the exporter, most wanted first."""
    up = readings.api_up
    loaded = f"loaded {text.age(now_ms - readings.config_loaded_ms)} ago" if readings.config_loaded_ms else ""
    lag_ms = round(readings.poll_lag_s * 1000)
    gzip = f"{text.size(readings.snapshot_gzip_bytes)} gzip" if readings.snapshot_gzip_bytes else ""
    deleted = len(view.recycle_bin.jobs) if view.recycle_bin else None
    return (
        Fact(
            "API",
            "not asked yet" if up is None else "up" if up else "down",
            readings.api_trouble,
            is_bad=up is False,
        ),
        Fact("Jobs", f"{len(view.jobs):,}", "" if deleted is None else f"{deleted:,} in recycle bin"),
        Fact(
            "Configuration", "ok" if readings.config_ok else "reload failed", loaded, not readings.config_ok
        ),
        Fact("Request budget", f"{readings.budget_per_minute:,.0f}", "per minute"),
        Fact("Poll lag", text.length(lag_ms), "most overdue", lag_ms > stale_after_ms),
        Fact("Snapshot", text.size(readings.snapshot_bytes), gzip),
    )


@dataclass(frozen=True, slots=True)
class Tag:
    """A word beside the result.

    Attributes:
        kind: ``trouble`` or ``active``.
        title: what it means.
    """

    kind: str
    text: str
    title: str


@dataclass(frozen=True, slots=True)
class JobRow:
    """What is told of one job; every text is as a person reads it, and not escaped.

    Attributes:
        result: of the last finished build; None before the first.
        result_words: the same in words.
        number: ``#532``, or empty.
        failures: in a row, 0 where the last build that tells succeeded.
        polled: how old all of it is.
        polled_at: the moment of that, ISO 8601, or empty.
        is_urgent: it fails or is stuck, the worst kinds of trouble.
    """

    project: str
    name: str
    id: str
    result: Result | None
    result_words: str
    number: str
    tags: tuple[Tag, ...]
    strip: Strip
    duration: str
    queue: str
    failures: int
    polled: str
    polled_at: str
    is_urgent: bool


def row(view: JobView, found: tuple[Trouble, ...], now_ms: int) -> JobRow:
    """The row of a job that has these troubles; that it fails is said once, if possible by the result."""
    ledger = view.ledger
    last = ledger.last if ledger else None
    return JobRow(
        project=view.job.project,
        name=view.job.name,
        id=view.job.id,
        result=last.result if last else None,
        result_words=RESULT_WORDS[last.result] if last else "no build yet" if ledger else "not polled yet",
        number=f"#{last.number}" if last else "",
        tags=(*_troubles(view, found, now_ms), *_active(ledger, now_ms)),
        strip=strip(ledger, now_ms),
        duration=text.length(last.duration_ms if last else None),
        queue=text.length(last.queue_ms if last else None),
        failures=ledger.consecutive_failures if ledger else 0,
        polled=text.age(None if view.checked_ms is None else now_ms - view.checked_ms),
        polled_at=text.moment(view.checked_ms),
        is_urgent=Trouble.FAILING in found or Trouble.STUCK in found,
    )


def _troubles(view: JobView, found: tuple[Trouble, ...], now_ms: int) -> tuple[Tag, ...]:
    since_ms = view.ledger.oldest_active_ms if view.ledger else None
    stuck = "stuck" if since_ms is None else f"stuck for {text.age(now_ms - since_ms)}"
    texts = {Trouble.STUCK: stuck}
    last = view.ledger.last if view.ledger else None
    is_said = last is not None and last.result not in (Result.ABORTED, Result.UNKNOWN)
    return tuple(
        Tag("trouble", texts.get(trouble, trouble), EXPLAINED[trouble])
        for trouble in found
        if not (trouble is Trouble.FAILING and is_said)
    )


def _active(ledger: JobLedger | None, now_ms: int) -> tuple[Tag, ...]:
    if not ledger:
        return ()
    tags = []
    for state in (State.RUNNING, State.QUEUED):
        began = [one.began_ms for one in ledger.open.values() if one.is_active and one.build.state is state]
        if began:
            lasts = f"for {'up to ' if len(began) > 1 else ''}{text.age(now_ms - min(began))}"
            tags.append(Tag("active", f"{len(began)} {state} {lasts}", f"builds {state} now"))
    return tuple(tags)


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
        at=text.moment(now_ms),
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

    shown = text.count(jobs, "job", "jobs")
    if pages > 1:
        shown = f"{first:,}–{last:,} of {shown}"
    return Paging(page, pages, shown, link(1), link(page - 1), link(page + 1), link(pages))
