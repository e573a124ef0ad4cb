"""The content of the page of one job: facts about it, and its last builds as a table."""

from dataclasses import dataclass
from statistics import median_low

from exporter import humanize
from exporter.ledger.job_ledger import RECENT_KEPT, JobLedger, RecentBuild
from exporter.metrics import JobView
from exporter.model import Job, Result
from exporter.poller.tasks_and_results import PlannedPoll
from exporter.web.status.job_problems import Problem, find_problems
from exporter.web.status.page_context import PageContext
from exporter.web.status.rows import Tag, result_words, tags
from exporter.web.status.sparkline import RESULT_WORDS, Sparkline, recent_builds, sparkline
from exporter.web.status.view import Fact
from exporter.web.status.words import Words


@dataclass(frozen=True, slots=True)
class BuildRow:
    """A build in the table, finished or not.

    Attributes:
        url: of the build in the console; may be empty.
        kind: its result, or ``active``; selects the colour.
        finished: how long ago it ended; empty while it runs, or if that is unknown.
        finished_at: the same in ISO 8601.
        duration: how long it took, or how long ago it began.
        is_stuck: it has been unfinished for far longer than usual.
    """

    number: str
    url: str
    kind: str
    result: str
    finished: str
    finished_at: str
    duration: str
    is_stuck: bool = False


@dataclass(frozen=True, slots=True)
class JobPage:
    """The whole page.

    Attributes:
        url: of the job in the console; may be empty.
        builds: the unfinished ones, and then the last finished ones, newest first.
        is_polled: the job was polled, or its ledger restored.
    """

    context: PageContext
    job: Job
    url: str
    tags: tuple[Tag, ...]
    facts: tuple[Fact, ...]
    sparkline: Sparkline
    builds: tuple[BuildRow, ...]
    is_polled: bool


def job_page(view: JobView, planned: PlannedPoll | None, context: PageContext) -> JobPage:
    """Build the page of a job, whose next poll is planned for then."""
    context = context.of_job()
    problems = find_problems(view, context.now_ms, context.stale_after_ms)
    ledger = view.ledger
    builds = _active(view.job, ledger, context, is_stuck=Problem.STUCK in problems) if ledger else {}
    builds |= {build.number: _finished(view.job, build, context) for build in reversed(recent_builds(ledger))}
    return JobPage(
        context=context,
        job=view.job,
        url=context.links.job(view.job),
        tags=tags(view, problems, context),
        facts=_facts(view, planned, context),
        sparkline=sparkline(ledger, context.now_ms, context.words),
        builds=tuple(builds.values()),
        is_polled=ledger is not None,
    )


def _facts(view: JobView, planned: PlannedPoll | None, context: PageContext) -> tuple[Fact, ...]:
    words, ledger, failed = context.words, view.ledger, view.up is False
    last_poll = context.ago(view.checked_ms) or words("never")
    remark = words("the latest one failed") if failed else ""
    reason = Fact(words("Reason"), view.failure, is_bad=True, is_long=True)
    return (
        _streak(ledger, words),
        _last_success(ledger, context),
        Fact(words("Usual duration"), words.length(_usual_ms(ledger)), words("median of the last builds")),
        Fact(words("Last successful poll"), last_poll, remark, is_bad=failed),
        _next_poll(planned, words),
        Fact(words("Watched since"), _date(ledger.since_ms) if ledger else humanize.UNKNOWN),
        *((reason,) if failed and view.failure else ()),
    )


def _streak(ledger: JobLedger | None, words: Words) -> Fact:
    """Count the failures since the last success, or the successes since the last failure."""
    name = words("Streak")
    if ledger is None or ledger.last is None:
        return Fact(name, humanize.UNKNOWN, result_words(ledger, words))
    if failures := ledger.consecutive_failures:
        return Fact(name, words("{count} × {result}", count=failures, result=words("failure")), is_bad=True)
    builds = [build for build in recent_builds(ledger) if build.result is not Result.ABORTED]
    successes = next(
        (count for count, build in enumerate(reversed(builds)) if build.result is not Result.SUCCESS),
        len(builds),
    )
    is_all = successes == len(builds) and len(recent_builds(ledger)) == RECENT_KEPT
    count = "at least {count} × {result}" if is_all else "{count} × {result}"
    return Fact(name, words(count, count=successes, result=words("success")))


def _last_success(ledger: JobLedger | None, context: PageContext) -> Fact:
    words, at_ms = context.words, ledger.last_success_ms if ledger else None
    if at_ms is None:
        return Fact(words("Last success"), humanize.UNKNOWN, words("none known") if ledger else "")
    return Fact(words("Last success"), context.ago(at_ms), _date(at_ms))


def _next_poll(planned: PlannedPoll | None, words: Words) -> Fact:
    name = words("Next poll")
    if planned is None:
        return Fact(name, words("not planned"))
    if planned.in_s is None:
        return Fact(name, words("under way"), words(planned.reason))
    in_ms = round(planned.in_s * 1000)
    when = words("in {age}", age=words.age(in_ms)) if in_ms >= 1000 else words("now")
    return Fact(name, when, words(planned.reason))


def _usual_ms(ledger: JobLedger | None) -> int | None:
    durations = [build.duration_ms for build in recent_builds(ledger) if build.duration_ms is not None]
    return median_low(durations) if durations else None


def _date(at_ms: int) -> str:
    return humanize.format_utc(at_ms).replace("T", " ").replace("Z", "\N{NO-BREAK SPACE}UTC")


def _finished(job: Job, build: RecentBuild, context: PageContext) -> BuildRow:
    return BuildRow(
        number=f"#{build.number}",
        url=context.links.build(job, build.number),
        kind=build.result,
        result=context.words(RESULT_WORDS[build.result]),
        finished=context.ago(build.finish_ms),
        finished_at=humanize.format_utc(build.finish_ms),
        duration=context.words.length(build.duration_ms),
    )


def _active(job: Job, ledger: JobLedger, context: PageContext, *, is_stuck: bool) -> dict[int, BuildRow]:
    """List the unfinished builds, the newest first; the oldest of them is the one that is stuck."""
    words = context.words
    return {
        number: BuildRow(
            number=f"#{number}",
            url=context.links.build(job, number),
            kind="active",
            result=words(build.build.state or "unknown"),
            finished="",
            finished_at="",
            duration=words("{age} so far", age=words.length(context.now_ms - build.began_ms)),
            is_stuck=is_stuck and build.began_ms == ledger.oldest_active_ms,
        )
        for number, build in sorted(ledger.open.items(), reverse=True)
        if build.is_active
    }
