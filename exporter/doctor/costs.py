"""How many requests polling takes, from the rules of the agenda; pure.

- A sweep reads the lists once each interval, where that takes fewer requests than polling each job, else once
  in the longest interval.
- Jobs that lists serve are polled by themselves every `Intervals.by_itself`, of which chance takes off up to
  `SPREAD`; the others every `Intervals.unserved`, less up to `JITTER`.
- A finished build takes a poll of its history and one request for its detail. Where the list tells the number
  of a running build that is all; otherwise it is polled each interval while it runs.
- What is refused is polled once in the longest interval.
- What no list serves is polled each interval while it is known to build, and then ever more rarely, the pause
  doubling with each poll since the build was seen, up to `Intervals.unserved`. What such polls take the place
  of is no cost of the build.
"""

import math
from dataclasses import dataclass
from typing import Final

from exporter.poller import Intervals
from exporter.poller.schedule import JITTER, SPREAD

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
    unserved_s = intervals.unserved(load.jobs)
    by_itself_s = intervals.by_itself(load.jobs) * (1 - SPREAD / 2)
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
    pause_s = intervals.unserved(load.jobs)
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
