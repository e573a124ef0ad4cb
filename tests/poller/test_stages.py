"""Stages of builds: asked for after all that counts, once each, and never in its way."""

from collections import Counter
from pathlib import Path

import pytest

from exporter.simulator import Fault, Fleet, ManualClock, Plan, Simulator, fault
from exporter.store import SqliteStore
from tests.poller.conftest import JOB
from tests.support.disks import Disk
from tests.support.truth import Values
from tests.support.watch import DAY, HOUR, MINUTE, START_MS, Watch, watching

ON = "metrics: {stages: true}"
DOWN = (
    fault("error", operation="full-stages", status=500),
    fault("error", operation="full-stages", status=404, code="DEVCB.00031006"),
    fault("html", operation="full-stages"),
    fault("truncated", operation="full-stages"),
    fault("reset", operation="full-stages"),
    fault("body", operation="full-stages", text='{"result": {"build_stages": 7}}'),
)
PASSING = (
    fault("error", operation="full-stages", probability=0.2, status=503),
    fault("truncated", operation="full-stages", probability=0.2),
    fault("html", operation="full-stages", probability=0.1),
    fault("reset", probability=0.03),
    fault("numbers-as-strings", operation="full-stages", probability=0.3),
    fault("null-fields", operation="full-stages", probability=0.3, fields=("duration", "sequence")),
    fault("error", operation="record-info", probability=0.1),
    fault("shifting-pages", operation="period-history", probability=0.2),
)
THROTTLED = fault("throttle", operation="full-stages", announce=False)
STAGES = (("初始化", 5), ("Shell", 20), ("Shell", 30), ("发布", 45))


def baselines(simulator: Simulator) -> dict[str, int]:
    """The highest number of each job; nothing may be running."""
    truth = simulator.truth()
    return {job_id: max((b.number for b in job.builds), default=0) for job_id, job in truth.items()}


def lengths(watch: Watch, name: str = "last_build_stage_duration_seconds") -> dict[str, float]:
    return {dict(labels)["stage"]: value for labels, value in watch.series(f"codearts_build_{name}").items()}


def counts(watch: Watch) -> dict[str, float]:
    return lengths(watch, "stage_duration_seconds_count")


def test_a_build_is_measured_by_its_stages_with_one_request(fleet: Fleet) -> None:
    with watching(fleet, settings=ON) as watch:
        watch.poll()
        fleet.add_build(JOB, duration_s=100)
        watch.poll(times=5)
        shares = {"initial": 5, "Cache Check": 3, "Code CheckOut": 12, "Maven": 75, "final": 5}
        assert lengths(watch) == lengths(watch, "stage_duration_seconds_sum") == shares
        watch.poll_for(HOUR)
        assert len(watch.asked("full-stages")) == 1


def test_each_finished_build_costs_exactly_one_request(clock: ManualClock) -> None:
    fleet = Fleet(clock, seed=5, history_days=0.1)
    for name in ("a", "b", "c"):
        fleet.add_job(name, plan=Plan(gap_s=900, concurrency=2, schedule_failure_ratio=0))
    with watching(fleet, settings=ON) as watch:
        watch.poll()
        watch.poll_for(4 * HOUR, every=5 * MINUTE)
        fleet.stop_arrivals()
        watch.poll_for(2 * HOUR, every=10 * MINUTE)
        asked = Counter(exchange.target for exchange in watch.asked("full-stages"))
        assert set(asked.values()) == {1}
        assert len(asked) == sum(sum(watch.counted(name).values()) for name in "abc") + 3


def test_stages_are_not_requested_where_they_are_disabled(fleet: Fleet, watch: Watch) -> None:
    watch.poll()
    fleet.add_build(JOB)
    watch.poll(times=5)
    assert watch.counted() == {"success": 1}
    assert watch.asked("full-stages") == []
    assert not [name for name, _ in watch.shown() if "stage" in name and "full" not in name]


def test_a_build_that_ends_early_has_only_the_stages_that_ran(fleet: Fleet) -> None:
    with watching(fleet, settings=ON) as watch:
        watch.poll()
        fleet.add_build(JOB, result="aborted", duration_s=80)
        watch.poll(times=4)
        assert list(lengths(watch)) == ["initial", "Cache Check"]
        assert sum(lengths(watch).values()) == 80


def test_the_last_build_from_before_shows_its_stages_and_is_not_counted(fleet: Fleet) -> None:
    fleet.add_build(JOB, duration_s=20)
    fleet.add_build(JOB, duration_s=40)
    with watching(fleet, settings=ON) as watch:
        watch.poll(times=2)
        assert sum(lengths(watch).values()) == 40
        assert set(counts(watch).values()) == {0}
        assert len(watch.asked("full-stages")) == 1


