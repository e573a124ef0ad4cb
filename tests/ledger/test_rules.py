"""The eight rules of the ledger, each by small examples."""

from dataclasses import replace
from itertools import pairwise

import pytest

from exporter.ledger.fold_observations import (
    Failed,
    Refused,
    apply_details,
    apply_history,
    baseline,
    clamp_timestamps,
)
from exporter.ledger.job_ledger import JobLedger, LastBuild
from exporter.model import DAY_MS, Build, BuildDetail, Result, State
from tests.ledger.examples import (
    BUCKETS,
    PATIENCE_MS,
    START_MS,
    at,
    counted,
    denied,
    detail,
    details,
    durations_by_result,
    finished,
    history,
    idle,
    patient,
    running,
    watched,
)

SUCCESS, FAILURE, ABORTED = Result.SUCCESS, Result.FAILURE, Result.ABORTED


class TestRule1ABuildIsCountedOnceItIsFinishedAndItsDetailIsKnown:
    def test_a_finished_build_waits_for_its_detail(self) -> None:
        ledger = history(idle(), finished(2))
        assert ledger.counts == {}
        assert ledger.wanted_details(PATIENCE_MS) == (2,)

    def test_with_its_detail_it_is_counted(self) -> None:
        ledger = counted(idle(), 2)
        assert ledger.counts == {SUCCESS: 1}
        assert ledger.wanted_details(PATIENCE_MS) == ()

    def test_overlapping_pages_count_once(self) -> None:
        ledger = counted(counted(idle(), 2), 3)
        assert history(ledger, finished(3), finished(2), finished(2)) == ledger

    def test_a_repeated_detail_changes_nothing(self) -> None:
        ledger = counted(idle(), 2)
        assert details(ledger, detail(2), detail(2, FAILURE)) == ledger

    def test_a_running_build_is_active_and_not_counted(self) -> None:
        ledger = history(idle(), running(2, minute=1), minute=2)
        assert (ledger.counts, ledger.active(State.RUNNING), ledger.active(State.QUEUED)) == ({}, 1, 0)
        assert ledger.oldest_active_ms == at(1)
        assert ledger.wanted_details(PATIENCE_MS) == ()

    def test_a_queued_build_is_dated_by_when_it_was_first_seen(self) -> None:
        ledger = history(idle(), Build(2, state=State.QUEUED), minute=2)
        ledger = history(ledger, Build(2, state=State.QUEUED), minute=9)
        assert (ledger.active(State.QUEUED), ledger.oldest_active_ms) == (1, at(2))

    def test_a_running_build_that_finishes_is_counted(self) -> None:
        ledger = history(idle(), running(2, minute=1), minute=2)
        ledger = history(ledger, finished(2, FAILURE, start=1, finish=5), minute=6)
        ledger = details(ledger, detail(2, FAILURE, start=1, finish=5), minute=6)
        assert (ledger.counts, ledger.active(State.RUNNING)) == ({FAILURE: 1}, 0)

    def test_a_stale_page_does_not_reopen_a_counted_build(self) -> None:
        ledger = history(counted(idle(), 2), running(2, minute=1), minute=3)
        assert (ledger.counts, ledger.active(State.RUNNING)) == ({SUCCESS: 1}, 0)

    def test_if_detail_and_history_disagree_the_detail_is_used(self) -> None:
        ledger = details(history(idle(), finished(2, SUCCESS)), detail(2, FAILURE))
        assert ledger.counts == {FAILURE: 1}

    def test_a_record_without_result_and_state_is_settled_by_its_detail(self) -> None:
        ledger = history(idle(), Build(2, start_ms=at(1), finish_ms=at(2)))
        assert ledger.wanted_details(PATIENCE_MS) == (2,)
        assert details(ledger, detail(2, ABORTED)).counts == {ABORTED: 1}


