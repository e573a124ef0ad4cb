"""The replayed load against what the real poller sends to a simulated service."""

import random
import statistics
from collections import Counter
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import pytest

from exporter.config import Config, parse
from exporter.doctor.budget import requests_section
from exporter.doctor.planner_replay import Load, Replay, load_of
from exporter.doctor.probe import ask
from exporter.doctor.probe_answers import Answers, ListAnswer
from exporter.doctor.watched_jobs import WatchedJobs, resolve_watched
from exporter.errors import NotVisibleError
from exporter.model import JobNames, ListedJob
from exporter.poller import Intervals
from exporter.poller.tasks_and_results import ALL, Listing
from exporter.simulator import Fault, Fleet, ManualClock, Plan, fault
from tests.support.watch import DAY, HOUR, START_MS, Watch, watching

CLOSE = 0.15
ALL_REFUSED = fault("error", operation="job-list", status=403, code="CB.00031007")
PROJECTS_REFUSED = fault("error", operation="project-job-list", status=403, code="CB.00031007")
NO_LISTS = [ALL_REFUSED, PROJECTS_REFUSED]


@pytest.fixture(autouse=True)
def _same_chances() -> None:
    random.seed(1)


def fleet(jobs: int, *, gap_s: float | None = None, duration_s: float = 20.0) -> Fleet:
    """Jobs of two projects that have all built once; with a gap, they go on building."""
    made = Fleet(ManualClock(START_MS), seed=7, history_days=6 * (gap_s or HOUR) / DAY)
    for number in range(jobs):
        plan = Plan(gap_s=gap_s, duration_s=duration_s, spread=0.05, queue_s=1.0, failure_ratio=0.1)
        job = made.add_job(f"job-{number}", ("shop", "mobile")[number % 2], plan=plan)
        if gap_s is None:
            made.add_build(job.id, at_ms=START_MS - 2 * 3_600_000)
    return made


def examined(watch: Watch) -> tuple[Answers, WatchedJobs]:
    answers = ask(watch.config, watch.client, watch.credentials, now=watch.now, done=lambda: None)
    return answers, resolve_watched(watch.config, answers)


def estimated(watch: Watch) -> tuple[Load, WatchedJobs]:
    """The load, and the jobs it is for, as the examination sees them."""
    answers, jobs = examined(watch)
    load = load_of(watch.config, answers, jobs)
    assert load
    return load, jobs


def sent(watch: Watch, jobs: WatchedJobs, seconds: float = HOUR) -> Counter[str]:
    """Requests of the poller in that time by operation, once the first polls have spread."""
    watch.poll_for(Intervals.of(watch.config).with_lists(len(jobs.jobs)) if jobs.served else HOUR / 6)
    watch.simulator.reset_counts()
    watch.poll_for(seconds, every=5)
    requests: Counter[str] = Counter()
    for (operation, _), count in watch.simulator.counts.items():
        requests[operation] += count
    return requests


def shown_after(watch: Watch) -> list[float]:
    """Seconds from the end of a build of each job, which begins at any moment, until it is counted."""

    def counted(job_id: str) -> int:
        return sum(watch.poller.ledgers[job_id].counts.values())

    fleet = watch.simulator.fleet
    before = {job.id: counted(job.id) for job in fleet.jobs()}
    begin_s = {job.id: watch.now() + random.uniform(0, 900) for job in fleet.jobs()}
    finish_s: dict[str, float] = {}
    delays: list[float] = []
    while begin_s or finish_s:
        for job_id in [job_id for job_id, at_s in begin_s.items() if at_s <= watch.now()]:
            del begin_s[job_id]
            build = fleet.add_build(job_id, duration_s=19.0, queue_s=1.0)
            finish_s[job_id] = (build.finish_ms or 0) / 1000
        watch.poll(after=2)
        for job_id in [job_id for job_id in finish_s if counted(job_id) > before[job_id]]:
            delays.append(watch.now() - finish_s.pop(job_id))
    return delays


def assert_idle_as_estimated(watch: Watch) -> None:
    """Compare the requests of an idle time; `Load.requests` has those of such a replay."""
    answers, jobs = examined(watch)
    estimate = Replay(watch.config, answers, jobs).measured().per_minute()
    requests = sent(watch, jobs)
    assert requests.total() == pytest.approx(60 * sum(estimate.values()), rel=CLOSE)
    for operation in requests.keys() | estimate.keys():
        assert requests[operation] == pytest.approx(60 * estimate.get(operation, 0.0), rel=0.3, abs=2)


