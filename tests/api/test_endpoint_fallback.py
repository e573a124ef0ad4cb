"""The endpoint to ask: a withdrawal is suspected, proven, tried again and ended."""

import pytest

from exporter.api.endpoint_fallback import FIRST_PAUSE_S, LONGEST_PAUSE_S, Endpoint, RecordsTrust
from exporter.errors import (
    ApiError,
    BackendError,
    InvalidResponseError,
    NotPublishedError,
    NotVisibleError,
    ThrottledError,
)

NOT_PUBLISHED = NotPublishedError("gone", status=404, code="404", error_code="APIGW.0101")
PAGE = InvalidResponseError("a page", status=410, code="invalid")
NO_JOB = NotVisibleError("no such job", status=404, code="404", error_code="DEVCB.00031006")
FORBIDDEN = NotVisibleError("not yours", status=403, code="403", error_code="CB.00031007")


def endpoint() -> Endpoint:
    return Endpoint("older", "newer")


def fails(tried: Endpoint, error: ApiError, *jobs: str, now: float = 0.0) -> bool:
    """Return whether the last of these failures makes the newer endpoint be tried."""
    return [tried.failed(job, error, now, others_answer=True) for job in jobs][-1]


@pytest.mark.parametrize("error", [NOT_PUBLISHED, PAGE])
def test_an_answer_that_is_not_the_service_s_is_enough_to_try_the_newer_endpoint(error: ApiError) -> None:
    assert fails(endpoint(), error, "a")


def test_nothing_is_tried_while_no_other_request_is_answered() -> None:
    assert not endpoint().failed("a", NOT_PUBLISHED, 0.0, others_answer=False)


def test_the_service_s_404_has_to_concern_three_jobs_or_all_that_were_asked() -> None:
    assert [fails(endpoint(), NO_JOB, *jobs) for jobs in ("a", "ab", "abc", "aaa")] == [
        False,
        False,
        True,
        True,
    ]
    tried = endpoint()
    tried.answered("b")
    assert not fails(tried, NO_JOB, *"aaaa")
    assert fails(tried, NO_JOB, "b")


def test_no_withdrawal_waits_for_a_job_that_is_not_watched_any_more() -> None:
    tried = endpoint()
    for job in ("a", "gone"):
        tried.answered(job)
    assert not fails(tried, NO_JOB, *"aaa")
    tried.forget(["gone"])
    assert fails(tried, NO_JOB, "a")


def test_any_other_job_s_answer_makes_a_404_a_matter_of_its_job() -> None:
    tried = endpoint()
    fails(tried, NO_JOB, "a", "b")
    fails(tried, FORBIDDEN, "c")
    assert not fails(tried, NO_JOB, "a")


@pytest.mark.parametrize("error", [BackendError("down", status=500), ThrottledError("slow", status=429)])
def test_trouble_is_neither_an_answer_nor_a_withdrawal(error: ApiError) -> None:
    tried = endpoint()
    assert not fails(tried, error, *"abcd")
    fails(tried, NO_JOB, *"ab")
    fails(tried, error, "d")
    assert fails(tried, NO_JOB, "c")


def test_tries_of_a_newer_endpoint_that_does_not_answer_become_rare() -> None:
    tried = endpoint()
    tries = [now for now in range(0, 86_400, 10) if fails(tried, NOT_PUBLISHED, "a", now=now)]
    assert tries[:4] == [0, 60, 180, 420]
    assert 24 <= len(tries) <= 31


def test_a_job_that_proves_nothing_leaves_the_try_to_the_next() -> None:
    tried = endpoint()
    assert fails(tried, NOT_PUBLISHED, "a")
    assert not fails(tried, NOT_PUBLISHED, "b")
    tried.undecided()
    assert fails(tried, NOT_PUBLISHED, "c")


def test_a_withdrawn_endpoint_is_asked_again_after_a_growing_time_and_used_once_it_answers() -> None:
    tried = endpoint()
    tried.withdraw(1000.0)
    assert tried.in_use == "newer"
    assert not tried.asks_older(1000.0 + FIRST_PAUSE_S - 1)
    assert tried.asks_older(1000.0 + FIRST_PAUSE_S)
    assert not tried.asks_older(1000.0 + FIRST_PAUSE_S + 1)
    fails(tried, NOT_PUBLISHED, "a", now=1000.0 + FIRST_PAUSE_S)
    assert tried.in_use == "newer"
    fails(tried, FORBIDDEN, "a")
    assert tried.in_use == "older"


def test_a_clock_that_goes_back_does_not_stop_the_tries() -> None:
    tried = endpoint()
    tried.withdraw(1_000_000.0)
    assert tried.asks_older(1_000_000.0 - 2 * LONGEST_PAUSE_S)


def test_records_are_proven_by_three_builds_and_a_single_difference_ends_that_for_good() -> None:
    trust = RecordsTrust()
    for to_compare in (3, 2, 1):
        assert (trust.is_proven, trust.to_compare) == (False, to_compare)
        trust.compared(agreed=True)
    assert (trust.is_proven, trust.to_compare) == (True, 1)
    trust.compared(agreed=False)
    trust.end("refused")
    trust.compared(agreed=True)
    assert (trust.is_proven, trust.ended) == (False, "disagrees_with_record_info")