def counted_each_minute(*faults: Fault) -> list[int]:
    """Builds counted after each minute, in each of which one runs; stages show unless something is wrong."""
    fleet = Fleet(ManualClock(START_MS), seed=1)
    fleet.add_job("checkout", "shop", job_id=JOB)
    with watching(fleet, settings=f"{ON}\npoll: {{max_interval: 1m}}") as watch:
        watch.simulator.faults.replace(faults)
        watch.poll()
        totals = []
        for _ in range(15):
            fleet.add_build(JOB, queue_s=0, duration_s=20)
            watch.poll()
            totals.append(sum(watch.counted().values()))
        assert watch.value("job_up") == 1
        assert bool(counts(watch)) == (not faults)
    return totals


@pytest.fixture(scope="module")
def counted_without_faults() -> list[int]:
    return counted_each_minute()


@pytest.mark.parametrize("trouble", DOWN, ids=lambda one: f"{one.kind}-{one.options.get('status', '')}")
def test_stages_that_are_not_to_be_had_hold_up_no_count(
    trouble: Fault, counted_without_faults: list[int]
) -> None:
    assert counted_each_minute(trouble) == counted_without_faults


def test_refused_stages_are_asked_for_once(fleet: Fleet) -> None:
    with watching(fleet, settings=ON) as watch:
        watch.simulator.faults.replace([DOWN[1]])
        watch.poll()
        for _ in range(3):
            fleet.add_build(JOB)
        watch.poll_for(6 * HOUR, every=20 * MINUTE)
        assert len(watch.asked("full-stages")) == 3
        assert watch.poller.ledgers[JOB].stages.awaited == {}


@pytest.mark.parametrize("builds", [1, 2])
@pytest.mark.parametrize("trouble", [DOWN[0], DOWN[4]], ids=["in trouble", "unreachable"])
def test_stages_that_alone_fail_for_ever_are_given_up(fleet: Fleet, trouble: Fault, builds: int) -> None:
    with watching(fleet, settings=ON) as watch:
        watch.simulator.faults.replace([trouble])
        watch.poll()
        for _ in range(builds):
            fleet.add_build(JOB)
        watch.poll_for(6 * HOUR, every=5 * MINUTE)
        asked = len(watch.asked("full-stages"))
        assert builds * 10 * 3 < asked <= builds * 14 * 3
        assert watch.poller.ledgers[JOB].stages.awaited == {}
        watch.poll_for(DAY, every=4 * HOUR)
        assert len(watch.asked("full-stages")) == asked


@pytest.mark.parametrize("builds", [1, 2, 15])
@pytest.mark.parametrize(
    "trouble", [fault("reset"), fault("error", status=503), fault("html")], ids=lambda one: one.kind
)
def test_an_outage_of_hours_costs_no_build_its_stages(fleet: Fleet, trouble: Fault, builds: int) -> None:
    with watching(fleet, settings=ON) as watch:
        watch.poll()
        watch.simulator.faults.replace([THROTTLED])
        for _ in range(builds):
            fleet.add_build(JOB, queue_s=0, duration_s=20)
        watch.poll(times=3)
        assert watch.counted() == {"success": builds}
        watch.simulator.faults.replace([trouble])
        watch.poll_for(3 * HOUR, every=20 * MINUTE)
        assert {one.tries for one in watch.poller.ledgers[JOB].stages.awaited.values()} == {0}
        watch.simulator.faults.clear()
        watch.poll_for(HOUR, every=10 * MINUTE)
        assert set(counts(watch).values()) == {builds}


def test_a_job_without_news_is_polled_for_the_stages_it_waits_for(fleet: Fleet) -> None:
    with watching(fleet, settings=ON) as watch:
        watch.poll()
        watch.simulator.faults.replace([THROTTLED])
        fleet.add_build(JOB)
        watch.poll(times=3)
        assert (watch.counted(), counts(watch)) == ({"success": 1}, {})
        watch.simulator.faults.clear()
        watch.poll_for(5 * MINUTE)
        assert set(counts(watch).values()) == {1}


def test_a_long_backlog_is_asked_for_in_portions(fleet: Fleet) -> None:
    with watching(fleet, settings=ON) as watch:
        watch.poll()
        watch.simulator.faults.replace([THROTTLED])
        for _ in range(120):
            fleet.add_build(JOB, queue_s=0)
        watch.poll(times=2)
        watch.simulator.faults.clear()
        watch.poll_for(10 * MINUTE)
        assert watch.counted() == {"success": 120}
        assert set(counts(watch).values()) == {120}


