"""Backfilled metrics: each build once, at its time, with the labels of live ones."""

from dataclasses import asdict
from pathlib import Path

import pytest

from exporter.backfill.download import numbers_to_fetch
from exporter.backfill.past_build import KnownBuild, PastBuild, missing_builds, plausible
from exporter.backfill.past_ledger import initial_ledger
from exporter.backfill.plan import Period
from exporter.ledger.histogram import Buckets
from exporter.model import Build, BuildDetail, Result
from exporter.poller import Rules
from exporter.simulator import Fault, Fleet, Plan, Simulator, fault, totals
from tests.backfill.conftest import DAY_MS, HOUR_MS, NOON_MS, Past, read, series_of
from tests.support.truth import expected

MINUTE_MS = 60_000
DAY = Period(NOON_MS - DAY_MS, NOON_MS, HOUR_MS)


def rules_of_a_test() -> Rules:
    return Rules(Buckets((1000,), (1000,), (1000,)), lookback_ms=DAY_MS, gap_ms=1, patience_ms=1)


def at(hours: float) -> float:
    """Seconds of a sample so many hours before noon."""
    return (NOON_MS - hours * HOUR_MS) / 1000


def test_a_build_is_included_from_the_first_sample_after_its_finish(past: Past, fleet: Fleet) -> None:
    [job] = fleet.jobs()
    fleet.add_build(job.id, at_ms=NOON_MS - 3 * HOUR_MS, queue_s=60, duration_s=90)
    shown = past.shown(DAY)
    counts = series_of(shown, "builds_total", result="success")
    assert (counts[at(24)], counts[at(3)], counts[at(2)], counts[at(0)]) == (0, 0, 1, 1)
    assert len(counts) == 25
    assert series_of(shown, "duration_seconds_sum", result="success")[at(0)] == 90
    assert series_of(shown, "queue_duration_seconds_sum")[at(0)] == 60
    assert series_of(shown, "last_build_result", result="success") == {
        at(2): 1.0,
        at(1): 1.0,
        at(0): 1.0,
    }


def test_a_finish_at_a_sample_is_in_it_and_one_at_the_start_is_not(past: Past, fleet: Fleet) -> None:
    [job] = fleet.jobs()
    for finish_ms in (DAY.start_ms, DAY.start_ms + 1, NOON_MS - HOUR_MS, NOON_MS):
        fleet.add_build(job.id, at_ms=finish_ms - 20_000, queue_s=5, duration_s=15)
    counts = series_of(past.shown(DAY), "builds_total", result="success")
    assert [counts[at(hours)] for hours in (24, 23, 2, 1, 0)] == [0, 1, 1, 2, 3]


def test_the_last_build_before_the_start_sets_the_gauges_and_is_not_counted(past: Past, fleet: Fleet) -> None:
    [job] = fleet.jobs()
    for _ in range(2):
        fleet.add_build(job.id, at_ms=DAY.start_ms - HOUR_MS, result="failure", duration_s=30)
    fleet.add_build(job.id, at_ms=NOON_MS - HOUR_MS, result="success", duration_s=30)
    shown = past.shown(DAY)
    failures = series_of(shown, "consecutive_failures")
    assert (failures[at(24)], failures[at(1)], failures[at(0)]) == (2, 2, 0)
    assert series_of(shown, "last_build_number")[at(24)] == 2
    assert set(series_of(shown, "builds_total", result="failure").values()) == {0}
    recovery_s = (DAY_MS + 30_000) / 1000
    assert series_of(shown, "recovery_duration_seconds_sum")[at(0)] == pytest.approx(recovery_s, abs=7200)


def test_a_build_that_runs_across_the_start_counts_although_newer_ones_had_finished(
    past: Past, fleet: Fleet
) -> None:
    [job] = fleet.jobs()
    fleet.add_build(job.id, at_ms=DAY.start_ms - HOUR_MS, duration_s=3 * 3600)
    for _ in range(30):
        fleet.add_build(job.id, at_ms=DAY.start_ms - HOUR_MS, duration_s=5)
    counts = series_of(past.shown(DAY), "builds_total", result="success")
    assert (counts[at(24)], counts[at(22)], counts[at(0)]) == (0, 0, 1)


def test_a_running_build_is_left_to_the_live_exporter(past: Past, fleet: Fleet) -> None:
    [job] = fleet.jobs()
    fleet.add_build(job.id, at_ms=NOON_MS - HOUR_MS, duration_s=None)
    fleet.add_build(job.id, at_ms=NOON_MS - HOUR_MS, duration_s=5)
    assert series_of(past.shown(DAY), "builds_total", result="success")[at(0)] == 1


