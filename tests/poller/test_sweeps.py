"""Sweeps of the job lists on simulated fleets: what they save, and that nothing is lost when they lie."""

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from exporter.errors import ThrottledError
from exporter.simulator import Fault, Fleet, Job, ManualClock, Plan, fault
from exporter.store import SqliteStore
from tests.support.watch import HOUR, MINUTE, START_MS, Watch, watching

BOTH = ("job-list", "project-job-list")
FORBIDDEN = "CB.00031007"
UNBOUNDED = 1_000_000.0
"""Requests a minute that the throttle of a test lets pass, so that the clock stands still while it polls."""


@pytest.fixture(autouse=True)
def _dice() -> Iterator[None]:
    """The jitter is the same at each run."""
    state = random.getstate()
    random.seed(7)
    yield
    random.setstate(state)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    """The store, which outlives a restart."""
    store = SqliteStore(str(tmp_path / "ledgers.db"))
    yield store
    store.close()


def fleet_of(jobs: int, *, never_built: int = 0, projects: int = 4) -> Fleet:
    """Jobs that have built once each, at some hour of the last two days, but for those that never have."""
    fleet = Fleet(ManualClock(START_MS), seed=1)
    for ordinal in range(jobs):
        job = fleet.add_job(f"job-{ordinal:04}", f"project-{ordinal % projects}", plan=Plan(gap_s=None))
        if ordinal >= never_built:
            fleet.add_build(job.id, at_ms=START_MS - 3_600_000 * (1 + ordinal % 48))
    return fleet


def requests(watch: Watch) -> Counter[str]:
    """Requests by operation since they were last forgotten."""
    counts: Counter[str] = Counter()
    for (operation, _), count in watch.simulator.counts.items():
        counts[operation] += count
    return counts


def baselines(watch: Watch) -> dict[str, int]:
    """The highest number of each job so far; what comes above it is to be counted."""
    truth = watch.simulator.truth()
    return {job_id: max((b.number for b in job.builds), default=0) for job_id, job in truth.items()}


def trusted(watch: Watch) -> float | None:
    return watch.value("exporter_job_lists_trusted")


def recovered(watch: Watch) -> float:
    return sum(watch.series("codearts_build_recovered_builds_total").values())


class TestTheBudget:
    def test_three_hundred_idle_jobs_cost_five_requests_an_interval(self) -> None:
        with watching(fleet_of(300, never_built=150), max_requests_per_minute=UNBOUNDED) as watch:
            watch.poll(times=2)
            watch.poll_for(8 * HOUR, every=2 * HOUR)
            watch.simulator.reset_counts()
            watch.poll_for(3 * HOUR, every=20 * MINUTE)
            by_themselves = requests(watch)["period-history"] / 180
            watch.simulator.reset_counts()
            watch.poll(times=10)
            cost = requests(watch)
            assert (cost["job-list"], cost["recycling-jobs"]) == (30, 1)
            assert by_themselves + 3 + 0.1 <= 5
            assert cost.keys() <= {"job-list", "recycling-jobs", "period-history"}
            assert trusted(watch) == 1

    def test_twenty_builds_an_interval_cost_two_requests_each(self) -> None:
        fleet = fleet_of(120, never_built=60)
        jobs = fleet.jobs()
        with watching(fleet, max_requests_per_minute=UNBOUNDED) as watch:
            watch.poll(times=2)
            since = baselines(watch)
            watch.simulator.reset_counts()
            for minute in range(6):
                for ordinal in range(20):
                    begin_ms = fleet.clock.now_ms() + 3000 * ordinal
                    job = jobs[(minute * 20 + ordinal) * 7 % 120]
                    fleet.add_build(job.id, at_ms=begin_ms, duration_s=(5, 50, 100)[ordinal % 3])
                watch.poll()
            cost = requests(watch)
            assert cost.total() / 6 <= (4 + 20 * 2) * 1.1, cost
            watch.poll(times=3)
            assert watch.wrong(since) == {}
            assert recovered(watch) == 0

    def test_a_few_jobs_cost_no_more_than_a_poll_each(self) -> None:
        with watching(fleet_of(3), settings="recycle_bin: {enabled: false}") as watch:
            watch.poll(times=20)
            watch.simulator.reset_counts()
            watch.poll(times=60)
            assert requests(watch).total() <= 60 * 4

    def test_a_quiet_fleet_restarts_without_a_poll_for_each_job(self, store: SqliteStore) -> None:
        with watching(
            fleet_of(200, never_built=100), store=store, max_requests_per_minute=UNBOUNDED
        ) as watch:
            watch.poll(times=3)
            watch.start()
            watch.simulator.reset_counts()
            watch.poll()
            assert watch.poller.is_ready
            assert requests(watch) == {"job-list": 2, "recycling-jobs": 1}
            watch.poll(times=10)
            assert requests(watch)["period-history"] <= 20


