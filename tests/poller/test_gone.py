"""Discovered jobs that go: their ledgers say so, so that no restart shows them, and keep every count."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from exporter.poller.watchlist import GONE_AFTER
from exporter.simulator import Fleet, Job, ManualClock, fault
from exporter.store import SqliteStore
from tests.support.disks import Disk
from tests.support.watch import DAY, START_MS, Watch, watching


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Disk]:
    """The store, which outlives a restart."""
    store = Disk(SqliteStore(str(tmp_path / "ledgers.db")))
    yield store
    store.close()


def fleet_of(jobs: int) -> Fleet:
    """Jobs of one project, each of which has built once."""
    fleet = Fleet(ManualClock(START_MS), seed=3)
    for ordinal in range(jobs):
        fleet.add_build(fleet.add_job(f"job-{ordinal:02}", "shop").id, at_ms=START_MS - 3_600_000)
    return fleet


@pytest.fixture
def fleet() -> Fleet:
    """A project of a dozen jobs."""
    return fleet_of(12)


@pytest.fixture
def job(fleet: Fleet) -> Job:
    """The one that goes."""
    return fleet.jobs()[3]


def settings(fleet: Fleet) -> str:
    project = f"{{id: {fleet.project_id('shop')}, include: ['job-.*']}}"
    return f"projects: [{project}]\nrecycle_bin: {{interval: 10m}}"


@pytest.fixture
def watch(fleet: Fleet, job: Job, store: Disk) -> Iterator[Watch]:
    """It discovers the jobs of the project, and has counted a failure of the one that goes."""
    with watching(fleet, settings=settings(fleet), jobs=[], store=store) as watch:
        watch.poll(times=2)
        fleet.add_build(job.id, result="failure")
        watch.poll(times=2)
        assert watch.counted(job.name) == {"failure": 1}
        yield watch


def purge(fleet: Fleet, job: Job) -> None:
    """It is deleted, and not even in the recycle bin."""
    fleet.delete_job(job.id, START_MS - round(31 * DAY * 1000))


def bring_back(fleet: Fleet, job: Job) -> None:
    """It is there again, under its name."""
    fleet.restore_job(job.id)
    fleet.rename_job(job.id, "job-03")


def shows(watch: Watch, job: Job) -> bool:
    return job.id in {each.id for each in watch.jobs}


def is_marked(store: Disk, job: Job) -> bool:
    return store.load([job.id])[job.id].gone


WAYS: dict[str, Callable[[Fleet, Job], object]] = {
    "purged": purge,
    "in the recycle bin": lambda fleet, job: fleet.delete_job(job.id),
    "renamed out of the pattern": lambda fleet, job: fleet.rename_job(job.id, "other"),
}
goes = pytest.mark.parametrize("go", WAYS.values(), ids=WAYS)


@goes
def test_a_job_that_went_is_not_shown_by_a_restart(
    fleet: Fleet, watch: Watch, store: Disk, job: Job, go: Callable[[Fleet, Job], object]
) -> None:
    go(fleet, job)
    watch.poll(times=12)
    assert (shows(watch, job), is_marked(store, job)) == (False, True)
    watch.start()
    assert len(watch.jobs) == 11
    for _ in range(2 * GONE_AFTER):
        watch.poll()
        assert len(watch.jobs) == 11


def test_what_was_there_is_shown_by_a_restart_at_once(fleet: Fleet, watch: Watch, job: Job) -> None:
    purge(fleet, job)
    watch.start()
    assert (len(watch.jobs), watch.counted(job.name)) == (12, {"failure": 1})


def test_the_recycle_bin_and_its_mark_need_one_poll(
    fleet: Fleet, watch: Watch, store: Disk, job: Job
) -> None:
    fleet.delete_job(job.id)
    watch.start()
    watch.poll()
    assert (shows(watch, job), is_marked(store, job)) == (False, True)


@pytest.mark.parametrize("restarts", [False, True], ids=["on and on", "after a restart"])
@goes
def test_a_job_that_comes_back_continues_its_ledger(
    fleet: Fleet, watch: Watch, store: Disk, job: Job, go: Callable[[Fleet, Job], object], restarts: bool
) -> None:
    go(fleet, job)
    watch.poll(times=12)
    if restarts:
        watch.start()
    bring_back(fleet, job)
    fleet.add_build(job.id, result="failure")
    watch.poll()
    assert (shows(watch, job), is_marked(store, job)) == (True, False)
    watch.poll(times=12)
    assert watch.counted("job-03") == {"failure": 2}
    watch.start()
    assert watch.counted("job-03") == {"failure": 2}


def test_the_list_that_shows_a_quiet_job_again_takes_its_mark_away(
    fleet: Fleet, watch: Watch, store: Disk, job: Job
) -> None:
    purge(fleet, job)
    watch.poll(times=12)
    bring_back(fleet, job)
    watch.simulator.reset_counts()
    watch.poll()
    assert not any(job.id in exchange.target for exchange in watch.simulator.requests)
    assert (watch.counted(job.name), is_marked(store, job)) == ({"failure": 1}, False)


def test_a_job_that_is_named_from_then_on_continues_its_ledger(
    fleet: Fleet, watch: Watch, store: Disk, job: Job
) -> None:
    purge(fleet, job)
    watch.poll(times=12)
    bring_back(fleet, job)
    named = Watch(watch.simulator, jobs=[job.id], store=store)
    assert (named.counted(job.name), is_marked(store, job)) == ({"failure": 1}, True)
    named.poll(times=2)
    assert (named.counted(job.name), is_marked(store, job)) == ({"failure": 1}, False)
    named.close()


def test_a_mark_that_cannot_be_written_is_written_later(
    fleet: Fleet, watch: Watch, store: Disk, job: Job
) -> None:
    store.is_full = True
    purge(fleet, job)
    watch.poll(times=12)
    assert (shows(watch, job), is_marked(store, job)) == (False, False)
    store.is_full = False
    watch.poll()
    assert (shows(watch, job), is_marked(store, job)) == (False, True)


def test_a_job_that_is_back_before_its_mark_was_written_gets_none(
    fleet: Fleet, watch: Watch, store: Disk, job: Job
) -> None:
    store.is_full = True
    purge(fleet, job)
    watch.poll(times=12)
    bring_back(fleet, job)
    watch.poll(times=2)
    store.is_full = False
    fleet.add_build(job.id, result="failure")
    watch.poll(times=12)
    assert (watch.counted(job.name), is_marked(store, job)) == ({"failure": 2}, False)


def test_a_mark_that_cannot_be_taken_away_costs_no_count(
    fleet: Fleet, watch: Watch, store: Disk, job: Job
) -> None:
    purge(fleet, job)
    watch.poll(times=12)
    store.is_full = True
    bring_back(fleet, job)
    fleet.add_build(job.id, result="failure")
    watch.poll(times=5)
    assert (watch.counted(job.name), is_marked(store, job)) == ({"failure": 1}, True)
    store.is_full = False
    watch.poll(times=12)
    assert (watch.counted(job.name), is_marked(store, job)) == ({"failure": 2}, False)


class TestTheLastJobOfAProject:
    @pytest.mark.parametrize("jobs", [1, 2])
    def test_is_dropped_once_the_service_denies_it(self, jobs: int, store: Disk) -> None:
        fleet = fleet_of(jobs)
        with watching(fleet, settings=settings(fleet), jobs=[], store=store) as watch:
            watch.poll(times=2)
            assert len(watch.jobs) == jobs
            for job in fleet.jobs():
                purge(fleet, job)
            watch.poll(times=40)
            assert watch.jobs == ()
            assert all(is_marked(store, job) for job in fleet.jobs())
            watch.start()
            assert watch.jobs == ()
            fleet.restore_job(fleet.jobs()[0].id)
            watch.poll(times=2)
            assert len(watch.jobs) == 1

    def test_stays_while_the_service_shows_it(self) -> None:
        fleet = fleet_of(1)
        with watching(fleet, settings=settings(fleet), jobs=[]) as watch:
            watch.poll(times=2)
            for each in ("job-list", "project-job-list"):
                watch.simulator.faults.add(fault("empty-list", operation=each))
            watch.poll(times=60)
            assert len(watch.jobs) == 1

    def test_stays_while_the_service_is_in_trouble(self) -> None:
        fleet = fleet_of(1)
        with watching(fleet, settings=settings(fleet), jobs=[]) as watch:
            watch.poll(times=2)
            purge(fleet, fleet.jobs()[0])
            watch.simulator.faults.add(fault("error", operation="period-history", status=503))
            watch.poll(times=60)
            assert len(watch.jobs) == 1