class TestRule2OrderSplitAndRepetitionChangeNothing:
    def test_newest_first_or_oldest_first(self) -> None:
        builds = [finished(number, start=number) for number in (2, 3, 4)]
        answers = [detail(number, start=number) for number in (2, 3, 4)]
        upwards = details(history(idle(), *builds), *answers)
        downwards = details(history(idle(), *reversed(builds)), *reversed(answers))
        assert upwards == downwards

    def test_also_of_first_builds_without_a_finish(self) -> None:
        first = watched(finished(7, start=-10), *(Build(number, result=SUCCESS) for number in (8, 9)))
        later, earlier = detail(8, start=-30, finish=2), detail(9, start=-5, finish=-4)
        assert details(first, later, earlier) == details(first, earlier, later)
        assert details(first, later, earlier).counts == {SUCCESS: 1}

    def test_sums_are_exact(self) -> None:
        ledger = idle()
        for number in range(2, 12):
            ledger = history(ledger, finished(number))
            answer = replace(detail(number), duration_ms=100, queued_ms=at(1) - 3)
            ledger = details(ledger, answer)
        assert (durations_by_result(ledger)[SUCCESS].sum_ms, ledger.queue.sum_ms) == (1000, 30)

    def test_the_last_build_is_the_one_with_the_highest_number_not_the_last_to_finish(self) -> None:
        ledger = counted(idle(), 3, FAILURE, start=2, finish=3)
        ledger = counted(ledger, 2, SUCCESS, start=1, finish=30)
        assert ledger.last == LastBuild(3, FAILURE, at(3), 60_000, 1000)
        assert ledger.last_success_ms == at(30)

    def test_a_build_that_finishes_after_the_next_one_takes_its_place_in_the_streak(self) -> None:
        ledger = history(idle(), running(2, minute=1), finished(3, FAILURE), running(4, minute=2))
        ledger = details(ledger, detail(3, FAILURE))
        assert ledger.consecutive_failures == 1
        ledger = counted(ledger, 4, FAILURE, start=2, finish=10)
        assert ledger.consecutive_failures == 2
        ledger = counted(ledger, 2, SUCCESS, start=1, finish=20)
        assert ledger.consecutive_failures == 2
        assert ledger.recovery.count == 0

    def test_an_aborted_build_neither_adds_to_a_streak_nor_ends_it(self) -> None:
        ledger = idle()
        for number, result in enumerate((FAILURE, ABORTED, FAILURE, ABORTED), start=2):
            ledger = counted(ledger, number, result, start=number)
        assert ledger.consecutive_failures == 2

    @pytest.mark.parametrize("result", [Result.TIMEOUT, Result.SCHEDULE_FAILURE, Result.UNKNOWN])
    def test_every_other_result_but_success_adds_to_a_streak(self, result: Result) -> None:
        assert counted(counted(idle(), 2, FAILURE), 3, result).consecutive_failures == 2

    def test_a_recovery_is_measured_from_finish_to_finish(self) -> None:
        ledger = counted(idle(), 2, FAILURE, start=1, finish=10)
        ledger = counted(ledger, 3, FAILURE, start=11, finish=20)
        ledger = counted(ledger, 4, SUCCESS, start=21, finish=40)
        assert (ledger.recovery.count, ledger.recovery.sum_ms) == (1, 30 * 60_000)
        assert (ledger.consecutive_failures, ledger.recovery.counts) == (0, (0, 1, 0))

    def test_a_recovery_is_observed_once_in_any_order_of_builds(self) -> None:
        ledger = history(idle(), *(finished(n, start=n) for n in (2, 3, 4)))
        for number, result in ((4, SUCCESS), (2, FAILURE), (3, ABORTED)):
            ledger = details(ledger, detail(number, result, start=number))
        assert (ledger.recovery.count, ledger.recovery.sum_ms) == (1, 2 * 60_000)

    def test_a_success_that_finished_before_the_failure_did_is_no_recovery(self) -> None:
        ledger = history(idle(), finished(2, FAILURE, finish=30), finished(3, SUCCESS, finish=20))
        folded = apply_details(ledger, [detail(2, FAILURE, finish=30), detail(3, finish=20)], at_ms=at(31))
        assert (folded.ledger.recovery.count, folded.ledger.consecutive_failures) == (0, 0)
        assert folded.faults == ("negative_recovery_duration",)