class TestTheFirstStart:
    def test_jobs_that_never_built_cost_nothing(self) -> None:
        with watching(fleet_of(100, never_built=80), max_requests_per_minute=UNBOUNDED) as watch:
            watch.poll()
            assert watch.poller.is_ready
            assert requests(watch)["period-history"] == 20
            assert len(watch.series("codearts_build_consecutive_failures")) == 100

    def test_the_first_build_of_one_of_them_is_counted(self) -> None:
        fleet = fleet_of(100, never_built=80)
        with watching(fleet, max_requests_per_minute=UNBOUNDED) as watch:
            watch.poll()
            fleet.add_build(fleet.jobs()[0].id, duration_s=30)
            watch.poll(times=2)
            assert watch.counted("job-0000") == {"success": 1}

    @pytest.mark.parametrize("ahead_s", [0, 300, 7200])
    def test_it_is_counted_though_our_clock_is_ahead(self, ahead_s: float) -> None:
        fleet = fleet_of(20, never_built=20)
        with watching(fleet) as watch:
            watch.set_wall(ahead_s)
            watch.begin()
            watch.poll(times=2)
            job = fleet.jobs()[0]
            fleet.add_build(job.id, queue_s=1, duration_s=20)
            watch.poll_for(HOUR)
            assert watch.counted(job.name) == {"success": 1}

    def test_what_built_last_is_there_first(self) -> None:
        fleet = fleet_of(96)
        with watching(fleet, max_requests_per_minute=UNBOUNDED) as watch:
            watch.poll()
            asked = [exchange.job for exchange in watch.asked("period-history")]
            ages = [fleet.builds(job_id)[0].created_ms for job_id in asked if job_id]
            assert ages == sorted(ages, reverse=True)
            assert len(ages) == 96

    def test_where_lists_are_not_to_be_had_every_job_is_polled(self) -> None:
        fleet = fleet_of(30)
        with watching(fleet) as watch:
            watch.simulator.faults.add(*TROUBLES["forbidden"])
            watch.poll(times=2)
            assert watch.poller.is_ready
            assert requests(watch)["period-history"] >= 30
            assert trusted(watch) == 0

    def test_lists_that_never_answered_are_not_said_to_be_trusted(self) -> None:
        with watching(fleet_of(20)) as watch:
            watch.simulator.faults.add(fault("error", operation="job-list", status=500))
            watch.poll()
            assert trusted(watch) == 0


