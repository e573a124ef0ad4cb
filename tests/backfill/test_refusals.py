"""Refusals of everything are about the credentials: nothing of them is kept."""

import pytest

from exporter.backfill import Notices, Period
from exporter.backfill.refusals import Refusals
from exporter.errors import BackfillError, NotVisibleError
from exporter.simulator import Fault, Fleet, Simulator, fault
from tests.backfill.conftest import DAY_MS, HOUR_MS, NOON_MS, Past, series_of

DAY = Period(NOON_MS - DAY_MS, NOON_MS, HOUR_MS)
PAGE = "<html>You shall not pass.</html>"


@pytest.fixture
def past(past: Past, fleet: Fleet) -> Past:
    [job] = fleet.jobs()
    for hours in (5, 4, 3):
        fleet.add_build(job.id, at_ms=NOON_MS - hours * HOUR_MS, queue_s=10, duration_s=60)
    return Past(past.simulator, past.folder, "metrics: {stages: true}\n")


@pytest.mark.parametrize(
    ("refusal", "text"),
    [
        (fault("error", operation="record-info", status=403, code="CB.00031059"), "details (record-info)"),
        (fault("body", operation="record-info", status=403, text=PAGE), "--no-details goes without"),
        (fault("error", operation="full-stages", status=403, code="CB.00031059"), "stages (full-stages)"),
    ],
)
def test_what_is_refused_throughout_is_asked_for_again(
    past: Past, simulator: Simulator, refusal: Fault, text: str
) -> None:
    simulator.faults.replace([refusal])
    for _ in range(2):
        with pytest.raises(BackfillError, match="every question was refused") as told:
            past.collect(DAY)
        assert text in str(told.value)
    simulator.faults.replace([])
    shown = past.shown(DAY)
    assert series_of(shown, "queue_duration_seconds_count")[NOON_MS / 1000] == 3
    assert any("stage" in name for name, _ in shown)


def test_a_number_after_the_newest_build_may_be_refused_alone(
    past: Past, fleet: Fleet, simulator: Simulator
) -> None:
    quiet = fleet.add_job("quiet")
    fleet.add_build(quiet.id, at_ms=DAY.start_ms - DAY_MS, duration_s=5)
    past = Past(simulator, past.folder, watched=f"jobs: [{quiet.id}]")
    shown = past.shown(DAY)
    assert {asked.operation for asked in simulator.requests} >= {"record-info"}
    assert series_of(shown, "builds_total", result="success")[NOON_MS / 1000] == 0


def test_few_refusals_after_a_run_with_answers_are_about_builds() -> None:
    entries = [("job", number, None) for number in range(1, 25)]
    said: list[str] = []
    for refused, is_believed in ((19, True), (20, False)):
        held = Refusals[int](
            "details", "do without", was_answered=True, real=lambda some: some, notices=Notices(said.append)
        )
        for entry in entries[:refused]:
            assert held.sifted(entry, NotVisibleError("HTTP 404")) == []
        if is_believed:
            assert held.believed() == entries[:refused]
        else:
            with pytest.raises(BackfillError):
                held.believed()
    assert said == ["details: nothing but refusals so far: HTTP 404"]


def test_an_answer_lets_go_of_what_was_refused_before() -> None:
    held = Refusals[int](
        "details", "do without", was_answered=False, real=lambda some: some, notices=Notices(lambda _: None)
    )
    assert held.sifted(("job", 1, None), NotVisibleError("HTTP 404")) == []
    assert held.sifted(("job", 2, 7), None) == [("job", 1, None), ("job", 2, 7)]
    assert held.sifted(("job", 3, None), NotVisibleError("HTTP 404")) == [("job", 3, None)]
    assert held.believed() == []
