"""Builds from records: the same bytes as from history and record-info, in a hundredth of the requests."""

import sqlite3
from collections import Counter
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from exporter.backfill import Download, Notices
from exporter.backfill.plan import PastJob, Period
from exporter.backfill.plan_builder import watched_jobs
from exporter.backfill.verified_bulk_records import RecordsListing
from exporter.model import BuildDetail
from exporter.simulator import Fault, Fleet, ManualClock, Plan, Simulator, fault
from tests.backfill.conftest import DAY_MS, HOUR_MS, NOON_MS, Past
from tests.support.records import DIFFERENCES, name_of

TWO_DAYS = Period(NOON_MS - 2 * DAY_MS, NOON_MS, 12 * HOUR_MS)
STAGES = "metrics: {stages: true, extra_labels: [trigger, branch], branches: [main, next]}\n"
JOBS = 12
CHECKED = 10
"""Ordinal of a job of which one build is compared."""

SLOW: dict[object, dict[str, bytes]] = {}
"""Files of backfills without records, by fleet, settings and period."""


def new_fleet(history_days: float = 6) -> Fleet:
    return Fleet(ManualClock(NOON_MS), seed=5, history_days=history_days)


def twelve_jobs(fleet: Fleet) -> Fleet:
    """Add twelve jobs that fail at times and run at once; one has more builds than fit on a page."""
    for ordinal in range(JOBS):
        plan = Plan(
            gap_s=24_000 if ordinal else 1500,
            duration_s=200,
            queue_s=9,
            failure_ratio=0.3,
            schedule_failure_ratio=0.05,
            concurrency=1 + ordinal % 2,
            branches=("main", "next"),
        )
        fleet.add_job(f"job-{ordinal:02}", plan=plan)
    return fleet


@pytest.fixture(scope="module")
def fleet() -> Fleet:
    return twelve_jobs(new_fleet())


@pytest.fixture
def past(simulator: Simulator, tmp_path: Path) -> Past:
    return Past(simulator, tmp_path / "fast", uses_records=True)


def texts(past: Past, period: Period = TWO_DAYS) -> dict[str, bytes]:
    """Collect and write everything."""
    past.folder.mkdir(exist_ok=True)
    past.collect(period)
    return {file.name: file.read_bytes() for file in past.files(period)}


def the_slow_way(past: Past, period: Period = TWO_DAYS) -> dict[str, bytes]:
    """The files of a backfill without records, whose requests are not counted."""
    key = (past.simulator.fleet, past.settings, period)
    if key not in SLOW:
        SLOW[key] = texts(replace(past, folder=past.folder.parent / "slow", uses_records=False), period)
        past.simulator.reset_counts()
    return SLOW[key]


def asked(simulator: Simulator) -> Counter[str]:
    return Counter(exchange.operation for exchange in simulator.requests)


def test_a_build_costs_a_hundredth_of_a_request_and_the_bytes_are_the_same(tmp_path: Path) -> None:
    with Simulator(twelve_jobs(new_fleet(history_days=16))).start() as simulator:
        past = Past(simulator, tmp_path / "fast", uses_records=True)
        expected = the_slow_way(past)
        builds = sum(len(job.builds) for job in simulator.truth().values())
        assert texts(past) == expected != {}
        counts = asked(simulator)
    compared, unfinished, next_numbers = 3 + 1, 4, 2
    assert counts["records"] <= 2 * JOBS + 4 < builds / 50
    assert counts["period-history"] == 1
    assert counts["record-info"] <= compared + unfinished + next_numbers < JOBS
    assert past.said == []


def test_a_repeated_run_and_another_step_request_nothing_from_records(
    past: Past, simulator: Simulator
) -> None:
    texts(past)
    simulator.reset_counts()
    texts(past)
    assert asked(simulator).keys() <= {"job-list", "projects"}


@pytest.mark.parametrize(
    "trouble",
    DIFFERENCES,
    ids=name_of,
)
def test_a_difference_is_reported_and_ends_the_use_of_records(
    past: Past, simulator: Simulator, trouble: Fault
) -> None:
    expected = the_slow_way(past)
    simulator.faults.add(trouble)
    assert texts(past) == expected
    assert any("records and record-info differ in build" in line for line in past.said)
    simulator.reset_counts()
    texts(past)
    assert asked(simulator)["records"] == 0
    with past.spool() as spool:
        assert "differ" in spool.discarded


def test_a_difference_that_is_found_late_has_everything_from_records_requested_again(
    past: Past, simulator: Simulator
) -> None:
    expected = the_slow_way(past)
    last = simulator.fleet.jobs()[CHECKED].id
    simulator.faults.add(fault("disagreement", operation="records", seconds=0.001, job=last))
    assert texts(past) == expected
    builds = sum(len(job.builds) for job in simulator.truth().values())
    assert asked(simulator)["records"] > JOBS - 4
    assert asked(simulator)["record-info"] > builds / 4