class TestFreshness:
    @pytest.mark.parametrize("duration_s", [1, 20, 70, 400])
    def test_a_finished_build_is_visible_within_an_interval_and_five_seconds(self, duration_s: float) -> None:
        fleet = fleet_of(30)
        with watching(fleet, max_requests_per_minute=UNBOUNDED) as watch:
            watch.poll(times=3)
            late = []
            for ordinal in range(4):
                job = fleet.jobs()[ordinal * 3]
                watch.poll(after=7)
                build = fleet.add_build(job.id, duration_s=duration_s)
                while not watch.counted(job.name):
                    watch.poll(after=5)
                late.append(watch.now() - (build.finish_ms or 0) / 1000)
            assert max(late) <= MINUTE + 5, late

    def test_two_builds_at_once_are_seen_to_their_ends(self) -> None:
        fleet = fleet_of(60)
        job = fleet.jobs()[0]
        with watching(fleet, max_requests_per_minute=UNBOUNDED) as watch:
            watch.poll(times=3)
            since = baselines(watch)
            fleet.add_build(job.id, duration_s=700)
            watch.poll()
            fleet.add_build(job.id, duration_s=200)
            watch.poll(times=2)
            assert watch.value("active_builds", job_name=job.name, state="running") == 2
            watch.poll(times=3)
            assert watch.counted(job.name) == {"success": 1}
            assert watch.value("active_builds", job_name=job.name, state="running") == 1
            watch.poll(times=7)
            assert watch.wrong(since) == {}
            assert watch.value("active_builds", job_name=job.name, state="running") == 0

    @pytest.mark.parametrize(("seconds", "within_s"), [(120, 5 * MINUTE), (600, 22 * MINUTE)])
    def test_a_record_that_comes_later_than_the_list_is_waited_for(
        self, seconds: float, within_s: float
    ) -> None:
        fleet = fleet_of(101, never_built=80)
        job = fleet.jobs()[90]
        with watching(fleet, max_requests_per_minute=UNBOUNDED) as watch:
            watch.poll(times=3)
            watch.simulator.faults.add(
                *(
                    fault(kind, job=job.id, seconds=seconds, numbers=[2])
                    for kind in ("late-records", "late-details")
                )
            )
            fleet.add_build(job.id, duration_s=10)
            watch.poll_for(within_s)
            assert watch.counted(job.name) == {"success": 1}
            assert trusted(watch) == 1, "the lists were right"

    def test_builds_of_quiet_jobs_covered_by_lists_are_not_recovered(self) -> None:
        fleet = fleet_of(100)
        with watching(fleet, max_requests_per_minute=UNBOUNDED) as watch:
            watch.poll_for(6 * HOUR, every=15 * MINUTE)
            since = baselines(watch)
            for job in fleet.jobs()[::10]:
                fleet.add_build(job.id)
            watch.poll(times=3)
            assert watch.wrong(since) == {}
            assert recovered(watch) == 0

    def test_a_job_s_last_check_is_that_of_the_lists(self) -> None:
        with watching(fleet_of(60), max_requests_per_minute=UNBOUNDED) as watch:
            watch.poll(times=9)
            checked = watch.series("codearts_build_job_last_poll_timestamp_seconds").values()
            assert set(checked) == {watch.now()}

    def test_they_tell_whether_a_job_is_disabled(self) -> None:
        fleet = fleet_of(12)
        job = fleet.jobs()[3]
        with watching(fleet, max_requests_per_minute=UNBOUNDED) as watch:
            watch.poll(times=2)
            assert watch.value("job_disabled", job_name=job.name) == 0
            fleet.disable_job(job.id)
            watch.poll()
            disabled = watch.series("codearts_build_job_disabled")
            assert sorted(disabled.values()) == [0] * 11 + [1]
            assert watch.value("job_disabled", job_name=job.name) == 1
            fleet.enable_job(job.id)
            watch.poll()
            assert watch.value("job_disabled", job_name=job.name) == 0

    def test_where_they_are_silent_or_refused_no_job_is_said_to_be_enabled(self) -> None:
        fleet = fleet_of(12)
        fleet.disable_job(fleet.jobs()[3].id)
        with watching(fleet, max_requests_per_minute=UNBOUNDED) as watch:
            silent = tuple(fault("missing-fields", operation=each, fields=("disabled",)) for each in BOTH)
            watch.simulator.faults.replace(silent)
            watch.poll(times=3)
            assert watch.series("codearts_build_job_disabled") == {}
            watch.simulator.faults.clear()
            watch.poll(times=2)
            assert sum(watch.series("codearts_build_job_disabled").values()) == 1
            watch.simulator.faults.replace(TROUBLES["forbidden"])
            watch.poll_for(30 * MINUTE)
            assert watch.series("codearts_build_job_disabled") == {}


TROUBLES: dict[str, tuple[Fault, ...]] = {
    "forbidden": tuple(fault("error", operation=each, status=403, code=FORBIDDEN) for each in BOTH),
    "failing": tuple(fault("error", operation=each, status=500) for each in BOTH),
    "empty": tuple(fault("empty-list", operation=each) for each in BOTH),
    "stale": tuple(fault("stale-list", operation=each, seconds=1e9) for each in BOTH),
    "garbage": tuple(
        fault("garbage-records", operation=each, replace=True, items=tuple([None] * 100)) for each in BOTH
    ),
}
AN_HOUR_OLD = tuple(fault("stale-list", operation=each, seconds=HOUR) for each in BOTH)
"""Lists that show all jobs, but none of their builds of the last hour."""

HARMLESS: dict[str, tuple[Fault, ...]] = {
    "total -1": (fault("wrong-total", operation="job-list", value=-1),),
    "total too small": (fault("wrong-total", operation="job-list", value=7),),
    "total too large": (fault("wrong-total", operation="job-list", value=99_999),),
    "total as text": (fault("wrong-total", operation="job-list", value="string"),),
    "numbers as text": (fault("numbers-as-strings", operation="job-list"),),
    "some garbage": (fault("garbage-records", operation="job-list"),),
    "without numbers": (fault("missing-fields", operation="job-list", fields=("build_number",)),),
    "without states": (
        fault("missing-fields", operation="job-list", fields=("is_finished", "last_job_running_status")),
    ),
}


