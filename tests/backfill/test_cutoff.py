"""The cutoff between backfill and exporter: each build is on one side, whatever the clocks."""

from itertools import accumulate
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.backfill.past_build import KnownBuild
from exporter.backfill.plan import PastJob, Period
from exporter.ledger.fold_observations import Refused, apply_details, apply_history, baseline
from exporter.ledger.histogram import Buckets
from exporter.ledger.job_ledger import JobLedger
from exporter.model import DAY_MS, Build, Job, Result, State
from exporter.simulator import Fleet, ManualClock
from tests.backfill.conftest import HOUR_MS, NOON_MS, Past, series_of

BUCKETS = Buckets((1000,), (1000,), (1000,))


def as_history_shows(builds: list[tuple[int, int]], now_ms: int) -> list[Build]:
    """Builds by start and finish, numbered from 1, as they are at some moment of the service's clock."""
    return [
        Build(number, Result.SUCCESS, start_ms=start_ms, finish_ms=finish_ms)
        if finish_ms <= now_ms
        else Build(number, state=State.RUNNING, start_ms=start_ms)
        for number, (start_ms, finish_ms) in enumerate(builds, start=1)
        if start_ms <= now_ms
    ]


def watched(
    builds: list[tuple[int, int]], from_ms: int, skew_ms: int, *, later_ms: int = 0, hidden: int = 0
) -> tuple[int | None, JobLedger]:
    """The baseline of an exporter that watches from one moment on, and its ledger when all is over.

    History hides one build at first.
    """
    history = [build for build in as_history_shows(builds, from_ms + later_ms) if build.number != hidden]
    first_ms = from_ms + later_ms + skew_ms
    first = baseline(history, at_ms=first_ms, since_ms=from_ms, buckets=BUCKETS).ledger
    over_ms = max(finish_ms for _, finish_ms in builds)
    last = apply_history(first, as_history_shows(builds, over_ms), at_ms=over_ms + skew_ms).ledger
    refused = [Refused(number) for number in range(1, len(builds) + 1)]
    ledger = apply_details(last, refused, at_ms=over_ms + skew_ms).ledger
    return ledger.baseline, ledger


def of_the_past(builds: list[tuple[int, int]], end_ms: int, baseline_number: int | None) -> set[int]:
    known = [
        KnownBuild(number, finish_ms, True, True) for number, (_, finish_ms) in enumerate(builds, start=1)
    ]
    cutoff = PastJob(Job("a" * 32, "job", "p"), end_ms, baseline_number).cutoff(known)
    return {build.number for build in known if cutoff.includes(build.number, build.dated_ms or 0)}


gaps = st.lists(st.integers(1, 20_000), min_size=4, max_size=40).filter(lambda drawn: len(drawn) % 2 == 0)