class TestRule3TheFirstPollIsABaseline:
    def test_it_settles_without_counting(self) -> None:
        ledger = watched(*(finished(number, start=-100 + number) for number in range(40, 56)))
        ledger = details(ledger, detail(55, FAILURE, start=-45), minute=0)
        assert (ledger.counts, durations_by_result(ledger)[SUCCESS].count, ledger.queue.count) == ({}, 0, 0)
        assert (ledger.open, ledger.gaps, len(ledger.runs)) == ({}, (), 1)

    def test_it_sets_the_gauges(self) -> None:
        ledger = watched(finished(54, start=-9), finished(55, FAILURE, start=-5))
        assert ledger.wanted_details(PATIENCE_MS) == (55,)
        ledger = details(ledger, detail(55, FAILURE, start=-5), minute=0)
        assert ledger.last == LastBuild(55, FAILURE, at(-4), 60_000, 1000)
        assert (ledger.last_success_ms, ledger.consecutive_failures) == (at(-8), 1)

    def test_a_build_above_the_baseline_counts_even_if_it_was_overlooked(self) -> None:
        ledger = watched(finished(53, start=-9), running(55, minute=-5))
        assert ledger.baseline == 53
        assert details(ledger, detail(54, start=-7, finish=-6)).counts == {SUCCESS: 1}
        assert denied(counted(ledger, 55, start=-5, finish=3), 4, 20, 90).lost_builds == 0

    def test_it_is_the_highest_number_that_had_finished(self) -> None:
        ledger = watched(running(53, minute=-9), finished(54, start=-9), running(55, minute=-5))
        assert ledger.baseline == 54
        assert counted(ledger, 55, start=-5, finish=3).baseline == 54
        assert watched(running(1, minute=-5)).baseline is None

    def test_a_build_that_was_unfinished_then_is_counted_when_it_finishes(self) -> None:
        ledger = watched(finished(54, start=-9), running(55, minute=-5))
        assert (ledger.counts, ledger.active(State.RUNNING)) == ({}, 1)
        assert counted(ledger, 55, start=-5, finish=3).counts == {SUCCESS: 1}

    def test_an_unfinished_build_below_finished_ones_is_counted_too(self) -> None:
        ledger = watched(running(50, minute=-60), *(finished(n, start=-50) for n in (51, 52)))
        ledger = details(ledger, detail(52, start=-50), minute=0)
        assert counted(ledger, 50, FAILURE, start=-60, finish=1).counts == {FAILURE: 1}

    def test_an_overlooked_build_counts_only_if_it_finished_later(self) -> None:
        ledger = watched(finished(53, start=-9), finished(55, start=-5))
        ledger = details(ledger, detail(55, start=-5), minute=0)
        early = details(ledger, detail(54, start=-7, finish=-6))
        late = details(ledger, detail(54, start=-7, finish=2), minute=3)
        assert (early.counts, late.counts) == ({}, {SUCCESS: 1})

    def test_builds_deleted_before_are_neither_counted_nor_lost(self) -> None:
        ledger = watched(finished(20, start=-900), finished(55, start=-5))
        ledger = denied(details(ledger, detail(55, start=-5), minute=0), 1, 10, 100, 1000)
        assert (ledger.counts, ledger.lost_builds, ledger.gaps) == ({}, 0, ())

    def test_a_recovery_may_begin_before_it(self) -> None:
        ledger = watched(finished(54, FAILURE, start=-9), finished(55, FAILURE, start=-5))
        ledger = details(ledger, detail(55, FAILURE, start=-5), minute=0)
        ledger = counted(ledger, 56, start=1)
        assert (ledger.recovery.count, ledger.recovery.sum_ms) == (1, 10 * 60_000)

    def test_a_recovery_before_it_is_not_measured(self) -> None:
        ledger = watched(finished(54, FAILURE, start=-9), finished(55, start=-5))
        ledger = details(ledger, detail(55, start=-5), minute=0)
        assert ledger.recovery.count == 0

    def test_after_an_idle_time_longer_than_the_lookback_the_next_build_counts(self) -> None:
        ledger = history(watched(), running(501, minute=3), minute=3)
        ledger = details(history(ledger, finished(501, start=3), minute=5), detail(501, start=3), minute=5)
        assert ledger.counts == {SUCCESS: 1}
        ledger = denied(ledger, 6, 20, 60, 120, 600)
        assert (ledger.counts, ledger.lost_builds, ledger.gaps) == ({SUCCESS: 1}, 0, ())

    def test_old_builds_missing_in_an_empty_first_answer_are_not_counted(self) -> None:
        old = range(1, 51)
        ledger = history(watched(), *(finished(number, start=-60 + number) for number in old), minute=1)
        ledger = details(ledger, *(detail(number, start=-60 + number) for number in old), minute=1)
        assert (ledger.counts, ledger.queue.count, ledger.lost_builds) == ({}, 0, 0)
        assert ledger.last
        assert (ledger.last.number, len(ledger.runs), ledger.open) == (50, 1, {})

    def test_later_builds_missing_in_an_empty_first_answer_count(self) -> None:
        ledger = history(watched(), finished(49, start=-9), finished(50, start=-1, finish=2), minute=3)
        answers = (detail(49, start=-9), detail(50, start=-1, finish=2))
        assert details(ledger, *answers, minute=3).counts == {SUCCESS: 1}


