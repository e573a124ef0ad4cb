"""Endpoints that are withdrawn, and come back: each build is counted once all the while."""

from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from exporter.api.endpoint_fallback import HISTORY
from exporter.errors import ApiError
from exporter.simulator import Fault, Fleet, Simulator, fault
from exporter.store import SqliteStore
from tests.poller.conftest import JOB
from tests.support.watch import HOUR, MINUTE, Watch, watching

OPERATIONS = ("period-history", "record-info")
NEWER = {"period-history": "records", "record-info": "record-info-v1"}
WITHDRAWN = (
    fault("withdrawn"),
    fault("withdrawn", status=410),
    fault("withdrawn", status=404, code=None),
    fault("withdrawn", status=410, code=None),
)


def withdraw(simulator: Simulator, *operations: str, like: Fault = WITHDRAWN[0]) -> None:
    status, code = like.options["status"], like.options["code"]
    simulator.faults.replace(
        [fault("withdrawn", operation=each, status=status, code=code) for each in operations]
    )


def sources(watch: Watch) -> dict[str, str]:
    """The endpoints in use, by operation."""
    shown = watch.series("codearts_build_exporter_api_source")
    assert set(shown.values()) == {1}
    return {dict(labels)["operation"]: dict(labels)["endpoint"] for labels in shown}


def events(logs: Sequence[Mapping[str, object]]) -> list[tuple[object, object]]:
    return [(entry["event"], entry["endpoint"]) for entry in logs if "endpoint" in entry]


def test_a_build_that_no_endpoint_knows_does_not_delay_the_newer_one(
    fleet: Fleet, watch: Watch, simulator: Simulator
) -> None:
    fleet.add_build(JOB)
    watch.poll(times=2)
    lost, known = (fleet.add_build(JOB).number for _ in range(2))
    watch.clock.advance(HOUR)
    simulator.faults.replace(
        [fault("withdrawn", operation="record-info"), fault("lost-records", numbers=[lost])]
    )
    for _ in range(4):
        with pytest.raises(ApiError):
            watch.client.record_info(JOB, lost)
    assert watch.client.record_info(JOB, known).number == known


@pytest.mark.parametrize("operations", [OPERATIONS[:1], OPERATIONS[1:], OPERATIONS], ids="-".join)
@pytest.mark.parametrize(
    "like", WITHDRAWN, ids=lambda each: f"{each.options['status']} {each.options['code']}"
)
def test_a_withdrawn_endpoint_is_replaced_until_it_is_back(
    fleet: Fleet, watch: Watch, simulator: Simulator, operations: tuple[str, ...], like: Fault
) -> None:
    fleet.add_build(JOB)
    watch.poll(times=2)
    withdraw(simulator, *operations, like=like)
    with capture_logs() as logs:
        for _ in range(5):
            fleet.add_build(JOB, queue_s=1.5, duration_s=2.068)
            watch.poll(after=5 * MINUTE)
    assert watch.counted() == {"success": 5}
    assert watch.value("duration_seconds_sum", result="success") == pytest.approx(5 * 2.068)
    assert watch.value("queue_duration_seconds_sum") == pytest.approx(5 * 1.5)
    assert watch.value("job_up") == watch.value("up") == 1
    in_use = {"period-history": "v1/records", "record-info": "v1/record-info"}
    older = {"period-history": "v3/period-history", "record-info": "v4/record-info"}
    assert sources(watch) == older | {each: in_use[each] for each in operations}
    assert events(logs) == [("endpoint_withdrawn", older[each]) for each in operations]
    simulator.faults.clear()
    with capture_logs() as logs:
        for _ in range(8):
            fleet.add_build(JOB, queue_s=1.5, duration_s=2.068)
            watch.poll(after=10 * MINUTE)
    assert watch.counted() == {"success": 13}
    assert sources(watch) == older
    assert events(logs) == [("endpoint_restored", older[each]) for each in operations]
    simulator.reset_counts()
    fleet.add_build(JOB)
    watch.poll(times=2)
    assert not any(watch.asked(NEWER[each]) for each in operations)


def test_a_withdrawn_endpoint_is_tried_now_and_then(fleet: Fleet, watch: Watch, simulator: Simulator) -> None:
    watch.poll()
    withdraw(simulator, *OPERATIONS)
    fleet.add_build(JOB)
    watch.poll(times=2)
    simulator.reset_counts()
    watch.poll_for(24 * HOUR, every=10 * MINUTE)
    assert 20 <= len(watch.asked("period-history")) <= 32


def test_a_restart_while_endpoints_are_withdrawn_loses_no_build(fleet: Fleet, tmp_path: Path) -> None:
    with closing(SqliteStore(str(tmp_path / "state.db"))) as store:
        with watching(fleet, store=store) as watch:
            fleet.add_build(JOB)
            watch.poll(times=2)
            for _ in range(7):
                fleet.add_build(JOB, duration_s=1)
        with watching(fleet, store=store) as restarted:
            withdraw(restarted.simulator, *OPERATIONS)
            restarted.simulator.faults.add(
                fault("error", operation="job-list", status=403, code="CB.00031007")
            )
            restarted.poll(times=3)
            assert restarted.counted() == {"success": 7}


