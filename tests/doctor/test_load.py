"""The estimate of requests against what the real poller sends, in a simulated hour."""

import random
from collections.abc import Sequence
from dataclasses import replace

import pytest

from exporter.doctor.load import Cost, Load, costs, load_of, of_a_build
from exporter.doctor.probe import ask
from exporter.doctor.watched import watched
from exporter.poller import Intervals
from exporter.simulator import Fault, Fleet, ManualClock, Plan, fault
from tests.support.watch import HOUR, START_MS, Watch, watching

CLOSE = 0.15
ALL_REFUSED = fault("error", operation="job-list", status=403, code="CB.00031007")
PROJECTS_REFUSED = fault("error", operation="project-job-list", status=403, code="CB.00031007")


@pytest.fixture(autouse=True)
def _same_chances() -> None:
    random.seed(1)


def fleet(jobs: int, *, gap_s: float | None = None, duration_s: float = 20.0) -> Fleet:
    """Jobs of two projects that have all built once; with a gap, they go on building."""
    made = Fleet(ManualClock(START_MS), seed=7, history_days=0.5)
    for number in range(jobs):
        plan = Plan(gap_s=gap_s, duration_s=duration_s, spread=0.05, queue_s=1.0, failure_ratio=0.1)
        job = made.add_job(f"job-{number}", ("shop", "mobile")[number % 2], plan=plan)
        if gap_s is None:
            made.add_build(job.id, at_ms=START_MS - 2 * 3_600_000)
    return made


def estimated(watch: Watch) -> tuple[Load, Cost]:
    answers = ask(watch.config, watch.client, watch.credentials, now=watch.now, done=lambda: None)
    load = load_of(watch.config, answers, watched(watch.config, answers))
    return load, costs(load)


def sent(watch: Watch, seconds: float = HOUR) -> int:
    """Requests in that time, by the poller."""
    watch.simulator.reset_counts()
    watch.poll_for(seconds, every=5)
    return sum(watch.simulator.counts.values())


def sent_while_idle(watch: Watch) -> tuple[int, float]:
    """Requests in an hour, once the first polls have spread, and what was estimated for it."""
    load, cost = estimated(watch)
    watch.poll_for(load.intervals.with_lists(load.jobs) if load.served else HOUR / 3)
    return sent(watch), 60 * cost.idle


def sent_while_building(watch: Watch, duration_s: float) -> tuple[int, float]:
    """Requests in half an hour in which builds end, and what was estimated for so many of that length."""
    load, cost = estimated(watch)
    watch.poll_for(load.intervals.with_lists(load.jobs) if load.served else HOUR / 3)
    made, from_ms = watch.simulator.fleet, watch.clock.now_ms()
    counted = sent(watch, HOUR / 2)
    finished = [
        build
        for job in made.jobs()
        for build in made.builds(job.id)
        if build.finish_ms is not None and from_ms < build.finish_ms <= watch.clock.now_ms()
    ]
    assert len(finished) > 5
    return counted, 30 * cost.idle + len(finished) * of_a_build(load, duration_s)


@pytest.mark.parametrize(
    ("jobs", "settings", "faults"),
    [
        pytest.param(1, "", [], id="one job"),
        pytest.param(6, "", [], id="a few jobs"),
        pytest.param(105, "", [], id="many jobs, lists serve"),
        pytest.param(20, "", [ALL_REFUSED, PROJECTS_REFUSED], id="lists are refused"),
        pytest.param(25, "poll: {max_interval: 5m}", [], id="polled at least every five minutes"),
        pytest.param(40, "poll: {interval: 30s, max_interval: 20m}", [], id="another interval"),
        pytest.param(12, "recycle_bin: {interval: 1m}", [], id="a busy look into the recycle bin"),
    ],
)
def test_an_idle_fleet_takes_what_was_estimated(jobs: int, settings: str, faults: Sequence[Fault]) -> None:
    with watching(fleet(jobs), settings=settings) as watch:
        watch.simulator.faults.add(*faults)
        counted, expected = sent_while_idle(watch)
        assert counted == pytest.approx(expected, rel=CLOSE)


def test_jobs_that_are_gone_take_what_was_estimated() -> None:
    made = fleet(8)
    gone = [job.id for job in made.jobs()[:5]]
    with watching(made) as watch:
        for job_id in gone:
            made.delete_job(job_id)
        counted, expected = sent_while_idle(watch)
        assert counted == pytest.approx(expected, rel=CLOSE)


def test_a_watched_project_takes_what_was_estimated() -> None:
    made = fleet(80)
    settings = f"projects: [{made.jobs()[0].project_id}]"
    with watching(made, settings=settings, jobs=[]) as watch:
        watch.simulator.faults.add(ALL_REFUSED)
        counted, expected = sent_while_idle(watch)
        assert counted == pytest.approx(expected, rel=CLOSE)


@pytest.mark.parametrize(
    ("jobs", "duration_s", "faults"),
    [
        pytest.param(40, 20.0, [], id="lists serve, short builds"),
        pytest.param(40, 300.0, [], id="lists serve, long builds"),
        pytest.param(10, 300.0, [ALL_REFUSED, PROJECTS_REFUSED], id="few jobs without lists"),
        pytest.param(40, 20.0, [ALL_REFUSED, PROJECTS_REFUSED], id="many jobs without lists, short builds"),
        pytest.param(40, 300.0, [ALL_REFUSED, PROJECTS_REFUSED], id="many jobs without lists, long builds"),
        pytest.param(40, 20.0, [ALL_REFUSED], id="lists of projects alone, short builds"),
        pytest.param(40, 300.0, [ALL_REFUSED], id="lists of projects alone, long builds"),
    ],
)
def test_a_building_fleet_takes_what_was_estimated(
    jobs: int, duration_s: float, faults: Sequence[Fault]
) -> None:
    gap_s = 1800.0 if PROJECTS_REFUSED in faults else 3600.0
    with watching(fleet(jobs, gap_s=gap_s, duration_s=duration_s)) as watch:
        watch.simulator.faults.add(*faults)
        counted, expected = sent_while_building(watch, duration_s)
        assert counted == pytest.approx(expected, rel=CLOSE)


def test_a_list_that_tells_no_numbers_costs_polls_while_a_build_runs() -> None:
    load = Load(intervals=Intervals(60.0, None, 600.0), jobs=50, served=50, list_pages=1, worth_it=True)
    assert costs(load).while_running == 0
    assert costs(replace(load, numbers_told=False)).while_running == 1


def test_stages_cost_a_request_for_each_build() -> None:
    load = Load(intervals=Intervals(60.0, None, None), jobs=5, served=5)
    assert costs(replace(load, stages=True)).per_build == costs(load).per_build + 1


def test_a_busy_minute_costs_more_than_an_idle_one() -> None:
    cost = costs(
        Load(intervals=Intervals(60.0, None, 600.0), jobs=300, served=300, list_pages=3, worth_it=True)
    )
    assert cost.busy(300) == pytest.approx(cost.idle + 60)