class TestRule3CountingBeginsWhenAJobIsFirstWatched:
    """Its first poll is ten minutes later."""

    def first(self, *builds: Build, after_gap: bool = False) -> JobLedger:
        return baseline(builds, at_ms=at(10), since_ms=at(0), buckets=BUCKETS, after_gap=after_gap).ledger

    def test_builds_finished_since_then_count(self) -> None:
        ledger = self.first(finished(54, start=-5), finished(55, FAILURE, start=-1, finish=1), finished(56))
        ledger = details(ledger, detail(55, FAILURE, start=-1, finish=1), detail(56), minute=10)
        assert (ledger.counts, ledger.baseline, ledger.since_ms) == ({FAILURE: 1, SUCCESS: 1}, 54, at(0))
        assert (ledger.last and ledger.last.number, ledger.recovered_builds) == (56, 0)

    def test_a_long_build_below_the_baseline_counts_too(self) -> None:
        ledger = self.first(finished(54, start=-50, finish=3), finished(55, start=-5))
        ledger = details(ledger, detail(54, start=-50, finish=3), detail(55, start=-5), minute=10)
        assert (ledger.counts, ledger.baseline) == ({SUCCESS: 1}, 55)

    def test_builds_finished_long_before_the_first_poll_are_recovered(self) -> None:
        ledger = self.first(finished(54, start=-5), finished(55), after_gap=True)
        ledger = details(ledger, detail(55), minute=10)
        assert (ledger.counts, ledger.recovered_builds) == ({SUCCESS: 1}, 1)

    def test_an_undated_result_belongs_to_the_baseline(self) -> None:
        ledger = self.first(finished(54, start=-5), *(Build(number, FAILURE) for number in (55, 56)))
        ledger = details(ledger, Refused(55), BuildDetail(56, FAILURE, queued_ms=at(-9)), minute=10)
        assert (ledger.counts, ledger.baseline, ledger.open) == ({}, 56, {})

    @pytest.mark.parametrize(
        "proof",
        [
            BuildDetail(56, FAILURE, queued_ms=at(2)),
            BuildDetail(56, FAILURE, start_ms=at(2)),
            BuildDetail(56, FAILURE, finish_ms=at(2)),
        ],
    )
    def test_an_undated_result_counts_if_its_detail_has_a_later_finish(self, proof: BuildDetail) -> None:
        ledger = self.first(finished(54, start=-5), *(Build(number, FAILURE) for number in (55, 56)))
        assert ledger.wanted_details(PATIENCE_MS) == (55, 56)
        ledger = details(ledger, proof, Refused(55), minute=10)
        assert (ledger.counts, ledger.baseline, ledger.open) == ({FAILURE: 1}, 55, {})

    def test_a_finish_in_the_second_in_which_counting_began_is_decided_by_its_detail(self) -> None:
        whole = replace(finished(55, start=-1, finish=0), finish_ms=at(0) - 400)
        for finish, counts in ((-0.001, {}), (0.001, {SUCCESS: 1})):
            ledger = self.first(finished(54, start=-5), whole)
            ledger = details(ledger, detail(55, start=-1, finish=finish), minute=10)
            assert (ledger.counts, ledger.baseline) == (counts, 54 if counts else 55)

    def test_of_many_undated_results_only_the_newest_are_requested(self) -> None:
        ledger = self.first(*(Build(number, FAILURE) for number in range(1, 101)))
        assert ledger.wanted_details(PATIENCE_MS) == tuple(range(91, 101))
        assert ledger.baseline == 90

    def test_a_finish_in_the_far_future_proves_nothing(self) -> None:
        ledger = self.first(finished(54, start=-5, finish=90 * 24 * 60), finished(55, start=-5))
        assert details(ledger, detail(55, start=-5), minute=10).counts == {}

    def test_a_number_missing_among_those_that_count_is_waited_for(self) -> None:
        ledger = self.first(finished(10, start=-5), *(finished(n, start=1) for n in range(20, 60) if n != 30))
        assert [(gap.first, gap.last) for gap in ledger.gaps] == [(30, 30)]
        assert denied(ledger, 20, 60, 120, 600).lost_builds == 1


class TestRule3WhileNoBuildIsKnownTheBaselineIs0:
    def test_undated_results_count(self) -> None:
        failed = [Build(number, Result.SCHEDULE_FAILURE) for number in (1, 2, 3)]
        ledger = details(history(watched(), *failed), *(Refused(number) for number in (1, 2, 3)))
        assert (ledger.counts, ledger.open) == ({Result.SCHEDULE_FAILURE: 3}, {})

    def test_a_build_in_an_unknown_phase_counts_when_patience_is_over(self) -> None:
        ledger = history(watched(), Build(1))
        ledger = patient(details(ledger, BuildDetail(1), minute=1), 62)
        assert ledger.counts == {Result.UNKNOWN: 1}

    def test_without_a_finish_an_earlier_start_is_proof(self) -> None:
        ledger = history(watched(), Build(7, Result.SCHEDULE_FAILURE, start_ms=at(-60)))
        assert details(ledger, Refused(7)).counts == {}


