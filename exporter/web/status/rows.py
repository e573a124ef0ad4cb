"""One job as a row of the table."""

from dataclasses import dataclass

from exporter.catalogue import JobView
from exporter.ledger import JobLedger
from exporter.model import Result, State
from exporter.web.status import words
from exporter.web.status.strip import RESULT_WORDS, Strip, strip
from exporter.web.status.troubles import EXPLAINED, Trouble


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
        duration=words.length(last.duration_ms if last else None),
        queue=words.length(last.queue_ms if last else None),
        failures=ledger.consecutive_failures if ledger else 0,
        polled=words.age(None if view.checked_ms is None else now_ms - view.checked_ms),
        polled_at=words.moment(view.checked_ms),
        is_urgent=Trouble.FAILING in found or Trouble.STUCK in found,
    )


def _troubles(view: JobView, found: tuple[Trouble, ...], now_ms: int) -> tuple[Tag, ...]:
    since_ms = view.ledger.oldest_active_ms if view.ledger else None
    stuck = "stuck" if since_ms is None else f"stuck for {words.age(now_ms - since_ms)}"
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
            lasts = f"for {'up to ' if len(began) > 1 else ''}{words.age(now_ms - min(began))}"
            tags.append(Tag("active", f"{len(began)} {state} {lasts}", f"builds {state} now"))
    return tuple(tags)