def build_now_and_then(watch: Watch, jobs: Sequence[Job], minutes: int) -> None:
    """For so long, another job builds each minute."""
    for minute in range(minutes):
        duration_s = (5, 45, 200)[minute % 3]
        watch.simulator.fleet.add_build(jobs[minute * 7 % len(jobs)].id, duration_s=duration_s)
        watch.poll()


def minutes_until(watch: Watch, *, trusted: bool, at_most: float, every: int = 1) -> int:
    """Poll until the lists are trusted or distrusted; return after how many minutes."""
    for minutes in range(every, round(at_most) + 1, every):
        watch.poll(after=every * MINUTE)
        if watch.value("exporter_job_lists_trusted") == trusted:
            return minutes
    raise AssertionError(f"not within {at_most} minutes")


class TestListsInTrouble:
    @pytest.mark.parametrize("name", TROUBLES)
    def test_counts_stay_right_and_the_metric_says_so(self, name: str) -> None:
        fleet = fleet_of(8)
        jobs = fleet.jobs()
        with watching(fleet, max_requests_per_minute=UNBOUNDED) as watch:
            watch.poll(times=4)
            since = baselines(watch)
            build_now_and_then(watch, jobs, 4)
            assert trusted(watch) == 1
            watch.simulator.faults.add(*TROUBLES[name])
            build_now_and_then(watch, jobs, 20)
            assert trusted(watch) == 0
            watch.poll_for(15 * MINUTE, every=3 * MINUTE)
            assert watch.wrong(since) == {}
            assert len(watch.jobs) == 8
            watch.simulator.faults.clear()
            watch.poll_for(HOUR, every=5 * MINUTE)
            build_now_and_then(watch, jobs, 8)
            assert trusted(watch) == 1
            watch.poll_for(15 * MINUTE, every=3 * MINUTE)
            assert watch.wrong(since) == {}

    @pytest.mark.parametrize("name", ["forbidden", "failing", "empty"])
    def test_a_build_is_seen_within_a_quarter_of_an_hour_all_the_same(self, name: str) -> None:
        fleet = fleet_of(120, never_built=60)
        with watching(fleet, max_requests_per_minute=UNBOUNDED) as watch:
            watch.poll(times=4)
            since = baselines(watch)
            watch.simulator.faults.add(*TROUBLES[name])
            for job in fleet.jobs()[::8]:
                fleet.add_build(job.id)
            watch.poll(times=15)
            assert watch.wrong(since) == {}

    @pytest.mark.parametrize("name", HARMLESS)
    def test_odd_lists_stay_in_use(self, name: str) -> None:
        fleet = fleet_of(101, never_built=80)
        with watching(fleet, max_requests_per_minute=UNBOUNDED) as watch:
            watch.poll(times=2)
            since = baselines(watch)
            watch.simulator.faults.add(*HARMLESS[name])
            build_now_and_then(watch, fleet.jobs(), 9)
            watch.poll(after=2 * MINUTE, times=3)
            assert watch.wrong(since) == {}
            assert trusted(watch) == 1
            assert len(watch.jobs) == 101

    def test_pages_that_shuffle_cost_nothing(self) -> None:
        fleet = fleet_of(120, never_built=80)
        rng = random.Random(3)
        with watching(fleet, max_requests_per_minute=UNBOUNDED) as watch:
            watch.poll(times=4)
            since = baselines(watch)
            ordered = fleet.jobs
            fleet.jobs = lambda: rng.sample(ordered(), 120)  # type: ignore[method-assign]
            build_now_and_then(watch, ordered(), 15)
            watch.poll(after=3 * MINUTE, times=4)
            assert watch.wrong(since) == {}
            assert len(watch.jobs) == 120

    def test_a_job_that_the_list_hides_is_polled_without_it(self) -> None:
        fleet = fleet_of(120)
        hidden = fleet.jobs()[0]
        with watching(fleet, max_requests_per_minute=UNBOUNDED) as watch:
            watch.poll(times=4)
            watch.simulator.faults.add(
                fault("garbage-records", operation="job-list", items=(None,), replace=True)
            )
            watch.poll(times=5)
            fleet.add_build(hidden.id)
            watch.poll(times=15)
            assert watch.counted(hidden.name) == {"success": 1}

    def test_a_list_that_hides_builds_is_detected_by_a_poll_and_trusted_again_later(self) -> None:
        fleet = fleet_of(8)
        with watching(fleet, max_requests_per_minute=UNBOUNDED) as watch:
            watch.poll(times=4)
            since = baselines(watch)
            watch.simulator.faults.add(*AN_HOUR_OLD)
            for job in fleet.jobs()[::4]:
                fleet.add_build(job.id)
            assert minutes_until(watch, trusted=False, at_most=10) > 2, "lists may be late"
            watch.poll(times=15)
            assert watch.wrong(since) == {}
            watch.simulator.faults.clear()
            watch.poll_for(70 * MINUTE, every=5 * MINUTE)
            assert trusted(watch) == 1
            fleet.add_build(fleet.jobs()[1].id)
            watch.poll(times=2)
            assert watch.wrong(since) == {}

    def test_a_list_that_keeps_hiding_builds_is_distrusted_for_longer(self) -> None:
        fleet = fleet_of(4)
        with watching(fleet, max_requests_per_minute=UNBOUNDED) as watch:
            watch.poll(times=4)
            since = baselines(watch)
            distrusted = []
            for _ in range(3):
                fleet.add_build(fleet.jobs()[0].id)
                watch.simulator.faults.replace(AN_HOUR_OLD)
                minutes_until(watch, trusted=False, at_most=13)
                watch.simulator.faults.clear()
                distrusted.append(minutes_until(watch, trusted=True, at_most=HOUR, every=5))
            assert distrusted == [60, 120, 240]
            assert watch.wrong(since) == {}

    def test_a_record_that_the_ledger_ignores_is_no_hidden_build(self) -> None:
        fleet = fleet_of(8)
        began = datetime.fromtimestamp(START_MS / 1000 - HOUR, UTC).isoformat()
        bogus = {"build_number": 2_000_000_000, "result": "SUCCESS", "start_time": began, "end_time": began}
        with watching(fleet, max_requests_per_minute=UNBOUNDED) as watch:
            watch.poll(times=4)
            watch.simulator.faults.add(
                fault("garbage-records", operation="period-history", job=fleet.jobs()[0].id, items=(bogus,))
            )
            watch.poll(times=25)
            assert watch.value("exporter_payload_errors_total", reason="implausible_build_number")
            assert trusted(watch) == 1


