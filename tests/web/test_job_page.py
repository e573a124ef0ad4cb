"""The content of the page of one job, without a server."""

from dataclasses import replace

import pytest

from exporter.metrics import JobView
from exporter.model import ConsoleLinks, Result, State
from exporter.poller.tasks_and_results import PlannedPoll, PollReason
from exporter.web.status import PageContext, PageQuery, job_page
from exporter.web.status.job_page import JobPage
from tests.ledger.examples import MINUTE_MS
from tests.support.sites import NOW_MS
from tests.web.fleets import READINGS, busy, ledger, view

OK, BAD = Result.SUCCESS, Result.FAILURE


def page_of(
    view: JobView, planned: PlannedPoll | None = None, links: ConsoleLinks | None = None, **query: str
) -> JobPage:
    context = PageContext(READINGS, PageQuery.parse(query), NOW_MS, 30 * MINUTE_MS, links or ConsoleLinks())
    return job_page(view, planned, context)


def fact(page: JobPage, name: str) -> tuple[str, str, bool]:
    [found] = (fact for fact in page.facts if fact.name == name)
    return found.value, found.remark, found.is_bad


def test_the_last_twenty_builds_are_listed_newest_first() -> None:
    builds = page_of(view("a", ledger(*[OK] * 30, BAD))).builds
    assert [build.number for build in builds] == [f"#{number}" for number in range(31, 11, -1)]
    newest = builds[0]
    assert (newest.kind, newest.result, newest.duration) == (BAD, "failure", "3\xa0min")
    assert (newest.finished, newest.finished_at) == ("5\xa0min ago", "2023-11-14T23:08:20Z")


def test_unfinished_builds_come_first_with_the_time_elapsed() -> None:
    first, second, *_ = page_of(view("a", busy(ledger(OK, OK), 121, State.QUEUED))).builds
    assert (first.number, first.kind, first.result) == ("#3", "active", "queued")
    assert (first.duration, first.finished_at, first.is_stuck) == ("2\xa0h 1\xa0min so far", "", True)
    assert (second.number, second.is_stuck) == ("#2", False)


def test_the_job_and_each_build_link_to_the_console() -> None:
    job = view("a", busy(ledger(OK, BAD), 5))
    page = page_of(job, links=ConsoleLinks("https://c/{job_id}", "https://c/{job_id}/{build_number}"))
    assert page.url == "https://c/id-of-a"
    assert [build.url for build in page.builds] == [f"https://c/id-of-a/{number}" for number in (3, 2, 1)]
    assert {page_of(job).url, *(build.url for build in page_of(job).builds)} == {""}


def test_a_build_that_is_not_late_is_not_marked() -> None:
    assert not page_of(view("a", busy(ledger(OK), 5))).builds[0].is_stuck


@pytest.mark.parametrize(
    ("results", "expected"),
    [
        ([OK, BAD, BAD, Result.ABORTED], ("2 × failure", True)),
        ([BAD, OK, Result.ABORTED, OK], ("2 × success", False)),
        ([OK], ("1 × success", False)),
        ([OK] * 20, ("at least 20 × success", False)),
        ([BAD, *[OK] * 19], ("19 × success", False)),
        ([Result.TIMEOUT] * 33, ("33 × failure", True)),
        ([Result.UNKNOWN], ("1 × failure", True)),
        ([], ("–", False)),
    ],
)
def test_the_streak_ignores_aborted_builds(results: list[Result], expected: tuple[str, bool]) -> None:
    value, _, is_bad = fact(page_of(view("a", ledger(*results))), "Streak")
    assert (value, is_bad) == expected


def test_the_last_success_is_shown_or_that_there_was_none() -> None:
    known = replace(ledger(OK), last_success_ms=NOW_MS - 90 * MINUTE_MS)
    assert fact(page_of(view("a", known)), "Last success") == (
        "1\xa0h ago",
        "2023-11-14 21:43:20\xa0UTC",
        False,
    )
    never = replace(ledger(BAD), last_success_ms=None)
    assert fact(page_of(view("a", never)), "Last success")[:2] == ("–", "none known")


@pytest.mark.parametrize(
    ("planned", "expected"),
    [
        (None, ("not planned", "")),
        (PlannedPoll(42.2, PollReason.BUILDING), ("in 42\xa0s", "a build is unfinished")),
        (PlannedPoll(0.4, PollReason.HINTED), ("now", "a hint said that it has news")),
        (PlannedPoll(None, PollReason.FIRST), ("under way", "not polled since the start")),
    ],
)
def test_the_next_poll_is_shown_with_its_reason(
    planned: PlannedPoll | None, expected: tuple[str, str]
) -> None:
    assert fact(page_of(view("a", ledger(OK)), planned), "Next poll")[:2] == expected


def test_the_reason_of_a_failed_poll_is_shown_in_full() -> None:
    reason = "HTTP 404 DEV.CB.032011 " + "no such job " * 20
    page = page_of(view("a", ledger(OK), up=False, failure=reason))
    assert fact(page, "Reason") == (reason, "", True)
    assert fact(page, "Last successful poll") == ("3\xa0s ago", "the latest one failed", True)
    assert "Reason" not in {fact.name for fact in page_of(view("a", ledger(OK))).facts}


def test_a_job_without_a_ledger_has_a_page() -> None:
    page = page_of(view("a", None, up=None), PlannedPoll(3, PollReason.FIRST))
    assert (page.builds, page.is_polled, page_of(view("a", ledger())).is_polled) == ((), False, True)
    assert [(fact.name, fact.value) for fact in page.facts] == [
        ("Streak", "–"),
        ("Last success", "–"),
        ("Usual duration", "–"),
        ("Last successful poll", "never"),
        ("Next poll", "in 3\xa0s"),
        ("Watched since", "–"),
    ]


@pytest.mark.parametrize(("query", "switch"), [({}, "?refresh=off"), ({"refresh": "off", "text": "x"}, "?")])
def test_refreshing_can_be_switched(query: dict[str, str], switch: str) -> None:
    page = page_of(view("a", ledger(OK)), None, None, **query)
    assert (page.context.root, page.context.switch, page.context.query.refreshes) == (
        "../",
        switch,
        not query,
    )
