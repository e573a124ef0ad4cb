"""When and why a job is polled next, and why its last poll failed."""

import random
from dataclasses import replace

import pytest

from exporter.errors import NotVisibleError
from exporter.ledger.unsettled import Gap
from exporter.model import State
from exporter.poller.job_state import JobState
from exporter.poller.poll_delays import PATIENCE, PollDelays
from exporter.poller.tasks_and_results import JobListsResult, PlannedPoll, PollReason
from exporter.simulator import Fleet, fault
from tests.ledger.examples import at, history, idle, running
from tests.poller.conftest import JOB
from tests.poller.test_planner import (
    HOUR,
    MINUTE,
    USUAL,
    Planner,
    ids,
    planner,
    quiet_index,
    settled,
    show,
    sweep,
    sweep_now,
)
from tests.support.watch import Watch, watching

FIRST = ids(1)[0]


def without_lists(jobs: int = 20) -> Planner:
    """Jobs whose first poll is under way, since lists are refused."""
    made = planner(jobs)
    made.due(0, 10)
    refused = JobListsResult((), {"": NotVisibleError("403")}, {}, {}, 0)
    made.learn(refused, 0)
    made.follow(refused, {}, 0)
    assert made.next_poll(FIRST, 0) == PlannedPoll(0, PollReason.FIRST)
    made.due(0, 100)
    return made


def reason(made: Planner, job_id: str = FIRST, now: float = 0) -> PollReason:
    planned = made.next_poll(job_id, now)
    assert planned is not None
    return planned.reason


class TestReason:
    def test_a_job_that_is_not_watched_has_no_next_poll(self) -> None:
        assert planner(1).next_poll("f" * 32, 0) is None

    def test_a_poll_under_way_has_no_due_time(self) -> None:
        assert without_lists().next_poll(FIRST, 5) == PlannedPoll(None, PollReason.FIRST)

    def test_an_overdue_poll_is_due_now(self) -> None:
        made = without_lists()
        made.succeed(FIRST, idle(), 0)
        assert made.next_poll(FIRST, HOUR) == PlannedPoll(0, PollReason.QUIET)

    def test_a_job_whose_build_runs_is_polled_each_interval(self) -> None:
        made = without_lists()
        made.succeed(FIRST, history(idle(), running(2, minute=1), minute=2), 0)
        planned = made.next_poll(FIRST, 10)
        assert planned
        assert planned.reason is PollReason.BUILDING
        assert planned.in_s is not None
        assert 40 < planned.in_s <= 50

    def test_missing_numbers_are_a_reason_of_their_own(self) -> None:
        made = without_lists()
        made.succeed(FIRST, replace(idle(), gaps=(Gap(7, 9, at(0)),)), 0)
        assert reason(made) is PollReason.MISSING

    def test_a_build_unfinished_for_days_is_requested_when_its_rest_is_over(self) -> None:
        hung = replace(history(idle(), running(2, minute=1), minute=2), polled_ms=at(3 * 1440))
        job = JobState(FIRST, ledger=replace(hung, open={2: replace(hung.open[2], asked_ms=hung.polled_ms)}))
        job.lists.shown(show(FIRST, number=2, is_finished=False), at(3 * 1440))
        delays = PollDelays(USUAL, 1000, lists_in_use=True, rng=random.Random(7))
        assert delays.until_next(job, job.lists.current_mark)[1] is PollReason.STUCK

    @pytest.mark.parametrize(
        ("refused", "expected"), [(True, PollReason.REFUSED), (False, PollReason.FAILED)]
    )
    def test_a_failed_poll_and_a_refused_one_differ(self, refused: bool, expected: PollReason) -> None:
        made = without_lists()
        made.poll_failed(made.watchlist.states[FIRST], 0, refused=refused)
        assert reason(made) is expected

    def test_details_that_are_left_are_requested_at_once(self) -> None:
        made = without_lists()
        made.poll_again(made.watchlist.states[FIRST], 3)
        assert made.next_poll(FIRST, 3) == PlannedPoll(0, PollReason.MORE_DETAILS)

    def test_a_hint_is_the_reason_until_its_polls_are_over(self) -> None:
        made = without_lists()
        made.succeed(FIRST, idle(), 0)
        made.hint([FIRST], 10, 10_000)
        assert made.next_poll(FIRST, 10) == PlannedPoll(0, PollReason.HINTED)
        made.due(10, 100)
        made.succeed(FIRST, idle(), 10)
        assert made.next_poll(FIRST, 10) == PlannedPoll(2, PollReason.HINTED)

    def test_it_is_kept_under_a_configuration_that_was_read_again(self) -> None:
        made = without_lists()
        made.succeed(FIRST, history(idle(), running(2, minute=1), minute=2), 0)
        after = planner(20)
        after.carry_over(made, same_service=True)
        assert after.next_poll(FIRST, 10) == made.next_poll(FIRST, 10)


