"""Job lists: which are read, what they show, and how far they are trusted."""

from collections.abc import Collection

import pytest

from exporter.api.pagination import PAGE_SIZE
from exporter.model import JobNames, ListedJob
from exporter.poller.job_list_changes import apply_listing, changed_jobs, expire_listed
from exporter.poller.job_list_trust import (
    FIRST_DOUBT,
    LONGEST_DOUBT,
    NAMES_WORTH,
    REFUSED_FOR,
    STALE_AFTER,
    VERIFIED_AFTER_S,
    ListTrust,
)
from exporter.poller.job_state import UNLISTED_AFTER, JobState
from exporter.poller.tasks_and_results import ALL, JobListsResult, Listing

INTERVAL = 60.0
A, B, C = "a" * 32, "b" * 32, "c" * 32
SHOP, BANK = "1" * 32, "2" * 32
MOMENT_MS = 1_741_579_200_000


def listed(job_id: str = A, project_id: str = SHOP, **more: object) -> ListedJob:
    return ListedJob(job_id, JobNames("x", "", project_id), **more)  # type: ignore[arg-type]


def listing(*jobs: ListedJob, project_id: str = ALL, is_whole: bool = True) -> Listing:
    return Listing(project_id, {job.id: job for job in jobs}, is_whole)


def many(count: int, project_id: str = SHOP) -> list[ListedJob]:
    return [listed(f"{project_id[0]}{number:031}", project_id) for number in range(count)]


class Lists(ListTrust):
    """The state of the lists, with jobs that are watched as soon as they are named."""

    def __init__(self) -> None:
        super().__init__(INTERVAL)
        self.jobs: dict[str, JobState] = {}

    def job(self, job_id: str) -> JobState:
        return self.jobs.setdefault(job_id, JobState(job_id))

    def take_in(self, listing: Listing, watched: Collection[str], read_ms: int) -> None:
        for job_id in watched:
            self.job(job_id)
        self.was_read(listing)
        apply_listing(self.jobs, listing, read_ms)

    def listed(self, job_id: str) -> ListedJob | None:
        return self.job(job_id).lists.listed

    def polled(self, job_id: str, mark: object) -> None:
        self.job(job_id).lists.polled(mark)

    def changed(self) -> list[str]:
        return [job.id for job in changed_jobs(self.jobs)]

    def age(self, read_ms: int) -> list[str]:
        return expire_listed(self.jobs, self.stale_before_ms(read_ms))

    def have_hidden(self, job_id: str, began_ms: int | None) -> bool:
        return self.hid(self.job(job_id), began_ms)

    def clamp_all(self, at_ms: int) -> None:
        for job in self.jobs.values():
            job.lists.clamp_timestamps(at_ms)


def swept(*listings: Listing, read_ms: int = MOMENT_MS) -> Lists:
    lists = Lists()
    for each in listings:
        lists.take_in(each, each.jobs.keys(), read_ms)
    return lists


