"""What a configuration will cost in requests, and how fresh that keeps the jobs; pure."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from exporter.config import Config, format_duration
from exporter.doctor.answers import Answers, is_refused
from exporter.doctor.costs import Cost, Load, costs
from exporter.doctor.findings import Finding, Section, note, ok, problem
from exporter.doctor.text import plural
from exporter.doctor.watched import Watched
from exporter.errors import ApiError
from exporter.model import RecycleBin
from exporter.poller.schedule import Intervals
from exporter.poller.tasks import ALL, PAGE

LISTS_LIKELY: Final = 50
POLLS_LIKELY: Final = 120
"""Requests a minute that the gateway likely bears of a user: of lists, and of history and details."""


def load_of(config: Config, answers: Answers, seen: Watched, *, as_if_listed: bool = False) -> Load:
    """What there is to ask under a configuration.

    Args:
        config: what is examined.
        answers: of the API.
        seen: what is watched.
        as_if_listed: as it would be if the list of all jobs could be read and held just the watched ones.
    """
    number = len(seen.jobs)
    bin_ = answers.recycle_bin
    deleted = bin_.jobs.keys() if isinstance(bin_, RecycleBin) else set()
    refused = {job_id for job_id, answer in answers.histories.items() if is_refused(answer)}
    whole_pages = max(1, -(-number // PAGE))
    return Load(
        intervals=Intervals.of(config),
        jobs=number,
        served=number if as_if_listed else seen.served,
        refused=sum(job.id in deleted or job.id in refused - seen.listed.keys() for job in seen.jobs),
        list_pages=whole_pages if as_if_listed else seen.pages,
        worth_it=seen.worth_it or as_if_listed,
        numbers_told=ALL in seen.plan or as_if_listed,
        recycle_pages=max(1, -(-len(bin_.jobs) // PAGE)) if isinstance(bin_, RecycleBin) else 1,
        name_pages=1 if seen.unnamed else 0,
        stages=config.metrics.stages,
    )


def requests_section(config: Config, answers: Answers, seen: Watched) -> Section:
    """How many requests polling will take, and how fresh that keeps the jobs."""
    everything = answers.lists.get(ALL)
    if everything is None or (isinstance(everything, ApiError) and everything is answers.stopped):
        return Section("Requests", (note("not estimated: the job lists were not answered"),))
    if not seen.jobs:
        return Section("Requests", (note("not estimated: no job is watched"),))
    load = load_of(config, answers, seen)
    return Section("Requests", tuple(_requests(config, load, costs(load))))


def _requests(config: Config, load: Load, cost: Cost) -> Iterator[Finding]:
    ceiling = config.poll.max_requests_per_minute
    idle = f"idle: {cost.idle:.1f} a minute = {_formula(load, cost)}"
    if cost.idle > ceiling:
        yield problem(
            f"{idle}; more than poll.max_requests_per_minute = {ceiling}", _spare(load, cost, ceiling)
        )
    else:
        yield ok(idle)
    yield ok(_per_build(load, cost))
    busy = cost.busy(load.jobs)
    text = (
        f"busy: {busy:,.0f} in a minute in which a tenth of the jobs ends a build; at most {ceiling} are sent"
    )
    yield (
        note(f"{text}, so that details come up to {busy / ceiling:.0f} min later")
        if busy > 2 * ceiling
        else ok(text)
    )
    yield from _likely(load, cost)
    yield ok(_fresh(load, cost, ceiling))
    yield ok(_first_start(load, ceiling))
    yield from _needless(config, load, cost)


def _first_start(load: Load, ceiling: float) -> str:
    most, words = (3, "one to three") if load.stages else (2, "one or two")
    minutes = load.jobs / ceiling
    lasts = f"in {minutes:.0f} to {most * minutes:.0f} minutes" if minutes >= 1 else f"within {most} minutes"
    requests = f"{load.jobs:,} to {most * load.jobs:,}"
    return f"first start: {words} for each job that has built, {requests} {lasts}"


def _formula(load: Load, cost: Cost) -> str:
    intervals = load.intervals
    parts = []
    if load.list_pages:
        every = intervals.interval if load.worth_it else intervals.longest
        parts.append(
            f"{cost.lists:.1f} for lists ({plural(load.list_pages, 'page')} every {format_duration(every)})"
        )
    unserved = load.jobs - load.served - load.refused
    polls = []
    if load.served:
        every = intervals.by_itself(load.jobs)
        polls.append(
            f"{load.served:,} that lists show, every {format_duration(every / 2)} to {format_duration(every)}"
        )
    if unserved:
        polls.append(
            f"{unserved:,} that no list serves, every {format_duration(intervals.unserved(load.jobs))}"
        )
    if load.refused:
        polls.append(f"{load.refused:,} in vain, every {format_duration(intervals.longest)}")
    parts.append(f"{cost.polls:.1f} for polls of jobs ({'; '.join(polls)})")
    if cost.rest:
        parts.append(f"{cost.rest:.1f} for recycle bin and names")
    return " + ".join(parts)


def _per_build(load: Load, cost: Cost) -> str:
    of_stages = ", stages" if load.stages else ""
    history = "history, " if cost.per_build - load.stages > 1 else ""
    text = f"a finished build: {round(cost.per_build, 1):g} more ({history}details{of_stages})"
    if cost.while_running >= 0.05:
        text += f", and up to {cost.while_running:.1f} a minute while it runs"
    return text


def _spare(load: Load, cost: Cost, ceiling: float) -> str:
    needed = load.intervals.interval * cost.idle / ceiling
    return (
        f"raise poll.interval to {format_duration(float(max(1, round(needed))))} or more"
        + (" and leave out poll.max_interval" if load.intervals.max_interval is not None else "")
        + ", raise poll.max_requests_per_minute if the service bears it, or watch fewer jobs"
    )


def _likely(load: Load, cost: Cost) -> Iterator[Finding]:
    lists = cost.lists + cost.rest
    if lists > LISTS_LIKELY:
        longer = format_duration(float(round(load.intervals.interval * lists / LISTS_LIKELY)))
        yield note(
            f"{lists:.0f} requests a minute for lists: the gateway likely bears {LISTS_LIKELY} of a user",
            f"raise poll.interval to {longer}, or watch projects of a user that sees fewer jobs",
        )
    if cost.polls > POLLS_LIKELY:
        yield note(
            f"{cost.polls:.0f} polls a minute: the gateway likely bears about {POLLS_LIKELY} of a user",
            "raise poll.max_interval, or leave it out",
        )


def _fresh(load: Load, cost: Cost, ceiling: float) -> str:
    late = max(1.0, cost.idle / ceiling)
    interval = format_duration(float(round(load.intervals.interval * late)))
    quiet = format_duration(float(round(load.intervals.unserved(load.jobs) * late)))
    if load.served + load.refused >= load.jobs or quiet == interval:
        return f"fresh: a finished build shows within {interval}"
    return (
        f"fresh: a finished build shows within {interval} while its job is known to build, and within "
        f"{quiet} after a quiet time"
    )


def _needless(config: Config, load: Load, cost: Cost) -> Iterator[Finding]:
    """What a given ``poll.max_interval`` costs where lists show each change."""
    if config.poll.max_interval is None or not load.served:
        return
    poll = config.poll.model_copy(update={"max_interval": None})
    left_out = costs(replace(load, intervals=Intervals.of(config.model_copy(update={"poll": poll})))).polls
    if cost.polls > 2 * left_out:
        yield note(
            f"poll.max_interval makes {cost.polls:.1f} polls a minute of {left_out:.1f}, for nothing",
            "leave out poll.max_interval",
        )