@pytest.mark.parametrize(
    "trouble",
    [
        fault("error", operation="records", status=403, code="CB.00031007"),
        fault("withdrawn", operation="records"),
        fault("no-records", operation="records"),
        fault("garbage-records", operation="records", replace=True),
        fault("zero-durations", operation="records"),
        fault("null-fields", operation="records", fields=["status"]),
        fault("null-fields", operation="records", fields=["id"]),
        fault("late-records", operation="records", seconds=9_999_999),
    ],
    ids=lambda trouble: f"{trouble.kind} {trouble.options}",
)
def test_useless_records_are_given_up_after_three_jobs_or_cost_one_request_each(
    past: Past, simulator: Simulator, trouble: Fault
) -> None:
    past = replace(past, settings=STAGES)
    expected = the_slow_way(past)
    simulator.faults.add(trouble, fault("whole-seconds", operation="records"))
    assert texts(past) == expected
    assert asked(simulator)["records"] <= 3 * JOBS


@pytest.mark.parametrize(
    "trouble",
    [
        fault("order", operation="records", by="random"),
        fault("order", operation="records", by="ascending"),
        fault("shifting-pages", operation="records"),
        fault("record-offset", operation="records"),
        fault("wrong-total", operation="records", value=-1),
        fault("wrong-total", operation="records", value=3),
        fault("records-dates", hours=0, by="finished"),
        fault("garbage-records", operation="records"),
        fault("numbers-as-strings", operation="records"),
        fault("zero-durations", operation="records"),
        fault("running-builds", operation="records", show="empty"),
        fault("lost-records", operation="records", probability=0.1, detail="known"),
        fault("late-records", operation="records", seconds=400_000, probability=0.3),
        fault("late-records", operation="records", seconds=400_000, meanwhile="running"),
        fault("error", operation="records", status=500, probability=0.1),
        fault("throttle", operation="records", probability=0.3, times=4, retry_after=0, announce=False),
        fault("late-details", operation="record-info", seconds=60),
    ],
    ids=lambda trouble: f"{trouble.kind} {trouble.options}",
)
def test_whatever_records_lack_the_bytes_are_the_same(
    past: Past, simulator: Simulator, trouble: Fault
) -> None:
    expected = the_slow_way(past)
    simulator.faults.add(trouble)
    assert texts(past) == expected
    assert asked(simulator)["records"] >= 3


@pytest.mark.parametrize("lie", [0, -1])
def test_a_newest_build_without_record_is_found_whatever_the_job_list_shows(
    past: Past, simulator: Simulator, fleet: Fleet, lie: int
) -> None:
    for job in fleet.jobs():
        last = max(build.number for build in fleet.builds(job.id) if build.finished(NOON_MS))
        later = [build.number for build in fleet.builds(job.id) if build.number > last]
        lost = fault("lost-records", job=job.id, numbers=[last], detail="known")
        simulator.faults.add(lost, fault("lost-records", job=job.id, numbers=later, detail="known"))
    simulator.faults.add(fault("wrong-last-build", operation="job-list", number=lie))
    expected = texts(replace(past, folder=past.folder.parent / "slow", uses_records=False))
    assert texts(past) == expected
    assert any("records and job lists lack build" in line for line in past.said) == bool(lie)


def test_an_error_that_passes_does_not_cost_a_job_its_records(past: Past, simulator: Simulator) -> None:
    expected = the_slow_way(past)
    job = simulator.fleet.jobs()[3].id
    simulator.faults.add(fault("error", operation="records", job=job, times=3))
    assert texts(past) == expected
    assert asked(simulator)["record-info"] < JOBS


def test_only_a_job_whose_records_lack_a_number_is_requested_from_history(
    past: Past, simulator: Simulator
) -> None:
    expected = the_slow_way(past)
    job = simulator.fleet.jobs()[4]
    numbers = [len(simulator.fleet.builds(job.id)) - 10]
    simulator.faults.add(
        fault("lost-records", operation="records", job=job.id, numbers=numbers, detail="known")
    )
    assert texts(past) == expected
    histories = [exchange.job for exchange in simulator.requests if exchange.operation == "period-history"]
    assert histories.count(job.id) == len(histories) - 1 == 1
    assert asked(simulator)["record-info"] < 4 * JOBS


