"""Builds that job lists show are requested by number, without history, and counted as exactly as before."""

import random
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from exporter.errors import NotVisibleError
from exporter.ledger.build_labels import BY_RESULT
from exporter.model import BuildDetail, JobNames, ListedJob
from exporter.poller.details import Details, ask_listed
from exporter.simulator import Fault, Fleet, Job, ManualClock, fault
from tests.ledger.examples import at, detail, idle
from tests.support.truth import Differences
from tests.support.watch import HOUR, MINUTE, START_MS, Watch, watching

JOBS = 14
LISTS = ("job-list", "project-job-list")
NO_NUMBERS = fault("missing-fields", operation="job-list", fields=("build_number",))
both_kinds_of_lists = pytest.mark.parametrize(
    "lists", [(), (NO_NUMBERS,)], ids=["numbered", "without numbers"]
)


@pytest.fixture(autouse=True)
def _dice() -> Iterator[None]:
    """The jitter is the same at each run."""
    state = random.getstate()
    random.seed(7)
    yield
    random.setstate(state)


def fleet_of(jobs: int = JOBS) -> Fleet:
    """Jobs that have built once each, at some hour of the last day."""
    fleet = Fleet(ManualClock(START_MS), seed=1)
    for ordinal in range(jobs):
        job = fleet.add_job(f"job-{ordinal:02}", f"project-{ordinal % 2}")
        fleet.add_build(job.id, at_ms=START_MS - 3_600_000 * (1 + ordinal % 24))
    return fleet


class Observed:
    """An exporter whose first polls are over, on lists that may lack something."""

    def __init__(self, watch: Watch, lists: tuple[Fault, ...]) -> None:
        self.watch = watch
        self.fleet = watch.simulator.fleet
        watch.simulator.faults.add(*lists)
        watch.poll(times=3)
        truth = watch.simulator.truth()
        self.since = {job_id: max(b.number for b in job.builds) for job_id, job in truth.items()}
        watch.simulator.reset_counts()

    def job(self, ordinal: int = 0) -> Job:
        return self.fleet.jobs()[ordinal]

    def asked(self, job: Job) -> Counter[str]:
        """Requests about that job by operation."""
        return Counter(
            exchange.operation
            for operation in ("period-history", "record-info")
            for exchange in self.watch.asked(operation)
            if exchange.job == job.id
        )

    def wrong(self) -> Differences:
        """Differences between the exposition and what happened since the first polls."""
        return self.watch.wrong(self.since)


def observing(watch: Watch, lists: tuple[Fault, ...] = ()) -> Observed:
    return Observed(watch, lists)


@both_kinds_of_lists
def test_a_finished_build_costs_one_request(lists: tuple[Fault, ...]) -> None:
    with watching(fleet_of()) as watch:
        seen = observing(watch, lists)
        seen.fleet.add_build(seen.job().id, duration_s=10)
        watch.poll(times=3)
        assert watch.counted("job-00") == {"success": 1}
        assert seen.asked(seen.job()) == {"record-info": 1}
        assert seen.wrong() == {}


def test_a_build_that_a_numbered_list_shows_running_costs_one_request() -> None:
    with watching(fleet_of()) as watch:
        seen = observing(watch)
        seen.fleet.add_build(seen.job().id, queue_s=5, duration_s=170)
        watch.poll(times=2)
        assert watch.value("active_builds", job_name="job-00", state="running") == 1
        watch.poll(times=3)
        assert watch.counted("job-00") == {"success": 1}
        assert seen.asked(seen.job()) == {"record-info": 1}
        assert seen.wrong() == {}


def test_a_running_build_in_a_list_without_numbers_is_shown_at_once_and_confirmed_soon() -> None:
    with watching(fleet_of()) as watch:
        seen = observing(watch, (NO_NUMBERS,))
        seen.fleet.add_build(seen.job().id, duration_s=200)
        watch.poll()
        assert watch.value("active_builds", job_name="job-00", state="running") == 1
        assert seen.asked(seen.job()) == {}
        watch.poll(times=4)
        assert watch.counted("job-00") == {"success": 1}
        assert seen.asked(seen.job()) == {"record-info": 2}
        assert seen.wrong() == {}