@pytest.mark.parametrize(
    ("jobs", "settings", "faults"),
    [
        pytest.param(1, "", [], id="one job"),
        pytest.param(6, "", [], id="a few jobs"),
        pytest.param(105, "", [], id="many jobs, lists serve"),
        pytest.param(20, "", NO_LISTS, id="lists are refused"),
        pytest.param(25, "poll: {max_interval: 5m}", [], id="polled at least every five minutes"),
        pytest.param(40, "poll: {interval: 30s, max_interval: 20m}", [], id="another interval"),
        pytest.param(12, "recycle_bin: {interval: 1m}", [], id="a busy look into the recycle bin"),
    ],
)
def test_an_idle_fleet_sends_the_estimated_requests(
    jobs: int, settings: str, faults: Sequence[Fault]
) -> None:
    with watching(fleet(jobs), settings=settings) as watch:
        watch.simulator.faults.add(*faults)
        assert_idle_as_estimated(watch)


def test_deleted_jobs_cost_the_estimated_requests() -> None:
    made = fleet(8)
    gone = [job.id for job in made.jobs()[:5]]
    with watching(made) as watch:
        for job_id in gone:
            made.delete_job(job_id)
        assert_idle_as_estimated(watch)


def test_a_watched_project_costs_the_estimated_requests() -> None:
    made = fleet(80)
    settings = f"projects: [{made.jobs()[0].project_id}]"
    with watching(made, settings=settings, jobs=[]) as watch:
        watch.simulator.faults.add(ALL_REFUSED)
        assert_idle_as_estimated(watch)


@pytest.mark.parametrize(
    ("jobs", "duration_s", "faults"),
    [
        pytest.param(40, 20.0, [], id="lists serve, short builds"),
        pytest.param(40, 300.0, [], id="lists serve, long builds"),
        pytest.param(10, 300.0, NO_LISTS, id="few jobs without lists"),
        pytest.param(24, 20.0, NO_LISTS, id="many jobs without lists, short builds"),
        pytest.param(24, 300.0, NO_LISTS, id="many jobs without lists, long builds"),
        pytest.param(40, 20.0, [ALL_REFUSED], id="lists of projects alone, short builds"),
        pytest.param(40, 300.0, [ALL_REFUSED], id="lists of projects alone, long builds"),
    ],
)
def test_a_building_fleet_sends_the_estimated_requests(
    jobs: int, duration_s: float, faults: Sequence[Fault]
) -> None:
    gap_s = 1800.0 if PROJECTS_REFUSED in faults else 7200.0
    made = fleet(jobs, gap_s=gap_s, duration_s=duration_s)
    with watching(made) as watch:
        watch.simulator.faults.add(*faults)
        answers, watched = examined(watch)
        idle, busy = (
            Replay(watch.config, answers, watched, build_s).measured() for build_s in (None, duration_s)
        )
        requests = sent(watch, watched, HOUR / 2)
        to_ms = watch.clock.now_ms()
        finished = [
            build
            for job in made.jobs()
            for build in made.builds(job.id)
            if build.finish_ms is not None and to_ms - 1_800_000 < build.finish_ms <= to_ms
        ]
        assert len(finished) > 5
        per_build = (busy.total - idle.total) / idle.builds
        expected = 30 * sum(idle.per_minute().values()) + len(finished) * per_build
        assert requests.total() == pytest.approx(expected, rel=CLOSE)