@given(gaps, st.data(), st.integers(-DAY_MS // 2, DAY_MS // 2))
def test_consecutive_builds_are_on_one_side_of_the_cutoff(
    drawn: list[int], data: st.DataObject, skew_ms: int
) -> None:
    moments = [NOON_MS + ms for ms in accumulate(drawn)]
    builds = list(zip(moments[::2], moments[1::2], strict=True))
    from_ms = data.draw(st.integers(builds[0][1], builds[-1][1]))
    later_ms = data.draw(st.integers(0, builds[-1][1] - from_ms))
    number, ledger = watched(builds, from_ms, skew_ms, later_ms=later_ms)
    past = of_the_past(builds, from_ms, number)
    assert past == {index for index, (_, finish_ms) in enumerate(builds, start=1) if finish_ms <= from_ms}
    assert len(past) + sum(ledger.counts.values()) == len(builds)


@pytest.mark.parametrize("behind_ms", [0, 3000])
def test_overlapping_builds_are_on_one_side_of_the_cutoff(behind_ms: int) -> None:
    minutes = [(0, 1), (2, 30), (3, 4), (5, 40), (12, 13)]
    builds = [(NOON_MS + start * 60_000, NOON_MS + finish * 60_000) for start, finish in minutes]
    number, ledger = watched(builds, NOON_MS + 600_000, -behind_ms)
    assert number == 3
    assert of_the_past(builds, NOON_MS + 600_000 - behind_ms, number) == {1, 3}
    assert ledger.counts == {Result.SUCCESS: 3}


def test_a_build_that_history_omitted_at_first() -> None:
    builds = [(NOON_MS + minute * 60_000, NOON_MS + (minute + 1) * 60_000) for minute in range(0, 8, 2)]
    from_ms = NOON_MS + 4 * 60_000 + 1
    number, ledger = watched(builds, from_ms, 0, hidden=2)
    assert of_the_past(builds, from_ms, number) == {1}
    assert ledger.counts == {Result.SUCCESS: 3}


def test_an_implausible_finish_does_not_move_the_cutoff() -> None:
    builds = [(NOON_MS, NOON_MS + 1000), (NOON_MS + 2000, NOON_MS + 3 * DAY_MS)]
    assert of_the_past(builds, NOON_MS + 5000, 2) == {1}


def test_without_a_baseline_the_time_decides() -> None:
    builds = [(NOON_MS, NOON_MS + 1000), (NOON_MS + 2000, NOON_MS + 3000)]
    assert of_the_past(builds, NOON_MS + 2500, None) == {1}


def test_a_build_beyond_the_cutoff_may_finish_at_any_time(
    past: Past, fleet: Fleet, clock: ManualClock, tmp_path: Path
) -> None:
    [job] = fleet.jobs()
    for minutes, result, duration_s in (
        (240, "success", 60),
        (180, "failure", 60),
        (120, "success", None),
        (60, "success", 60),
    ):
        fleet.add_build(job.id, at_ms=NOON_MS - minutes * 60_000, result=result, duration_s=duration_s)  # type: ignore[arg-type]
    period = Period(NOON_MS - DAY_MS, NOON_MS, HOUR_MS)
    straight = past.shown(period)
    assert list(series_of(straight, "recovery_duration_seconds_count").values())[-1] == 1
    clock.advance(600)
    fleet.finish_build(job.id, 3)
    (tmp_path / "later").mkdir()
    assert Past(past.simulator, tmp_path / "later").shown(period) == straight


@pytest.mark.parametrize("slow_ms", [0, 90_000])
def test_the_last_sample_includes_builds_finished_by_the_services_clock(
    past: Past, fleet: Fleet, slow_ms: int
) -> None:
    [job] = fleet.jobs()
    for minutes in (200, 2, 1):
        fleet.add_build(job.id, at_ms=NOON_MS - minutes * 60_000, queue_s=1, duration_s=20)
    fleet.add_build(job.id, at_ms=NOON_MS - 30_000, queue_s=1, duration_s=10)
    period = Period(NOON_MS - DAY_MS, NOON_MS - slow_ms, HOUR_MS)
    shown = past.shown(period, baseline=3)
    counts = series_of(shown, "builds_total", result="success")
    assert counts[max(counts)] == series_of(shown, "queue_duration_seconds_count")[max(counts)] == 3
    assert (max(counts), list(counts.values())[-2]) == ((NOON_MS - slow_ms) / 1000, 1)


def test_stages_are_fetched_up_to_the_cutoff(past: Past, fleet: Fleet) -> None:
    [job] = fleet.jobs()
    for minutes in (200, 2, 1):
        fleet.add_build(job.id, at_ms=NOON_MS - minutes * 60_000, queue_s=1, duration_s=20)
    past = Past(past.simulator, past.folder, "metrics: {stages: true}\n")
    past.collect(Period(NOON_MS - DAY_MS, NOON_MS - 90_000, HOUR_MS), baseline=3)
    assert sum(request.operation == "full-stages" for request in past.simulator.requests) == 3
