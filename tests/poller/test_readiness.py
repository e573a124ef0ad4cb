"""Readiness where projects are watched, and what log and gauge tell of a project that shows no job."""

from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from exporter.config import Config, parse
from exporter.errors import ApiError, BackendError, NotVisibleError, RejectedError
from exporter.model import JobNames, ListedJob
from exporter.poller.readiness import JOBS_REFUSED, Readiness, Refusals
from exporter.poller.tasks_and_results import (
    JOB_LISTS,
    RECYCLE_BIN,
    JobListsResult,
    Listing,
    TaskResult,
    Timer,
)
from exporter.poller.watchlist import Watchlist
from exporter.simulator import Fleet, fault
from tests.ledger.examples import idle
from tests.poller.test_sweeps import FORBIDDEN, TROUBLES, UNBOUNDED, fleet_of, requests
from tests.support.watch import MINUTE, Watch, watching

PROJECT, OTHER = "a" * 32, "b" * 32
JOB = "c" * 32
LISTS = ("job_list_refused", "job_list_allowed_again")
NOBODYS = "f" * 32
LARGE = 1201
"""More jobs than a list of all is read of at the first start."""


def of(fleet: Fleet, *more: str, name: str = "project-0") -> str:
    """Settings that watch one project of a fleet, and others."""
    return f"projects: [{', '.join((fleet.project_id(name), *more))}]"


def logged(lines: list[MutableMapping[str, Any]], *events: str) -> list[tuple[str, str, int | None]]:
    """Those events with the project they are of, and how many jobs its list has."""
    return [
        (line["event"], line["project_id"], line.get("listed")) for line in lines if line["event"] in events
    ]


def watched(watch: Watch) -> float | None:
    return watch.value("exporter_watched_jobs")


class TestTheFirstStart:
    def test_it_is_not_ready_while_no_list_was_answered_and_is_soon_after_one_was(self) -> None:
        fleet = fleet_of(4, projects=1)
        with watching(fleet, settings=of(fleet), jobs=[]) as watch:
            watch.simulator.faults.add(fault("error", status=503))
            for _ in range(20):
                watch.poll()
                assert not watch.poller.is_ready
            watch.simulator.faults.clear()
            watch.poll()
            assert (watch.poller.is_ready, watched(watch)) == (True, 4)

    def test_lists_that_are_refused_are_answered(self) -> None:
        fleet = fleet_of(4, projects=1)
        with watching(fleet, settings=of(fleet), jobs=[]) as watch:
            watch.simulator.faults.add(*TROUBLES["forbidden"])
            watch.poll()
            assert (watch.poller.is_ready, watched(watch)) == (True, 0)
            assert requests(watch)["project-job-list"] == 1

    def test_a_list_of_all_that_is_refused_does_not_answer_for_a_project(self) -> None:
        fleet = fleet_of(4, projects=1)
        with watching(fleet, settings=of(fleet), jobs=[]) as watch:
            watch.simulator.faults.add(
                fault("error", operation="job-list", status=403, code=FORBIDDEN),
                fault("error", operation="project-job-list", status=500),
            )
            watch.poll(times=2)
            assert not watch.poller.is_ready
            watch.simulator.faults.clear()
            watch.poll()
            assert watch.poller.is_ready

    def test_a_list_of_all_that_is_too_long_is_replaced_by_those_of_projects_at_once(self) -> None:
        fleet = fleet_of(LARGE, never_built=LARGE)
        with watching(fleet, settings=of(fleet), jobs=[], max_requests_per_minute=UNBOUNDED) as watch:
            watch.poll()
            assert (watch.poller.is_ready, watched(watch)) == (True, 301)
            assert requests(watch) == {"job-list": 1, "project-job-list": 4, "recycling-jobs": 1}

    def test_it_is_read_to_its_end_where_that_takes_fewer_requests(self) -> None:
        fleet = fleet_of(LARGE, never_built=LARGE, projects=20)
        others = [fleet.project_id(f"project-{ordinal}") for ordinal in range(1, 20)]
        settings = of(fleet, *others)
        with watching(fleet, settings=settings, jobs=[], max_requests_per_minute=UNBOUNDED) as watch:
            watch.poll()
            assert (watch.poller.is_ready, watched(watch)) == (True, LARGE)
            assert requests(watch) == {"job-list": 13, "recycling-jobs": 1}

    def test_a_project_that_is_refused_hides_no_job_of_another(self) -> None:
        fleet = fleet_of(LARGE, never_built=LARGE)
        settings = of(fleet, NOBODYS)
        with watching(fleet, settings=settings, jobs=[], max_requests_per_minute=UNBOUNDED) as watch:
            watch.poll()
            assert (watch.poller.is_ready, watched(watch)) == (True, 301)
            fleet.add_job("new", "project-0")
            watch.poll(times=2)
            assert watched(watch) == 302

    def test_it_is_not_ready_before_the_projects_lists_are_read(self) -> None:
        fleet = fleet_of(LARGE, never_built=LARGE)
        with watching(fleet, settings=of(fleet), jobs=[], max_requests_per_minute=UNBOUNDED) as watch:
            watch.simulator.faults.add(fault("error", operation="project-job-list", status=500))
            watch.poll(times=9)
            assert not watch.poller.is_ready
            watch.simulator.faults.clear()
            watch.poll()
            assert (watch.poller.is_ready, watched(watch)) == (True, 301)