class TestDiscovery:
    def settings(self, fleet: Fleet, project: str = "project-0", more: str = "") -> str:
        return f"projects: [{{id: {fleet.project_id(project)}{more}}}]"

    def test_jobs_come_are_renamed_and_vanish_with_their_project(self) -> None:
        fleet = fleet_of(12, projects=2)
        with watching(fleet, settings=self.settings(fleet), jobs=[]) as watch:
            watch.poll()
            assert {job.name for job in watch.jobs} == {f"job-{ordinal:04}" for ordinal in range(0, 12, 2)}
            assert {job.project for job in watch.jobs} == {"project-0"}
            new = fleet.add_job("new", "project-0")
            watch.poll()
            assert watch.value("builds_total", job_name="new", result="success") == 0
            fleet.add_build(new.id)
            watch.poll(times=2)
            fleet.rename_job(new.id, "newer")
            watch.poll()
            assert watch.counted("newer") == {"success": 1}
            assert 'job_name="new"' not in watch.text()
            fleet.delete_job(new.id)
            watch.poll(times=12)
            assert 'job_name="newer"' not in watch.text()
            assert len(watch.jobs) == 6

    def test_a_job_in_the_recycle_bin_goes_when_that_is_read(self) -> None:
        fleet = fleet_of(12, projects=1)
        settings = self.settings(fleet) + "\nrecycle_bin: {interval: 1m}"
        with watching(fleet, settings=settings, jobs=[]) as watch:
            watch.poll()
            fleet.delete_job(fleet.jobs()[3].id)
            watch.poll()
            assert len(watch.jobs) == 11
            assert watch.value("recycle_bin_jobs") == 1

    def test_a_job_that_comes_back_keeps_counting_and_counts_nothing_twice(self, store: SqliteStore) -> None:
        fleet = fleet_of(12, projects=1)
        job = fleet.jobs()[3]
        with watching(fleet, settings=self.settings(fleet), jobs=[], store=store) as watch:
            watch.poll()
            fleet.add_build(job.id)
            watch.poll(times=2)
            fleet.delete_job(job.id)
            watch.poll(times=15)
            assert job.id not in {each.id for each in watch.jobs}
            fleet.restore_job(job.id)
            watch.poll(times=12)
            assert watch.counted(job.name) == {"success": 1}
            fleet.add_build(job.id, result="failure")
            watch.poll(times=2)
            assert watch.counted(job.name) == {"success": 1, "failure": 1}

    def test_include_and_exclude_hold_through_renames(self) -> None:
        fleet = fleet_of(4, projects=1)
        more = ", include: ['job-.*'], exclude: ['.*-tmp']"
        with watching(fleet, settings=self.settings(fleet, more=more), jobs=[]) as watch:
            watch.poll()
            assert len(watch.jobs) == 4
            fleet.rename_job(fleet.jobs()[0].id, "job-0000-tmp")
            fleet.rename_job(fleet.jobs()[1].id, "other")
            watch.poll()
            assert [job.name for job in watch.jobs] == ["job-0002", "job-0003"]

    @pytest.mark.parametrize("name", ["empty", "forbidden", "failing", "garbage"])
    def test_lists_in_trouble_drop_no_job(self, name: str) -> None:
        fleet = fleet_of(12, projects=1)
        with watching(fleet, settings=self.settings(fleet), jobs=[]) as watch:
            watch.poll()
            since = baselines(watch)
            watch.simulator.faults.add(*TROUBLES[name])
            fleet.add_build(fleet.jobs()[5].id)
            watch.poll(times=30)
            assert len(watch.jobs) == 12
            assert watch.wrong(since) == {}

    def test_with_only_the_list_of_the_project_to_be_had(self) -> None:
        fleet = fleet_of(12, projects=2)
        with watching(fleet, settings=self.settings(fleet), jobs=[]) as watch:
            watch.simulator.faults.add(fault("error", operation="job-list", status=403, code=FORBIDDEN))
            watch.poll(times=3)
            assert len(watch.jobs) == 6
            assert {job.project for job in watch.jobs} == {"project-0"}
            fleet.add_build(fleet.jobs()[0].id)
            watch.poll(times=3)
            assert watch.counted("job-0000") == {"success": 1}

    @pytest.mark.parametrize("named", [True, False], ids=["named by id", "discovered"])
    def test_a_restart_with_the_api_down_shows_all_under_their_names(
        self, named: bool, store: SqliteStore
    ) -> None:
        fleet = fleet_of(12, projects=1)
        settings = "" if named else self.settings(fleet)
        with watching(fleet, settings=settings, jobs=None if named else [], store=store) as watch:
            watch.poll()
            fleet.add_build(fleet.jobs()[3].id)
            watch.poll(times=2)
            before = watch.series("codearts_build_builds_total")
            watch.simulator.faults.add(fault("error", status=503))
            watch.start()
            assert watch.poller.is_ready
            watch.poll(times=3)
            assert watch.series("codearts_build_builds_total") == before
            assert {job.project for job in watch.jobs} == {"project-0"}
            assert watch.value("up") == 0
            watch.simulator.faults.clear()
            watch.poll(times=3)
            assert watch.series("codearts_build_builds_total") == before

    def test_what_was_built_while_nothing_ran_is_counted_after_the_restart(self, store: SqliteStore) -> None:
        fleet = fleet_of(40)
        with watching(fleet, store=store) as watch:
            watch.poll(times=3)
            since = baselines(watch)
            for job in fleet.jobs()[:5]:
                fleet.add_build(job.id, duration_s=30)
            watch.clock.advance(3 * HOUR)
            watch.start()
            watch.poll()
            assert watch.wrong(since) == {}
            assert recovered(watch) == 5


def test_names_of_projects_that_have_to_wait_do_not_delay_the_job_lists() -> None:
    """The throttle of a watch moves the clock while a request waits."""
    fleet = Fleet(ManualClock(START_MS), seed=1)
    fleet.add_job("checkout", "shop")
    with watching(fleet, settings=f"projects: [{fleet.project_id('shop')}]", jobs=[]) as watch:
        watch.simulator.faults.add(fault("error", operation="job-list", status=403, code="CB.00031007"))
        watch.client.throttle.throttled("projects", ThrottledError("too many", retry_after=290))
        began = watch.now()
        watch.poll(times=3)
        assert watch.now() - began == 3 * MINUTE
        assert watch.value("exporter_watched_jobs") == 1
        assert watch.asked("projects") == []
        watch.poll(times=20)
        assert watch.asked("projects")
