"""Replays the poller's planner on a fake clock, to know the requests before the exporter runs. Pure.

`PollPlanner` decides what is requested and when. `poller.fetch` requests it from a stub of the service, made
of the real one's answers, and the ledger takes it in. No polling rule is repeated here.

- Of many jobs a sample is replayed, and its requests are scaled; the planner knows the real number of jobs.
  A replay makes some hundred polls, so that all replays together take about a second.
- A quiet job may be polled once a day, which a replay of an hour or two does not show. The rate of quiet
  polls is derived from the pauses that the planner chose after the latest ones.
- A build costs what a replay with builds takes beyond one without, over the same time.
"""

import math
import random
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, Self

from exporter.config import Config
from exporter.doctor.probe_answers import Answers, ListAnswer
from exporter.doctor.stub_service import MadeUpService, Sample
from exporter.doctor.watched_jobs import WatchedJobs
from exporter.errors import ApiError, RefusalError
from exporter.ledger.job_ledger import JobLedger
from exporter.ledger.job_list_evidence import apply_listed
from exporter.model import JobNames, ListedJob
from exporter.poller import Intervals, PollPlanner, Rules
from exporter.poller.health_and_next_poll import poll_ended
from exporter.poller.job_state import JobState, fold
from exporter.poller.task_requests import fetch_stages, observe_job, read_lists
from exporter.poller.tasks_and_results import ALL, JOB_LISTS, RECYCLE_BIN, Listing, TaskResult, Timer

_SHORT_S: Final = 20.0

_LONG_S: Final = 600.0
"""Durations of made-up builds. With polls more often than once a minute, all times are shorter by as much."""

_BUILD_EVERY_S: Final = 1800.0

_BUILDS: Final = 10
"""A replay has at least so many builds; a job runs one every half hour."""

_POLLS: Final = 600

_LARGEST_SAMPLE: Final = 100


@dataclass(frozen=True, slots=True)
class Load:
    """The cost of polling, as `load_of` replays it.

    Attributes:
        requests: a minute while nothing builds, by operation.
        lists_every_s: seconds between two readings of the job lists.
        per_build: additional requests for a short build.
        while_running: additional requests a minute for a build that runs for long.
        fresh_s: seconds after their end until 50 % and 95 % of short builds are counted.
        fresh_after_long_s: the same for builds that run for long.
        long_s: the duration of those builds.
        first_requests: until each job has a ledger or was refused.
        first_s: seconds that this takes within the request limit.
        idle_if_listed: `idle` if the list of all jobs could be read; None where other lists are used.
        polls_without_max: `polls` without ``poll.max_interval``; None where that has no effect.
    """

    requests: Mapping[str, float]
    lists_every_s: float
    per_build: float
    while_running: float
    fresh_s: tuple[float, float]
    fresh_after_long_s: tuple[float, float]
    long_s: float
    first_requests: int
    first_s: float
    idle_if_listed: float | None = None
    polls_without_max: float | None = None

    @property
    def idle(self) -> float:
        """Requests a minute while nothing builds."""
        return sum(self.requests.values())

    @property
    def lists(self) -> float:
        """Those for job lists."""
        return self.requests.get("job-list", 0.0) + self.requests.get("project-job-list", 0.0)

    @property
    def polls(self) -> float:
        """Those for polls of jobs."""
        return self.requests["period-history"]


def load_of(config: Config, answers: Answers, watched: WatchedJobs) -> Load | None:
    """Replay the first start, an idle time, and builds; None where too little is known for that."""
    if not watched.jobs or not answers.has_job_lists:
        return None
    replay, limit = partial(Replay, config, answers, watched), config.poll.max_requests_per_minute
    start = replay(limit=limit)
    start.first_start()
    short_s, long_s = _SHORT_S * _scale(config), _LONG_S * _scale(config)
    idle, short, long = (replay(build_s).measured() for build_s in (None, short_s, long_s))
    requests, timed = idle.per_minute(), (short, long)
    if sum(requests.values()) > limit:
        timed = (replay(short_s, limit).measured(), replay(long_s, limit).measured())
    is_unlisted = isinstance(answers.lists.get(ALL), RefusalError) and not watched.worth_it
    has_max = config.poll.max_interval is not None and watched.served > 0
    return Load(
        requests=requests,
        lists_every_s=idle.lists_every_s,
        per_build=max(0.0, short.total - idle.total) / idle.builds,
        while_running=max(0.0, long.total - short.total) / idle.builds * 60 / (long_s - short_s),
        fresh_s=timed[0].freshness,
        fresh_after_long_s=timed[1].freshness,
        long_s=long_s,
        first_requests=round(start.total),
        first_s=start.service.now,
        idle_if_listed=_idle_if_listed(config, answers, watched) if is_unlisted else None,
        polls_without_max=_polls_without_max(config, answers, watched) if has_max else None,
    )