def test_without_details_there_are_no_queue_times(past: Past, fleet: Fleet, simulator: Simulator) -> None:
    [job] = fleet.jobs()
    fleet.add_build(job.id, at_ms=NOON_MS - 2 * HOUR_MS, duration_s=61.5)
    shown = past.shown(DAY, details=False)
    assert series_of(shown, "builds_total", result="success")[at(0)] == 1
    assert series_of(shown, "duration_seconds_sum", result="success")[at(0)] == pytest.approx(61.5, abs=1)
    assert series_of(shown, "queue_duration_seconds_count")[at(0)] == 0
    assert "record-info" not in {request.operation for request in simulator.requests}


def test_a_record_missing_from_history_is_found_by_its_number(
    past: Past, fleet: Fleet, simulator: Simulator
) -> None:
    [job] = fleet.jobs()
    for hours in (5, 4, 3, 2):
        fleet.add_build(job.id, at_ms=NOON_MS - hours * HOUR_MS, duration_s=5)
    simulator.faults.replace(
        [
            fault("lost-records", job=job.id, numbers=[2], detail="known"),
            fault("lost-records", job=job.id, numbers=[3], detail="unknown"),
        ]
    )
    shown = past.shown(DAY)
    assert series_of(shown, "builds_total", result="success")[at(0)] == 3
    assert series_of(shown, "consecutive_failures")[at(0)] == 0


def test_a_build_with_refused_details_counts_from_its_history_record(
    past: Past, fleet: Fleet, simulator: Simulator
) -> None:
    [job] = fleet.jobs()
    fleet.add_build(job.id, at_ms=NOON_MS - HOUR_MS, duration_s=5)
    other = fleet.add_job("payment")
    fleet.add_build(other.id, at_ms=NOON_MS - HOUR_MS, duration_s=5)
    simulator.faults.replace(
        [fault("error", operation="record-info", job=job.id, status=403, code="CB.00031059")]
    )
    past = Past(simulator, past.folder)
    past.collect(DAY)
    with past.spool() as spool:
        assert spool.without_detail() == 1
    shown = read(past.files(DAY))
    assert series_of(shown, "builds_total", result="success", job_name="checkout")[at(0)] == 1


def test_extra_labels_equal_those_of_the_live_exporter(
    fleet: Fleet, simulator: Simulator, tmp_path: Path
) -> None:
    job = fleet.add_job("checkout")
    fleet.add_build(job.id, at_ms=NOON_MS - HOUR_MS, branch="release/1", trigger="pipeline")
    settings = "metrics: {extra_labels: [trigger, branch], branches: [main, 'release/.*']}\n"
    shown = Past(simulator, tmp_path, settings, {"job": "codearts", "cluster": 'a"b\\c'}).shown(DAY)
    wanted = {"result": "success", "trigger": "pipeline", "branch": "release/1"}
    assert series_of(shown, "builds_total", **wanted, job="codearts", cluster='a"b\\c')[at(0)] == 1


