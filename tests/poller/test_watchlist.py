"""The watched jobs, and the label values they get."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.config import parse
from exporter.model import Job, JobNames, ListedJob
from exporter.poller.tasks_and_results import Listing
from exporter.poller.watchlist import GONE_AFTER, Watchlist, distinct, in_shard

FIRST, SECOND = "f9d6c8466d614a9788e9a0acf6c15f46", "48c66c6002964721be537cdc6ce0297b"
THIRD = "0123456789abcdef0123456789abcdef"
PROJECT, ELSEWHERE = "b4d3971c3988463b865f6f920846149e", "c4d3971c3988463b865f6f920846149e"


def everything(_: str) -> bool:
    return True


def watchlist(jobs: str = "[]", more: str = "", is_mine: Callable[[str], bool] = everything) -> Watchlist:
    text = f"endpoint: https://example.com\nauth: {{token: x}}\njobs: {jobs}\n{more}"
    return Watchlist(parse(text, source="test", environ={}, base_dir=Path()), is_mine)


def discovering(project: str = f"{{id: {PROJECT}, name: shop}}", jobs: str = "[]") -> Watchlist:
    return watchlist(jobs, f"projects: [{project}]")


def taken(watched: Watchlist, listing: Listing) -> tuple[set[str], set[str]]:
    """The jobs that a list makes watched, and those that it makes unwatched."""
    before = watched.ids
    watched.apply_listing(listing)
    return set(watched.ids - before), set(before - watched.ids)


def deny(watched: Watchlist, denied: bool) -> None:
    """A poll of the first job was answered like that."""
    watched.polled(FIRST, denied=denied)


def listing(*jobs: tuple[str, str], project_id: str = PROJECT, is_whole: bool = True) -> Listing:
    """The list of a project, as pairs of id and name."""
    listed = {job_id: ListedJob(job_id, JobNames(name, "", project_id)) for job_id, name in jobs}
    return Listing(project_id, listed, is_whole)


def of_all(*jobs: tuple[str, str, str]) -> Listing:
    """The list of all jobs, as triples of id, name and project id."""
    return Listing(
        "", {job_id: ListedJob(job_id, JobNames(name, "called", project)) for job_id, name, project in jobs}
    )


class TestCarryOver:
    """Under a configuration that was read again."""

    def test_names_and_jobs_without_a_ledger_stay(self) -> None:
        before = discovering(jobs=f"[{FIRST}]")
        before.apply_listing(of_all((FIRST, "checkout", PROJECT), (SECOND, "payment", PROJECT)))
        after = discovering(jobs=f"[{FIRST}]")
        after.carry_over(before)
        assert after.jobs == before.jobs

    def test_jobs_that_were_gone_do_not_come_back(self) -> None:
        before = discovering()
        before.apply_listing(listing((FIRST, "checkout")))
        after = discovering()
        after.restore({job_id: JobNames("x", "", PROJECT) for job_id in (FIRST, SECOND)})
        after.carry_over(before)
        assert after.ids == {FIRST}

    def test_a_job_that_is_missing_goes_no_later(self) -> None:
        before = discovering()
        before.apply_listing(listing((FIRST, "checkout"), (SECOND, "payment")))
        for _ in range(GONE_AFTER - 1):
            before.apply_listing(listing((FIRST, "checkout")))
        after = discovering()
        after.carry_over(before)
        assert taken(after, listing((FIRST, "checkout"))) == (set(), {SECOND})

    def test_a_job_that_is_no_more_named_stays_as_one_of_its_project(self) -> None:
        before = discovering(jobs=f"[{FIRST}]")
        before.apply_listing(listing((FIRST, "checkout")))
        after = discovering()
        after.carry_over(before)
        assert after.ids == {FIRST}

    def test_of_other_projects_what_the_store_knew_is_watched_too(self) -> None:
        before = discovering(f"{{id: {PROJECT}, include: [checkout]}}")
        before.apply_listing(listing((FIRST, "checkout"), (SECOND, "payment")))
        after = discovering()
        after.restore({SECOND: JobNames("payment", "", PROJECT)})
        after.carry_over(before)
        assert after.ids == {FIRST, SECOND}
        assert not after.has_projects_of(before)


class TestNames:
    def test_the_id_is_the_name_until_the_service_gives_one(self) -> None:
        watched = watchlist(f"[{FIRST}]")
        assert watched.jobs == (Job(FIRST, FIRST, "unknown"),)
        watched.apply_listing(of_all((FIRST, "checkout", PROJECT)))
        assert watched.jobs == (Job(FIRST, "checkout", "called", PROJECT),)

    def test_names_of_the_configuration_win(self) -> None:
        watched = watchlist(f"[{{id: {FIRST}, name: mine, project: ours}}]")
        watched.apply_listing(of_all((FIRST, "checkout", PROJECT)))
        assert watched.jobs == (Job(FIRST, "mine", "ours", PROJECT),)

    def test_the_name_of_a_watched_project_wins_over_the_service_s(self) -> None:
        watched = discovering(jobs=f"[{FIRST}]")
        watched.apply_listing(of_all((FIRST, "checkout", PROJECT), (SECOND, "payment", PROJECT)))
        assert {job.project for job in watched.jobs} == {"shop"}

    def test_the_id_of_a_project_is_known_if_the_configuration_names_it(self) -> None:
        watched = discovering(jobs=f"[{{id: {FIRST}, name: checkout, project: shop}}]")
        assert watched.jobs == (Job(FIRST, "checkout", "shop", PROJECT),)

    def test_what_the_service_leaves_out_stays_as_it_was(self) -> None:
        watched = watchlist(f"[{FIRST}]")
        watched.rename(FIRST, JobNames("checkout", "shop", PROJECT))
        watched.rename(FIRST, JobNames("", "", ""))
        watched.rename(FIRST, JobNames(name="payment"))
        assert watched.jobs == (Job(FIRST, "payment", "shop", PROJECT),)

    def test_a_renamed_job_is_followed(self) -> None:
        watched = discovering()
        watched.apply_listing(listing((FIRST, "checkout")))
        watched.apply_listing(listing((FIRST, "payment")))
        assert watched.jobs == (Job(FIRST, "payment", "shop", PROJECT),)

    def test_projects_without_a_name_are_asked_for_and_named(self) -> None:
        watched = discovering(PROJECT, jobs=f"[{SECOND}, {{id: {THIRD}, project: ours}}]")
        assert watched.unnamed_projects == frozenset()
        watched.apply_listing(listing((FIRST, "checkout")))
        for job_id in (SECOND, THIRD):
            watched.rename(job_id, JobNames("x", "", ELSEWHERE))
        assert watched.unnamed_projects == {PROJECT, ELSEWHERE}
        assert watched.jobs[-1].project == PROJECT
        watched.name_projects({PROJECT: "shop", ELSEWHERE: "far", "0" * 32: "nobody's"})
        assert watched.unnamed_projects == frozenset()
        assert [job.project for job in watched.jobs] == ["far", "ours", "shop"]
        assert watched.project_names == {PROJECT: "shop", ELSEWHERE: "far"}


class TestNamesOfProjects:
    def test_the_configuration_names_a_project_whether_jobs_of_it_are_watched_or_not(self) -> None:
        watched = discovering(
            f"{{id: {PROJECT}, name: My Shop}}", jobs=f"[{{id: {FIRST}, project: payments}}]"
        )
        assert watched.project_names == {PROJECT: "My Shop"}
        watched.apply_listing(of_all((FIRST, "checkout", PROJECT), (SECOND, "payment", PROJECT)))
        assert watched.project_names == {PROJECT: "My Shop"}

    def test_a_job_with_a_label_of_its_own_does_not_rename_its_project(self) -> None:
        watched = watchlist(f"[{FIRST}, {{id: {SECOND}, project: payments}}]")
        watched.apply_listing(of_all((FIRST, "checkout", PROJECT), (SECOND, "payment", PROJECT)))
        assert watched.jobs[-1].project == "payments"
        assert watched.project_names == {PROJECT: "called"}

    @pytest.mark.parametrize(("label", "names"), [("ours", {PROJECT: "ours"}), ("other", {})])
    def test_labels_name_a_project_without_another_name_if_they_agree(
        self, label: str, names: dict[str, str]
    ) -> None:
        watched = watchlist(f"[{{id: {FIRST}, project: ours}}, {{id: {SECOND}, project: {label}}}, {THIRD}]")
        for job_id in (FIRST, SECOND, THIRD):
            watched.rename(job_id, JobNames(project_id=PROJECT))
        assert watched.project_names == names

    def test_names_from_the_service_outlive_the_last_job_and_follow_the_watched_ones(self) -> None:
        watched = discovering(PROJECT)
        watched.apply_listing(listing((FIRST, "checkout"), (SECOND, "payment")))
        watched.name_projects({PROJECT: "shop"})
        watched.drop_deleted([FIRST])
        watched.name_projects({PROJECT: "store"})
        assert watched.project_names == {PROJECT: "store"}
        watched.drop_deleted([SECOND])
        assert watched.jobs == ()
        assert PROJECT in watched.project_names


class TestDiscovery:
    def test_jobs_of_a_watched_project_come_with_its_list(self) -> None:
        watched = discovering()
        assert watched.ids == frozenset()
        came, went = taken(watched, listing((FIRST, "checkout"), (SECOND, "payment")))
        assert (came, went) == ({FIRST, SECOND}, set())
        assert taken(watched, listing((FIRST, "checkout"), (SECOND, "payment"))) == (set(), set())

    def test_the_list_of_all_jobs_brings_those_of_watched_projects_only(self) -> None:
        watched = discovering()
        watched.apply_listing(of_all((FIRST, "checkout", PROJECT), (SECOND, "payment", ELSEWHERE)))
        assert watched.ids == {FIRST}

    @pytest.mark.parametrize(
        ("rules", "wanted"),
        [
            ("", {"release-1", "release-1-tmp", "nightly"}),
            ("include: ['release-.*']", {"release-1", "release-1-tmp"}),
            ("exclude: ['.*-tmp']", {"release-1", "nightly"}),
            ("include: ['release-.*'], exclude: ['.*-tmp']", {"release-1"}),
            ("include: ['release']", set()),
        ],
    )
    def test_names_are_included_and_excluded(self, rules: str, wanted: set[str]) -> None:
        watched = discovering(f"{{id: {PROJECT}, {rules}}}")
        watched.apply_listing(listing((FIRST, "release-1"), (SECOND, "release-1-tmp"), (THIRD, "nightly")))
        assert {job.name for job in watched.jobs} == wanted

    def test_a_job_that_is_renamed_out_of_the_pattern_goes_and_comes_back(self) -> None:
        watched = discovering(f"{{id: {PROJECT}, include: ['release-.*']}}")
        watched.apply_listing(listing((FIRST, "release-1")))
        assert taken(watched, listing((FIRST, "old-1"))) == (set(), {FIRST})
        assert taken(watched, listing((FIRST, "release-1"))) == ({FIRST}, set())

    def test_a_job_that_moves_out_of_the_project_goes(self) -> None:
        watched = discovering()
        watched.apply_listing(of_all((FIRST, "checkout", PROJECT)))
        assert taken(watched, of_all((FIRST, "checkout", ELSEWHERE))) == (set(), {FIRST})

    def test_it_goes_after_several_good_lists_without_it(self) -> None:
        watched = discovering()
        watched.apply_listing(listing((FIRST, "checkout"), (SECOND, "payment")))
        for _ in range(GONE_AFTER - 1):
            assert taken(watched, listing((SECOND, "payment"))) == (set(), set())
        assert taken(watched, listing((SECOND, "payment"))) == (set(), {FIRST})
        assert [job.id for job in watched.jobs] == [SECOND]

    def test_it_goes_at_once_if_a_new_job_has_its_name(self) -> None:
        watched = discovering()
        watched.apply_listing(listing((FIRST, "checkout"), (THIRD, "other")))
        assert taken(watched, listing((SECOND, "checkout"), (THIRD, "other"))) == ({SECOND}, {FIRST})
        assert {job.name for job in watched.jobs} == {"checkout", "other"}

    @pytest.mark.parametrize(
        "shown",
        [
            listing((SECOND, "checkout"), is_whole=False),
            listing((SECOND, "payment"), (THIRD, "")),
            of_all((SECOND, "checkout", ELSEWHERE)),
        ],
        ids=["in part of a list", "under another name", "in another project"],
    )
    def test_it_stays_if_only_other_jobs_are_new(self, shown: Listing) -> None:
        watched = watchlist("[]", f"projects: [{{id: {PROJECT}}}, {{id: {ELSEWHERE}}}]")
        watched.apply_listing(listing((FIRST, "checkout")))
        assert SECOND in taken(watched, shown)[0]
        assert FIRST in watched.ids

    def test_only_lists_in_a_row_without_it_count(self) -> None:
        watched = discovering()
        for _ in range(5):
            watched.apply_listing(listing((FIRST, "checkout"), (SECOND, "payment")))
            for _ in range(GONE_AFTER - 1):
                watched.apply_listing(listing((SECOND, "payment")))
        assert watched.ids == {FIRST, SECOND}

    @pytest.mark.parametrize(
        "bad",
        [
            listing(),
            listing((SECOND, "payment"), is_whole=False),
            listing((SECOND, "payment"), project_id=ELSEWHERE),
            Listing("", {}),
        ],
        ids=["empty", "partial", "of another project", "empty list of all"],
    )
    def test_an_empty_or_partial_list_drops_nothing(self, bad: Listing) -> None:
        watched = discovering()
        watched.apply_listing(listing((FIRST, "checkout")))
        for _ in range(10 * GONE_AFTER):
            watched.apply_listing(bad)
        assert FIRST in watched.ids

    @pytest.mark.parametrize("empty", [listing(), Listing("", {})], ids=["of the project", "of all"])
    def test_empty_lists_count_from_when_the_service_denies_the_job(self, empty: Listing) -> None:
        watched = discovering()
        watched.apply_listing(listing((FIRST, "checkout"), (SECOND, "payment")))
        watched.apply_listing(empty)
        deny(watched, True)
        for _ in range(GONE_AFTER - 1):
            assert taken(watched, empty) == (set(), set())
        assert taken(watched, empty) == (set(), {FIRST})
        watched.apply_listing(listing((FIRST, "checkout")))
        for _ in range(2 * GONE_AFTER):
            assert taken(watched, empty) == (set(), set())

    @pytest.mark.parametrize(
        "shown",
        [
            lambda watched: deny(watched, False),
            lambda watched: watched.apply_listing(listing((FIRST, "checkout"))),
            lambda watched: watched.apply_listing(listing((FIRST, "checkout"), is_whole=False)),
        ],
        ids=["by a poll", "by a list", "by a part of a list"],
    )
    def test_empty_lists_do_not_count_once_the_job_is_shown(
        self, shown: Callable[[Watchlist], object]
    ) -> None:
        watched = discovering()
        watched.apply_listing(listing((FIRST, "checkout")))
        deny(watched, True)
        watched.apply_listing(listing())
        shown(watched)
        for _ in range(2 * GONE_AFTER):
            watched.apply_listing(listing())
        assert watched.ids == {FIRST}

    def test_a_job_that_is_denied_stays_while_lists_show_it(self) -> None:
        watched = discovering()
        for _ in range(2 * GONE_AFTER):
            watched.apply_listing(listing((FIRST, "checkout")))
            deny(watched, True)
        assert watched.ids == {FIRST}

    def test_a_partial_list_still_adds_what_it_shows(self) -> None:
        watched = discovering()
        watched.apply_listing(listing((FIRST, "checkout"), is_whole=False))
        assert watched.ids == {FIRST}

    def test_a_job_in_the_recycle_bin_is_dropped_at_once_unless_it_is_named(self) -> None:
        watched = discovering(jobs=f"[{SECOND}]")
        watched.apply_listing(listing((FIRST, "checkout"), (SECOND, "payment")))
        watched.drop_deleted([FIRST, SECOND, THIRD])
        assert watched.ids == {SECOND}
        assert [job.id for job in watched.jobs] == [SECOND]

    def test_a_named_job_never_goes(self) -> None:
        watched = discovering(f"{{id: {PROJECT}, exclude: ['.*']}}", jobs=f"[{FIRST}]")
        for _ in range(2 * GONE_AFTER):
            watched.apply_listing(listing((SECOND, "payment")))
        assert watched.ids == {FIRST}

    def test_a_named_job_of_a_watched_project_is_there_once(self) -> None:
        watched = discovering(jobs=f"[{{id: {FIRST}, name: mine}}]")
        assert taken(watched, listing((FIRST, "checkout"))) == (set(), set())
        assert [job.name for job in watched.jobs] == ["mine"]

    def test_jobs_of_other_projects_are_not_remembered(self) -> None:
        watched = discovering()
        watched.apply_listing(of_all(*((f"{number:032}", "x", ELSEWHERE) for number in range(1000))))
        assert watched.ids == frozenset()
        assert watched._names == {}


class TestRestart:
    KEPT = JobNames("checkout", "shop", PROJECT)

    def test_discovered_jobs_are_there_before_the_first_sweep(self) -> None:
        watched = discovering()
        watched.restore({FIRST: self.KEPT})
        assert watched.jobs == (Job(FIRST, "checkout", "shop", PROJECT),)

    def test_named_ones_have_their_names(self) -> None:
        watched = watchlist(f"[{FIRST}]")
        watched.restore({FIRST: self.KEPT})
        assert watched.jobs == (Job(FIRST, "checkout", "shop", PROJECT),)

    def test_what_the_configuration_no_longer_wants_is_left(self) -> None:
        watched = discovering(f"{{id: {PROJECT}, exclude: [checkout]}}")
        watched.restore({FIRST: self.KEPT, SECOND: JobNames("payment", "far", ELSEWHERE), THIRD: JobNames()})
        assert watched.ids == frozenset()

    def test_what_was_gone_before_waits_for_a_list_unless_it_is_named(self) -> None:
        watched = discovering(jobs=f"[{SECOND}]")
        watched.restore({FIRST: self.KEPT, SECOND: JobNames("payment", "shop", PROJECT)}, {FIRST, SECOND})
        assert watched.jobs == (Job(SECOND, "payment", "shop", PROJECT),)
        assert taken(watched, listing((FIRST, "checkout"))) == ({FIRST}, set())

    def test_what_was_deleted_meanwhile_goes_after_some_lists(self) -> None:
        watched = discovering()
        watched.restore({FIRST: self.KEPT})
        for _ in range(GONE_AFTER):
            watched.apply_listing(listing((SECOND, "payment")))
        assert watched.ids == {SECOND}


class TestShards:
    IDS = tuple(f"{number:032}" for number in range(300))

    def test_each_job_has_one_shard(self) -> None:
        jobs = listing(*((job_id, f"job-{job_id}") for job_id in self.IDS))
        shards = []
        for index in range(3):
            watched = watchlist(
                f"[{self.IDS[0]}, {self.IDS[1]}]",
                f"projects: [{PROJECT}]",
                partial(in_shard, shard=index, total_shards=3),
            )
            watched.apply_listing(jobs)
            shards.append(watched.ids)
        assert sorted(job_id for shard in shards for job_id in shard) == list(self.IDS)
        assert min(map(len, shards)) > 60

    def test_a_restart_takes_up_no_job_of_another_shard(self) -> None:
        watched = watchlist("[]", f"projects: [{PROJECT}]", lambda job_id: in_shard(job_id, 0, 2))
        watched.restore({job_id: JobNames("x", "", PROJECT) for job_id in self.IDS})
        assert watched.ids == {job_id for job_id in self.IDS if in_shard(job_id, 0, 2)}


class TestOneNameInTwoShards:
    """A shard watches the first job, or the one that is named, and another shard the second."""

    @pytest.mark.parametrize("mine", [FIRST, SECOND])
    def test_named_jobs_carry_the_beginning_of_their_id(self, mine: str) -> None:
        jobs = f"[{{id: {FIRST}, name: checkout}}, {{id: {SECOND}, name: checkout}}]"
        watched = watchlist(jobs, is_mine=mine.__eq__)
        assert [(job.id, job.name) for job in watched.jobs] == [(mine, f"checkout ({mine[:8]})")]
        assert (set(watched.ids), watched.size) == ({mine}, 1)

    @pytest.mark.parametrize("mine", [FIRST, SECOND])
    def test_so_do_those_that_lists_show(self, mine: str) -> None:
        watched = watchlist(f"[{FIRST}]", f"projects: [{{id: {PROJECT}, name: shop}}]", mine.__eq__)
        came, went = taken(watched, listing((FIRST, "checkout"), (SECOND, "checkout"), (THIRD, "other")))
        assert (came | {FIRST} & watched.ids, went) == ({mine}, set())
        assert [job.name for job in watched.jobs] == [f"checkout ({mine[:8]})"]
        after = watchlist(f"[{FIRST}]", f"projects: [{{id: {PROJECT}, name: shop}}]", mine.__eq__)
        after.carry_over(watched)
        assert after.jobs == watched.jobs
        other = SECOND if mine == FIRST else FIRST
        watched.apply_listing(listing((mine, "checkout"), (other, "payment")))
        assert [job.name for job in watched.jobs] == ["checkout"]

    def test_one_that_is_gone_elsewhere_takes_no_name(self) -> None:
        watched = watchlist("[]", f"projects: [{{id: {PROJECT}, name: shop}}]", FIRST.__eq__)
        watched.apply_listing(listing((FIRST, "checkout"), (SECOND, "checkout")))
        for _ in range(GONE_AFTER):
            assert watched.jobs[0].name == f"checkout ({FIRST[:8]})"
            assert taken(watched, listing((FIRST, "checkout"))) == (set(), set())
        assert watched.jobs[0].name == "checkout"


class TestOneNameForTwo:
    def test_jobs_of_one_name_carry_the_beginning_of_their_id(self) -> None:
        watched = watchlist(f"[{{id: {FIRST}, name: checkout}}, {{id: {SECOND}, name: checkout}}]")
        assert [job.name for job in watched.jobs] == ["checkout (f9d6c846)", "checkout (48c66c60)"]

    def test_discovered_ones_too_and_no_longer_than_needed(self) -> None:
        watched = discovering()
        watched.apply_listing(listing((FIRST, "checkout"), (SECOND, "checkout")))
        assert {job.name for job in watched.jobs} == {"checkout (f9d6c846)", "checkout (48c66c60)"}
        watched.apply_listing(listing((FIRST, "checkout"), (SECOND, "payment")))
        assert {job.name for job in watched.jobs} == {"checkout", "payment"}

    def test_in_two_projects_they_keep_it(self) -> None:
        jobs = (Job(FIRST, "checkout", "shop"), Job(SECOND, "checkout", "elsewhere"))
        assert distinct(jobs) == jobs

    def test_ids_may_begin_alike(self) -> None:
        first, second = "a" * 31 + "1", "a" * 31 + "2"
        jobs = [Job(first, "checkout", "shop"), Job(second, "checkout", "shop")]
        assert [job.name for job in distinct(jobs)] == [
            f"checkout (aaaaaaaa) ({first})",
            f"checkout (aaaaaaaa) ({second})",
        ]


@given(
    st.lists(
        st.tuples(st.sampled_from(["a" * 31 + digit for digit in "0123456789"]), st.sampled_from("ab")),
        unique_by=lambda job: job[0],
    ),
    st.sampled_from(["a (aaaaaaaa)", "b (aaaaaaaa)", f"a (aaaaaaaa) ({'a' * 31}1)"]),
)
def test_no_two_jobs_ever_share_their_labels(jobs: list[tuple[str, str]], sly: str) -> None:
    given_jobs = [Job("z" * 32, sly, "shop"), *(Job(job_id, name, "shop") for job_id, name in jobs)]
    renamed = distinct(given_jobs)
    assert [job.id for job in renamed] == [job.id for job in given_jobs]
    assert len({(job.project, job.name) for job in renamed}) == len(renamed)