class TestReasonWithLists:
    def test_a_quiet_job_is_polled_to_verify_the_lists(self) -> None:
        made, _, shown = settled(200)
        assert {reason(made, job.id) for job in shown} == {PollReason.VERIFIED}

    @pytest.mark.parametrize("quiet_polls", [0, 50])
    def test_a_change_that_history_does_not_show_yet_is_waited_for(self, quiet_polls: int) -> None:
        made, ledgers, shown = settled(200)
        quiet = quiet_index(made, shown, 60)
        job_id = shown[quiet].id
        job = made.watchlist.states[job_id]
        job.quiet_polls = job.answered_polls = quiet_polls
        shown[quiet] = show(job_id, number=idle().highest + 1, last_build_ms=at(30))
        sweep_now(made, sweep(*shown), ledgers, 60)
        assert made.next_poll(job_id, 60) == PlannedPoll(0, PollReason.CHANGED)
        assert job_id in made.due(60, 1000)
        reasons = []
        made.succeed(job_id, ledgers[job_id], 60)
        for _ in range(PATIENCE):  # as in an outage, which uses up no patience
            made.schedule.put(job.poll, 60)
            assert job_id in made.due(60, 1000)
            made.poll_failed(job, 60, refused=False)
        made.schedule.put(job.poll, 60)
        assert job_id in made.due(60, 1000)
        for _ in range(PATIENCE):
            made.succeed(job_id, ledgers[job_id], 60)
            reasons.append(reason(made, job_id, 60))
            made.schedule.put(made.watchlist.states[job_id].poll, 60)
            assert job_id in made.due(60, 1000)
        assert reasons == [PollReason.DISAGREES] * (PATIENCE - 1) + [PollReason.VERIFIED]

    def test_a_running_build_is_left_to_the_lists(self) -> None:
        made, ledgers, shown = settled(20)
        quiet = quiet_index(made, shown, 60)
        begun = {"is_finished": False, "state": State.RUNNING, "status": "building"}
        job_id = shown[quiet].id
        made.schedule.put(made.watchlist.states[job_id].poll, 60 * HOUR)
        shown[quiet] = show(job_id, number=idle().highest + 1, last_build_ms=at(30), **begun)
        sweep_now(made, sweep(*shown), ledgers, 60)
        assert reason(made, job_id, 60) is PollReason.LISTED_AS_RUNNING

    def test_jobs_that_no_list_covers_any_more_are_polled_by_themselves(self) -> None:
        made, ledgers, shown = settled(500)
        lost = shown[3].id
        made.schedule.put(made.watchlist.states[lost].poll, 60 * HOUR)
        for minute in range(1, 4):
            now = minute * MINUTE
            made.due(now - 1, 1000)
            sweep_now(made, sweep(*(job for job in shown if job.id != lost)), ledgers, now)
        assert reason(made, lost, 180) is PollReason.UNLISTED


class TestFailure:
    def failure(self, watch: Watch) -> str:
        return next(view.failure for view in watch.poller.view.jobs if view.job.id == JOB)

    def test_the_service_s_words_are_published_until_a_poll_succeeds(self, fleet: Fleet) -> None:
        fleet.add_job("other")
        with watching(fleet) as watch:
            watch.poll()
            assert self.failure(watch) == ""
            watch.simulator.faults.add(fault("error", job=JOB, status=404, code="DEV.CB.032011"))
            watch.poll_for(HOUR)
            assert "HTTP 404 DEV.CB.032011" in self.failure(watch)
            watch.simulator.faults.clear()
            watch.poll_for(HOUR)
            assert self.failure(watch) == ""