@pytest.mark.parametrize("step_ms", [HOUR_MS // 2, HOUR_MS, 5 * HOUR_MS])
def test_new_series_are_0_one_step_before_their_first_build(
    fleet: Fleet, simulator: Simulator, tmp_path: Path, step_ms: int
) -> None:
    job = fleet.add_job("checkout")
    finished = (18.3, 12, 11, 2.01)  # a file begins twelve hours before noon
    for hours in finished:
        finish_ms = NOON_MS - round(hours * HOUR_MS)
        fleet.add_build(job.id, at_ms=finish_ms - 61_000, queue_s=1, duration_s=60, branch=f"release/{hours}")
    period = Period(NOON_MS - DAY_MS, NOON_MS, step_ms)
    settings = "metrics: {extra_labels: [branch], branches: [main, 'release/.*']}\n"
    shown = Past(simulator, tmp_path, settings).shown(period)
    moments = sorted(series_of(shown, "builds_total", result="success", branch="main"))
    for name in ("builds_total", "duration_seconds_count"):
        for hours in finished:
            values = series_of(shown, name, result="success", branch=f"release/{hours}")
            first = next(moment for moment in moments if values.get(moment))
            assert first >= NOON_MS / 1000 - hours * 3600 > moments[moments.index(first) - 1]
            assert sorted(values) == moments[moments.index(first) - 1 :]
            assert list(dict(sorted(values.items())).values()) == [0, *[1] * (len(values) - 1)]


def test_stages_are_fetched_once_and_add_up(fleet: Fleet, simulator: Simulator, tmp_path: Path) -> None:
    job = fleet.add_job("checkout")
    for hours in (5, 4, 3):
        fleet.add_build(job.id, at_ms=NOON_MS - hours * HOUR_MS, duration_s=60)
    past = Past(simulator, tmp_path, "metrics: {stages: true}\n")
    shown = past.shown(DAY)
    sums = {
        dict(labels)["stage"]: (values[at(4)], values[at(0)])
        for (name, labels), values in shown.items()
        if name == "codearts_build_stage_duration_seconds_sum" and at(4) in values
    }
    assert sum(early for early, _ in sums.values()) == pytest.approx(60)
    assert sum(late for _, late in sums.values()) == pytest.approx(180)
    assert sum(request.operation == "full-stages" for request in simulator.requests) == 3
    past.collect(DAY)
    assert sum(request.operation == "full-stages" for request in simulator.requests) == 3


def test_builds_with_refused_stages_are_counted(fleet: Fleet, simulator: Simulator, tmp_path: Path) -> None:
    job = fleet.add_job("checkout")
    for _ in range(2):
        fleet.add_build(job.id, at_ms=NOON_MS - HOUR_MS, duration_s=60)
    refusal = fault("error", operation="full-stages", status=404, code="DEVCB.00031006", times=1)
    simulator.faults.replace([refusal])
    past = Past(simulator, tmp_path, "metrics: {stages: true}\n")
    shown = past.shown(DAY)
    assert series_of(shown, "builds_total", result="success")[at(0)] == 2
    counts = (v[at(0)] for (name, _), v in shown.items() if name.endswith("stage_duration_seconds_count"))
    assert set(counts) == {1}
    with past.spool() as spool:
        assert spool.refused_stages() == 1


def test_a_build_that_ended_without_a_result_counts_as_unknown(
    past: Past, fleet: Fleet, simulator: Simulator
) -> None:
    [job] = fleet.jobs()
    fleet.add_build(job.id, at_ms=NOON_MS - HOUR_MS, duration_s=5)
    simulator.faults.replace(
        [
            fault("null-fields", operation="period-history", fields=["result"]),
            fault("null-fields", operation="record-info", fields=["status"]),
        ]
    )
    assert series_of(past.shown(DAY), "builds_total", result="unknown")[at(0)] == 1


def test_builds_without_times_are_reported(past: Past, fleet: Fleet, simulator: Simulator) -> None:
    [job] = fleet.jobs()
    fleet.add_build(job.id, at_ms=NOON_MS - HOUR_MS, duration_s=5)
    times = ["start_time", "end_time", "finish_time", "queued_time"]
    simulator.faults.replace([fault("null-fields", fields=times)])
    past.collect(DAY)
    with past.spool() as spool:
        assert spool.undated() == 1


def test_an_implausible_finish_in_the_details_is_ignored(past: Past) -> None:
    finish_ms = NOON_MS - 2 * HOUR_MS
    listed = Build(1, Result.SUCCESS, start_ms=finish_ms - 5000, finish_ms=finish_ms)
    for detail_ms in (finish_ms + 400 * DAY_MS, finish_ms - 400 * DAY_MS):
        detail = BuildDetail(1, Result.SUCCESS, start_ms=finish_ms - 5000, finish_ms=detail_ms)
        assert PastBuild(listed, detail).dated_ms == finish_ms
    exact = BuildDetail(1, Result.SUCCESS, finish_ms=finish_ms + 321)
    assert PastBuild(listed, exact).dated_ms == finish_ms + 321


def test_the_first_builds_of_a_job_count_in_whatever_order_they_finish(past: Past, fleet: Fleet) -> None:
    [job] = fleet.jobs()
    for number in range(1, 31):
        fleet.add_build(job.id, at_ms=NOON_MS - 20 * HOUR_MS, duration_s=3600 * (1 + (number + 10) % 17))
    assert series_of(past.shown(DAY), "builds_total", result="success")[at(0)] == 30


def test_more_builds_in_a_step_than_may_wait_for_stages(
    fleet: Fleet, simulator: Simulator, tmp_path: Path
) -> None:
    job = fleet.add_job("checkout")
    for _ in range(600):
        fleet.add_build(job.id, at_ms=NOON_MS - HOUR_MS, duration_s=60)
    shown = Past(simulator, tmp_path, "metrics: {stages: true}\n").shown(DAY)
    counts = {
        values[at(0)] for (name, _), values in shown.items() if name.endswith("stage_duration_seconds_count")
    }
    assert counts == {600}


def test_names_may_contain_unicode_line_separators(past: Past, fleet: Fleet) -> None:
    [job] = fleet.jobs()
    name = "one\u2028two\u0085three\x0bfour"
    fleet.rename_job(job.id, name)
    fleet.add_build(job.id, at_ms=NOON_MS - HOUR_MS, duration_s=60)
    past.collect(DAY)
    lines = [line for file in past.files(DAY) for line in file.read_text().split("\n")]
    assert all(line.startswith("#") or line.split()[-1].isdigit() for line in lines if line)
    assert any(name in line for line in lines)


def test_missing_numbers_are_requested_only_once(past: Past, fleet: Fleet, simulator: Simulator) -> None:
    [job] = fleet.jobs()
    for _ in range(40):
        fleet.add_build(job.id, at_ms=NOON_MS - HOUR_MS, duration_s=5)
    simulator.faults.replace(
        [fault("lost-records", job=job.id, numbers=list(range(5, 25)), detail="unknown")]
    )
    past.collect(DAY)
    before = len(simulator.requests)
    past.collect(DAY)
    again = [request.operation for request in simulator.requests[before:]]
    assert again.count("record-info") == 0


def test_implausible_numbers_are_ignored() -> None:
    real = [KnownBuild(number, None, is_listed=True, is_fetched=True) for number in (1, 2, 5)]
    garbage = KnownBuild(2_000_000_000, None, is_listed=True, is_fetched=False)
    assert plausible([*real, garbage]) == real
    assert plausible([garbage]) == []
    assert missing_builds(real) == [(3, 4)]
    assert list(numbers_to_fetch(real, 0, 1)) == [3, 4, 6]


def test_a_gap_of_a_hundred_thousand_is_settled_at_once() -> None:
    ledger = initial_ledger([], [1, 99_000], [(2, 98_999)], NOON_MS, rules_of_a_test())
    assert [(run.first, run.last) for run in ledger.runs] == [(0, 0), (2, 98_999)]


TROUBLE: list[Fault] = [
    fault("error", probability=0.03),
    fault("html", probability=0.02),
    fault("truncated", probability=0.02),
    fault("order", operation="period-history"),
    fault("shifting-pages", probability=0.2),
    fault("garbage-records", probability=0.1),
    fault("lost-records", numbers=[70, 71, 100, 470, 471, 500], detail="known"),
    fault("backwards-clock", probability=0.05),
    fault("localised-triggers"),
    fault("numbers-as-strings", probability=0.3),
]


@pytest.mark.timeout(120)
def test_the_last_sample_equals_the_truth_of_the_month(
    fleet: Fleet, simulator: Simulator, tmp_path: Path
) -> None:
    for ordinal in range(6):
        plan = Plan(
            gap_s=3600 * (4 + ordinal),
            duration_s=60 * (1 + 5 * ordinal),
            queue_s=30,
            failure_ratio=0.3,
            concurrency=1 + ordinal % 3,
            first_number=1 + 400 * (ordinal % 2),
        )
        fleet.add_job(f"job-{ordinal}", plan=plan)
    simulator.faults.replace(TROUBLE)
    month = Period(NOON_MS - 30 * DAY_MS, NOON_MS, 2 * DAY_MS)
    past = Past(simulator, tmp_path)
    past.collect(month)
    shown = read(past.files(month)[-1:])
    latest = {series: values.get(NOON_MS / 1000) for series, values in shown.items()}
    for job in simulator.truth().values():
        older = max((b.number for b in job.builds if (b.finish_ms or NOON_MS) <= month.start_ms), default=0)
        inside = [b for b in job.builds if b.number > older or (b.finish_ms or 0) > month.start_ms]
        crossing = {b.number for b in inside if b.number <= older}
        assert not crossing, "choose another seed: a build overtook another at the start"
        truth = job.to_json()
        truth["totals"] = asdict(totals(job.builds, older))
        for key, value in expected([truth]).items():
            if not key[0].endswith(("active_builds", "lost_builds_total")):
                assert latest[key] == pytest.approx(value), key
