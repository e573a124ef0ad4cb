"""If everything is refused, the credentials are to blame: nothing is stored."""

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from exporter.api.client import ApiClient
from exporter.backfill import Download, Notices, Spool
from exporter.backfill import download as download_module
from exporter.backfill.fetch_with_retries import Reply
from exporter.backfill.plan import PastJob, Period
from exporter.backfill.plan_builder import watched_jobs
from exporter.backfill.refusal_filter import RefusalFilter
from exporter.errors import BackendError, BackfillError, NotVisibleError
from exporter.simulator import Fault, Fleet, Simulator, fault
from tests.backfill.conftest import DAY_MS, HOUR_MS, NOON_MS, Past, series_of

DAY = Period(NOON_MS - DAY_MS, NOON_MS, HOUR_MS)


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
        (fault("error", operation="full-stages", status=403, code="CB.00031059"), "stages (full-stages)"),
    ],
)
def test_requests_that_are_all_refused_are_repeated_in_the_next_run(
    past: Past, simulator: Simulator, refusal: Fault, text: str
) -> None:
    simulator.faults.replace([refusal])
    for _ in range(2):
        with pytest.raises(BackfillError, match="every request was refused") as error:
            past.collect(DAY)
        assert text in str(error.value)
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
    assert {request.operation for request in simulator.requests} >= {"record-info"}
    assert series_of(shown, "builds_total", result="success")[NOON_MS / 1000] == 0


def held(*, exists: bool = True, succeeds: bool = False, said: list[str] | None = None) -> RefusalFilter[int]:
    return RefusalFilter[int](
        "details",
        "do without",
        exists=lambda *_: exists,
        recheck=lambda: succeeds,
        notices=Notices(([] if said is None else said).append),
    )


def entries(count: int) -> list[tuple[str, int, int | None]]:
    return [("job", number, None) for number in range(1, count + 1)]


@pytest.mark.parametrize("refused", [1, 25])
def test_a_recheck_decides_whether_refusals_are_accepted(refused: int) -> None:
    for succeeds in (True, False):
        refusals = held(succeeds=succeeds)
        for entry in entries(refused):
            assert refusals.add(entry, NotVisibleError("HTTP 404")) == []
        if succeeds:
            assert refusals.finish() == entries(refused)
        else:
            with pytest.raises(BackfillError, match="every request was refused") as error:
                refusals.finish()
            assert ("records of so few builds may be gone" in str(error.value)) == (refused == 1)
            assert "make the user a member" in str(error.value)


def test_only_refusals_of_existing_builds_are_reported_and_only_once() -> None:
    for exists, lines in ((True, ["details: nothing but refusals so far: HTTP 404"]), (False, [])):
        said: list[str] = []
        refusals = held(exists=exists, said=said, succeeds=exists)
        for entry in entries(50):
            refusals.add(entry, NotVisibleError("HTTP 404"))
        assert said == lines
        assert refusals.finish() == entries(50)


def test_a_success_releases_earlier_refusals() -> None:
    refusals = held()
    assert refusals.add(("job", 1, None), NotVisibleError("HTTP 404")) == []
    assert refusals.add(("job", 2, 7), None) == [("job", 1, None), ("job", 2, 7)]
    assert refusals.add(("job", 3, None), NotVisibleError("HTTP 404")) == [("job", 3, None)]
    assert refusals.finish() == []


BUILDS = 25


@pytest.fixture
def two(simulator: Simulator, fleet: Fleet, tmp_path: Path) -> Past:
    """Two jobs of so many builds."""
    jobs = [fleet.add_job(name) for name in ("open", "shut")]
    for job in jobs:
        for minutes in range(BUILDS):
            fleet.add_build(job.id, at_ms=NOON_MS - (BUILDS - minutes) * 60_000, duration_s=5)
    watched = f"jobs: [{', '.join(job.id for job in jobs)}]"
    return Past(simulator, tmp_path, "metrics: {stages: true}\n", watched=watched)


@contextmanager
def collecting(past: Past) -> Iterator[tuple[Download, ApiClient, Spool]]:
    """A run whose histories are here."""
    client, notices = past.client(), Notices(past.said.append)
    jobs = [PastJob(job, DAY.end_ms) for job in watched_jobs(past.config, client, notices)]
    with past.spool() as spool:
        download = Download(jobs, DAY, DAY.start_ms, spool, notices)
        list(download.fetch_histories(client, 1))
        yield download, client, spool


def stopped(answers: Generator[object], after: int) -> None:
    for _ in range(after):
        next(answers)
    answers.close()


def test_an_interrupted_run_with_a_refused_job_ends_like_an_uninterrupted_one(
    two: Past, simulator: Simulator
) -> None:
    shut = simulator.fleet.jobs()[-1]
    refusal = fault("error", operation="record-info", status=403, code="CB.00031059")
    simulator.faults.replace([replace(refusal, job=shut.id)])
    straight = replace(two, folder=two.folder / "straight")
    straight.folder.mkdir()
    expected = straight.shown(DAY)
    with collecting(two) as (download, client, spool):
        stopped(download.fetch_details(client, 1), after=BUILDS + 2)
        kept = spool.fingerprint()
        simulator.faults.replace([refusal])
        with pytest.raises(BackfillError, match="every request was refused"):
            list(download.fetch_details(client, 1))
        assert spool.fingerprint() == kept
    simulator.faults.replace([replace(refusal, job=shut.id)])
    assert two.shown(DAY) == expected


def test_an_interrupted_run_with_refused_stages_ends_like_an_uninterrupted_one(
    two: Past, simulator: Simulator
) -> None:
    refusal = fault("error", operation="full-stages", status=403, code="CB.00031059")
    with collecting(two) as (download, client, spool):
        list(download.fetch_details(client, 1))
        stopped(download.fetch_stages(client, 1), after=BUILDS)
        simulator.faults.replace([refusal])
        with pytest.raises(BackfillError, match="every request was refused"):
            list(download.fetch_stages(client, 1))
        assert spool.refused_stages() == 0
        simulator.faults.replace([replace(refusal, times=BUILDS)])
        list(download.fetch_stages(client, 1))
        assert spool.refused_stages() == BUILDS


def test_a_failed_recheck_stores_nothing(
    two: Past, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusal = fault("error", operation="full-stages", status=403, code="CB.00031059")
    with collecting(two) as (download, client, spool):
        list(download.fetch_details(client, 1))
        stopped(download.fetch_stages(client, 1), after=BUILDS)
        simulator.faults.replace([refusal])
        monkeypatch.setattr(
            download_module, "fetch_with_retries", lambda _, key, __: Reply(key, error=BackendError("busy"))
        )
        with pytest.raises(BackendError, match="busy"):
            list(download.fetch_stages(client, 1))
        assert spool.refused_stages() == 0


def test_an_html_page_instead_of_details_is_a_failure_and_retried_later(
    past: Past, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("exporter.backfill.fetch_with_retries._PAUSES_S", ())
    page = "<html>You shall not pass.</html>"
    simulator.faults.replace([fault("body", operation="record-info", status=403, text=page)])
    assert len(past.collect(DAY).failed) >= 3
    simulator.faults.replace([])
    shown = past.shown(DAY)
    assert series_of(shown, "queue_duration_seconds_count")[NOON_MS / 1000] == 3
