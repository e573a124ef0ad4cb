"""A plan is made once, so temporary errors must not affect it."""

from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path

import pytest

from exporter.backfill import Download, Notices, Selection
from exporter.backfill.plan import PastJob, Period
from exporter.backfill.plan_builder import make_plan, unnamed, watched_jobs
from exporter.errors import ApiError, BackfillError, ThrottledError
from exporter.model import Build, Job
from exporter.simulator import Fleet, Simulator, fault
from tests.backfill.conftest import DAY_MS, HOUR_MS, NOON_MS, Past
from tests.backfill.test_command import refused
from tests.cli.conftest import run, started
from tests.support.programs import free_port


@pytest.fixture
def past(past: Past, fleet: Fleet) -> Past:
    [job] = fleet.jobs()
    fleet.add_build(job.id, at_ms=NOON_MS - HOUR_MS, duration_s=5)
    return past


def watched(past: Past) -> tuple[Job, ...]:
    client = past.client()
    client.sleep = lambda _: None
    return watched_jobs(past.config, client, Notices(past.said.append), sleep=lambda _: None)


def of_project(past: Past) -> Past:
    """The same fleet, watched as a project."""
    project = past.simulator.fleet.project_id("shop")
    return Past(past.simulator, past.folder, watched=f"projects: [{{id: {project}}}]")


RECHECK = "some lists are empty or incomplete: requesting them again"


@pytest.mark.parametrize("operation", ["job-list", "project-job-list", "projects"])
@pytest.mark.parametrize(("kind", "said"), [("throttle", []), ("empty-list", [RECHECK])])
def test_temporary_errors_lose_no_name(
    past: Past, simulator: Simulator, operation: str, kind: str, said: list[str]
) -> None:
    past = past if operation == "job-list" else of_project(past)
    trouble = fault(kind, operation=operation, times=1)
    simulator.faults.replace([trouble])
    [job] = watched(past)
    assert (job.project, job.name) == ("shop", "checkout")
    assert (trouble.fired, past.said) == (1, said)


def test_a_lasting_error_is_raised(past: Past, simulator: Simulator) -> None:
    simulator.faults.replace([fault("error", operation="projects")])
    with pytest.raises(ApiError):
        watched(of_project(past))


def test_a_service_that_has_never_answered_is_reported_with_a_remedy(
    past: Past, simulator: Simulator
) -> None:
    simulator.faults.replace([fault("html", status=403)])
    with pytest.raises(ApiError):
        watched(past)
    assert past.said[0].endswith(": retrying in 2 s; check-config --online says what to do")


def test_an_end_in_the_future_becomes_now(past: Past) -> None:
    make_plan(past.config, Selection("1000d", "2099-01-01", ()), past.client(), Notices(past.said.append))
    assert "--end=2099-01-01 is in the future: the backfill ends now" in past.said


@pytest.mark.parametrize(("operation", "what"), [("job-list", "all jobs"), ("projects", "projects")])
def test_refused_names_are_reported(past: Past, simulator: Simulator, operation: str, what: str) -> None:
    simulator.faults.replace([fault("error", operation=operation, status=403, code="CB.00031059")])
    past = of_project(past) if operation == "projects" else past
    jobs = watched(past)
    assert past.said == [f"the list of {what} is refused: HTTP 403 CB.00031059 Internal error."]
    [line] = {line for line in unnamed(jobs) if "project is" in line}
    assert jobs[0].id in line


def test_an_incomplete_list_is_reported(past: Past, simulator: Simulator) -> None:
    simulator.faults.replace([fault("wrong-total", operation="job-list", value=50)])
    watched(past)
    assert past.said == [RECHECK, "the list of all jobs has 1 of 50 jobs"]


def test_an_incomplete_project_list_is_requested_again(past: Past, simulator: Simulator) -> None:
    past = of_project(past)
    short = fault("wrong-total", operation="project-job-list", value=50, times=2)
    simulator.faults.replace([short])
    assert [job.name for job in watched(past)] == ["checkout"]
    assert (short.fired, past.said) == (2, [RECHECK])


