"""`projects: [{id: all}]`: every job that the user sees is watched."""

from pathlib import Path

import pytest

from exporter.model import JobNames, ListedJob
from exporter.poller.job_list_trust import ListTrust
from exporter.poller.readiness import Readiness
from exporter.poller.tasks_and_results import ALL, JobListsResult, Listing
from exporter.poller.watchlist import in_shard
from exporter.simulator import fault
from exporter.store import SqliteStore
from tests.ledger.examples import idle
from tests.poller.test_sweeps import FORBIDDEN, TROUBLES, baselines, fleet_of
from tests.poller.test_watchlist import (
    ELSEWHERE,
    FIRST,
    PROJECT,
    SECOND,
    THIRD,
    discovering,
    listing,
    of_all,
    watchlist,
)
from tests.support.watch import Watch, watching

BY_ALL = "projects: [all]"


def names(watch: Watch) -> list[str]:
    return sorted(job.name for job in watch.jobs)


class TestWhichJobsAreWatched:
    def test_those_of_every_project_come_with_the_list_of_all_jobs(self) -> None:
        watched = discovering("all")
        watched.apply_listing(of_all((FIRST, "checkout", PROJECT), (SECOND, "payment", ELSEWHERE)))
        assert [(job.name, job.project) for job in watched.jobs] == [
            ("checkout", "called"),
            ("payment", "called"),
        ]

    def test_include_and_exclude_select_by_name(self) -> None:
        watched = discovering("{id: all, include: ['release-.*'], exclude: ['.*-tmp']}")
        watched.apply_listing(
            of_all((FIRST, "release-1", PROJECT), (SECOND, "release-2-tmp", ELSEWHERE), (THIRD, "a", PROJECT))
        )
        assert watched.ids == {FIRST}

    def test_the_entry_of_a_project_wins_for_its_jobs(self) -> None:
        watched = discovering(f"{{id: all, exclude: ['pay.*']}}, {{id: {PROJECT}, name: ours, exclude: [a]}}")
        watched.apply_listing(
            of_all((FIRST, "payment", PROJECT), (SECOND, "a", PROJECT), (THIRD, "a", ELSEWHERE))
        )
        assert {(job.name, job.project) for job in watched.jobs} == {("payment", "ours"), ("a", "called")}

    def test_a_job_of_its_own_keeps_its_name_and_is_there_once(self) -> None:
        watched = discovering("{id: all, exclude: [checkout]}", jobs=f"[{{id: {FIRST}, name: mine}}]")
        watched.apply_listing(of_all((FIRST, "checkout", PROJECT), (SECOND, "payment", ELSEWHERE)))
        assert [(job.id, job.name) for job in watched.jobs] == [(FIRST, "mine"), (SECOND, "payment")]

    def test_each_shard_takes_its_share(self) -> None:
        shards = [
            watchlist("[]", BY_ALL, lambda job_id, shard=shard: in_shard(job_id, shard, 2))  # type: ignore[misc]
            for shard in (0, 1)
        ]
        for watched in shards:
            watched.apply_listing(
                of_all(*((job_id, job_id[:3], PROJECT) for job_id in (FIRST, SECOND, THIRD)))
            )
        assert sorted([*shards[0].ids, *shards[1].ids]) == sorted((FIRST, SECOND, THIRD))

    def test_a_job_without_a_project_has_the_project_unknown(self) -> None:
        watched = discovering("all")
        watched.apply_listing(of_all((FIRST, "checkout", "")))
        watched.rename(FIRST, JobNames("checkout"))
        watched.apply_listing(Listing(ALL, {SECOND: ListedJob(SECOND, JobNames("payment"))}))
        assert {job.project for job in watched.jobs} == {"called", "unknown"}

    def test_a_restart_brings_back_those_whose_names_are_known(self) -> None:
        watched = discovering("{id: all, exclude: [payment]}")
        watched.restore(
            {FIRST: JobNames("checkout", "", PROJECT), SECOND: JobNames("payment"), THIRD: JobNames()}
        )
        assert watched.ids == {FIRST}

    def test_what_a_list_shows_of_all_projects_is_told_for_each_entry(self) -> None:
        watched = discovering(f"{{id: all, include: [none]}}, {PROJECT}")
        whole = of_all((FIRST, "checkout", PROJECT), (SECOND, "payment", ELSEWHERE), (THIRD, "a", ELSEWHERE))
        watched.apply_listing(whole)
        assert watched.listed_projects(whole) == {ALL: (2, False), PROJECT: (1, True)}


