"""The days that period-history is asked for."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.poller.task_requests import windows
from exporter.simulator import Fleet, Simulator, fault
from tests.poller.conftest import JOB
from tests.support.watch import Watch, watching


def moment_ms(text: str) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def asked(since: str, now: str) -> list[tuple[str, str]]:
    return [(start.isoformat(), end.isoformat()) for start, end in windows(moment_ms(since), moment_ms(now))]


def test_a_day_of_margin_at_both_ends() -> None:
    assert asked("2025-03-10T04:00", "2025-03-10T05:00") == [("2025-03-09", "2025-03-11")]


def test_days_are_those_of_the_service() -> None:
    assert asked("2025-03-10T15:59", "2025-03-10T16:00") == [("2025-03-09", "2025-03-12")]


def test_thirty_days_take_two_requests() -> None:
    assert asked("2025-02-08T04:00", "2025-03-10T04:00") == [
        ("2025-02-07", "2025-02-10"),
        ("2025-02-10", "2025-03-11"),
    ]


def test_the_last_stretch_is_the_longest_so_that_the_newest_come_with_the_first_request() -> None:
    stretches = windows(moment_ms("2024-10-10T04:00"), moment_ms("2025-03-10T04:00"))
    lengths = [(end - start).days for start, end in stretches]
    assert lengths[1:] == [29] * (len(lengths) - 1)
    assert 0 < lengths[0] <= 29


@given(st.integers(0, 400 * 86_400_000), st.integers(0, 400 * 86_400_000))
def test_stretches_are_short_enough_and_share_a_day(first: int, second: int) -> None:
    base = moment_ms("2025-01-01T00:00")
    since_ms, now_ms = sorted((base + first, base + second))
    stretches = list(windows(since_ms, now_ms))
    assert all(timedelta(0) < end - start < timedelta(days=30) for start, end in stretches)
    assert all(earlier[1] == later[0] for earlier, later in pairwise(stretches))


@pytest.mark.parametrize("end", ["inclusive", "exclusive"])
def test_no_build_falls_between_two_windows(fleet: Fleet, end: str) -> None:
    now_ms = fleet.clock.now_ms()
    for hours in range(29 * 24, 0, -6):
        fleet.add_build(JOB, at_ms=now_ms - hours * 3_600_000)
    with watching(fleet) as watch:
        if end == "exclusive":
            watch.simulator.faults.add(fault("exclusive-end"))
        watch.poll()
        ledger = watch.poller.view.jobs[0].ledger
        assert ledger
        assert (len(ledger.runs), ledger.open, ledger.highest) == (1, {}, 116)
        assert watch.value("last_build_number") == 116


def test_the_service_never_finds_a_range_too_long(simulator: Simulator, watch: Watch) -> None:
    watch.poll(times=2)
    simulator.faults.add(fault("error", status=503))
    watch.poll(after=45 * 86_400)
    simulator.faults.clear()
    watch.poll()
    assert watch.value("job_up") == 1
    assert {exchange.status for exchange in watch.asked("period-history")} == {200, 503}


def test_a_ledger_from_the_future_does_not_keep_history_from_being_read(fleet: Fleet, watch: Watch) -> None:
    watch.poll()
    ahead = watch.clock.now_ms() + 3 * 86_400_000
    asked = len(watch.asked("period-history"))
    for job in watch.poller._watchlist.states.values():
        assert job.ledger
        job.ledger = replace(job.ledger, polled_ms=ahead)
    fleet.add_build(JOB)
    watch.poll()
    assert len(watch.asked("period-history")) > asked