def test_an_incomplete_project_list_is_accepted_if_it_is_the_same_twice(
    past: Past, simulator: Simulator
) -> None:
    past = of_project(past)
    simulator.faults.replace([fault("wrong-total", operation="project-job-list", value=50)])
    assert [job.name for job in watched(past)] == ["checkout"]
    [recheck, incomplete] = past.said
    assert (recheck, incomplete.endswith("has 1 of 50 jobs")) == (RECHECK, True)


def test_an_incomplete_project_list_that_differs_each_time_is_an_error(
    past: Past, simulator: Simulator, fleet: Fleet
) -> None:
    past = of_project(past)
    simulator.faults.replace([fault("wrong-total", operation="project-job-list", value=50)])

    def meanwhile(_: float) -> None:
        fleet.add_job("late", "shop")

    with pytest.raises(BackfillError, match="has 2 of 50 jobs, and other jobs than before"):
        watched_jobs(past.config, past.client(), Notices(past.said.append), meanwhile)


def test_empty_lists_are_reported_once(past: Past, fleet: Fleet) -> None:
    projects = [fleet.project_id(name) for name in ("shop", "bank", "park")]
    listed = ", ".join(f"{{id: {project}}}" for project in projects)
    past = Past(past.simulator, past.folder, watched=f"projects: [{listed}]")
    assert len(watched(past)) == 1
    assert past.said == [
        RECHECK,
        *(f"project {project} has no job to watch" for project in projects[1:]),
    ]


class TestAllProjects:
    @staticmethod
    def of_all(past: Past, rules: str = "") -> Past:
        """The same fleet, all of it watched."""
        return Past(past.simulator, past.folder, watched=f"projects: [{{id: all{rules}}}]")

    def test_their_jobs_come_from_one_list(self, past: Past, simulator: Simulator, fleet: Fleet) -> None:
        fleet.add_job("transfer", "bank")
        fleet.add_job("transfer-tmp", "bank")
        jobs = watched(self.of_all(past, ", exclude: ['.*-tmp']"))
        assert {(job.name, job.project) for job in jobs} == {("checkout", "shop"), ("transfer", "bank")}
        assert [exchange.operation for exchange in simulator.requests] == ["job-list"]

    def test_a_refused_list_is_an_error(self, past: Past, simulator: Simulator) -> None:
        simulator.faults.replace([fault("error", operation="job-list", status=403, code="CB.00031059")])
        with pytest.raises(ApiError):
            watched(self.of_all(past))

    def test_an_incomplete_list_that_differs_each_time_is_an_error(
        self, past: Past, simulator: Simulator, fleet: Fleet
    ) -> None:
        past = self.of_all(past)
        simulator.faults.replace([fault("wrong-total", operation="job-list", value=50)])

        def meanwhile(_: float) -> None:
            fleet.add_job("late", "shop")

        with pytest.raises(
            BackfillError, match="list of all jobs has 2 of 50 jobs, and other jobs than before"
        ):
            watched_jobs(past.config, past.client(), Notices(past.said.append), meanwhile)

    def test_that_none_matches_is_said(self, past: Past) -> None:
        past = self.of_all(past, ", include: [x]")
        assert watched(past) == ()
        assert past.said == ["`all` under projects: finds no job to watch"]


@pytest.fixture
def config(past: Past, tmp_path: Path) -> Callable[[str], Path]:
    def written(watched: str) -> Path:
        path = tmp_path / "config.yaml"
        path.write_text(
            f"endpoint: {past.simulator.url}\nauth: {{token: {past.simulator.credentials.tokens[0]}}}\n"
            f"poll: {{max_requests_per_minute: 100000}}\n{watched}"
        )
        return path

    return written