@both_kinds_of_lists
def test_two_builds_between_two_reads_of_the_lists_cost_one_request_each(lists: tuple[Fault, ...]) -> None:
    with watching(fleet_of()) as watch:
        seen = observing(watch, lists)
        now_ms = seen.fleet.clock.now_ms()
        seen.fleet.add_build(seen.job().id, result="failure", duration_s=10, at_ms=now_ms + 5_000)
        seen.fleet.add_build(seen.job().id, duration_s=10, at_ms=now_ms + 30_000)
        watch.poll(times=2)
        assert watch.counted("job-00") == {"failure": 1, "success": 1}
        assert seen.asked(seen.job()) == {"record-info": 2}
        assert seen.wrong() == {}


@both_kinds_of_lists
@pytest.mark.parametrize("durations_s", [(10, 10), (10, 100), (200, 200)], ids=str)
def test_two_builds_that_begin_together_are_both_counted_at_once(
    lists: tuple[Fault, ...], durations_s: tuple[float, float]
) -> None:
    with watching(fleet_of()) as watch:
        seen = observing(watch, lists)
        now_ms = seen.fleet.clock.now_ms()
        first, second = durations_s
        seen.fleet.add_build(seen.job().id, result="failure", duration_s=first, at_ms=now_ms + 5_000)
        seen.fleet.add_build(seen.job().id, duration_s=second, at_ms=now_ms + 6_500)
        watch.poll(times=1 + round(second) // 60)
        assert watch.counted("job-00") == {"failure": 1, "success": 1}
        watch.poll(times=15)
        assert watch.value("exporter_job_lists_trusted") == 1
        assert seen.wrong() == {}


@pytest.mark.parametrize("style", ["whole-seconds", None])
def test_one_build_more_is_requested_only_if_the_listed_one_began_later(style: str | None) -> None:
    with watching(fleet_of()) as watch:
        seen = observing(watch, (NO_NUMBERS,))
        if style:
            watch.simulator.faults.add(fault(style, operation="record-info"))
        for ordinal in range(5):
            begin_ms = seen.fleet.clock.now_ms() + 5_000 + 123 * ordinal
            seen.fleet.add_build(seen.job(ordinal).id, queue_s=ordinal * 0.7, duration_s=10, at_ms=begin_ms)
        watch.poll(times=2)
        assert watch.asked_numbers() == [2] * 5
        watch.simulator.faults.add(fault("wrong-last-build", operation="job-list", seconds=1.0))
        seen.fleet.add_build(seen.job(5).id, duration_s=10)
        watch.poll(times=2)
        assert watch.asked_numbers()[5:] == [2, 3], "the answer 404 is accepted"
        assert seen.asked(seen.job(5)) == {"record-info": 2}
        assert watch.counted("job-05") == {"success": 1}


@pytest.mark.parametrize(("code", "is_all"), [("404", True), ("403", False), ("401", False)])
def test_only_the_answer_that_there_is_no_next_build_spares_history(code: str, is_all: bool) -> None:
    def record_info(number: int) -> BuildDetail:
        if number == 2:
            return detail(2, start=5)
        raise NotVisibleError("refused", code=code)

    listed = ListedJob("a" * 32, JobNames(), last_build_ms=at(5) + 1500, is_finished=True)
    answers = ask_listed(idle(), listed, Details(record_info), BY_RESULT, at(10))
    assert answers == ([detail(2, start=5)], is_all)


@both_kinds_of_lists
def test_many_builds_at_once_are_looked_up_in_history(lists: tuple[Fault, ...]) -> None:
    with watching(fleet_of()) as watch:
        seen = observing(watch, lists)
        now_ms = seen.fleet.clock.now_ms()
        for ordinal in range(4):
            seen.fleet.add_build(seen.job().id, duration_s=3, at_ms=now_ms + 6_000 * ordinal)
        watch.poll(times=2)
        assert watch.counted("job-00") == {"success": 4}
        assert seen.asked(seen.job()) == {"period-history": 1, "record-info": 4}
        assert seen.wrong() == {}


@both_kinds_of_lists
def test_a_build_that_ended_while_the_next_began_is_counted_at_once(lists: tuple[Fault, ...]) -> None:
    with watching(fleet_of()) as watch:
        seen = observing(watch, lists)
        now_ms = seen.fleet.clock.now_ms()
        seen.fleet.add_build(seen.job().id, duration_s=80, at_ms=now_ms + 10_000)
        seen.fleet.add_build(seen.job().id, duration_s=50, at_ms=now_ms + 95_000)
        watch.poll(times=2)
        assert watch.counted("job-00") == {"success": 1}
        assert watch.value("active_builds", job_name="job-00", state="running") == 1
        watch.poll()
        assert watch.counted("job-00") == {"success": 2}
        assert seen.asked(seen.job()) == {"record-info": 2}
        assert seen.wrong() == {}


def test_a_short_build_hidden_by_the_next_is_counted_though_the_next_still_runs() -> None:
    with watching(fleet_of()) as watch:
        seen = observing(watch, (NO_NUMBERS,))
        now_ms = seen.fleet.clock.now_ms()
        seen.fleet.add_build(seen.job().id, duration_s=5, at_ms=now_ms + 10_000)
        seen.fleet.add_build(seen.job().id, duration_s=HOUR, at_ms=now_ms + 30_000)
        watch.poll(times=3)
        assert watch.counted("job-00") == {"success": 1}
        assert watch.value("active_builds", job_name="job-00", state="running") == 1
        assert seen.wrong() == {}


@both_kinds_of_lists
def test_builds_that_overlap_are_counted(lists: tuple[Fault, ...]) -> None:
    with watching(fleet_of()) as watch:
        seen = observing(watch, lists)
        seen.fleet.add_build(seen.job().id, duration_s=700)
        watch.poll()
        for _ in range(4):
            seen.fleet.add_build(seen.job().id, duration_s=100)
            watch.poll(times=2)
        watch.poll()
        assert watch.counted("job-00") == {"success": 4}
        assert watch.value("active_builds", job_name="job-00", state="running") == 1
        watch.poll(times=5)
        assert watch.counted("job-00") == {"success": 5}
        assert seen.wrong() == {}


@both_kinds_of_lists
def test_an_answer_that_lags_makes_history_tell_as_before(lists: tuple[Fault, ...]) -> None:
    with watching(fleet_of()) as watch:
        seen = observing(watch, lists)
        watch.simulator.faults.add(fault("late-details", seconds=75))
        seen.fleet.add_build(seen.job().id, queue_s=3, duration_s=10)
        watch.poll()
        assert seen.asked(seen.job()) == {"record-info": 1, "period-history": 1}
        watch.poll(times=3)
        assert watch.counted("job-00") == {"success": 1}
        assert watch.value("queue_duration_seconds_sum", job_name="job-00") == 3
        assert seen.wrong() == {}


@pytest.mark.parametrize("status", [403, 404, 500], ids=["refused", "unknown", "failing"])
def test_a_build_without_details_is_counted_from_history(status: int) -> None:
    with watching(fleet_of()) as watch:
        seen = observing(watch)
        watch.simulator.faults.add(fault("error", operation="record-info", status=status, code="CB.00031059"))
        seen.fleet.add_build(seen.job().id, duration_s=10)
        watch.poll(times=15)
        assert watch.counted("job-00") == {"success": 1}
        assert seen.asked(seen.job())["period-history"] >= 1
        assert watch.value("lost_builds_total", job_name="job-00") == 0


@pytest.mark.parametrize(("fields", "history"), [(("trigger_type",), 1), (("build_type",), 0)])
def test_history_is_read_if_details_lack_what_labels_need(fields: tuple[str, ...], history: int) -> None:
    with watching(fleet_of(), settings="metrics: {extra_labels: [trigger]}") as watch:
        seen = observing(watch)
        watch.simulator.faults.add(fault("missing-fields", operation="record-info", fields=fields))
        seen.fleet.add_build(seen.job().id, duration_s=10)
        watch.poll(times=2)
        assert watch.counted("job-00") == {"success": 1}
        assert not watch.value("builds_total", job_name="job-00", trigger="unknown", result="success")
        assert seen.asked(seen.job())["period-history"] == history


def test_a_list_that_does_not_say_whether_a_build_ended_is_answered_by_record_info() -> None:
    bare = fault(
        "missing-fields",
        operation="job-list",
        fields=("build_number", "is_finished", "last_job_running_status"),
    )
    with watching(fleet_of()) as watch:
        seen = observing(watch, (bare,))
        seen.fleet.add_build(seen.job().id, duration_s=80)
        watch.poll()
        assert watch.value("active_builds", job_name="job-00", state="running") == 1
        assert seen.asked(seen.job()) == {"record-info": 1}
        watch.poll(times=3)
        assert watch.counted("job-00") == {"success": 1}
        assert seen.wrong() == {}


LIES: dict[str, dict[str, Any]] = {
    "a number too high": {"number": 1},
    "a number far too high": {"number": 50_000},
    "a number too low": {"number": -1},
    "another time": {"seconds": 3600.0},
    "an earlier time": {"seconds": -3600.0},
    "always unfinished": {"finished": False},
    "always finished": {"finished": True},
    "unfinished, with a number too high": {"finished": False, "number": 1},
    "unfinished, with another time": {"finished": False, "seconds": 3600.0},
}


@pytest.mark.parametrize(
    ("lie", "lists"),
    [(lie, ()) for lie in LIES] + [(lie, (NO_NUMBERS,)) for lie in LIES if "number" not in lie],
)
def test_lists_that_lie_change_no_count(lie: str, lists: tuple[Fault, ...]) -> None:
    with watching(fleet_of(7), max_requests_per_minute=100_000) as watch:
        seen = observing(watch, lists)
        watch.simulator.faults.add(
            *(fault("wrong-last-build", operation=each, **LIES[lie]) for each in LISTS)
        )
        for minute in range(15):
            for duration_s in ((10,), (70,), (130, 10))[minute % 3]:
                seen.fleet.add_build(seen.job(minute % 5).id, duration_s=duration_s)
            watch.poll()
        watch.poll_for(15 * MINUTE, every=3 * MINUTE)
        assert seen.wrong() == {}
        watch.simulator.faults.clear("wrong-last-build")
        watch.poll_for(90 * MINUTE, every=10 * MINUTE)
        assert seen.wrong() == {}
        assert sum(watch.series("codearts_build_lost_builds_total").values()) == 0
        assert sum(watch.series("codearts_build_active_builds").values()) == 0


def test_a_job_that_builds_all_the_time_is_still_verified_through_history() -> None:
    with watching(fleet_of()) as watch:
        seen = observing(watch)
        for _ in range(27):
            seen.fleet.add_build(seen.job().id, duration_s=20)
            watch.poll(times=2)
        assert watch.counted("job-00") == {"success": 27}
        asked = seen.asked(seen.job())
        assert 3 <= asked["period-history"] <= 5, "every seventeen minutes and a half"
        assert asked["record-info"] == 27


def test_the_last_poll_of_a_job_is_that_of_its_last_build() -> None:
    with watching(fleet_of()) as watch:
        seen = observing(watch)
        seen.fleet.add_build(seen.job().id, duration_s=10)
        watch.poll()
        polled = watch.value("job_last_poll_timestamp_seconds", job_name="job-00")
        assert polled == watch.now()


@both_kinds_of_lists
def test_jobs_that_build_every_two_minutes_cost_little_more_than_one_request_a_build(
    lists: tuple[Fault, ...],
) -> None:
    rng = random.Random(3)
    with watching(fleet_of(30), max_requests_per_minute=100_000) as watch:
        seen = observing(watch, lists)
        jobs = seen.fleet.jobs()[:10]
        for minute in range(20):
            for job in jobs[minute % 2 :: 2]:
                at_ms = seen.fleet.clock.now_ms() + rng.randrange(60_000)
                seen.fleet.add_build(job.id, duration_s=rng.uniform(10, 50), at_ms=at_ms)
            watch.poll()
        watch.poll(times=2)
        assert seen.wrong() == {}
        cost = sum((seen.asked(job) for job in jobs), Counter[str]())
        assert cost.total() <= 1.1 * 100