def test_an_answer_is_not_asked_for_again_while_commits_fail(fleet: Fleet) -> None:
    store = Disk()
    with watching(fleet, settings=ON, store=store) as watch:
        watch.poll()
        fleet.add_build(JOB)
        store.is_full = True
        watch.poll(times=5)
        store.is_full = False
        watch.poll(times=10)
        assert set(counts(watch).values()) == {1}
        assert len(watch.asked("full-stages")) == 1


def test_stages_beyond_the_limit_add_up_under_other(clock: ManualClock) -> None:
    fleet = Fleet(clock, seed=1)
    stages = tuple((f"step {nth:02}", nth) for nth in range(1, 41))
    fleet.add_job("checkout", "shop", job_id=JOB, plan=Plan(gap_s=None, stages=stages))
    with watching(fleet, settings=ON) as watch:
        watch.poll()
        for _ in range(3):
            fleet.add_build(JOB, queue_s=0, duration_s=8.2)
        watch.poll(times=5)
        sums = lengths(watch, "stage_duration_seconds_sum")
        [truth] = watch.simulator.truth().values()
        wanted = {name: total.sum_ms / 1000 for name, total in truth.totals.stages.items()}
        late = [name for name in wanted if name > "step 30"]
        assert sums.pop("other") == pytest.approx(sum(wanted.pop(name) for name in late))
        assert sums == wanted
        assert counts(watch)["other"] == 3 * len(late)
        assert sum(lengths(watch).values()) == pytest.approx(8.2)


def test_stages_can_be_switched_off_and_on(fleet: Fleet, simulator: Simulator, tmp_path: Path) -> None:
    store = SqliteStore(str(tmp_path / "state.db"))
    shown: list[dict[str, float]] = []
    for settings in (ON, "", ON):
        watch = Watch(simulator, settings=settings, store=store)
        watch.poll()
        fleet.add_build(JOB)
        watch.poll(times=3)
        shown.append(counts(watch))
        watch.close()
    assert [set(one.values()) for one in shown] == [{1}, set(), {2}]
    assert watch.counted() == {"success": 3}
    store.close()


def test_what_waits_when_stages_are_switched_off_waits_no_more(
    fleet: Fleet, simulator: Simulator, tmp_path: Path
) -> None:
    store = SqliteStore(str(tmp_path / "state.db"))
    simulator.faults.replace([THROTTLED])
    for settings in (ON, ""):
        watch = Watch(simulator, settings=settings, store=store)
        watch.poll()
        fleet.add_build(JOB)
        watch.poll(times=3)
        assert bool(store.load(None)[JOB].stages.awaited) == bool(settings)
        watch.close()
    store.close()


def test_through_faults_and_restarts_stages_add_up_to_the_truth(tmp_path: Path) -> None:
    fleet = Fleet(ManualClock(START_MS), seed=11, history_days=0.2)
    plan = Plan(gap_s=1200, duration_s=120, concurrency=3, failure_ratio=0.3, aborted_ratio=0.1)
    for ordinal in range(4):
        fleet.add_job(f"job-{ordinal}", "shop", plan=plan)
    fleet.add_job("steps", "shop", plan=Plan(gap_s=1800, stages=STAGES))
    with Simulator(fleet, caller_clock=fleet.clock) as simulator:
        fleet.stop_arrivals()
        simulator.fleet.clock.advance(DAY)  # type: ignore[attr-defined]
        path = str(tmp_path / "state.db")
        since: dict[str, int] = {}
        before: Values = {}
        for life in range(4):
            store = SqliteStore(path)
            watch = Watch(simulator, settings=ON, store=store)
            watch.poll()
            if not life:
                since = baselines(simulator)
                fleet.resume_arrivals()
                simulator.faults.replace(PASSING)
            simulator.faults.add(
                fault("throttle", operation="full-stages", probability=0.5, times=20, announce=False)
            )
            watch.poll_for(HOUR, every=3 * MINUTE)
            shown = {
                key: value
                for key, value in watch.shown().items()
                if "_build_stage_" in key[0] and "_last_" not in key[0]
            }
            assert all(shown[key] >= value for key, value in before.items())
            before = shown
            for work in watch.poller.take(3):
                watch.poller.run(work)
            watch.close()
            store.close()
        fleet.stop_arrivals()
        simulator.faults.clear()
        store = SqliteStore(path)
        watch = Watch(simulator, settings=ON, store=store)
        watch.poll_for(8 * HOUR, every=20 * MINUTE)
        # A streak that began before the first poll is known to the second only.
        assert {key for key in watch.wrong(since, stages=True) if "recovery" not in key[0]} == set()
        assert sum(counts(watch).values()) > 50
        watch.close()
        store.close()