def test_a_start_while_endpoints_are_withdrawn_needs_no_other_request_that_succeeds(fleet: Fleet) -> None:
    with watching(fleet, settings="recycle_bin: {enabled: false}") as watch:
        withdraw(watch.simulator, *OPERATIONS)
        watch.simulator.faults.add(fault("error", operation="job-list", status=403, code="CB.00031007"))
        watch.poll(times=3)
        fleet.add_build(JOB, duration_s=1)
        watch.poll(times=3)
        assert watch.counted(JOB) == {"success": 1}


def test_a_job_whose_newest_build_is_denied_goes_on_with_its_next(fleet: Fleet) -> None:
    fleet.add_job("other")
    for job in (*fleet.jobs(), *fleet.jobs()):
        fleet.add_build(job.id, duration_s=1)
    with watching(fleet) as watch:
        watch.poll()
        withdraw(watch.simulator, *OPERATIONS)
        watch.simulator.faults.add(
            fault("error", operation=("job-list", "project-job-list"), status=403, code="CB.00031007"),
            fault("lost-records", job=JOB, numbers=(2,), operation="record-info-v1"),
        )
        watch.client.sources.build_projects.clear()
        watch.poll_for(HOUR)
        fleet.add_build(JOB, duration_s=1)
        watch.poll_for(HOUR)
        counted = {
            view.job.id: sum(view.ledger.counts.values()) for view in watch.poller.view.jobs if view.ledger
        }
        assert counted[JOB] == 1


def test_the_404_of_one_job_is_about_that_job(fleet: Fleet, watch: Watch, simulator: Simulator) -> None:
    other = fleet.add_job("payment", "shop").id
    with watching(fleet) as watch:
        refusal = fault("error", operation="period-history", job=other, status=404, code="DEVCB.00031006")
        watch.simulator.faults.add(refusal)
        fleet.add_build(JOB)
        for _ in range(30):
            watch.poll(after=5 * MINUTE)
        assert sources(watch)["period-history"] == "v3/period-history"
        assert watch.asked("records") == []
        assert watch.value("job_up", job_name="payment") == 0


def test_404_for_every_job_is_a_withdrawal_in_the_service_s_own_words_too(fleet: Fleet) -> None:
    jobs = [JOB, *(fleet.add_job(f"job-{ordinal}", "shop").id for ordinal in range(4))]
    with watching(fleet) as watch:
        watch.poll()
        refusal = fault("error", operation="period-history", status=404, code="DEVCB.00031006")
        watch.simulator.faults.add(refusal)
        for _ in range(3):
            for job_id in jobs:
                fleet.add_build(job_id)
            watch.poll(times=3)
        assert watch.counted("job-2") == {"success": 3}
        assert sources(watch)["period-history"] == "v1/records"


def test_no_withdrawal_waits_for_a_job_that_a_reload_has_removed(fleet: Fleet) -> None:
    other = fleet.add_job("other")
    for job in fleet.jobs():
        fleet.add_build(job.id)
    with watching(fleet) as before:
        before.poll(times=2)
        with watching(fleet, jobs=[JOB]) as watch:
            sources = watch.client.sources = before.client.sources
            assert sources.endpoints[HISTORY]._asked == {JOB, other.id}
            watch._start(watch.store, real_time=False, before=before.poller)
            assert sources.endpoints[HISTORY]._asked == {JOB}
            assert other.id not in sources.listed_builds


def test_a_wrong_endpoint_is_no_withdrawal(fleet: Fleet, watch: Watch, simulator: Simulator) -> None:
    simulator.faults.add(fault("withdrawn"))
    watch.poll(times=5)
    assert sources(watch)["period-history"] == "v3/period-history"
    assert watch.value("up") == 0
    assert watch.asked("records") == watch.asked("record-info-v1") == []


def test_builds_stay_exact_while_records_disagree_and_endpoints_go_and_return(
    fleet: Fleet, watch: Watch, simulator: Simulator
) -> None:
    watch.poll()
    lie = fault("disagreement", operation="records", field="duration", seconds=9)
    for step in range(8):
        gone = [fault("withdrawn", operation=each) for each in OPERATIONS[: step % 3]]
        simulator.faults.replace([lie, *gone])
        for _ in range(12):
            fleet.add_build(JOB, queue_s=1.5, duration_s=2.068)
        watch.poll(after=2 * MINUTE, times=6)
    simulator.faults.clear()
    watch.poll_for(3 * HOUR, every=10 * MINUTE)
    assert watch.counted() == {"success": 96}
    assert watch.value("duration_seconds_sum", result="success") == pytest.approx(96 * 2.068)
    assert watch.value("queue_duration_seconds_sum") == pytest.approx(96 * 1.5)
    assert watch.value("lost_builds_total") == 0