class TestRule4ALedgerNeedsNoListOfAllBuilds:
    def test_ten_thousand_builds_are_one_run(self) -> None:
        ledger = idle()
        for first in range(2, 10_002, 10):
            results = {n: FAILURE if n % 7 == 0 else SUCCESS for n in range(first, first + 10)}
            ledger = history(ledger, *(finished(n, result, start=n) for n, result in results.items()))
            ledger = details(ledger, *(detail(n, result, start=n) for n, result in results.items()))
        assert (len(ledger.runs), ledger.open, ledger.gaps) == (1, {}, ())
        assert sum(ledger.counts.values()) == 10_000

    def test_ten_thousand_builds_above_a_stuck_one_are_one_more_run(self) -> None:
        ledger = history(idle(), running(2, minute=1))
        for first in range(3, 10_003, 10):
            numbers = range(first, first + 10)
            ledger = history(ledger, *(finished(number, start=number) for number in numbers))
            ledger = details(ledger, *(detail(number, start=number) for number in numbers))
        assert (len(ledger.runs), list(ledger.open), ledger.gaps) == (2, [2], ())

    def test_many_lost_ranges_are_not_remembered_forever(self) -> None:
        ledger = idle()
        for number in range(3, 1003, 2):
            minute = number * 100
            ledger = counted(ledger, number, start=minute)
            ledger = denied(ledger, minute + 1, minute + 10, minute + 90)
        assert (ledger.lost_builds, len(ledger.runs)) == (500, 1)
        assert len(ledger.lost) <= 100

    def test_an_implausible_build_number_is_ignored(self) -> None:
        folded = apply_history(idle(), [finished(2), finished(2_147_483_647)], at_ms=at(1))
        assert folded.faults == ("implausible_build_number",)
        assert (folded.ledger.highest, folded.ledger.gaps) == (2, ())

    def test_an_implausible_number_is_ignored_in_the_baseline_too(self) -> None:
        folded = baseline([finished(2_147_483_647), finished(55, start=-5)], at_ms=START_MS, buckets=BUCKETS)
        assert folded.faults == ("implausible_build_number",)
        assert folded.ledger.highest == 55

    def test_history_is_read_from_the_oldest_unsettled_build_on(self) -> None:
        ledger = history(counted(idle(), 2), running(3, minute=5), minute=6)
        assert history(ledger, running(3, minute=5), minute=90).unsettled_since_ms == at(5)
        ledger = counted(ledger, 3, start=5, finish=95)
        assert history(ledger, minute=100).unsettled_since_ms == at(100)