def _idle_if_listed(config: Config, answers: Answers, watched: WatchedJobs) -> float:
    """Requests a minute in an idle time if the list of all jobs could be read and held the watched ones."""
    names = {job.id: JobNames(job.name, job.project, job.project_id) for job in watched.jobs}
    jobs = {job_id: ListedJob(job_id, names[job_id]) for job_id in names}
    listed = replace(answers, lists={ALL: ListAnswer(Listing(ALL, jobs), len(jobs))})
    watched = replace(watched, served=len(jobs), listed=jobs)
    return sum(Replay(config, listed, watched).measured().per_minute().values())


def _polls_without_max(config: Config, answers: Answers, watched: WatchedJobs) -> float:
    """Polls a minute in an idle time without ``poll.max_interval``."""
    poll = config.poll.model_copy(update={"max_interval": None})
    replay = Replay(config.model_copy(update={"poll": poll}), answers, watched)
    return replay.measured().per_minute()["period-history"]


def _scale(config: Config) -> float:
    """Return what keeps the number of polls in a replay the same for every interval below a minute."""
    return min(1.0, config.poll.interval / 60)


class Replay:
    """The planner at work on a made-up service, one task after another.

    Args:
        config: the configuration.
        answers: of the API.
        watched: what is watched according to both.
        build_s: the duration of the builds that each job runs after the warm-up; None for no builds.
        limit: requests a minute; None counts what would be sent without a limit.

    Attributes:
        builds: number of builds of all jobs.
        delays: seconds from the end of each build until it was counted.
        lists_every_s: seconds between the last two readings of the job lists.
    """

    def __init__(
        self,
        config: Config,
        answers: Answers,
        watched: WatchedJobs,
        build_s: float | None = None,
        limit: float | None = None,
    ) -> None:
        intervals, jobs = Intervals.of(config), watched.jobs
        is_served = watched.served == len(jobs)
        pause_s = intervals.with_lists(len(jobs)) / 2 if is_served else intervals.without_lists(len(jobs))
        self._warm_up_s = 10 * intervals.interval + (0.0 if is_served else min(2 * pause_s, 43_200.0))
        self._builds_each = math.ceil(_BUILDS / min(len(jobs), _BUILDS))
        self._build_every_s = _BUILD_EVERY_S * _scale(config)
        self._window_s = self._builds_each * self._build_every_s + _LONG_S * _scale(config) + self._warm_up_s
        size = min(_LARGEST_SAMPLE, max(_BUILDS, round(_POLLS * pause_s / self._window_s)))
        sample = random.Random(0).sample(jobs, min(size, len(jobs)))
        self.builds = len(jobs) * self._builds_each
        self.service = MadeUpService(answers, [job.id for job in sample], len(jobs) / len(sample), limit)
        named = tuple(job for job in config.jobs if job.id in self.service.builds)
        watchlist = Sample(config.model_copy(update={"jobs": named}), watched)
        self._states: Mapping[str, JobState] = watchlist.states
        self._planner = PollPlanner(watchlist, intervals, 0.0, random.Random(1))
        self._rules = Rules.of(config)
        self._build_s = build_s
        self._pauses: dict[JobState, list[float]] = defaultdict(list)
        self.lists_every_s = 0.0
        self.delays: list[float] = []

    @property
    def total(self) -> float:
        """The requests so far, or those of the measured window."""
        return sum(self.service.requests.values())

    @property
    def freshness(self) -> tuple[float, float]:
        """The delays within which 50 % and 95 % of the builds were counted; 0 if all jobs are refused."""
        delays = sorted(self.delays) or [0.0]
        return delays[len(delays) // 2], delays[len(delays) * 95 // 100]

    def first_start(self) -> None:
        """Continue until each job has a ledger or was refused."""
        while not self.lists_every_s or any(job not in self._pauses for job in self._states.values()):
            self._step(math.inf)

    def measured(self) -> Self:
        """Replay the first start, a warm-up, and the measured window; return the replay itself."""
        self.first_start()
        begin = max(self.service.now, self._warm_up_s)
        if self._build_s is not None:
            self.service.add_builds(begin, self._build_s, self._builds_each, every_s=self._build_every_s)
        self._run(begin)
        self.service.requests.clear()
        for pauses in self._pauses.values():
            del pauses[:-1]
        self._run(begin + self._window_s)
        for job in (job for job in self._states.values() if job.up):
            self._note_delays(job, job.ledger, None)
        return self

    def per_minute(self) -> Mapping[str, float]:
        """Requests a minute of an idle window, by operation."""
        kinds: dict[tuple[bool, bool], list[JobState]] = defaultdict(list)
        for job in self._states.values():
            kinds[job.lists.listed is None, job.up is True].append(job)
        polls = 0.0
        for jobs in kinds.values():
            pauses = [pause for job in jobs for pause in self._pauses[job]]
            polls += 60 * len(jobs) * len(pauses) / sum(pauses)
        requests = {name: 60 * number / self._window_s for name, number in self.service.requests.items()}
        return {**requests, "period-history": polls * self.service.weight}

    def _run(self, until: float) -> None:
        while self.service.now < until:
            self._step(until)

    def _step(self, until: float) -> None:
        """Do the next due task, or advance the clock to it."""
        service, planner = self.service, self._planner
        began = service.now
        timers = planner.take(began, 1)
        if not timers:
            service.now = min(until, began + max(0.001, planner.schedule.wait(began)))
            return
        [timer] = timers
        if timer.task == RECYCLE_BIN:
            service.recycle_bin()
            planner.recycle_bin_read(service.now)
        elif timer.task == JOB_LISTS:
            self._read_lists(timer)
            self.lists_every_s = (timer.due or began) - began
        else:
            job = self._states[timer.task]
            self._poll(job)
            self._pauses[job].append((timer.due or began) - began)

    def _read_lists(self, timer: Timer) -> None:
        service, planner = self.service, self._planner
        work = planner.lists_work(timer, service.now)
        try:
            read = read_lists(service, work, planner.watchlist.size, service.now_ms)
        except ApiError:
            planner.apply_lists(None, service.now)
            return
        # Lists contain the sample only; "too large" sets their real sizes in the planner.
        sizes = {listing.project_id: service.list_size(listing.project_id) for listing in read.listings}
        read = replace(read, too_large=sizes)
        planner.learn(read, service.now)
        for job_id, build in planner.apply_lists(read, service.now).running.items():
            job = self._states[job_id]
            job.ledger = job.ledger and apply_listed(job.ledger, build, at_ms=service.now_ms())

    def _poll(self, job: JobState) -> None:
        """Poll a job, fold what was observed, and plan its next poll, as `Poller` does."""
        service, planner, before = self.service, self._planner, job.ledger
        try:
            observed = observe_job(job.poll_work(service.now), service, service.now_ms, self._rules)
        except ApiError as error:
            result = TaskResult(job.poll, error=error)
        else:
            result = TaskResult(job.poll, observed)
            folded = fold(before, observed, self._rules, now_ms=observed.at_ms)
            while self._rules.policy.stages and folded and folded.ledger.stages.awaited:
                fetched = fetch_stages(folded.ledger, service, count_failures=True)
                folded = fold(folded.ledger, fetched, self._rules, now_ms=observed.at_ms)
            job.ledger = folded.ledger if folded else None
            self._note_delays(job, before, job.ledger)
        highest, patience_ms = before.highest if before else 0, self._rules.patience_ms
        poll_ended(job, result, planner, service.now, highest=highest, patience_ms=patience_ms)

    def _note_delays(self, job: JobState, before: JobLedger | None, after: JobLedger | None) -> None:
        """Note the age of the builds counted between two ledgers, or of all that were not counted."""
        first, last = (sum(ledger.counts.values()) if ledger else None for ledger in (before, after))
        builds = self.service.builds[job.id][1:][first or 0 : last]
        self.delays.extend(self.service.now - finish for _, finish in builds)
