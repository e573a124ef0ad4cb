"""Numbers that do not go on from those that are known, and builds of which only a number is known."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from exporter.ledger.fold_observations import DetailAnswer, Failed, Refused, apply_details, apply_history
from exporter.ledger.job_ledger import JobLedger
from exporter.ledger.streaks import Run
from exporter.ledger.unexpected_numbers import doubtful_numbers
from exporter.model import Build, BuildDetail, Result, State
from tests.ledger.examples import (
    PATIENCE_MS,
    at,
    counted,
    denied,
    detail,
    details,
    finished,
    history,
    idle,
    patient,
    running,
)

SUCCESS, FAILURE = Result.SUCCESS, Result.FAILURE


def with_builds(last: int) -> JobLedger:
    """Of a job that has run up to that number, a build a minute."""
    ledger = idle()
    for number in range(2, last + 1):
        ledger = counted(ledger, number, start=number, finish=number + 0.5)
    return ledger


def polled(
    ledger: JobLedger, *builds: Build, minutes: range, answer: DetailAnswer | None = None
) -> tuple[JobLedger, list[str]]:
    """The ledger after polls that showed the same, and what record-info answered about strange numbers."""
    faults: list[str] = []
    for minute in minutes:
        folded = apply_history(ledger, builds, at_ms=at(minute))
        faults += folded.faults
        ledger = folded.ledger
        if answer and answer.number in ledger.wanted_details(PATIENCE_MS):
            folded = apply_details(ledger, [answer], at_ms=at(minute))
            faults += folded.faults
            ledger = folded.ledger
    return ledger, faults


def restarted(*, old: int = 50) -> JobLedger:
    """Of a job with builds up to the old number, whose numbers started again: the new build 1 is counted."""
    ledger, again = with_builds(50), finished(1, start=100)
    if old > 50:
        far, answer = finished(old, start=80), detail(old, start=80)
        ledger, _ = polled(ledger, far, minutes=range(82, 85), answer=answer)
        ledger = counted(ledger, old, start=80)
    ledger, _ = polled(ledger, again, minutes=range(105, 108), answer=detail(1, start=100))
    return counted(ledger, 1, start=100)


class TestNumbersThatStartAgain:
    def test_are_reported_from_the_first_poll_on(self) -> None:
        ledger, faults = polled(with_builds(50), finished(1, start=100), minutes=range(102, 103))
        assert faults == ["reused_build_number"]
        assert ledger.counts == {SUCCESS: 49}

    def test_are_accepted_after_three_polls_and_record_info(self) -> None:
        again = (finished(2, FAILURE, start=103), finished(1, start=100))
        answer = detail(2, FAILURE, start=103)
        ledger, _ = polled(with_builds(50), *again, minutes=range(105, 107), answer=answer)
        assert ledger.highest == 50
        ledger, _ = polled(ledger, *again, minutes=range(107, 108), answer=answer)
        assert (ledger.highest, ledger.baseline, ledger.last) == (0, 0, None)
        ledger = history(ledger, *again, minute=108)
        ledger = details(ledger, answer, detail(1, start=100), minute=108)
        assert (ledger.counts, ledger.lost_builds) == ({SUCCESS: 50, FAILURE: 1}, 0)
        assert ledger.last
        assert (ledger.last.number, ledger.consecutive_failures) == (2, 1)

    def test_are_not_accepted_if_record_info_has_the_counted_build(self) -> None:
        again = (finished(2, start=103), finished(1, start=100))
        ledger, _ = polled(with_builds(50), *again, minutes=range(105, 140), answer=detail(2, start=2))
        assert (ledger.highest, ledger.counts) == (50, {SUCCESS: 49})

    def test_are_not_accepted_without_an_answer_of_record_info(self) -> None:
        again = finished(1, start=100)
        for answer in (Refused(1), Failed(1)):
            ledger, _ = polled(with_builds(50), again, minutes=range(105, 140), answer=answer)
            assert (ledger.highest, ledger.counts) == (50, {SUCCESS: 49})

    def test_are_not_accepted_while_the_old_numbers_continue(self) -> None:
        ledger = with_builds(50)
        for minute in range(105, 140):
            builds = (finished(minute - 54, start=minute - 2), finished(1, start=minute - 1))
            ledger, _ = polled(ledger, *builds, minutes=range(minute, minute + 1))
            ledger = details(ledger, detail(minute - 54, start=minute - 2), minute=minute)
        assert ledger.other is None
        assert ledger.counts == {SUCCESS: 49 + 35}

    def test_open_builds_are_lost_and_old_builds_are_not_counted_again(self) -> None:
        ledger = history(with_builds(50), running(51, minute=52), minute=53)
        ledger, _ = polled(
            ledger, finished(1, start=100), minutes=range(105, 108), answer=detail(1, start=100)
        )
        assert (ledger.highest, ledger.open, ledger.lost_builds) == (0, {}, 1)
        old = range(2, 51)
        again = [(number, number + 0.5) for number in old]
        ledger = history(ledger, *(finished(n, start=n, finish=end) for n, end in again), minute=109)
        ledger = details(ledger, *(detail(n, start=n, finish=end) for n, end in again), minute=109)
        ledger = counted(ledger, 1, FAILURE, start=100)
        assert ledger.counts == {SUCCESS: 49, FAILURE: 1}

    def test_an_old_build_without_a_finish_is_not_counted_again(self) -> None:
        old = Build(51, result=FAILURE, start_ms=at(52))
        ledger = details(history(with_builds(50), old, minute=53), Refused(51), minute=53)
        ledger = counted(ledger, 52, start=54, finish=55)
        again = finished(1, start=100)
        ledger, _ = polled(ledger, again, minutes=range(105, 108), answer=detail(1, start=100))
        ledger = details(history(ledger, again, old, minute=109), detail(1, start=100), minute=109)
        assert details(ledger, Refused(51), minute=109).counts == {SUCCESS: 51, FAILURE: 1}

    def test_numbers_up_to_old_builds_still_listed_are_not_missing(self) -> None:
        old = [finished(number, start=number, finish=number + 0.5) for number in (50, 49)]
        again = finished(1, start=100)
        ledger, _ = polled(with_builds(50), again, *old, minutes=range(105, 108), answer=detail(1, start=100))
        ledger = details(history(ledger, again, *old, minute=108), detail(1, start=100), minute=108)
        assert (ledger.highest, ledger.gaps, ledger.wanted_details(PATIENCE_MS)) == (1, (), ())
        ledger = history(ledger, finished(2, start=109), again, *old, minute=111)
        ledger = details(ledger, detail(2, start=109), minute=111)
        assert ledger.last
        assert (ledger.last.number, ledger.counts, ledger.lost_builds) == (2, {SUCCESS: 51}, 0)

    def test_details_of_an_old_build_under_the_next_number_are_ignored(self) -> None:
        again = finished(1, start=100)
        ledger, _ = polled(with_builds(50), again, minutes=range(105, 108), answer=detail(1, start=100))
        ledger = counted(ledger, 1, start=100)
        assert details(ledger, detail(2, start=2), minute=109) == ledger
        assert details(ledger, detail(2, start=107), minute=109).counts == {SUCCESS: 51}

    def test_an_old_build_under_the_number_of_an_unfinished_one_does_not_end_it(self) -> None:
        ledger, old = restarted(), finished(2, start=2)
        for shown in ((running(2, 109), old), (old,)):
            ledger = history(ledger, *shown, finished(1, start=100), minute=110)
            assert ledger.open[2].build == running(2, 109)
        ended = finished(2, FAILURE, start=109, finish=121)
        for minute in range(122, 130):
            ledger = history(ledger, ended, old, finished(1, start=100), minute=minute)
            assert (ledger.highest, ledger.other) == (2, None)
            ledger = details(ledger, detail(2, FAILURE, start=109, finish=121), minute=minute)
            assert (ledger.counts, ledger.open) == ({SUCCESS: 50, FAILURE: 1}, {})

    def test_details_of_an_old_build_do_not_confirm_a_jump_and_are_rarely_requested(self) -> None:
        ledger, undated, asked = restarted(old=500_002), Build(500_002, result=FAILURE), 0
        for minute in range(110, 410):
            ledger = history(ledger, undated, finished(1, start=100), minute=minute)
            if ledger.wanted_details(PATIENCE_MS) == (500_002,):
                asked += 1
                ledger = details(ledger, detail(500_002, start=80), minute=minute)
        assert (ledger.highest, asked) == (1, 5)

    def test_a_counted_build_without_a_finish_is_not_taken_for_a_new_one(self) -> None:
        unknown = Build(51, start_ms=at(100))
        ledger = patient(history(with_builds(50), unknown, minute=101), 300)
        assert ledger.counts == {SUCCESS: 49, Result.UNKNOWN: 1}
        assert polled(ledger, unknown, minutes=range(301, 310)) == (
            history(ledger, unknown, minute=309),
            [],
        )

    def test_a_build_with_swapped_times_is_not_taken_for_a_new_one(self) -> None:
        swapped = Build(51, result=SUCCESS, start_ms=at(130), finish_ms=at(100))
        ledger = details(
            history(with_builds(50), swapped, minute=131),
            BuildDetail(51, result=SUCCESS, start_ms=at(130), finish_ms=at(100)),
            minute=131,
        )
        assert polled(ledger, swapped, minutes=range(132, 140))[1] == []


class TestAJump:
    def test_is_accepted_after_three_polls_and_record_info_without_losses(self) -> None:
        far = (finished(500_002, start=103), finished(500_001, start=100))
        answer = detail(500_002, start=103)
        ledger, faults = polled(with_builds(50), *far, minutes=range(105, 107), answer=answer)
        assert (ledger.highest, set(faults)) == (50, {"implausible_build_number"})
        ledger, faults = polled(ledger, *far, minutes=range(107, 108), answer=answer)
        assert faults[-1] == "skipped_build_numbers"
        ledger = history(ledger, *far, minute=108)
        ledger = details(ledger, answer, detail(500_001, start=100), minute=108)
        assert (ledger.counts, ledger.lost_builds, ledger.gaps) == ({SUCCESS: 51}, 0, ())
        assert counted(ledger, 500_003, start=110).counts == {SUCCESS: 52}

    def test_is_not_accepted_if_record_info_denies_it_and_that_is_rarely_requested(self) -> None:
        ledger, asked = with_builds(50), 0
        for minute in range(105, 405):
            ledger = history(ledger, finished(500_001, start=100), minute=minute)
            if ledger.wanted_details(PATIENCE_MS) == (500_001,):
                asked += 1
                ledger = details(ledger, Refused(500_001), minute=minute)
        assert ledger.highest == 50
        assert asked == 5

    def test_is_not_accepted_while_lower_numbers_continue(self) -> None:
        ledger = with_builds(50)
        for minute in range(105, 120):
            builds = (finished(500_001, start=100), finished(minute - 54, start=minute - 1))
            ledger, _ = polled(ledger, *builds, minutes=range(minute, minute + 1))
        assert ledger.other is None

    def test_history_is_not_read_completely_for_it(self) -> None:
        ledger = with_builds(50)
        assert ledger.is_covered_by([finished(500_001, start=100), finished(50)])

    def test_a_repeated_poll_counts_as_one(self) -> None:
        far = finished(500_001, start=100)
        once = history(with_builds(50), far, minute=105)
        assert history(once, far, minute=105) == once


class TestAFewNumbersAhead:
    def doubted(self, *numbers: int) -> list[list[int]]:
        return doubtful_numbers(with_builds(50), [finished(number) for number in numbers])

    def test_are_doubted_if_no_others_lead_up_to_them(self) -> None:
        assert self.doubted(71, 72, 200, 40) == [[200], [71, 72]]
        assert self.doubted(51, 52, 72, 200) == [[200]]

    def test_are_plausible_where_history_has_many_of_those_below(self) -> None:
        assert self.doubted(70) == []
        assert self.doubted(70, 90, 110) == []

    def test_are_plausible_if_there_are_enough_of_them_and_so_is_all_below(self) -> None:
        assert self.doubted(200, 201, 202) == []
        assert self.doubted(100, 200, 201, 202) == []
        assert self.doubted(100, 200, 201, 202, 400) == [[400]]

    def test_of_builds_before_a_restart_are_not_doubted(self) -> None:
        restarted = replace(with_builds(3), restarted_ms=at(60))
        old = finished(500, start=40, finish=41)
        assert doubtful_numbers(restarted, [old]) == []
        assert doubtful_numbers(restarted, [old, finished(90, start=70, finish=71)]) == [[90]]

    def test_jumps_and_jobs_without_builds_have_rules_of_their_own(self) -> None:
        assert self.doubted(500_000) == []
        assert doubtful_numbers(replace(idle(), runs=(Run.baseline(0),), open={}), [finished(300)]) == []


def test_of_many_denied_numbers_only_a_thousand_are_requested_and_lost() -> None:
    ledger = counted(idle(), 5001)
    asked: set[int] = set()
    for minute in range(2, 600):
        ledger = history(ledger, minute=minute)
        wanted = ledger.wanted_details(PATIENCE_MS)
        asked |= set(wanted)
        ledger = patient(details(ledger, *map(Refused, wanted), minute=minute), minute)
    assert (ledger.gaps, len(ledger.runs)) == ((), 1)
    assert ledger.lost_builds == len(asked) == 1000
    assert min(asked) == 4001


def bare(number: int) -> Build:
    return Build(number, state=State.QUEUED)


class TestLittleMoreThanANumber:
    def test_open_builds_are_bounded(self) -> None:
        folded = apply_history(idle(), [bare(number) for number in range(2, 9_000)], at_ms=at(1))
        assert folded.faults == ("too_many_open_builds",)
        assert (len(folded.ledger.open), folded.ledger.highest, folded.ledger.gaps) == (100, 101, ())
        folded = apply_history(idle(), [running(number) for number in range(2, 9_000)], at_ms=at(1))
        assert (len(folded.ledger.open), folded.faults) == (1000, ("too_many_open_builds",))

    def test_finished_builds_are_not_bounded(self) -> None:
        ledger = history(idle(), *(finished(number) for number in range(2, 5002)))
        assert len(ledger.open) == 5000

    def test_a_denied_build_of_which_only_the_number_is_known_is_forgotten(self) -> None:
        ledger = denied(history(idle(), bare(2), bare(3), bare(4)), 2, 10, 30, 61, 63)
        assert (ledger.highest, ledger.open, ledger.gaps, ledger.lost_builds) == (1, {}, (), 0)
        assert counted(ledger, 2, start=70).counts == {SUCCESS: 1}

    def test_it_becomes_a_gap_if_a_higher_number_is_known(self) -> None:
        ledger = denied(counted(history(idle(), bare(2)), 3), 2, 10, 30, 61, 63)
        assert [(gap.first, gap.last) for gap in ledger.gaps] == [(2, 2)]
        assert denied(ledger, 64, 100, 130).lost_builds == 1


@given(st.data())
def test_no_build_is_counted_twice_when_numbers_restart(data: st.DataObject) -> None:
    old = data.draw(st.integers(1, 6), label="old")
    new = data.draw(st.integers(1, 6), label="new")
    ledger = idle()
    for number in range(2, old + 2):
        ledger = counted(ledger, number, start=number, finish=number + 0.5)
    first = {number: finished(number, start=number, finish=number + 0.5) for number in range(2, old + 2)}
    second = {number: finished(number, FAILURE, start=100 + number) for number in range(1, new + 1)}
    minute = 110
    for _ in range(data.draw(st.integers(1, 12), label="polls")):
        minute += 1
        builds = data.draw(st.lists(st.sampled_from([*first.values(), *second.values()]), max_size=6))
        ledger = history(ledger, *builds, minute=minute)
        answers: list[DetailAnswer] = []
        for number in ledger.wanted_details(PATIENCE_MS):
            if number in second and data.draw(st.booleans()):
                answers.append(detail(number, FAILURE, start=100 + number))
            elif number in first:
                answers.append(detail(number, start=number, finish=number + 0.5))
            else:
                answers.append(Refused(number) if data.draw(st.booleans()) else Failed(number))
        ledger = patient(details(ledger, *answers, minute=minute), minute)
        assert ledger.counts.get(SUCCESS, 0) == old
        assert ledger.counts.get(FAILURE, 0) <= new
    was_shown_old_ones = ledger.restarted_ms is not None
    for _ in range(70):
        minute += 1
        ledger = history(ledger, *second.values(), minute=minute)
        wanted = ledger.wanted_details(PATIENCE_MS)
        answers = [
            detail(number, FAILURE, start=100 + number) if number in second else Refused(number)
            for number in wanted
        ]
        ledger = patient(details(ledger, *answers, minute=minute), minute)
    assert ledger.counts.get(SUCCESS, 0) == old
    assert ledger.counts.get(FAILURE, 0) <= new
    if new <= old + 1 and not was_shown_old_ones:
        assert ledger.counts.get(FAILURE, 0) == new