class TestRule5AMissingNumberIsWaitedForThenLost:
    def test_it_is_waited_for(self) -> None:
        ledger = counted(idle(), 3)
        assert [(gap.first, gap.last) for gap in ledger.gaps] == [(2, 2)]
        assert (ledger.lost_builds, ledger.counts) == (0, {SUCCESS: 1})

    def test_a_late_record_fills_it(self) -> None:
        ledger = counted(counted(idle(), 3), 2, FAILURE)
        assert (ledger.gaps, ledger.counts) == ((), {SUCCESS: 1, FAILURE: 1})
        assert (ledger.lost_builds, ledger.recovered_builds) == (0, 0)

    def test_record_info_is_requested_from_the_next_poll_on(self) -> None:
        ledger = counted(idle(), 3)
        assert ledger.wanted_details(PATIENCE_MS) == ()
        assert history(ledger, minute=2).wanted_details(PATIENCE_MS) == (2,)

    def test_record_info_is_requested_ever_less_often(self) -> None:
        ledger = counted(idle(), 3)
        asked: list[float] = []
        for minute in range(2, 60):
            ledger = history(ledger, minute=minute)
            if ledger.wanted_details(PATIENCE_MS):
                asked.append(minute)
                ledger = details(ledger, Refused(2), minute=minute)
        assert asked == [2, 3, 4, 8, 16, 31]

    def test_record_info_may_find_it_finished(self) -> None:
        ledger = details(counted(idle(), 3), detail(2, FAILURE), minute=2)
        assert (ledger.gaps, ledger.counts) == ((), {SUCCESS: 1, FAILURE: 1})

    def test_record_info_may_find_it_running(self) -> None:
        found = BuildDetail(2, state=State.RUNNING, start_ms=at(1))
        ledger = details(counted(idle(), 3), found, minute=2)
        assert (ledger.gaps, ledger.active(State.RUNNING), ledger.oldest_active_ms) == ((), 1, at(1))
        assert counted(ledger, 2, finish=9).counts == {SUCCESS: 2}

    def test_it_is_lost_after_two_denials_and_patience(self) -> None:
        ledger = counted(idle(), 3)
        assert denied(ledger, 2, 10, 60).lost_builds == 0
        ledger = denied(ledger, 2, 10, 62)
        assert (ledger.lost_builds, ledger.gaps, len(ledger.runs)) == (1, (), 1)

    def test_patience_alone_does_not_lose_it(self) -> None:
        ledger = patient(history(counted(idle(), 3), minute=600), 600)
        assert (ledger.lost_builds, len(ledger.gaps)) == (0, 1)

    def test_one_denial_alone_does_not_lose_it(self) -> None:
        assert denied(counted(idle(), 3), 600).lost_builds == 0

    def test_failed_requests_are_no_denials(self) -> None:
        ledger = counted(idle(), 3)
        for minute in (2, 10, 100, 200):
            ledger = patient(details(history(ledger, minute=minute), Failed(2), minute=minute), minute)
        assert (ledger.lost_builds, len(ledger.gaps)) == (0, 1)

    def test_a_lost_one_that_turns_up_is_counted_and_recovered(self) -> None:
        ledger = counted(denied(counted(idle(), 3), 2, 10, 62), 2, FAILURE)
        assert ledger.counts == {SUCCESS: 1, FAILURE: 1}
        assert (ledger.lost_builds, ledger.recovered_builds) == (1, 1)
        assert history(ledger, finished(2, FAILURE)) == ledger

    def test_one_of_several_lost_ones_may_turn_up(self) -> None:
        ledger = counted(denied(counted(idle(), 7), 2, 10, 62), 4)
        assert (ledger.lost, ledger.lost_builds, ledger.recovered_builds) == (((2, 3), (5, 6)), 5, 1)

    def test_a_wide_gap_is_probed_a_few_numbers_at_a_time(self) -> None:
        ledger = history(counted(idle(), 14), minute=2)
        first = ledger.wanted_details(PATIENCE_MS)
        ledger = history(details(ledger, *map(Refused, first), minute=2), minute=10)
        second = ledger.wanted_details(PATIENCE_MS)
        assert (first, second) == ((9, 10, 11, 12, 13), (4, 5, 6, 7, 8))

    def test_of_a_wide_gap_only_requested_numbers_are_lost(self) -> None:
        ledger = counted(idle(), 102)
        for minute in range(2, 12):
            ledger = denied(ledger, minute)
        ledger = denied(ledger, 90)
        assert (ledger.lost_builds, [gap.tries for gap in ledger.gaps]) == (0, [0, 1])
        ledger = denied(ledger, *range(91, 131))
        assert (ledger.lost_builds, ledger.gaps) == (100, ())

    def test_denials_leave_the_other_numbers_of_a_gap_to_be_found(self) -> None:
        ledger = history(counted(idle(), 303), minute=2)
        for minute in range(2, 200):
            ledger = history(ledger, minute=minute)
            wanted = ledger.wanted_details(PATIENCE_MS)
            assert len(wanted) <= 5
            answers = [Refused(number) if number <= 42 else detail(number) for number in wanted]
            ledger = patient(details(ledger, *answers, minute=minute), minute)
            assert len(ledger.gaps) <= 3
        assert (ledger.counts, ledger.lost_builds, ledger.gaps) == ({SUCCESS: 261}, 41, ())

    def test_a_gap_keeps_its_age_when_part_of_it_is_found(self) -> None:
        ledger = history(counted(idle(), 12), minute=2)
        ledger = details(ledger, *map(Refused, range(7, 12)), minute=2)
        ledger = counted(ledger, 9)
        assert [(gap.first, gap.last, gap.tries, gap.since_ms) for gap in ledger.gaps] == [
            (2, 6, 0, at(1)),
            (7, 8, 1, at(1)),
            (10, 11, 1, at(1)),
        ]

    def test_a_stuck_build_is_requested_ever_more_rarely(self) -> None:
        ledger, asked = history(idle(), running(2, minute=1)), []
        for minute in range(10, 6 * 1440, 10):
            ledger = history(ledger, minute=minute)
            if ledger.stuck and ledger.wanted_details(PATIENCE_MS) == (2,):
                asked.append(minute)
            if ledger.wanted_details(PATIENCE_MS):
                still = BuildDetail(2, state=State.RUNNING, start_ms=at(1))
                ledger = details(ledger, still, minute=minute)
        assert asked[0] <= 1440 + 130
        waits = [later - earlier for earlier, later in pairwise(asked)]
        assert waits == sorted(waits)
        assert (min(waits) >= 120, max(waits)) == (True, 360)
        assert ledger.active(State.RUNNING) == 1
        assert details(ledger, detail(2), minute=9000).counts == {SUCCESS: 1}

    @pytest.mark.parametrize("answer", [Failed(2), Refused(2)])
    def test_a_stuck_build_is_not_requested_at_each_poll_if_that_fails(
        self, answer: Failed | Refused
    ) -> None:
        ledger = history(history(idle(), running(2, minute=1)), minute=1600)
        assert ledger.wanted_details(PATIENCE_MS) == (2,)
        ledger = history(details(ledger, answer, minute=1600), minute=1700)
        assert ledger.wanted_details(PATIENCE_MS) == ()
        assert history(ledger, minute=1800).wanted_details(PATIENCE_MS) == (2,)

    def test_history_is_not_read_back_for_a_stuck_build(self) -> None:
        ledger = history(counted(idle(), 3), running(2, minute=1), minute=1500)
        assert (set(ledger.stuck), ledger.unsettled_since_ms) == ({2}, at(1500))
        assert ledger.is_covered_by([finished(3)])
        assert not history(idle(), running(2), finished(3), minute=2).is_covered_by([finished(3)])

    def test_a_running_build_that_vanishes_is_requested(self) -> None:
        ledger = history(history(idle(), running(2)), minute=2)
        assert ledger.wanted_details(PATIENCE_MS) == (2,)

    def test_a_running_build_that_vanishes_may_still_run(self) -> None:
        ledger = history(history(idle(), running(2)), minute=2)
        ledger = details(ledger, BuildDetail(2, state=State.RUNNING, start_ms=at(1)), minute=2)
        assert (ledger.active(State.RUNNING), ledger.open[2].unseen_since_ms) == (1, None)

    def test_a_running_build_that_vanishes_may_have_finished(self) -> None:
        ledger = history(history(idle(), running(2)), minute=2)
        assert details(ledger, detail(2, FAILURE), minute=2).counts == {FAILURE: 1}

    def test_a_running_build_that_vanishes_everywhere_is_lost(self) -> None:
        ledger = denied(history(idle(), running(2)), 2, 10, 30, 61)
        assert (ledger.active(State.RUNNING), ledger.lost_builds) == (1, 0)
        ledger = denied(ledger, 63)
        assert (ledger.active(State.RUNNING), ledger.lost_builds, ledger.open) == (0, 1, {})

    def test_a_lost_build_neither_adds_to_a_streak_nor_ends_it(self) -> None:
        ledger = counted(counted(idle(), 2, FAILURE), 4, FAILURE)
        assert denied(ledger, 2, 10, 62).consecutive_failures == 2

    def test_builds_finished_during_a_gap_are_counted_as_recovered(self) -> None:
        ledger = history(idle(), finished(2), running(3, minute=100), minute=101, after_gap=True)
        ledger = details(ledger, detail(2), minute=101)
        assert (ledger.counts, ledger.recovered_builds) == ({SUCCESS: 1}, 1)
        assert counted(ledger, 3, start=100).recovered_builds == 1