@pytest.mark.parametrize(
    ("longest_minutes", "minutes_before", "is_enough"),
    [
        (1, 14, False),
        (1, 16, True),
        (180, 359, False),
        (180, 361, True),
        (1e9, 1439, False),
        (1e9, 1441, True),
    ],
)
def test_the_longer_builds_take_the_further_back_they_are_read(
    longest_minutes: float, minutes_before: int, is_enough: bool
) -> None:
    finish_ms = NOON_MS - minutes_before * 60_000
    listing = RecordsListing(0)
    longest = BuildDetail(9, start_ms=NOON_MS, finish_ms=NOON_MS + round(longest_minutes * 60_000))
    listing.add([longest, BuildDetail(8, start_ms=finish_ms - 1000, finish_ms=finish_ms)], NOON_MS)
    assert listing.reaches_back == is_enough


def test_a_throttled_job_goes_on_at_the_page_where_it_stopped(tmp_path: Path) -> None:
    fleet = new_fleet()
    fleet.add_job("busy", plan=Plan(gap_s=600, duration_s=60))
    with Simulator(fleet).start() as simulator:
        past = Past(simulator, tmp_path / "fast", uses_records=True)
        expected = the_slow_way(past)
        simulator.faults.add(
            fault("throttle", operation="records", probability=0.4, times=3, retry_after=0, announce=False)
        )
        assert texts(past) == expected
        pages = -(-3.5 * 144 // 100) + 1
        answered = [exchange for exchange in simulator.requests if exchange.operation == "records"]
        assert sum(exchange.status == 200 for exchange in answered) <= pages


def stop_after(past: Past, jobs: int) -> None:
    """A run that is stopped when so many jobs were read from records, and some details from record-info."""
    client, notices = past.client(), Notices(past.said.append)
    watched = watched_jobs(past.config, client, notices)
    ids = client.sources.build_projects
    with past.spool() as spool:
        plan = [PastJob(job, TWO_DAYS.end_ms, None, ids[job.id]) for job in watched]
        download = Download(plan, TWO_DAYS, TWO_DAYS.start_ms, spool, notices)
        replies = download.fetch_records(client, 1, stages=False)
        for _ in range(jobs):
            next(replies)
        replies.close()
        download.use_records()
        details = download.fetch_details(client, 1)
        next(details)
        details.close()


def test_stopped_and_resumed_it_writes_the_same_bytes(past: Past, simulator: Simulator) -> None:
    expected = the_slow_way(past)
    past.folder.mkdir()
    for jobs in (2, 5):
        stop_after(past, jobs)
    first = asked(simulator)["records"]
    assert texts(past) == expected
    assert asked(simulator)["records"] - first < 2 * (JOBS - 5)


def test_records_that_differ_when_it_is_resumed_are_discarded_with_those_of_before(
    past: Past, simulator: Simulator
) -> None:
    expected = the_slow_way(past)
    past.folder.mkdir()
    stop_after(past, 6)
    simulator.faults.add(fault("disagreement", operation="records", seconds=0.001))
    simulator.reset_counts()
    assert texts(past) == expected
    builds = sum(len(job.builds) for job in simulator.truth().values())
    assert asked(simulator)["record-info"] > builds / 4
    with past.spool() as spool:
        assert spool.discarded


def test_stages_are_requested_by_the_ids_that_records_have(past: Past, simulator: Simulator) -> None:
    past = replace(past, settings=STAGES)
    expected = the_slow_way(past)
    assert texts(past) == expected
    assert asked(simulator)["full-stages"] > 100 > 2 * asked(simulator)["record-info"]


def test_other_ids_in_records_matter_only_for_stages(past: Past, simulator: Simulator) -> None:
    expected = the_slow_way(past)
    simulator.faults.add(fault("build-record-ids"))
    assert texts(past) == expected
    assert asked(simulator)["record-info"] < 4 * JOBS
    with_stages = replace(past, settings=STAGES)
    expected = texts(replace(with_stages, folder=past.folder.parent / "stages", uses_records=False))
    for file in past.folder.glob("*.om"):
        file.unlink()
    assert texts(with_stages) == expected
    assert any("ids of builds from records were not compared" in line for line in past.said)


def test_a_spool_of_before_records_goes_on(past: Past, simulator: Simulator) -> None:
    past.folder.mkdir()
    with past.spool():
        pass
    with closing(sqlite3.connect(past.folder / "backfill.db")) as connection:
        connection.execute("DROP TABLE records")
    assert texts(past) == the_slow_way(past)


def test_builds_that_began_after_the_end_are_not_read(past: Past, simulator: Simulator) -> None:
    period = Period(NOON_MS - 5 * DAY_MS, NOON_MS - 4 * DAY_MS, 8 * HOUR_MS)
    expected = the_slow_way(past, period)
    assert texts(past, period) == expected
    assert asked(simulator)["records"] <= JOBS + 1
    assert asked(simulator)["record-info"] < 4 * JOBS
