"""Section Requests: what polling takes of the request budget, and how fresh it keeps the metrics. Pure."""

from collections.abc import Iterator
from typing import Final

from exporter.config import Config, format_duration
from exporter.doctor.planner_replay import Load
from exporter.doctor.probe_answers import Answers
from exporter.doctor.report import Finding, Section, note, ok, problem
from exporter.doctor.watched_jobs import WatchedJobs
from exporter.errors import RefusalError
from exporter.humanize import plural
from exporter.poller import Intervals

LISTS_LIKELY: Final = 50
POLLS_LIKELY: Final = 120
"""Requests a minute that the gateway probably accepts from a user: for lists, and for history and details."""


def requests_section(config: Config, answers: Answers, watched: WatchedJobs, load: Load | None) -> Section:
    """Report the requests that polling takes; ``load`` is None where it could not be estimated."""
    if load is None:
        why = "no job is watched" if answers.has_job_lists else "the job lists were not answered"
        return Section("Requests", (note(f"not estimated: {why}"),))
    return Section("Requests", tuple(_findings(config, answers, watched, load)))


def _findings(config: Config, answers: Answers, watched: WatchedJobs, load: Load) -> Iterator[Finding]:
    limit = config.poll.max_requests_per_minute
    idle = f"idle: {load.idle:.1f} a minute = {_formula(config, answers, watched, load)}"
    if load.idle > limit:
        yield problem(f"{idle}; more than poll.max_requests_per_minute = {limit}", _remedy(config, load))
    else:
        yield ok(idle)
    yield ok(_per_build(config, load))
    busy = load.idle + max(1, len(watched.jobs) / 10) * (load.per_build + load.while_running)
    text = (
        f"busy: {busy:,.0f} in a minute in which a tenth of the jobs ends a build; at most {limit} are sent"
    )
    if busy > 2 * limit:
        yield note(f"{text}, so that details come up to {busy / limit:.0f} min later")
    else:
        yield ok(text)
    yield from _gateway_limits(config, load)
    fresh = f"fresh: of finished builds {_shares(load.fresh_s)}"
    if load.fresh_s[1] > load.fresh_after_long_s[1] + config.poll.interval:
        fresh += f"; of those that ran for {format_duration(load.long_s)}, {_shares(load.fresh_after_long_s)}"
    if load.fresh_s[1]:
        yield ok(fresh)
    minutes = max(1, round(load.first_s / 60))
    yield ok(
        f"first start: about {plural(load.first_requests, 'request')} within {plural(minutes, 'minute')}"
    )
    without = load.polls_without_max
    if without is not None and load.polls > 2 * without:
        yield note(
            f"poll.max_interval raises polls from {without:.1f} to {load.polls:.1f} a minute to no benefit",
            "leave out poll.max_interval",
        )


def _shares(delays_s: tuple[float, float]) -> str:
    p50, p95 = (format_duration(float(max(1, round(delay)))) for delay in delays_s)
    return f"50 % show within {p50}, 95 % within {p95}"


def _formula(config: Config, answers: Answers, watched: WatchedJobs, load: Load) -> str:
    intervals, jobs = Intervals.of(config), len(watched.jobs)
    parts = []
    if load.lists >= 0.05:
        every = format_duration(float(round(load.lists_every_s)))
        pages = max(1, round(load.lists * load.lists_every_s / 60))
        parts.append(f"{load.lists:.1f} for lists ({plural(pages, 'page')} every {every})")
    refused = sum(
        job.id in answers.deleted or isinstance(answers.histories.get(job.id), RefusalError)
        for job in watched.jobs
    )
    longest = intervals.with_lists(jobs)
    unlisted = jobs - watched.served - refused
    kinds = {
        f"in lists, every {format_duration(longest / 2)} to {format_duration(longest)}": watched.served,
        f"in no list, every {format_duration(intervals.without_lists(jobs))}": unlisted,
        f"refused, retried every {format_duration(intervals.longest)}": refused,
    }
    polls = "; ".join(f"{number:,} {kind}" for kind, number in kinds.items() if number > 0)
    parts.append(f"{load.polls:.1f} for polls of jobs ({polls})")
    if (others := load.idle - load.lists - load.polls) >= 0.005:
        parts.append(f"{others:.1f} for recycle bin and names")
    return " + ".join(parts)


def _per_build(config: Config, load: Load) -> str:
    details = "details, stages" if config.metrics.stages else "details"
    history = "history, " if load.per_build - config.metrics.stages > 1.05 else ""
    text = f"a finished build: {round(load.per_build, 1):g} more ({history}{details})"
    if load.while_running >= 0.05:
        text += f", and {load.while_running:.1f} a minute while it runs"
    return text


def _remedy(config: Config, load: Load) -> str:
    interval = max(1, round(config.poll.interval * load.idle / config.poll.max_requests_per_minute))
    leave_out = " and leave out poll.max_interval" if config.poll.max_interval is not None else ""
    return (
        f"raise poll.interval to {format_duration(float(interval))} or more{leave_out}, raise "
        "poll.max_requests_per_minute if the service accepts it, or watch fewer jobs"
    )


def _gateway_limits(config: Config, load: Load) -> Iterator[Finding]:
    lists = load.idle - load.polls
    if lists > LISTS_LIKELY:
        longer = format_duration(float(round(config.poll.interval * lists / LISTS_LIKELY)))
        yield note(
            f"{lists:.0f} requests a minute for lists: the gateway probably accepts {LISTS_LIKELY} per user",
            f"raise poll.interval to {longer}, or watch projects of a user that sees fewer jobs",
        )
    if load.polls > POLLS_LIKELY:
        yield note(
            f"{load.polls:.0f} polls a minute: the gateway probably accepts about {POLLS_LIKELY} per user",
            "raise poll.max_interval, or leave it out",
        )