class TestWhichListsAreRead:
    def test_a_list_of_all_that_is_too_long_is_no_reason_to_give_up_those_that_are_needed(self) -> None:
        lists = swept(listing(*many(5), project_id=SHOP))
        lists._give_up((SHOP,), (SHOP,), 0)
        assert lists.available((SHOP,), 1) == {}, "the list of all may do"
        lists = swept(listing(*many(5), project_id=SHOP))
        lists.was_too_large(ALL, 1201)
        lists._give_up((SHOP,), (SHOP,), 0)
        assert lists.available((SHOP,), 1) == {SHOP: 5}
        lists.take_in(listing(*many(5)), (), MOMENT_MS)
        lists._give_up((SHOP,), (SHOP,), 0)
        assert lists.available((SHOP,), 1) == {}, "it is short again"

    def test_at_first_the_list_of_all_jobs(self) -> None:
        assert Lists().plan(1, {ALL}, (), 0) == (ALL,)
        assert Lists().plan(1000, {SHOP}, {SHOP}, 0) == (ALL,)

    def test_the_cheapest_that_shows_all_that_is_watched(self) -> None:
        lists = swept(listing(*many(1000), *many(50, BANK)))
        assert lists.plan(50, {BANK}, (), 0) == (BANK,)
        lists.take_in(listing(*many(50, BANK), project_id=BANK), (), MOMENT_MS)
        lists.take_in(listing(*many(1000), project_id=SHOP), (), MOMENT_MS)
        assert lists.plan(50, {BANK}, (), 0) == (BANK,)
        assert lists.plan(1050, {BANK, SHOP}, (), 0) == (ALL,)

    def test_all_of_them_as_long_as_the_project_of_one_job_is_not_known(self) -> None:
        lists = swept(listing(*many(300)))
        assert lists.plan(200, {ALL, SHOP}, (), 0) == (ALL,)

    def test_none_where_polls_are_cheaper(self) -> None:
        lists = swept(listing(*many(PAGE_SIZE * (NAMES_WORTH + 1))))
        assert lists.plan(5, {ALL}, (), 0) == ()
        assert lists.plan(NAMES_WORTH + 1, {ALL}, (), 0) == (ALL,)

    def test_the_lists_that_discover_jobs_whatever_they_cost(self) -> None:
        lists = swept(listing(*many(5000)))
        assert lists.plan(0, (), {SHOP}, 0) == (SHOP,)

    def test_one_that_was_refused_is_left_alone_for_an_hour(self) -> None:
        lists = Lists()
        lists.was_refused(ALL, now=0)
        assert lists.plan(100, {SHOP}, (), 1) == (SHOP,)
        assert lists.plan(100, {ALL, SHOP}, (), 1) == ()
        lists.was_refused(SHOP, now=10)
        assert lists.plan(100, {SHOP}, (), 11) == ()
        assert lists.plan(100, {SHOP}, {SHOP}, 11) == ()
        assert lists.plan(100, {ALL, SHOP}, (), REFUSED_FOR * INTERVAL) == (ALL,)

    def test_one_that_fails_several_times_in_a_row_gives_way_to_another(self) -> None:
        lists = swept(listing(*many(1000), *many(50, BANK)))
        good = JobListsResult((listing(*many(50, BANK), project_id=BANK),), {}, {}, {}, MOMENT_MS)
        for read in (*[None] * (STALE_AFTER - 1), good, *[None] * STALE_AFTER):
            assert lists.plan(50, {BANK}, (), 0) == (BANK,)
            lists.ended(read, (BANK,), (), 0)
        assert lists.plan(50, {BANK}, (), 0) == (ALL,)

    def test_that_one_project_is_refused_does_not_stop_the_discovery_of_another(self) -> None:
        lists = Lists()
        lists.was_refused(ALL, now=0)
        lists.was_refused(SHOP, now=0)
        assert lists.plan(100, {SHOP, BANK}, {SHOP, BANK}, 1) == (BANK,)

    def test_a_refusal_is_forgotten_when_the_list_comes(self) -> None:
        lists = Lists()
        lists.was_refused(ALL, now=0)
        lists.take_in(listing(listed()), {A}, MOMENT_MS)
        assert lists.plan(100, {ALL}, (), 1) == (ALL,)

    def test_a_list_that_is_too_large_gives_way_to_those_of_projects(self) -> None:
        lists = Lists()
        lists.take_in(listing(*many(100), is_whole=False), {A}, MOMENT_MS)
        lists.was_too_large(ALL, 50_000)
        assert lists.plan(400, {SHOP, BANK}, (), 0) == (SHOP, BANK)
        assert lists.plan(400, {ALL, SHOP}, (), 0) == ()

    def test_an_empty_list_does_not_make_it_seem_cheap(self) -> None:
        lists = swept(listing(*many(1000)), listing())
        assert lists.size(ALL) == 1000

    @pytest.mark.parametrize(
        ("jobs", "watched", "worth"), [(1000, 11, True), (1000, 10, False), (1, 1, False)]
    )
    def test_whether_they_cost_less_than_polls(self, jobs: int, watched: int, worth: bool) -> None:
        lists = swept(listing(*many(jobs)))
        assert lists.are_worth_it((ALL,), watched) is worth
        assert not lists.are_worth_it((), watched)


class TestWhatTheyShow:
    def test_only_watched_jobs_are_kept(self) -> None:
        lists = Lists()
        lists.take_in(listing(listed(A), listed(B)), {A}, MOMENT_MS)
        assert (lists.listed(A), lists.listed(B)) == (listed(A), None)

    def test_a_job_missing_in_several_good_lists_is_not_covered_until_one_shows_it(self) -> None:
        lists = swept(listing(listed(A), listed(B)))
        for _ in range(UNLISTED_AFTER - 1):
            lists.take_in(listing(listed(B)), {A, B}, MOMENT_MS)
        assert lists.listed(A)
        lists.take_in(listing(listed(B)), {A, B}, MOMENT_MS)
        assert lists.listed(A) is None
        lists.take_in(listing(listed(A), listed(B)), {A, B}, MOMENT_MS)
        assert lists.listed(A)

    def test_a_job_that_no_list_has_shown_for_some_intervals_is_not_covered(self) -> None:
        lists = swept(listing(listed(A), listed(B)))
        later_ms = MOMENT_MS + round((STALE_AFTER + 1) * INTERVAL * 1000)
        lists.take_in(listing(listed(B), is_whole=False), {A, B}, later_ms)
        assert lists.age(later_ms) == [A]
        assert (lists.listed(A), lists.listed(B)) == (None, listed(B))
        assert lists.age(later_ms) == []

    @pytest.mark.parametrize(
        "bad",
        [listing(), listing(listed(B), is_whole=False), listing(listed(B, BANK), project_id=BANK)],
        ids=["empty", "partial", "of another project"],
    )
    def test_empty_and_partial_lists_change_nothing(self, bad: Listing) -> None:
        lists = swept(listing(listed(A)))
        for _ in range(9):
            lists.take_in(bad, {A, B}, MOMENT_MS)
        assert lists.listed(A)

    def test_a_change_is_what_differs_from_the_time_of_the_last_poll_the_latest_first(self) -> None:
        jobs = [listed(job_id, last_build_ms=at) for job_id, at in ((A, 2000), (B, 3000), (C, 1000))]
        lists = swept(listing(*jobs))
        assert lists.changed() == [B, A, C]
        for job in jobs:
            lists.polled(job.id, lists.job(job.id).lists.current_mark)
        assert lists.changed() == []
        lists.take_in(listing(jobs[0], jobs[1], listed(C, last_build_ms=4000)), {A, B, C}, MOMENT_MS)
        assert lists.changed() == [C]

    def test_a_change_during_a_poll_is_still_a_change_after_it(self) -> None:
        lists = swept(listing(listed(A, number=1)))
        mark = lists.job(A).lists.current_mark
        lists.take_in(listing(listed(A, number=2)), {A}, MOMENT_MS)
        lists.polled(A, mark)
        assert lists.changed() == [A]