class TestWhatAnswers:
    @pytest.fixture
    def config(self) -> Config:
        """Two projects are watched."""
        text = (
            "endpoint: http://localhost\nauth: {token: example-token}\n"
            f'projects: [{PROJECT}, {OTHER}]\nstate: {{path: ":memory:"}}\n'
        )
        return parse(text, source="test", environ={}, base_dir=Path())

    def swept(self, *listings: Listing, refused: tuple[str, ...] = ()) -> JobListsResult:
        return JobListsResult(listings, {each: NotVisibleError("403") for each in refused}, {}, {}, 0)

    def test_each_project_s_own_list_or_its_refusal(self, config: Config) -> None:
        readiness = Readiness(Watchlist(config))
        for sweep in (None, self.swept(), self.swept(refused=("",)), self.swept(Listing(PROJECT, {}))):
            readiness.lists_read(sweep)
            assert not readiness.is_ready
        readiness.lists_read(self.swept(refused=(OTHER,)))
        readiness.judge(refuses_everything=True)
        assert not readiness.is_ready
        readiness.judge(refuses_everything=False)
        assert readiness.is_ready

    def test_the_list_of_all_jobs_only_as_a_whole(self, config: Config) -> None:
        readiness = Readiness(Watchlist(config))
        readiness.lists_read(self.swept(Listing("", {JOB: ListedJob(JOB, JobNames())}, is_whole=False)))
        assert not readiness.is_ready
        readiness.lists_read(self.swept(Listing("", {})))
        assert readiness.is_ready

    def test_what_the_store_had_of_a_project_answers_for_that_one(self, config: Config) -> None:
        watchlist = Watchlist(config)
        watchlist.restore({JOB: JobNames("checkout", "shop", PROJECT)})
        watchlist.states[JOB].ledger = idle()
        readiness = Readiness(watchlist)
        assert not readiness.is_ready
        readiness.lists_read(self.swept(Listing(OTHER, {})))
        assert readiness.is_ready

    def test_refusals_while_everything_is_refused_answer_for_no_job(self, config: Config) -> None:
        watchlist = Watchlist(config)
        watchlist.restore({JOB: JobNames("checkout", "shop", PROJECT)})
        readiness = Readiness(watchlist)
        readiness.lists_read(self.swept(Listing("", {})))
        readiness.refused(JOB)
        readiness.judge(refuses_everything=True)
        readiness.judge(refuses_everything=False)
        assert not readiness.is_ready
        readiness.refused(JOB)
        readiness.judge(refuses_everything=False)
        assert readiness.is_ready

    def test_jobs_that_are_new_are_waited_for(self, config: Config) -> None:
        watchlist = Watchlist(config)
        readiness = Readiness(watchlist)
        readiness.lists_read(self.swept(Listing("", {})))
        readiness.wait_for([JOB])
        assert (readiness.is_ready, readiness.progress()) == (False, 1)
        readiness.answered([JOB])
        assert (readiness.is_ready, readiness.progress(), readiness.progress()) == (True, 0, None)


