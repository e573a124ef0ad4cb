"""A new branch shows 0 for a while, so that its first builds are an increase."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from exporter.ledger.build_labels import BuildLabels, LabelPolicy
from exporter.ledger.job_ledger import JobLedger
from exporter.ledger.tallies import Tally
from exporter.metrics import FleetView
from exporter.model import Result
from exporter.poller import Poller
from exporter.poller.job_state import JobState
from exporter.poller.zero_hold import HELD_S, ZeroHold
from exporter.simulator import Fleet
from exporter.store import Store
from exporter.store.sqlite import SqliteStore
from tests.ledger.examples import durations_by_result, idle
from tests.poller.conftest import JOB
from tests.support.watch import MINUTE, Watch, watching

LABELS = "metrics: {extra_labels: [branch], branches: [main, 'release/.*']}\n"
OFTEN = "poll: {interval: 5s, max_interval: 5s}\nrecycle_bin: {enabled: false}\n"
RARELY = "poll: {interval: 10m, max_interval: 10m}\nrecycle_bin: {enabled: false}\n"


def shown(watch: Watch, branch: str, result: str = "failure") -> tuple[float | None, ...]:
    """Builds, durations, their sum, and those of at most two minutes."""
    labels = {"branch": branch, "result": result}
    return (
        watch.value("builds_total", **labels),
        watch.value("duration_seconds_count", **labels),
        watch.value("duration_seconds_sum", **labels),
        watch.value("duration_seconds_bucket", le="120.0", **labels),
    )


def fails(fleet: Fleet, watch: Watch, branch: str) -> None:
    """One build of a branch, run to its end."""
    before = failures(watch)
    fleet.add_build(JOB, result="failure", branch=branch, queue_s=0.5, duration_s=1)
    for _ in range(10):
        watch.poll(after=5)
        if failures(watch) > before:
            return
    raise AssertionError("not counted")


def failures(watch: Watch) -> int:
    return int(watch.value("consecutive_failures") or 0)


@pytest.mark.parametrize("branch", ["main", "tmp"])
def test_names_and_other_are_there_from_the_first_poll_on_and_show_at_once(fleet: Fleet, branch: str) -> None:
    with watching(fleet, settings=LABELS + OFTEN) as watch:
        watch.poll()
        label = "main" if branch == "main" else "other"
        assert shown(watch, label) == (0, 0, 0, 0)
        fails(fleet, watch, branch)
        assert shown(watch, label) == (1, 1, 1, 1)


def test_a_new_branch_shows_0_first_and_then_every_build(fleet: Fleet) -> None:
    with watching(fleet, settings=LABELS + OFTEN) as watch:
        watch.poll()
        assert shown(watch, "release/9") == (None,) * 4
        fails(fleet, watch, "release/9")
        began = watch.now()
        assert shown(watch, "release/9") == (0, 0, 0, 0)
        fails(fleet, watch, "release/9")
        while watch.now() + 5 < began + HELD_S:
            watch.poll(after=5)
            assert shown(watch, "release/9") == (0, 0, 0, 0)
        watch.poll(after=5)
        assert shown(watch, "release/9") == (2, 2, 2, 2)
        fails(fleet, watch, "release/9")
        assert shown(watch, "release/9") == (3, 3, 3, 3)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """It outlives the process."""
    with closing(SqliteStore(str(tmp_path / "state.db"))) as store:
        yield store


def test_everything_but_the_exposition_of_held_labels_continues(fleet: Fleet, store: Store) -> None:
    with watching(fleet, settings=LABELS + OFTEN, store=store) as watch:
        watch.poll()
        fails(fleet, watch, "release/9")
        assert watch.value("last_build_result", result="failure") == 1
        assert watch.value("queue_duration_seconds_count") == 1
        [ledger] = store.load(None).values()
        assert (ledger.counts, durations_by_result(ledger)[Result.FAILURE].count) == ({Result.FAILURE: 1}, 1)
        assert watch.poller.view.jobs[0].ledger == ledger


def test_each_result_of_a_new_branch_waits_for_itself(fleet: Fleet) -> None:
    with watching(fleet, settings=LABELS + OFTEN) as watch:
        watch.poll()
        fails(fleet, watch, "release/9")
        watch.poll(after=5, times=10)
        fleet.add_build(JOB, branch="release/9", queue_s=0.5, duration_s=1)
        watch.poll(after=5, times=9)
        assert shown(watch, "release/9", "failure")[0] == 1
        assert shown(watch, "release/9", "success")[0] == 0
        watch.poll(after=5, times=10)
        assert shown(watch, "release/9", "success")[0] == 1


def test_held_labels_are_released_in_time_when_nothing_else_is_due(fleet: Fleet) -> None:
    with watching(fleet, settings=LABELS + RARELY) as watch:
        watch.poll()
        fleet.add_build(JOB, result="failure", branch="release/9", queue_s=0.5, duration_s=1)
        watch.poll(after=15 * MINUTE)
        assert shown(watch, "release/9")[0] == 0
        view: FleetView = watch.poller.view
        assert 0 < watch.poller.wait() <= HELD_S
        watch.clock.advance(watch.poller.wait() - 1)
        assert watch.poller.take(0) == []
        assert watch.poller.view is view
        watch.clock.advance(watch.poller.wait())
        assert watch.poller.take(0) == []
        assert shown(watch, "release/9") == (1, 1, 1, 1)
        assert watch.poller.wait() > HELD_S


def test_a_restart_shows_at_once_what_it_restores(fleet: Fleet, store: Store) -> None:
    with watching(fleet, settings=LABELS + OFTEN, store=store) as watch:
        watch.poll()
        fails(fleet, watch, "release/9")
        watch.start()
        assert shown(watch, "release/9") == (1, 1, 1, 1)
        watch.poll(after=5, times=3)
        assert shown(watch, "release/9") == (1, 1, 1, 1)


def test_a_new_branch_of_the_time_between_is_held_too(fleet: Fleet, store: Store) -> None:
    with watching(fleet, settings=LABELS + OFTEN, store=store) as watch:
        watch.poll()
        fleet.add_build(JOB, result="failure", branch="release/9", queue_s=0.5, duration_s=1)
        watch.clock.advance(10 * MINUTE)
        watch.start()
        watch.poll(after=5)
        assert shown(watch, "release/9")[0] == 0


def reloaded(watch: Watch, other: Watch) -> None:
    """The poller of one goes on under the rules of another."""
    ledgers: dict[str, JobLedger] = dict(watch.poller.ledgers)
    watch.poller = Poller(
        other.poller._planner,
        watch.service,
        watch.store,
        ledgers,
        other.rules,
        telemetry=watch.telemetry,
        before=watch.poller,
        wall=watch.now,
        monotonic=watch.now,
    )


@pytest.mark.parametrize("branches", ["main, 'release/.*'", "'.*'"])
def test_a_reload_with_the_same_labels_keeps_holding(fleet: Fleet, branches: str) -> None:
    with watching(fleet, settings=LABELS + OFTEN) as watch:
        watch.poll()
        fails(fleet, watch, "release/8")
        watch.poll(after=5, times=20)
        fails(fleet, watch, "release/9")
        settings = f"metrics: {{extra_labels: [branch], branches: [{branches}]}}\n"
        with watching(fleet, settings=settings + OFTEN) as other:
            reloaded(watch, other)
        assert (shown(watch, "release/8")[0], shown(watch, "release/9")[0]) == (1, 0)
        watch.poll(after=5, times=20)
        assert (shown(watch, "release/8")[0], shown(watch, "release/9")[0]) == (1, 1)


@pytest.mark.parametrize("labels", ["[]", "[trigger]", "[branch, trigger]"])
def test_a_reload_with_other_labels_holds_nothing(fleet: Fleet, labels: str) -> None:
    with watching(fleet, settings=LABELS + OFTEN) as watch:
        watch.poll()
        fails(fleet, watch, "release/9")
        settings = f"metrics: {{extra_labels: {labels}, branches: ['.*']}}\n"
        with watching(fleet, settings=settings + OFTEN) as other:
            reloaded(watch, other)
        assert all(not view.held for view in watch.poller.view.jobs)
        watch.poll(after=5, times=30)
        assert all(not view.held for view in watch.poller.view.jobs)


def test_what_was_counted_under_more_labels_is_not_new_under_fewer(fleet: Fleet) -> None:
    both = "metrics: {extra_labels: [trigger, branch], branches: ['release/.*']}\n"
    with watching(fleet, settings=both + OFTEN) as watch:
        watch.poll()
        fails(fleet, watch, "release/9")
        watch.poll(after=5, times=20)
        with watching(fleet, settings=LABELS + OFTEN) as other:
            reloaded(watch, other)
            watch._extra = ("branch",)
        assert shown(watch, "release/9")[0] == 1
        fails(fleet, watch, "release/9")
        assert shown(watch, "release/9")[0] == 2


def labels(branch: str) -> BuildLabels:
    return BuildLabels(Result.FAILURE, "", branch)


def test_labels_that_are_held_twice_are_released_once() -> None:
    policy = LabelPolicy(branch=str)
    before, after = idle(), replace(idle(), tallies=(Tally(labels("release/9"), 1),))
    hold, job = ZeroHold(policy), JobState(JOB, ledger=after)
    hold.hold_new(job, before, 0)
    hold.hold_new(job, before, 5)
    assert job.zero_hold == {labels("release/9")}
    assert hold.release(HELD_S) == {JOB}
    assert job.zero_hold == frozenset()
    assert hold.release(HELD_S + 5) == {JOB}
    assert job.zero_hold == frozenset()


def test_a_job_that_goes_takes_what_was_held_with_it(fleet: Fleet) -> None:
    project = f"projects: [{fleet.project_id('shop')}]\n"
    recycled = "poll: {interval: 5s, max_interval: 5s}\nrecycle_bin: {interval: 5s}\n"
    with watching(fleet, settings=LABELS + recycled + project, jobs=[]) as watch:
        watch.poll(after=5, times=5)
        fails(fleet, watch, "release/9")
        assert shown(watch, "release/9")[0] == 0
        fleet.delete_job(JOB)
        watch.poll(after=5, times=2)
        assert watch.jobs == ()
        assert watch.poller.wait() <= 5
        assert watch.poller._zero_hold.wait(watch.now()) > HELD_S, "nothing is held"


def test_a_reload_without_a_job_lets_go_of_what_was_held_of_it(fleet: Fleet) -> None:
    other = fleet.add_job("other", "shop").id
    with watching(fleet, settings=LABELS + OFTEN, jobs=[JOB, other]) as watch:
        watch.poll()
        fleet.add_build(JOB, branch="release/9", queue_s=0.5, duration_s=1)
        watch.poll(after=5, times=4)
        assert watch.poller._zero_hold.wait(watch.now()) <= HELD_S
        with watching(fleet, settings=LABELS + OFTEN, jobs=[other]) as without:
            reloaded(watch, without)
        assert watch.poller._zero_hold.wait(watch.now()) > HELD_S, "nothing is held"
