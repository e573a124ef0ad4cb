"""The log of failing stages, beside polls that are answered or fail."""

from collections.abc import Iterable

import pytest
from structlog.testing import capture_logs

from exporter.errors import ApiError, BackendError, NotVisibleError
from exporter.ledger.fold_observations import Failed, Refused
from exporter.ledger.stages import KnownStages
from exporter.poller.state_change_log import LOST_AFTER, StateChangeLog
from exporter.poller.tasks_and_results import StagesFetched, Timer, stages_task
from exporter.simulator import Fault, Fleet, fault
from tests.poller.conftest import JOB
from tests.poller.test_stage_steps import until_steps
from tests.poller.test_stages import ON
from tests.support.watch import HOUR, MINUTE, watching

GOOD = StagesFetched((KnownStages(1, ()),))
BAD = StagesFetched((Failed(1), Failed(2)), BackendError("down"))
REFUSED = StagesFetched((Refused(1),), refusal=NotVisibleError("not yours"))
NOTHING = StagesFetched(())
ANSWERED = "a poll is answered"
FAILS = "a poll fails"


def events(*happens: StagesFetched | str) -> list[str]:
    """Return the log lines of these events, each step of another job."""
    log, timer = StateChangeLog(), Timer(JOB)
    with capture_logs() as lines:
        for ordinal, one in enumerate(happens):
            if isinstance(one, StagesFetched):
                log.stages_fetched(Timer(stages_task(str(ordinal))), one)
            elif one == ANSWERED:
                log.succeeded(timer)
            else:
                log.failed(timer, BackendError("down"))
    return [line["event"] for line in lines if not line["event"].startswith("poll_")]


def between(what: str, steps: Iterable[StagesFetched]) -> list[StagesFetched | str]:
    return [one for step in steps for one in (what, step)]


def test_steps_that_fail_between_answered_polls_are_logged_once() -> None:
    assert events(*between(ANSWERED, [BAD] * (LOST_AFTER - 1))) == []
    assert events(*between(ANSWERED, [BAD] * 20)) == ["stages_failed"]
    assert events(*between(ANSWERED, [BAD] * 20), GOOD) == ["stages_failed", "stages_recovered"]


def test_steps_that_fail_without_a_poll_between_them_are_not_logged() -> None:
    assert events(ANSWERED, *[BAD] * 20) == []
    assert events(*[BAD] * 20) == []
    assert events(REFUSED, BAD, *between(ANSWERED, [BAD] * (LOST_AFTER - 1))) == []


@pytest.mark.parametrize("breaks", [GOOD, REFUSED], ids=["brought", "refused"])
def test_a_row_of_failures_ends_with_an_answer(breaks: StagesFetched) -> None:
    steps = [BAD, BAD, breaks, BAD, BAD]
    assert events(*between(ANSWERED, steps)) == []


def test_stages_that_come_work_again_only_if_they_were_said_to_fail() -> None:
    assert events(*between(ANSWERED, [BAD, BAD, GOOD, REFUSED, GOOD])) == []


def test_refusals_are_counted_apart_from_failures_and_not_while_polls_fail() -> None:
    assert events(ANSWERED, REFUSED, REFUSED) == []
    assert events(ANSWERED, REFUSED, REFUSED, REFUSED, GOOD) == ["stages_failed", "stages_recovered"]
    assert events(ANSWERED, REFUSED, REFUSED, GOOD, REFUSED, REFUSED) == []
    assert events(*between(FAILS, [REFUSED] * 20)) == []


def test_steps_that_fail_in_an_outage_are_not_held_against_a_refused_build() -> None:
    outage = between(FAILS, [BAD] * 20)
    assert events(ANSWERED, BAD, *outage, ANSWERED, REFUSED) == []
    assert events(ANSWERED, BAD, *outage, ANSWERED, BAD, GOOD) == []


def test_a_step_without_requests_does_not_recover_the_api() -> None:
    log = StateChangeLog()
    with capture_logs() as lines:
        for task in ("a", "b", "c"):
            log.failed(Timer(task), BackendError("down"))
        log.stages_fetched(Timer(stages_task(JOB)), NOTHING)
    assert [line["event"] for line in lines] == ["api_lost"]


def test_nothing_is_remembered_of_a_dropped_job() -> None:
    log = StateChangeLog()
    errors = (BackendError("down"), BackendError("down"), NotVisibleError("gone"))

    def events_of(timer: Timer, error: ApiError) -> list[str]:
        with capture_logs() as lines:
            log.failed(timer, error)
        return [line["event"] for line in lines]

    for _ in range(2):
        timer = Timer(JOB)
        assert [events_of(timer, error) for error in errors] == [[], [], ["poll_failed"]]
        log.forget([JOB])


@pytest.mark.parametrize(
    "trouble", [fault("reset"), fault("error", status=503), fault("html")], ids=lambda one: one.kind
)
def test_an_outage_that_a_step_meets_first_is_one_of_the_api(fleet: Fleet, trouble: Fault) -> None:
    with watching(fleet, settings=ON) as watch, capture_logs() as lines:
        watch.poll()
        fleet.add_build(JOB, queue_s=0, duration_s=20)
        watch.clock.advance(2 * MINUTE)
        [step] = until_steps(watch)
        watch.simulator.faults.replace([trouble])
        watch.poller.settle([watch.poller.run(step)])
        watch.poll_for(2 * HOUR, every=5 * MINUTE)
        watch.simulator.faults.clear()
        watch.poll_for(HOUR, every=5 * MINUTE)
    events = [line["event"] for line in lines]
    assert (events.count("api_lost"), events.count("api_recovered")) == (1, 1)
    assert not [event for event in events if event.startswith("stages")]