def test_a_plan_without_jobs_is_not_stored(
    config: Callable[[str], Path], fleet: Fleet, simulator: Simulator, tmp_path: Path
) -> None:
    path = config(f"projects: [{{id: {fleet.project_id('shop')}}}]\n")
    command = ["backfill", f"--config.file={path}", f"--output={tmp_path / 'out'}", "--start=2025-03-09"]
    command += ["--end=2025-03-10", "--step=1h"]
    simulator.faults.replace([fault("empty-list", operation="project-job-list")])
    done = run(*command)
    refused(done, 1, "no job is left to backfill")
    assert "has no job to watch" in done.err
    simulator.faults.replace([])
    done = run(*command)
    assert done.code == 0, done.err
    assert "looking up the jobs and their names" in done.err
    assert list((tmp_path / "out").glob("*.om"))
    again = run(*command)
    assert "resuming the backfill begun " in again.err
    assert f"remove {tmp_path / 'out' / 'backfill.db'} to start over" in again.err


def test_an_unreachable_endpoint_is_reported(fleet: Fleet, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(
        f"endpoint: http://127.0.0.1:{free_port()}\nauth: {{token: made-up}}\njobs: [{'a' * 32}]\n"
    )
    flags = (f"--config.file={path}", f"--output={tmp_path / 'out'}")
    with started("backfill", *flags, log=tmp_path / "log") as running:
        running.says("looking up the jobs and their names")
        running.says("retrying in 2 s")


def test_lasting_throttling_is_reported(
    config: Callable[[str], Path], fleet: Fleet, simulator: Simulator, tmp_path: Path
) -> None:
    path = config(f"projects: [{{id: {fleet.project_id('shop')}}}]\n")
    simulator.faults.replace([fault("throttle", announce=False)])
    flags = (f"--config.file={path}", f"--output={tmp_path / 'out'}")
    with started("backfill", *flags, log=tmp_path / "log") as running:
        line = running.says("throttled (", within=30)
        assert line.startswith("throttled (HTTP 429 ")
        assert line.endswith("): waiting")


def test_an_unreachable_receiver_is_reported(
    config: Callable[[str], Path], fleet: Fleet, tmp_path: Path
) -> None:
    path = config(f"projects: [{{id: {fleet.project_id('shop')}}}]\n")
    to = f"--remote-write=http://127.0.0.1:{free_port()}/"
    flags = (f"--config.file={path}", to, f"--spool={tmp_path / 'spool'}", "--start=2025-03-09")
    with started("backfill", *flags, "--end=2025-03-10", log=tmp_path / "log") as running:
        running.says("remote write: no answer (ConnectionError): retrying in 1 s")


def test_unreadable_records_are_reported_in_every_run(
    config: Callable[[str], Path], fleet: Fleet, simulator: Simulator, tmp_path: Path
) -> None:
    [job] = fleet.jobs()
    path = config(f"jobs: [{job.id}]\n")
    garbage = fault("garbage-records", operation="period-history", items=[7], times=1)
    simulator.faults.replace([garbage, fault("withdrawn", operation="records")])
    command = ["backfill", f"--config.file={path}", f"--output={tmp_path / 'out'}", "--start=2025-03-09"]
    for _ in range(2):
        done = run(*command, "--end=2025-03-10", "--step=1h")
        assert done.code == 0, done.err
        assert "1 record in histories cannot be read" in done.err


def test_an_unreadable_record_counts_once_although_its_window_is_fetched_twice(
    past: Past, fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, asked = past.client(), []

    def stuttering(
        _: str, first: date, __: date, *, on_faults: Callable[[Sequence[str]], object]
    ) -> tuple[Build, ...]:
        on_faults(["bad_build_number", "bad_time"])
        asked.append(first)
        if len(asked) == 1:
            raise ThrottledError("slow down")
        return ()

    monkeypatch.setattr(client, "period_history", stuttering)
    [job] = watched(past)
    day = Period(NOON_MS - DAY_MS, NOON_MS, HOUR_MS)
    with past.spool() as spool:
        download = Download([PastJob(job, NOON_MS)], day, day.start_ms, spool, Notices(past.said.append))
        assert len(download.windows()) == 1
        next(download.fetch_histories(client, 1))
    with past.spool() as spool:
        assert (len(asked), spool.unreadable()) == (2, 1)
