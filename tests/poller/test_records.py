"""Details of many builds from records: only while they agree exactly with record-info."""

import pytest
from structlog.testing import capture_logs

from exporter.simulator import Fault, Fleet, Simulator, fault
from exporter.store import MemoryStore
from tests.poller.conftest import JOB
from tests.support.records import DIFFERENCES, name_of
from tests.support.watch import HOUR, Watch, watching

DISAGREES = "disagrees_with_record_info"
MISSED = 500


def miss_builds(fleet: Fleet, watch: Watch, builds: int = MISSED) -> None:
    """Let builds pass by, between two polls."""
    watch.clock.advance(HOUR)
    for _ in range(builds):
        fleet.add_build(JOB, queue_s=1.5, duration_s=2.068)
    watch.clock.advance(HOUR)
    watch.simulator.reset_counts()


def durations(watch: Watch) -> tuple[float | None, float | None, float | None, float | None]:
    """Sums and counts of durations and queue times."""
    return (
        watch.value("duration_seconds_sum", result="success"),
        watch.value("duration_seconds_count", result="success"),
        watch.value("queue_duration_seconds_sum"),
        watch.value("queue_duration_seconds_count"),
    )


def ended_uses(watch: Watch) -> float | None:
    return watch.value("exporter_payload_errors_total", operation="records", reason=DISAGREES)


def test_missed_builds_are_counted_to_the_millisecond_at_a_hundred_a_request(
    fleet: Fleet, watch: Watch
) -> None:
    fleet.add_build(JOB)
    watch.poll()
    miss_builds(fleet, watch)
    watch.poll(times=2)
    assert watch.counted() == {"success": MISSED}
    assert durations(watch) == pytest.approx((MISSED * 2.068, MISSED, MISSED * 1.5, MISSED), abs=1e-9)
    assert len(watch.asked("record-info")) <= 5
    assert len(watch.asked("records")) <= MISSED // 100 + 1


def test_few_builds_go_by_record_info_alone(fleet: Fleet, watch: Watch) -> None:
    watch.poll()
    miss_builds(fleet, watch, builds=4)
    watch.poll()
    assert watch.counted() == {"success": 4}
    assert (len(watch.asked("record-info")), watch.asked("records")) == (4, [])


def test_builds_that_passed_before_the_first_poll_come_from_records_too(fleet: Fleet) -> None:
    store = MemoryStore()
    with watching(fleet, store=store) as watch:
        watch.begin()
        miss_builds(fleet, watch, builds=200)
        watch.poll()
        assert watch.counted() == {"success": 200}
        assert len(watch.asked("record-info")) <= 5


@pytest.mark.parametrize(
    "trouble",
    DIFFERENCES,
    ids=name_of,
)
def test_a_difference_of_records_is_counted_logged_and_ends_their_use(
    fleet: Fleet, watch: Watch, simulator: Simulator, trouble: Fault
) -> None:
    simulator.faults.add(trouble)
    watch.poll()
    miss_builds(fleet, watch, builds=120)
    with capture_logs() as logs:
        watch.poll(times=2)
    assert watch.counted() == {"success": 120}
    assert durations(watch) == pytest.approx((120 * 2.068, 120, 180, 120), abs=1e-9)
    assert ended_uses(watch)
    events = [entry for entry in logs if entry["event"] == "records_not_used"]
    assert [entry["reason"] for entry in events] == [DISAGREES]
    simulator.faults.clear()
    miss_builds(fleet, watch, builds=20)
    watch.poll()
    assert watch.asked("records") == []
    assert watch.counted() == {"success": 140}


def test_records_that_begin_to_differ_later_are_caught_in_the_next_answer(
    fleet: Fleet, watch: Watch, simulator: Simulator
) -> None:
    watch.poll()
    miss_builds(fleet, watch, builds=120)
    watch.poll(times=2)
    assert ended_uses(watch) is None
    simulator.faults.add(fault("disagreement", operation="records", seconds=7))
    miss_builds(fleet, watch, builds=120)
    watch.poll(times=2)
    assert ended_uses(watch)
    assert watch.counted() == {"success": 240}
    assert durations(watch) == pytest.approx((240 * 2.068, 240, 360, 240), abs=1e-9)


def test_a_record_that_history_contradicts_is_compared_before_any_is_used(
    fleet: Fleet, watch: Watch, simulator: Simulator
) -> None:
    simulator.faults.add(fault("disagreement", operation="records", field="result", numbers=[60]))
    watch.poll()
    miss_builds(fleet, watch, builds=120)
    watch.poll(times=2)
    assert watch.counted() == {"success": 120}
    assert ended_uses(watch)


def test_records_with_whole_seconds_and_no_durations_are_never_used(
    fleet: Fleet, watch: Watch, simulator: Simulator
) -> None:
    simulator.faults.add(fault("zero-durations"), fault("whole-seconds"))
    watch.poll()
    miss_builds(fleet, watch, builds=120)
    with capture_logs() as logs:
        watch.poll(times=2)
    assert durations(watch)[:2] == pytest.approx((120 * 2.068, 120), abs=1e-9)
    assert len(watch.asked("record-info")) == 120
    assert [entry["reason"] for entry in logs if entry["event"] == "records_not_used"] == ["imprecise"]


def test_refused_records_are_asked_for_once(fleet: Fleet, watch: Watch, simulator: Simulator) -> None:
    simulator.faults.add(fault("error", operation="records", status=403, code="CB.00031007"))
    watch.poll()
    miss_builds(fleet, watch, builds=120)
    with capture_logs() as logs:
        watch.poll(times=2)
    assert watch.counted() == {"success": 120}
    assert len(watch.asked("records")) == 1
    assert [entry["reason"] for entry in logs if entry["event"] == "records_not_used"] == ["refused"]


@pytest.mark.parametrize(
    "trouble",
    [
        fault("error", operation="records", status=500),
        fault("html", operation="records"),
        fault("no-records", operation="records"),
        fault("garbage-records", operation="records", replace=True),
        fault("late-records", operation="records", seconds=9_999_999),
        fault("order", operation="records", by="random"),
        fault("order", operation="records", by="ascending"),
        fault("record-offset", operation="records"),
        fault("wrong-total", operation="records", value=-1),
        fault("records-dates", hours=0, by="finished"),
        fault("null-fields", operation="records", fields=["start_time"]),
    ],
    ids=lambda trouble: f"{trouble.kind} {trouble.options}",
)
def test_whatever_records_tell_each_build_is_counted_once_and_exactly(
    fleet: Fleet, watch: Watch, simulator: Simulator, trouble: Fault
) -> None:
    simulator.faults.add(trouble)
    watch.poll()
    miss_builds(fleet, watch, builds=110)
    watch.poll(times=3)
    assert watch.counted() == {"success": 110}
    assert durations(watch) == pytest.approx((110 * 2.068, 110, 165, 110), abs=1e-9)
    assert watch.value("lost_builds_total") == 0