class TestTrust:
    def polled_and_listed_alike(self, *read_after_s: float) -> Lists:
        """Polled once, and listed again without a change so many seconds later."""
        lists = swept(listing(listed(A, last_build_ms=1000)))
        lists.polled(A, lists.job(A).lists.current_mark)
        for seconds in read_after_s:
            lists.take_in(listing(listed(A, last_build_ms=1000)), {A}, MOMENT_MS + round(seconds * 1000))
        return lists

    def test_lists_that_miss_a_build_long_after_its_start_have_hidden_it(self) -> None:
        assert self.polled_and_listed_alike(0, 126).have_hidden(A, MOMENT_MS)

    @pytest.mark.parametrize("seconds", [0, 60, 125])
    def test_lists_may_be_two_intervals_late(self, seconds: float) -> None:
        assert not self.polled_and_listed_alike(seconds).have_hidden(A, MOMENT_MS)

    def test_an_unknown_start_proves_nothing(self) -> None:
        assert not self.polled_and_listed_alike(600).have_hidden(A, None)

    @pytest.mark.parametrize(("number", "hidden"), [(None, False), (1, True)])
    def test_a_list_without_numbers_shows_all_builds_that_began_together(
        self, number: int | None, hidden: bool
    ) -> None:
        shown = listing(listed(A, last_build_ms=MOMENT_MS + 1500, number=number))
        lists = swept(shown)
        lists.polled(A, lists.job(A).lists.current_mark)
        lists.take_in(shown, {A}, MOMENT_MS + 600_000)
        assert lists.have_hidden(A, MOMENT_MS) == hidden

    def test_lists_that_do_not_show_the_job_have_hidden_nothing(self) -> None:
        assert not self.polled_and_listed_alike(600).have_hidden(B, MOMENT_MS)

    def test_a_list_that_shows_a_change_has_not_been_silent(self) -> None:
        lists = self.polled_and_listed_alike()
        lists.take_in(listing(listed(A, last_build_ms=MOMENT_MS)), {A}, MOMENT_MS + 600_000)
        assert not lists.have_hidden(A, MOMENT_MS)

    def test_distrust_doubles_with_each_hidden_build_up_to_a_day(self) -> None:
        lists, now, doubts = Lists(), 0.0, []
        for _ in range(7):
            assert lists.are_trusted(now)
            lists.distrust(now)
            began = now
            while not lists.are_trusted(now):
                now += INTERVAL
            doubts.append((now - began) / INTERVAL)
        assert doubts == [FIRST_DOUBT, 120, 240, 480, 960, LONGEST_DOUBT, LONGEST_DOUBT]

    @pytest.mark.parametrize(
        ("right_for_s", "minutes"), [(VERIFIED_AFTER_S, 60), (VERIFIED_AFTER_S - 1, 240)]
    )
    def test_distrust_begins_again_once_lists_have_been_right_for_a_day(
        self, right_for_s: float, minutes: int
    ) -> None:
        lists = Lists()
        lists.distrust(0)
        lists.distrust(3600)
        now = 3600 + 7200 + right_for_s
        lists.distrust(now)
        assert not lists.are_trusted(now + minutes * 60 - 1)
        assert lists.are_trusted(now + minutes * 60)


class TestTheClockWasAhead:
    def test_lists_that_were_dated_wrong_prove_no_hidden_build(self) -> None:
        ahead_ms = MOMENT_MS + 43_200_000
        lists = swept(listing(listed()))
        lists.polled(A, lists.job(A).lists.current_mark)
        lists.take_in(listing(listed()), {A}, ahead_ms)
        assert lists.have_hidden(A, MOMENT_MS)
        lists.clamp_all(MOMENT_MS + 60_000)
        assert not lists.have_hidden(A, MOMENT_MS)

    def test_what_was_listed_then_expires_as_usual(self) -> None:
        lists = swept(listing(listed()), read_ms=MOMENT_MS + 43_200_000)
        lists.clamp_all(MOMENT_MS)
        stale_ms = MOMENT_MS + round(STALE_AFTER * INTERVAL * 1000)
        assert lists.age(stale_ms) == []
        assert lists.age(stale_ms + 1) == [A]