class TestRule7DetailThatCannotBeHadNeverBlocks:
    def test_refused_it_is_counted_from_history_without_queue_time(self) -> None:
        ledger = details(history(idle(), finished(2, FAILURE)), Refused(2))
        assert (ledger.counts, ledger.queue.count) == ({FAILURE: 1}, 0)
        assert durations_by_result(ledger)[FAILURE].sum_ms == 60_000
        assert ledger.last == LastBuild(2, FAILURE, at(2), 60_000, None)

    def test_it_is_counted_after_ten_failures(self) -> None:
        ledger = history(idle(), finished(2))
        for _ in range(9):
            ledger = details(ledger, Failed(2))
        assert (ledger.counts, ledger.wanted_details(PATIENCE_MS)) == ({}, (2,))
        ledger = details(ledger, Failed(2))
        assert (ledger.counts, ledger.queue.count) == ({SUCCESS: 1}, 0)

    def test_others_do_not_wait_for_it(self) -> None:
        ledger = history(idle(), finished(2), finished(3))
        assert details(ledger, Failed(2), detail(3)).counts == {SUCCESS: 1}

    def test_a_detail_after_giving_up_changes_nothing(self) -> None:
        ledger = details(history(idle(), finished(2)), Refused(2))
        assert details(ledger, detail(2)) == ledger

    def test_an_end_without_a_result_whose_detail_is_refused_is_unknown(self) -> None:
        ledger = details(history(idle(), Build(2, start_ms=at(1), finish_ms=at(2))), Refused(2))
        assert ledger.counts == {Result.UNKNOWN: 1}

    def test_a_detail_without_times_is_completed_from_history(self) -> None:
        ledger = details(history(idle(), finished(2)), BuildDetail(2, result=SUCCESS))
        assert (durations_by_result(ledger)[SUCCESS].sum_ms, ledger.queue.count) == (60_000, 0)
        assert ledger.last
        assert ledger.last.finish_ms == at(2)