class TestTheLog:
    def test_a_project_without_a_job_to_watch_is_logged_once_until_that_changes(self) -> None:
        fleet = fleet_of(4, projects=2)
        project = fleet.project_id("project-0")
        settings = f'projects: [{{id: {project}, include: ["release-.*"]}}]'
        with watching(fleet, settings=settings, jobs=[]) as watch, capture_logs() as lines:
            watch.poll(times=3)
            assert watched(watch) == 0
            release = fleet.add_job("release-1", "project-0")
            watch.poll(times=12)
            assert watched(watch) == 1
            fleet.rename_job(release.id, "other")
            watch.poll(times=12)
        assert logged(lines, "project_shows_no_job", "project_shows_jobs") == [
            ("project_shows_no_job", project, 2),
            ("project_shows_jobs", project, 3),
            ("project_shows_no_job", project, 3),
        ]
        changes = [line for line in lines if line["event"] == "watched_jobs_changed"]
        assert [(line["added"], line["removed"], line["jobs"]) for line in changes] == [(1, 0, 1), (0, 1, 0)]

    def test_a_project_missing_in_the_list_of_all_is_logged(self) -> None:
        fleet = fleet_of(4)
        settings = f"projects: [{NOBODYS}]"
        with watching(fleet, settings=settings, jobs=[]) as watch, capture_logs() as lines:
            watch.poll(times=3)
        assert logged(lines, "project_shows_no_job") == [("project_shows_no_job", NOBODYS, 0)]

    def test_a_list_that_is_empty_for_a_moment_is_not_logged(self) -> None:
        fleet = fleet_of(4, projects=1)
        with watching(fleet, settings=of(fleet), jobs=[]) as watch, capture_logs() as lines:
            watch.poll()
            watch.simulator.faults.add(*TROUBLES["empty"])
            watch.poll(times=2)
        assert logged(lines, "project_shows_no_job") == []

    def test_each_refusal_of_a_list_and_its_end_are_logged(self) -> None:
        fleet = fleet_of(30, projects=1)
        with watching(fleet, max_requests_per_minute=UNBOUNDED) as watch, capture_logs() as lines:
            watch.poll(times=2)
            for _ in range(2):
                watch.simulator.faults.add(
                    fault("error", operation="job-list", status=403, code=FORBIDDEN),
                )
                watch.poll(times=3)
                watch.simulator.faults.clear()
                watch.poll_for(140 * MINUTE, every=5 * MINUTE)
        assert [event for event, project, _ in logged(lines, *LISTS) if project == "all"] == [*LISTS, *LISTS]


class TestRefusals:
    TASKS = (JOB_LISTS, RECYCLE_BIN, "a" * 32, "b" * 32, "c" * 32, "d" * 32)
    ENDS = (
        None,
        NotVisibleError("", code="403"),
        RejectedError("", code="400"),
        BackendError("", code="500"),
    )

    @staticmethod
    def of_everything(ends: dict[str, ApiError | None], watched: int) -> ApiError | None:
        """The refusal that all tasks ended with, by a walk over them."""
        refusals = [error for error in ends.values() if error]
        jobs = sum(task not in (JOB_LISTS, RECYCLE_BIN) for task, error in ends.items() if error)
        if None in ends.values() or jobs < min(JOBS_REFUSED, watched) or jobs == len(refusals):
            return None
        return refusals[0] if len({error.code for error in refusals}) == 1 else None

    @given(
        st.lists(st.tuples(st.sampled_from(TASKS), st.sampled_from((*ENDS, "forget")))),
        st.integers(0, len(TASKS)),
    )
    def test_they_equal_a_walk_over_all_tasks(
        self, events: list[tuple[str, ApiError | str | None]], watched: int
    ) -> None:
        refusals = Refusals()
        ends: dict[str, ApiError | None] = {}
        for task, end in events:
            if isinstance(end, str):
                refusals.forget([task])
                ends.pop(task, None)
                continue
            refusals.ended(TaskResult(Timer(task), error=end))
            if not isinstance(end, BackendError):
                ends[task] = end
        found, expected = refusals.of_everything(watched), self.of_everything(ends, watched)
        assert (found and found.code) == (expected and expected.code)