@pytest.mark.parametrize(
    ("faults", "jobs"), [([], 40), (NO_LISTS, 40)], ids=["lists serve", "lists are refused"]
)
def test_builds_show_within_the_estimated_time(faults: Sequence[Fault], jobs: int) -> None:
    made = fleet(jobs)
    with watching(made) as watch:
        watch.simulator.faults.add(*faults)
        load, watched = estimated(watch)
        sent(watch, watched, 5)
        delays = sorted(delay for _ in range(2) for delay in shown_after(watch))
        p50, p95 = load.fresh_s
        assert statistics.median(delays) == pytest.approx(p50, rel=0.35, abs=10)
        assert delays[len(delays) * 95 // 100] == pytest.approx(p95, rel=0.25, abs=10)


@pytest.mark.parametrize("limit", [20, 120])
def test_the_first_start_takes_the_estimated_time(limit: int) -> None:
    settings = f"poll: {{max_requests_per_minute: {limit}}}"
    with watching(fleet(60), settings=settings, max_requests_per_minute=limit) as watch:
        replay = Replay(watch.config, *examined(watch), limit=limit)
        replay.first_start()
        watch.simulator.reset_counts()
        began = watch.now()
        watch.begin()
        while not watch.poller.is_ready:
            watch.poll(after=1)
        assert watch.now() - began == pytest.approx(replay.service.now, rel=CLOSE, abs=10)
        assert sum(watch.simulator.counts.values()) == pytest.approx(replay.total, rel=CLOSE)


class TestWithoutAService:
    """Made-up answers to configurations of any size."""

    @staticmethod
    def made_up(
        jobs: int, settings: str = "", *, listed: bool = True, refused: bool = False
    ) -> tuple[Config, Answers, WatchedJobs]:
        ids = [f"{number:032x}" for number in range(jobs)]
        text = f"region: cn-north-4\nauth: {{token: t}}\njobs: [{', '.join(ids)}]\n{settings}"
        config = parse(text, source="test", environ={}, base_dir=Path())
        names = JobNames("job", "project", "a" * 32)
        listing = Listing(ALL, {job_id: ListedJob(job_id, names, 1, True, "success", 1) for job_id in ids})
        everything = ListAnswer(listing, jobs) if listed else NotVisibleError("no", code="403")
        histories = {job_id: NotVisibleError("no", code="422") for job_id in ids} if refused else {}
        answers = Answers(lists={ALL: everything}, histories=histories)
        return config, answers, resolve_watched(config, answers)

    @classmethod
    @cache
    def load(cls, jobs: int, settings: str = "", *, listed: bool = True, refused: bool = False) -> Load:
        load = load_of(*cls.made_up(jobs, settings, listed=listed, refused=refused))
        assert load
        return load

    def test_a_busy_minute_costs_more_than_an_idle_one(self) -> None:
        config, answers, jobs = self.made_up(300)
        load = Load(
            {"job-list": 3.0, "period-history": 1.0}, 60.0, 2.0, 0.0, (30, 57), (30, 57), 600.0, 600, 120
        )
        findings = [finding.text for finding in requests_section(config, answers, jobs, load).findings]
        assert findings[0].startswith("idle: 4.0 a minute = 3.0 for lists (3 pages every 1m) + 1.0 for polls")
        assert findings[1] == "a finished build: 2 more (history, details)"
        assert findings[2].startswith("busy: 64 in a minute in which a tenth of the jobs ends a build")
        assert findings[3] == "fresh: of finished builds 50 % show within 30s, 95 % within 57s"
        assert findings[4] == "first start: about 600 requests within 2 minutes"

    def test_a_running_build_costs_one_poll_in_ten_minutes_also_if_the_list_gives_no_number(
        self,
    ) -> None:
        assert self.load(50).while_running == pytest.approx(0.1, abs=0.05)
        with watching(fleet(40)) as watch:
            watch.simulator.faults.add(ALL_REFUSED)
            load, _ = estimated(watch)
            assert load.while_running == pytest.approx(0.1, abs=0.05)

    def test_stages_cost_a_request_for_each_build(self) -> None:
        plain, stages = self.load(50), self.load(50, "metrics: {stages: true}")
        assert stages.per_build == pytest.approx(plain.per_build + 1, abs=0.1)

    def test_a_build_in_a_large_fleet_costs_its_details(self) -> None:
        assert self.load(300).per_build == pytest.approx(1, abs=0.05)

    def test_refused_jobs_have_no_freshness(self) -> None:
        load = self.load(2, listed=False, refused=True)
        assert load.fresh_s == (0, 0)
        assert load.polls == pytest.approx(2 / 9.5, rel=0.1)

    def test_a_sample_stands_for_all_jobs(self) -> None:
        load = self.load(2000, listed=False)
        assert load.idle == pytest.approx(2000 / 9.5, rel=0.05)
        assert load.first_requests == pytest.approx(4000, rel=0.05)
        assert load.first_s == pytest.approx(60 * 4000 / 300, rel=0.05)
        assert load.idle_if_listed == pytest.approx(22, rel=0.1)

    def test_an_insufficient_budget_delays_builds(self) -> None:
        enough, scarce = (
            self.load(20, f"poll: {{max_requests_per_minute: {n}}}", listed=False) for n in (30, 1)
        )
        assert scarce.idle == pytest.approx(enough.idle)
        assert scarce.fresh_s[0] > 3 * enough.fresh_s[0]

    def test_a_hundred_jobs_at_most_are_replayed(self) -> None:
        assert len(Replay(*self.made_up(2000)).service.builds) == 100
