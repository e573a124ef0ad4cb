"""Requests that a configuration will take, idle and busy. Pure.

- A sweep reads the lists once each interval, where that takes fewer requests than polling each job, else once
  in the longest interval.
- Jobs that lists serve are polled by themselves every `Intervals.with_lists`, of which chance takes off up to
  `SPREAD`; the others every `Intervals.without_lists`, less up to `JITTER`.
- A finished build takes a poll of its history and one request for its detail. Where the list tells the number
  of a running build that is all; otherwise it is polled each interval while it runs.
- What is refused is polled once in the longest interval.
- What no list serves is polled each interval while it is known to build, and then ever more rarely, the pause
  doubling with each poll since the build was seen, up to `Intervals.without_lists`. What such polls take the
  place of is no cost of the build.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from exporter.config import Config, format_duration
from exporter.doctor.results import Answers, Finding, Section, is_refused, note, ok, problem
from exporter.doctor.watched import Watched
from exporter.errors import ApiError
from exporter.model import RecycleBin
from exporter.poller.schedule import JITTER, SPREAD, Intervals
from exporter.poller.tasks import ALL, PAGE
from exporter.text import plural

MINUTE_S: Final = 60.0

_MOMENTS: Final = 20
"""So many moments of a pause are taken for the one in which a build begins."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What there is to ask.

    Attributes:
        jobs: that are watched.
        served: how many of them lists tell the state of.
        refused: how many are not visible or deleted.
        list_pages: requests for one sweep of the lists; 0 where none is read.
        worth_it: lists are read each interval.
        numbers_told: the list tells the number of a running build.
        recycle_pages: requests for one reading of the recycle bin.
        name_pages: requests for the names of projects, asked for again and again where they are not told.
        stages: each build takes one request more, for its stages.
    """

    intervals: Intervals
    jobs: int
    served: int = 0
    refused: int = 0
    list_pages: int = 0
    worth_it: bool = False
    numbers_told: bool = True
    recycle_pages: int = 1
    name_pages: int = 0
    stages: bool = False


@dataclass(frozen=True, slots=True)
class Cost:
    """Requests a minute while nothing builds, and more for what does.

    Attributes:
        lists: for the job lists.
        polls: for jobs polled by themselves.
        rest: for the recycle bin and the names of projects.
        per_build: requests more for each build that finishes soon.
        while_running: requests a minute more for each build that is known to run.
    """

    lists: float
    polls: float
    rest: float
    per_build: float
    while_running: float

    @property
    def idle(self) -> float:
        """Requests a minute while nothing builds."""
        return self.lists + self.polls + self.rest

    def busy(self, jobs: int) -> float:
        """Requests in a minute in which a tenth of the jobs runs a build to its end."""
        return self.idle + max(1, jobs / 10) * (self.per_build + self.while_running)


def costs(load: Load) -> Cost:
    """What that load takes."""
    intervals = load.intervals
    sweep_s = intervals.interval if load.worth_it else intervals.longest
    unserved_s = intervals.without_lists(load.jobs)
    by_itself_s = intervals.with_lists(load.jobs) * (1 - SPREAD / 2)
    unserved = load.jobs - load.served - load.refused
    polls = load.served / by_itself_s + unserved / (unserved_s * (1 - JITTER / 2))
    polls += load.refused / (intervals.longest * (1 - JITTER / 2))
    rest = load.name_pages / intervals.longest
    if intervals.recycle is not None:
        rest += load.recycle_pages / intervals.recycle
    return Cost(
        lists=MINUTE_S * load.list_pages / sweep_s,
        polls=MINUTE_S * polls,
        rest=MINUTE_S * rest,
        per_build=of_a_build(load, 0.0),
        while_running=_while_running(load, unserved_s),
    )


def of_a_build(load: Load, duration_s: float) -> float:
    """Requests more that a build takes which runs so long, on average."""
    intervals = load.intervals
    if load.served:
        running = 0.0 if load.numbers_told else duration_s / intervals.interval
        return 2 + running + load.stages
    pause_s = intervals.without_lists(load.jobs)
    seen_s = (max(0.0, duration_s - pause_s * (at + 0.5) / _MOMENTS) for at in range(_MOMENTS))
    polls = [_polls(pause_s / intervals.interval, math.ceil(s / intervals.interval)) for s in seen_s]
    return 1 + sum(polls) / len(polls) + load.stages


def _polls(ratio: float, running: int) -> float:
    """Polls because of a build, without those that would have come anyway.

    Args:
        ratio: of the pause of a quiet job to that of one that builds.
        running: how many polls see the build run.
    """
    doublings = math.ceil(math.log2(ratio)) if ratio > 1 else 0
    pauses = (1 if poll < running else 2**poll for poll in range(max(running, doublings)))
    return sum(1 - pause / ratio for pause in pauses)


def _while_running(load: Load, unserved_s: float) -> float:
    """Polls of a running build each interval, beyond those that its job gets anyway."""
    if load.served and load.numbers_told:
        return 0.0
    anyway = 0.0 if load.served else MINUTE_S / unserved_s
    return MINUTE_S / load.intervals.interval - anyway


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
        every = intervals.with_lists(load.jobs)
        polls.append(
            f"{load.served:,} that lists show, every {format_duration(every / 2)} to {format_duration(every)}"
        )
    if unserved:
        polls.append(
            f"{unserved:,} that no list serves, every {format_duration(intervals.without_lists(load.jobs))}"
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
    quiet = format_duration(float(round(load.intervals.without_lists(load.jobs) * late)))
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
