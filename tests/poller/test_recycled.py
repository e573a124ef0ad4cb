"""Jobs that go by way of the recycle bin: nothing of them is left to ask, and those that are named stay."""

from collections.abc import Collection, Iterator

import pytest
from structlog.testing import capture_logs

from exporter.simulator import Fleet, Job, ManualClock, fault
from tests.support.watch import HOUR, MINUTE, START_MS, Watch, watching


@pytest.fixture
def fleet() -> Fleet:
    """A project of a dozen jobs."""
    fleet = Fleet(ManualClock(START_MS), seed=3)
    for ordinal in range(12):
        fleet.add_job(f"job-{ordinal:02}", "shop")
    return fleet


@pytest.fixture
def job(fleet: Fleet) -> Job:
    """The one that goes."""
    return fleet.jobs()[3]


def settings(fleet: Fleet) -> str:
    return f"projects: [{{id: {fleet.project_id('shop')}}}]\nrecycle_bin: {{interval: 1m}}"


@pytest.fixture
def watch(fleet: Fleet) -> Iterator[Watch]:
    """It discovers the jobs of the project."""
    with watching(fleet, settings=settings(fleet), jobs=[]) as watch:
        watch.poll(times=2)
        yield watch


def requests(watch: Watch, job: Job) -> int:
    return sum(job.id in exchange.target for exchange in watch.simulator.requests)


def test_a_discovered_job_is_not_asked_about_any_more(fleet: Fleet, watch: Watch, job: Job) -> None:
    fleet.delete_job(job.id)
    watch.poll()
    assert len(watch.jobs) == 11
    watch.simulator.reset_counts()
    with capture_logs() as lines:
        watch.poll_for(6 * HOUR, every=10 * MINUTE)
    assert (requests(watch, job), lines) == (0, [])


def test_a_job_that_is_named_is_polled_on(fleet: Fleet, job: Job) -> None:
    with watching(fleet, settings=settings(fleet), jobs=[job.id]) as watch:
        watch.poll(times=2)
        fleet.delete_job(job.id)
        watch.poll()
        assert len(watch.jobs) == 12
        watch.simulator.reset_counts()
        watch.poll_for(6 * HOUR, every=10 * MINUTE)
        assert requests(watch, job) > 1
        assert watch.value("job_deleted", job_name=job.name) == 1


def test_a_poll_under_way_when_its_job_is_dropped_is_ignored(fleet: Fleet, watch: Watch, job: Job) -> None:
    fleet.add_build(job.id)
    poll = None
    for _ in range(20):
        watch.clock.advance(MINUTE)
        works = {work.task: work for work in watch.poller.take(1000)}
        found = works.pop(job.id, None)
        watch.poller.settle(map(watch.poller.run, works.values()))
        if found:
            poll = found
            fleet.delete_job(job.id)
    assert poll
    assert len(watch.jobs) == 11
    watch.simulator.reset_counts()
    with capture_logs() as lines:
        watch.poller.settle([watch.poller.run(poll)])
        watch.poll_for(HOUR)
    assert (requests(watch, job), lines) == (1, [])
    fleet.restore_job(job.id)
    watch.poll(times=12)
    fleet.add_build(job.id)
    watch.poll(times=12)
    assert watch.counted(job.name) == {"success": 2}, "the one before it was deleted, and the one after"


def test_the_endpoints_know_no_more_of_it_than_of_a_new_job(fleet: Fleet, watch: Watch, job: Job) -> None:
    fleet.add_build(job.id, duration_s=5)
    watch.poll(times=2)
    sources = watch.client.sources
    asked = [endpoint._asked for endpoint in sources.endpoints.values()]
    known: list[Collection[str]] = [
        sources.build_projects,
        sources.known_builds,
        sources.listed_builds,
        *asked,
    ]
    assert all(job.id in each for each in known)
    fleet.delete_job(job.id)
    watch.poll(times=2)
    assert not any(job.id in each for each in known)


def test_a_job_that_comes_back_continues_its_counters_without_a_file(
    fleet: Fleet, watch: Watch, job: Job
) -> None:
    fleet.add_build(job.id, duration_s=5)
    watch.poll(times=2)
    fleet.delete_job(job.id)
    watch.poll(times=2)
    assert (len(watch.jobs), watch.counted(job.name)) == (11, {})
    fleet.restore_job(job.id)
    fleet.add_build(job.id, duration_s=5)
    watch.poll(times=12)
    assert watch.counted(job.name) == {"success": 2}


def test_trouble_of_a_job_that_comes_back_is_logged_again(fleet: Fleet, watch: Watch, job: Job) -> None:
    watch.simulator.faults.add(fault("error", job=job.id, status=404, code="DEV.CB.032011"))
    with capture_logs() as lines:
        fleet.add_build(job.id)
        watch.poll(times=2)
        fleet.delete_job(job.id)
        watch.poll(times=2)
        assert len(watch.jobs) == 11
        fleet.restore_job(job.id)
        fleet.add_build(job.id)
        watch.poll(times=12)
    tasks = [(line["event"], line["task"]) for line in lines if "task" in line]
    assert tasks == [("poll_failed", job.id)] * 2