class TestRule8ClockTroubleMakesNoObservation:
    def test_a_negative_duration_is_a_fault(self) -> None:
        folded = apply_details(
            history(idle(), finished(2)), [replace(detail(2), duration_ms=-1)], at_ms=at(3)
        )
        assert folded.faults == ("negative_duration",)
        assert folded.ledger.counts == {SUCCESS: 1}
        assert (durations_by_result(folded.ledger)[SUCCESS].count, folded.ledger.queue.count) == (0, 1)

    def test_a_start_after_the_finish_is_a_fault(self) -> None:
        ledger = history(idle(), finished(2, start=5, finish=4))
        folded = apply_details(ledger, [Refused(2)], at_ms=at(6))
        assert folded.faults == ("negative_duration",)
        assert (folded.ledger.counts, durations_by_result(folded.ledger)[SUCCESS].count) == ({SUCCESS: 1}, 0)

    def test_a_negative_queue_time_is_a_fault(self) -> None:
        folded = apply_details(history(idle(), finished(2)), [detail(2, queued=2)], at_ms=at(3))
        assert folded.faults == ("negative_queue_duration",)
        assert (durations_by_result(folded.ledger)[SUCCESS].count, folded.ledger.queue.count) == (1, 0)

    def test_absurd_lengths_are_faults(self) -> None:
        answer = replace(detail(2), duration_ms=32 * DAY_MS, queued_ms=at(1) - 32 * DAY_MS)
        folded = apply_details(history(idle(), finished(2)), [answer], at_ms=at(3))
        assert folded.faults == ("absurd_duration", "absurd_queue_duration")
        assert (durations_by_result(folded.ledger)[SUCCESS].sum_ms, folded.ledger.queue.sum_ms) == (0, 0)

    def test_the_last_build_does_not_have_them_either(self) -> None:
        ledger = details(history(idle(), finished(2)), replace(detail(2), duration_ms=-1, queued_ms=at(9)))
        assert ledger.last == LastBuild(2, SUCCESS, at(2), None, None)

    def test_timestamps_are_clamped_to_now(self) -> None:
        ahead = history(history(idle(), running(2), minute=700), running(5), minute=720)
        ledger = clamp_timestamps(ahead, at_ms=at(3))
        assert ledger.polled_ms == at(3)
        assert {one.first_seen_ms for one in ledger.open.values()} == {at(3)}
        assert {one.unseen_since_ms for one in ledger.open.values()} == {at(3), None}
        assert {gap.since_ms for gap in ledger.gaps} == {at(3)}
        assert clamp_timestamps(
            baseline([], at_ms=at(720), buckets=BUCKETS).ledger, at_ms=at(3)
        ).since_ms == at(3)

    def test_earlier_timestamps_stay(self) -> None:
        ledger = history(history(idle(), running(2), minute=1), running(5), minute=3)
        assert clamp_timestamps(ledger, at_ms=at(3)) is ledger
        later = clamp_timestamps(history(ledger, running(5), minute=720), at_ms=at(4))
        assert (later.since_ms, later.open[2].first_seen_ms, later.gaps[0].since_ms) == (at(0), at(1), at(3))

    def test_a_gap_from_when_the_clock_was_ahead_is_waited_for_as_usual(self) -> None:
        ledger = clamp_timestamps(history(idle(), running(5), minute=720), at_ms=at(3))
        assert denied(ledger, 3, 4, 5, 10, 62).lost_builds == 0
        assert denied(ledger, 3, 4, 5, 10, 64).lost_builds == 4

    def test_a_build_that_was_never_dispatched_has_no_duration(self) -> None:
        build = Build(2, result=Result.SCHEDULE_FAILURE, finish_ms=at(2))
        answer = BuildDetail(
            2, result=Result.SCHEDULE_FAILURE, queued_ms=at(1), finish_ms=at(2), duration_ms=0
        )
        folded = apply_details(history(idle(), build), [answer], at_ms=at(3))
        assert folded.faults == ()
        assert folded.ledger.counts == {Result.SCHEDULE_FAILURE: 1}
        assert (set(durations_by_result(folded.ledger)), folded.ledger.queue.count) == ({SUCCESS, FAILURE}, 0)