class TestWhichListsAreRead:
    def test_the_list_of_all_jobs_whatever_it_costs(self) -> None:
        lists = ListTrust(60)
        lists.was_read(of_all(*((f"{number:032}", "a", PROJECT) for number in range(5000))))
        assert lists.plan(3, {PROJECT}, {ALL}, 0) == (ALL,)
        assert lists.plan(3, {PROJECT}, {ALL, PROJECT}, 0) == (ALL,)

    def test_those_of_projects_while_it_is_refused(self) -> None:
        lists = ListTrust(60)
        lists.was_refused(ALL, 0)
        assert lists.plan(300, {PROJECT}, {ALL, ELSEWHERE}, 1) == (PROJECT, ELSEWHERE)

    @pytest.mark.parametrize(
        ("must", "next_plan"), [({ALL}, (ALL,)), ({ALL, PROJECT}, (PROJECT,))], ids=["alone", "with another"]
    )
    def test_one_that_fails_gives_way_only_to_the_list_of_another_entry(
        self, must: set[str], next_plan: tuple[str, ...]
    ) -> None:
        lists = ListTrust(60)
        lists.was_read(listing((FIRST, "checkout"), project_id=ALL))
        for _ in range(3):
            lists.ended(None, (ALL,), must, 0)
        assert lists.plan(1, {PROJECT}, must, 1) == next_plan


class TestReadiness:
    def read(self, *listings: Listing) -> JobListsResult:
        return JobListsResult(listings, {}, {}, {}, 0)

    def test_the_list_of_all_jobs_is_waited_for(self) -> None:
        readiness = Readiness(discovering(f"all, {PROJECT}"))
        readiness.lists_read(self.read(listing((FIRST, "checkout"))))
        assert not readiness.is_ready
        readiness.lists_read(self.read(of_all()))
        assert readiness.is_ready

    @pytest.mark.parametrize(("jobs", "is_ready"), [("[]", True), (f"[{FIRST}]", False)])
    def test_only_what_it_found_before_answers_for_it(self, jobs: str, is_ready: bool) -> None:
        watched = discovering("all", jobs)
        watched.restore({FIRST: JobNames("checkout", "shop", PROJECT)})
        watched.states[FIRST].ledger = idle()
        assert Readiness(watched).is_ready is is_ready


class TestOnASimulatedService:
    def test_jobs_of_old_and_new_projects_are_counted_exactly(self) -> None:
        fleet = fleet_of(12, projects=3)
        with watching(fleet, settings=BY_ALL, jobs=[]) as watch:
            watch.poll()
            assert len(watch.jobs) == 12
            new = fleet.add_job("new", "later")
            watch.poll()
            since = baselines(watch)
            fleet.add_build(new.id)
            fleet.add_build(fleet.jobs()[4].id, result="failure")
            watch.poll(times=3)
            assert (watch.counted("new"), watch.wrong(since)) == ({"success": 1}, {})
            fleet.delete_job(new.id)
            watch.poll(times=12)
            assert len(watch.jobs) == 12

    def test_more_jobs_than_the_list_is_worth_are_read_to_the_end(self) -> None:
        with watching(fleet_of(1250, projects=2), settings=BY_ALL, jobs=[]) as watch:
            works = watch.poller.take(1)
            watch.poller.settle([watch.poller.run(work) for work in works])
            assert watch.poller.watched == 1250

    @pytest.mark.parametrize("trouble", ["empty", "forbidden", "failing", "garbage"])
    def test_a_list_in_trouble_drops_no_job(self, trouble: str) -> None:
        fleet = fleet_of(12, projects=2)
        with watching(fleet, settings=BY_ALL, jobs=[]) as watch:
            watch.poll()
            since = baselines(watch)
            watch.simulator.faults.add(*TROUBLES[trouble])
            fleet.add_build(fleet.jobs()[5].id)
            watch.poll(times=30)
            assert (len(watch.jobs), watch.wrong(since)) == (12, {})

    def test_a_refused_list_leaves_the_entries_of_projects(self) -> None:
        fleet = fleet_of(12, projects=2)
        settings = f"projects: [all, {fleet.project_id('project-0')}]"
        with watching(fleet, settings=settings, jobs=[]) as watch:
            watch.simulator.faults.add(fault("error", operation="job-list", status=403, code=FORBIDDEN))
            watch.poll(times=3)
            assert (len(watch.jobs), watch.poller.is_ready) == (6, True)
            watch.simulator.faults.clear()
            watch.poll(times=70)
            assert len(watch.jobs) == 12

    def test_a_restart_with_the_api_down_shows_all_of_them(self, tmp_path: Path) -> None:
        fleet, store = fleet_of(12, projects=2), SqliteStore(str(tmp_path / "state.db"))
        with watching(fleet, settings=BY_ALL, jobs=[], store=store) as watch:
            watch.poll(times=2)
            before = names(watch)
            watch.simulator.faults.add(fault("error", status=503))
            watch.start()
            assert (names(watch), watch.poller.is_ready) == (before, True)
        store.close()
