"""The estimate of requests against what the real poller sends, in a simulated hour."""

from collections.abc import Sequence

import pytest
from prometheus_client import CollectorRegistry

from exporter.api.throttle import Throttle
from exporter.cli.wiring import connect
from exporter.doctor.asking import ask
from exporter.doctor.costs import Cost, Load, costs
from exporter.doctor.estimate import load_of
from exporter.doctor.watched import intervals_of, watched
from exporter.poller import Intervals
from exporter.simulator import Fault, Fleet, ManualClock, Plan, fault
from exporter.telemetry import Telemetry
from tests.support.watch import HOUR, MINUTE, START_MS, Watch, watching

CLOSE = 0.15
ALL_REFUSED = fault("error", operation="job-list", status=403, code="CB.00031007")
PROJECTS_REFUSED = fault("error", operation="project-job-list", status=403, code="CB.00031007")


def fleet(jobs: int, *, gap_s: float | None = None, duration_s: float = 20.0) -> Fleet:
    """Jobs of two projects that have all built once; with a gap, they go on building."""
    made = Fleet(ManualClock(START_MS), seed=7)
    for number in range(jobs):
        plan = Plan(gap_s=gap_s, duration_s=duration_s, spread=0.05, queue_s=1.0, failure_ratio=0.1)
        job = made.add_job(f"job-{number}", ("shop", "mobile")[number % 2], plan=plan)
        if gap_s is None:
            made.add_build(job.id, at_ms=START_MS - 2 * 3_600_000)
    return made


def estimated(watch: Watch) -> Cost:
    credentials, client = connect(watch.config, Telemetry(CollectorRegistry()), Throttle(6000))
    answers = ask(watch.config, client, credentials, lambda: None)
    return costs(load_of(watch.config, answers, watched(watch.config, answers)))


def sent_in_an_hour(watch: Watch) -> int:
    """Requests in an hour, once the first polls have spread: chance takes up to half off each wait."""
    spread = 4 * intervals_of(watch.config).by_itself(watch.poller.watched)
    watch.poll_for(HOUR + spread, every=MINUTE)
    watch.simulator.reset_counts()
    watch.poll_for(HOUR, every=5)
    return sum(watch.simulator.counts.values())


@pytest.mark.parametrize(
    ("jobs", "settings", "faults"),
    [
        pytest.param(1, "", [], id="one job"),
        pytest.param(6, "", [], id="a few jobs"),
        pytest.param(150, "", [], id="many jobs, lists serve"),
        pytest.param(60, "", [ALL_REFUSED, PROJECTS_REFUSED], id="lists are refused"),
        pytest.param(90, "poll: {max_interval: 5m}", [], id="polled at least every five minutes"),
        pytest.param(90, "poll: {interval: 30s, max_interval: 20m}", [], id="another interval"),
        pytest.param(30, "recycle_bin: {interval: 1m}", [], id="a busy look into the recycle bin"),
    ],
)
def test_an_idle_fleet_takes_what_was_estimated(jobs: int, settings: str, faults: Sequence[Fault]) -> None:
    with watching(fleet(jobs), settings=settings) as watch:
        watch.simulator.faults.add(*faults)
        expected = 60 * estimated(watch).idle
        assert sent_in_an_hour(watch) == pytest.approx(expected, rel=CLOSE)


def test_jobs_that_are_gone_take_what_was_estimated() -> None:
    made = fleet(8)
    gone = [job.id for job in made.jobs()[:5]]
    with watching(made) as watch:
        for job_id in gone:
            made.delete_job(job_id)
        assert sent_in_an_hour(watch) == pytest.approx(60 * estimated(watch).idle, rel=CLOSE)


def test_a_watched_project_takes_what_was_estimated() -> None:
    made = fleet(80)
    settings = f"projects: [{made.jobs()[0].project_id}]"
    with watching(made, settings=settings, jobs=[]) as watch:
        watch.simulator.faults.add(ALL_REFUSED)
        expected = 60 * estimated(watch).idle
        assert sent_in_an_hour(watch) == pytest.approx(expected, rel=CLOSE)


@pytest.mark.parametrize(
    ("jobs", "duration_s", "faults"),
    [
        pytest.param(60, 20.0, [], id="lists serve, short builds"),
        pytest.param(60, 300.0, [], id="lists serve, long builds"),
        pytest.param(8, 300.0, [ALL_REFUSED, PROJECTS_REFUSED], id="few jobs without lists"),
    ],
)
def test_a_building_fleet_takes_what_was_estimated(
    jobs: int, duration_s: float, faults: Sequence[Fault]
) -> None:
    made = fleet(jobs, gap_s=1800.0, duration_s=duration_s)
    with watching(made) as watch:
        watch.simulator.faults.add(*faults)
        cost = estimated(watch)
        sent = sent_in_an_hour(watch)
        now_ms = made.clock.now_ms()
        finished = [
            build
            for job in made.jobs()
            for build in made.builds(job.id)
            if build.finish_ms is not None and now_ms - HOUR * 1000 < build.finish_ms <= now_ms
        ]
        running_minutes = len(finished) * duration_s / MINUTE
        expected = 60 * cost.idle + len(finished) * cost.per_build + running_minutes * cost.while_running
        assert len(finished) > 10
        assert sent == pytest.approx(expected, rel=CLOSE)


def test_a_list_that_tells_no_numbers_costs_polls_while_a_build_runs() -> None:
    load = Load(Intervals(60.0, None, 600.0), jobs=50, served=50, list_pages=1, worth_it=True)
    assert costs(load).while_running == 0
    told = Load(load.intervals, 50, 50, list_pages=1, worth_it=True, numbers_told=False)
    assert costs(told).while_running == 1


def test_stages_cost_a_request_for_each_build() -> None:
    intervals = Intervals(60.0, None, None)
    assert costs(Load(intervals, 5, 5, stages=True)).per_build == costs(Load(intervals, 5, 5)).per_build + 1


def test_a_busy_minute_costs_more_than_an_idle_one() -> None:
    cost = costs(Load(Intervals(60.0, None, 600.0), jobs=300, served=300, list_pages=3, worth_it=True))
    assert cost.busy(300) == pytest.approx(cost.idle + 60)
