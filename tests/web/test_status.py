"""The content of the status page, without a server and without HTML."""

import time
from dataclasses import replace
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from exporter import humanize
from exporter.ledger.job_ledger import LastBuild
from exporter.metrics import FleetView, JobView
from exporter.metrics.exporter_metrics import OPERATIONS, Readings, Telemetry
from exporter.model import ConsoleLinks, RecycleBin, RecycledJob, Result, State
from exporter.web.status import PageContext, PageQuery, status
from exporter.web.status.job_problems import Problem, find_problems
from exporter.web.status.query import Column
from exporter.web.status.rows import Tag
from exporter.web.status.sparkline import shape, sparkline
from exporter.web.status.view import Status, facts
from exporter.web.status.words import ENGLISH, SIMPLIFIED_CHINESE, Words
from tests.ledger.examples import MINUTE_MS
from tests.support.sites import NOW_MS
from tests.web.fleets import READINGS, busy, ledger, many, view

STALE_MS = 30 * MINUTE_MS
OK, BAD = Result.SUCCESS, Result.FAILURE


def context(
    query: PageQuery, links: ConsoleLinks | None = None, readings: Readings = READINGS
) -> PageContext:
    return PageContext(readings, query, NOW_MS, STALE_MS, links or ConsoleLinks())


def page_of(*jobs: JobView, **query: str) -> Status:
    return status(FleetView(jobs), context(PageQuery.parse(query)))


def test_a_job_and_its_last_build_link_to_the_console() -> None:
    links = ConsoleLinks("https://console/{job_id}", "https://console/{job_id}/{build_number}")
    jobs = FleetView((view("a", ledger(OK, BAD)), view("b", None)))
    page = status(jobs, context(PageQuery(), links))
    failing, new = page.rows
    assert failing.url == f"https://console/{failing.job.id}"
    assert failing.build_url == f"https://console/{failing.job.id}/{failing.number.removeprefix('#')}"
    assert (new.url, new.build_url) == (f"https://console/{new.job.id}", "")
    assert {(row.url, row.build_url) for row in page_of(view("a", ledger(OK))).rows} == {("", "")}


def names(page: Status) -> list[str]:
    return [row.job.name for row in page.rows]


def test_jobs_with_problems_come_first_worst_first() -> None:
    page = page_of(
        view("b", ledger(OK)),
        view("A", ledger(OK)),
        view("z", ledger(OK), "app"),
        view("old", ledger(OK), checked_ms=NOW_MS - 31 * MINUTE_MS),
        view("hidden", None, up=False),
        view("gone", ledger(OK), deleted=True),
        view("hangs", busy(ledger(OK), 121)),
        view("red", ledger(OK, BAD)),
    )
    assert names(page) == ["red", "hangs", "gone", "hidden", "old", "z", "A", "b"]
    assert page.with_problems == 5
    assert [(choice.text, choice.count) for choice in page.filters] == [
        ("all", 8),
        ("failing", 1),
        ("stuck", 1),
        ("deleted", 1),
        ("not visible", 1),
        ("stale", 1),
    ]


def test_a_job_can_have_every_problem() -> None:
    job = view("x", busy(ledger(OK, BAD), 300), up=False, deleted=True, checked_ms=NOW_MS - 40 * MINUTE_MS)
    assert find_problems(job, NOW_MS, STALE_MS) == tuple(Problem)


@pytest.mark.parametrize(
    ("results", "minutes", "is_stuck"),
    [
        ([OK] * 4, 119, False),
        ([OK] * 4, 121, True),
        ([OK] * 5, 11, False),
        ([OK] * 5, 13, True),
    ],
    ids=["little known", "little known, too long", "within three times the longest", "beyond"],
)
def test_a_build_is_stuck_when_it_takes_far_longer_than_others(
    results: list[Result], minutes: float, is_stuck: bool
) -> None:
    job = view("x", busy(ledger(*results), minutes))
    assert (find_problems(job, NOW_MS, STALE_MS) == (Problem.STUCK,)) is is_stuck


def test_short_builds_may_wait_two_minutes() -> None:
    quick = ledger(*[OK] * 9)
    quick = replace(quick, recent=tuple(build._replace(duration_ms=900) for build in quick.recent))
    assert find_problems(view("x", busy(quick, 1.9)), NOW_MS, STALE_MS) == ()
    assert find_problems(view("x", busy(quick, 2.1)), NOW_MS, STALE_MS) == (Problem.STUCK,)


def test_an_unreachable_api_makes_no_build_stuck() -> None:
    job = view("x", busy(ledger(OK), 150), checked_ms=NOW_MS - 40 * MINUTE_MS)
    assert find_problems(job, NOW_MS, STALE_MS) == (Problem.STALE,)


def test_a_row_describes_a_job() -> None:
    [row] = page_of(view("checkout", busy(ledger(OK, BAD, BAD, first=530), 1))).rows
    assert (row.job.project, row.job.name, row.job.id) == ("shop", "checkout", "id-of-checkout")
    assert (row.result, row.result_words, row.number) == (BAD, "failure", "#532")
    assert (row.duration, row.queue, row.failures) == ("3\xa0min", "4.2\xa0s", 2)
    assert (row.polled, row.polled_at) == ("3\xa0s ago", "2023-11-14T23:13:17Z")
    assert (row.finished, row.finished_at) == ("5\xa0min ago", "2023-11-14T23:08:20Z")
    assert row.tags == (Tag("active", "#533 running for 1\xa0min", "builds that have not ended"),)
    assert (row.is_failing, row.is_stuck, row.reason) == (True, False, "")
    assert row.href == "./jobs/id-of-checkout"
    assert row.sparkline.text == "Last 3 builds: 1 success, 2 failure; newest #532 failure"


def test_a_job_that_was_never_polled_is_marked() -> None:
    [row] = page_of(view("new", None, up=None)).rows
    assert (row.result, row.result_words, row.number, row.failures) == (None, "not polled yet", "", 0)
    assert (row.duration, row.queue) == ("–", "–")
    assert (row.finished, row.finished_at, row.polled, row.polled_at) == ("", "", "", "")
    assert (row.sparkline.bars, row.sparkline.text) == ((), "No finished build")


def test_a_job_without_builds_is_marked() -> None:
    [row] = page_of(view("new", ledger())).rows
    assert (row.result, row.result_words) == (None, "no build yet")


def test_failing_is_tagged_unless_the_last_result_shows_it() -> None:
    rows = page_of(
        view("a", ledger(BAD, Result.ABORTED)), view("b", ledger(Result.UNKNOWN)), view("c", ledger(BAD))
    ).rows
    assert [[tag.text for tag in row.tags] for row in rows] == [["failing"], ["failing"], []]


def test_a_disabled_job_is_tagged() -> None:
    rows = page_of(view("a", ledger(OK), disabled=True), view("b", disabled=False), view("c")).rows
    assert [[tag.text for tag in row.tags] for row in rows] == [["disabled"], [], []]


def test_queued_builds_have_their_own_tag() -> None:
    [row] = page_of(view("a", busy(ledger(OK), 1, State.QUEUED))).rows
    assert [tag.text for tag in row.tags] == ["#2 queued for 1\xa0min"]


def test_the_age_of_several_builds_is_that_of_the_oldest() -> None:
    active = busy(ledger(OK), 4)
    [(number, build)] = active.open.items()
    [row] = page_of(view("a", replace(active, open={number: build, number + 1: build}))).rows
    assert [tag.text for tag in row.tags] == ["2 running for up to 4\xa0min"]


def test_failing_and_stuck_rows_are_marked() -> None:
    jobs = view("a", ledger(BAD)), view("b", busy(ledger(OK), 121)), view("c", ledger(OK), deleted=True)
    rows = page_of(*jobs).rows
    assert [(row.is_failing, row.is_stuck) for row in rows] == [(True, False), (False, True), (False, False)]


def test_what_runs_shows_how_long_it_has_been_running() -> None:
    [row] = page_of(view("a", busy(ledger(*[OK] * 5), 4.2))).rows
    assert [tag.text for tag in row.tags] == ["#6 running for 4\xa0min 12\xa0s"]


def test_a_job_that_is_not_visible_shows_why() -> None:
    rows = page_of(
        view("a", ledger(OK), up=False, failure="HTTP 404 DEV.CB.032011 no such job"),
        view("b", ledger(OK), up=True, failure=""),
    ).rows
    assert [row.reason for row in rows] == ["HTTP 404 DEV.CB.032011 no such job", ""]


def test_a_job_id_is_escaped_in_links() -> None:
    [row] = page_of(view("a/b?#%\ud83d"), refresh="off").rows
    assert row.href == "./jobs/id-of-a%2Fb%3F%23%25%3F?refresh=off"


def test_the_reason_is_shown_when_the_api_is_down() -> None:
    error = "HTTP 401 APIGW.0301 Incorrect IAM authentication information"
    readings = replace(READINGS, api_up=False, api_trouble="credentials refused (401)", api_error=error)
    api, *_, last = facts(FleetView(), context(PageQuery(), readings=readings))
    assert (api.name, api.value, api.remark, api.is_bad) == ("API", "down", "credentials refused (401)", True)
    assert (last.name, last.value, last.is_bad, last.is_long) == ("API error", error, True, True)


def test_the_api_s_error_follows_its_health() -> None:
    telemetry = Telemetry(CollectorRegistry())
    telemetry.api_failed("service error", "503", "HTTP 503 with an HTML page")
    assert telemetry.readings().api_error == "HTTP 503 with an HTML page"
    telemetry.everything_refused("HTTP 403 CB.1 no")
    assert (telemetry.readings().api_trouble, telemetry.readings().api_error) == (
        "everything refused",
        "HTTP 403 CB.1 no",
    )
    telemetry.everything_refused(None)
    telemetry.up.set(1)
    assert (telemetry.readings().api_trouble, telemetry.readings().api_error) == ("", "")


class TestSparkline:
    def test_the_newest_build_is_at_the_right_end(self) -> None:
        drawn = sparkline(ledger(OK, BAD), NOW_MS)
        assert [bar.path.partition(" ")[0] for bar in drawn.bars] == ["M144", "M152"]
        assert drawn.width == 158

    def test_there_are_at_most_twenty_bars(self) -> None:
        drawn = sparkline(ledger(*[OK] * 33), NOW_MS)
        assert len(drawn.bars) == 20
        assert drawn.bars[0].path.startswith("M0 ")

    def test_heights_are_relative_to_the_longest_with_a_minimum(self) -> None:
        three = ledger(OK, OK, OK)
        lengths = (1, 50_000, 100_000)
        builds = tuple(
            build._replace(duration_ms=ms) for build, ms in zip(three.recent, lengths, strict=True)
        )
        drawn = sparkline(replace(three, recent=builds), NOW_MS)
        assert [bar.path.split()[1].partition("h")[0] for bar in drawn.bars] == ["22", "13", "0"]

    def test_each_result_has_its_own_shape(self) -> None:
        assert len({shape(result, 0, 20) for result in Result}) == len(Result)

    def test_failed_builds_extend_below_the_baseline(self) -> None:
        footed = {result for result in Result if shape(result, 0, 20).endswith("l-3 5z")}
        assert footed == {BAD, Result.TIMEOUT, Result.SCHEDULE_FAILURE}

    def test_a_bar_has_a_tooltip(self) -> None:
        [bar] = sparkline(ledger(Result.SCHEDULE_FAILURE, first=9), NOW_MS).bars
        assert (bar.result, bar.title) == (
            Result.SCHEDULE_FAILURE,
            "#9 schedule failure, 2\xa0min, 5\xa0min ago",
        )

    def test_unknown_values_are_left_out_of_the_tooltip(self) -> None:
        complete = ledger(OK)
        partial = replace(complete, recent=(complete.recent[0]._replace(duration_ms=None, finish_ms=None),))
        assert sparkline(partial, NOW_MS).bars[0].title == "#1 success"
        assert sparkline(partial, NOW_MS).text == "Last build: #1 success"

    def test_a_ledger_of_an_older_version_shows_its_last_build(self) -> None:
        old = replace(ledger(OK, BAD), recent=())
        assert [bar.title[:2] for bar in sparkline(old, NOW_MS).bars] == ["#2"]
        last = LastBuild(7, OK, None, None, None)
        assert [bar.title for bar in sparkline(replace(ledger(OK), last=last), NOW_MS).bars][1:] == [
            "#7 success"
        ]


class TestFilters:
    JOBS = (
        view("checkout-release", ledger(OK), "shop"),
        view("checkout-nightly", ledger(BAD), "shop"),
        view("Straße", ledger(OK), "数据平台"),
        view("cart", ledger(BAD), "mobile"),
    )

    @pytest.mark.parametrize(
        ("query", "expected"),
        [
            ({}, ["cart", "checkout-nightly", "checkout-release", "Straße"]),
            ({"project": "shop"}, ["checkout-nightly", "checkout-release"]),
            ({"project": "shop", "text": "NIGHT"}, ["checkout-nightly"]),
            ({"text": "checkout shop release"}, ["checkout-release"]),
            ({"text": "strasse"}, ["Straße"]),
            ({"text": "数据"}, ["Straße"]),
            ({"text": "id-of-cart"}, ["cart"]),
            ({"text": "  "}, ["cart", "checkout-nightly", "checkout-release", "Straße"]),
            ({"trouble": "failing"}, ["cart", "checkout-nightly"]),
            ({"trouble": "failing", "project": "mobile"}, ["cart"]),
            ({"trouble": "stale"}, []),
            ({"trouble": "<b>"}, ["cart", "checkout-nightly", "checkout-release", "Straße"]),
            ({"project": "nowhere"}, []),
        ],
    )
    def test_they_select_jobs(self, query: dict[str, str], expected: list[str]) -> None:
        assert names(page_of(*self.JOBS, **query)) == expected

    def test_counts_respect_the_other_filters(self) -> None:
        page = page_of(*self.JOBS, project="shop", trouble="failing")
        assert [(choice.text, choice.count, choice.is_selected, choice.href) for choice in page.filters] == [
            ("all", 2, False, "./?project=shop"),
            ("failing", 1, True, "./?project=shop&trouble=failing"),
        ]

    def test_a_selected_project_remains_a_choice_after_its_removal(self) -> None:
        assert page_of(*self.JOBS, project="gone").projects == ("gone", "mobile", "shop", "数据平台")

    @given(
        st.dictionaries(
            st.sampled_from(["project", "text", "trouble", "page", "sort", "refresh"]),
            st.text() | st.sampled_from(["failing", "off", "-", "queue", "-queue", "--queue", "7"]),
        )
    )
    def test_parsing_a_link_gives_the_same_query(self, query: dict[str, str]) -> None:
        parsed = PageQuery.parse(query)
        assert PageQuery.parse(dict(parse_qsl(urlsplit(parsed.href).query))) == parsed
        assert len(parsed.text) <= 200


class TestPaging:
    JOBS = many(250)

    def page(self, **query: str) -> Status:
        return status(self.JOBS, context(PageQuery.parse(query)))

    def test_every_job_is_on_exactly_one_page(self) -> None:
        seen = [name for page in "123" for name in names(self.page(page=page))]
        assert sorted(seen) == [f"job-{ordinal:05d}" for ordinal in range(250)]

    def test_links_lead_to_other_pages(self) -> None:
        first, middle, last = (self.page(page=page).paging for page in "123")
        assert (first.text, first.previous, first.next) == ("1–100 of 250 jobs", "", "./?page=2")
        assert (middle.first, middle.previous, middle.next, middle.last) == (
            "./",
            "./",
            "./?page=3",
            "./?page=3",
        )
        assert (last.text, last.next) == ("201–250 of 250 jobs", "")

    @pytest.mark.parametrize(
        ("page", "expected"),
        [
            ("0", 1),
            ("-1", 1),
            ("x", 1),
            ("99", 3),
            ("9" * 5000, 1),
            ("²", 1),
            ("٣", 1),
            ("", 1),
            ("999999999", 3),
        ],
    )
    def test_an_invalid_page_number_becomes_the_nearest(self, page: str, expected: int) -> None:
        assert self.page(page=page).paging.page == expected

    def test_page_links_keep_the_filters(self) -> None:
        assert self.page(text="job").paging.next == "./?text=job&page=2"

    def test_a_few_jobs_need_no_pages(self) -> None:
        paging = self.page(project="project-002").paging
        assert (paging.text, paging.pages, paging.next) == ("50 jobs", 1, "")


class TestFacts:
    def facts(self, view: FleetView | None = None, **changes: object) -> dict[str, tuple[str, str, bool]]:
        readings = replace(READINGS, **changes)  # type: ignore[arg-type]
        found = facts(view or FleetView(), context(PageQuery(), readings=readings))
        return {fact.name: (fact.value, fact.remark, fact.is_bad) for fact in found}

    def test_facts_of_a_healthy_exporter(self) -> None:
        assert self.facts() == {
            "API": ("up", "", False),
            "Jobs": ("0", "", False),
            "Configuration": ("ok", "loaded 1\xa0h ago", False),
            "Request budget": ("300", "per minute", False),
            "Poll lag": ("0.2\xa0s", "most overdue", False),
            "Snapshot": ("6.3 MB", "235 KB gzip", False),
        }

    def test_bad_facts_are_marked(self) -> None:
        found = self.facts(api_up=False, config_ok=False, poll_lag_s=1900)
        assert {name for name, (_, _, is_bad) in found.items() if is_bad} == {
            "API",
            "Configuration",
            "Poll lag",
        }
        assert (found["API"][0], found["Configuration"][0]) == ("down", "reload failed")

    def test_operations_that_are_allowed_less_are_listed(self) -> None:
        slowed = {"record-info": 300.0, "full-stages": 47.6, "job-list": 299.9}
        assert self.facts(budget_per_minute=slowed)["Request budget"] == (
            "300",
            "per minute, full-stages 48",
            False,
        )

    def test_a_store_that_fails_is_shown_in_the_reader_s_language(self) -> None:
        error = "s.db: no space left on device"
        readings = replace(READINGS, store_failing_since_ms=NOW_MS - 3 * MINUTE_MS, store_error=error)
        readings = replace(readings, unreadable_ledgers=2)

        def shown(words: Words) -> list[str]:
            state = words("State")
            found = facts(FleetView(), replace(context(PageQuery(), readings=readings), words=words))
            return [fact.value for fact in found if fact.name == state and fact.is_bad and fact.is_long]

        assert shown(ENGLISH) == [
            f"not written for 3\xa0min, values stand still: {error}",
            "rows of 2 jobs cannot be read, their values stand still; see the log",
        ]
        assert shown(SIMPLIFIED_CHINESE) == [
            f"已有 3\xa0分钟未能写入，数值停止更新：{error}",
            "2 个构建任务的数据无法读取，其数值停止更新；详见日志",
        ]

    def test_unknown_facts_are_left_open(self) -> None:
        found = self.facts(api_up=None, snapshot_bytes=None, snapshot_gzip_bytes=None, config_loaded_ms=None)
        assert (found["API"], found["Snapshot"]) == (("no request yet", "", False), ("–", "", False))
        assert found["Configuration"] == ("ok", "", False)

    def test_the_recycle_bin_is_shown_once_it_is_known(self) -> None:
        full = RecycleBin(None, {"a": RecycledJob("a", "a", "", None)})
        assert self.facts(FleetView(recycle_bin=full))["Jobs"][1] == "1 in recycle bin"


def test_readings_equal_the_metrics() -> None:
    telemetry = Telemetry(CollectorRegistry(), revision="abc")
    assert telemetry.readings().api_up is None
    telemetry.requests.labels("job-list", "200").inc()
    telemetry.up.set(1)
    telemetry.show_budget(lambda operation: 48 if operation == "full-stages" else 120)
    telemetry.poll_lag.set(2)
    telemetry.reload_successful.set(1)
    telemetry.reload_timestamp.set(1000)
    telemetry.snapshot_size.labels("text", "identity").set(10)
    telemetry.snapshot_size.labels("openmetrics", "identity").set(20)
    telemetry.snapshot_size.labels("openmetrics", "gzip").set(5)
    version = telemetry.readings().version
    budget = {operation: 48 if operation == "full-stages" else 120 for operation in OPERATIONS}
    assert telemetry.readings() == Readings(version, "abc", True, "", "", True, 1_000_000, budget, 2, 20, 5)


@pytest.mark.parametrize(
    ("value_ms", "expected"),
    [
        (None, "–"), (-5, "0.0 s"), (0, "0.0 s"), (4249, "4.2 s"), (12_000, "12 s"), (59_999, "1 min"),
        (192_000, "3 min 12 s"), (3_600_000, "1 h"), (7_500_000, "2 h 5 min"), (90_000_000, "1 d 1 h"),
    ],
)  # fmt: skip
def test_lengths_read_well(value_ms: int | None, expected: str) -> None:
    assert humanize.length(value_ms).replace("\xa0", " ") == expected


@pytest.mark.parametrize(
    ("value_ms", "expected"),
    [(None, "–"), (-9000, "0 s"), (999, "0 s"), (59_999, "59 s"), (3_599_999, "59 min"), (10**12, "11574 d")],
)
def test_ages_read_well(value_ms: int | None, expected: str) -> None:
    assert humanize.age(value_ms).replace("\xa0", " ") == expected


@pytest.mark.parametrize(
    ("value", "expected"), [(812, "812 B"), (1000, "1.0 KB"), (999_499, "999 KB"), (999_999, "1.0 MB")]
)
def test_sizes_read_well(value: float, expected: str) -> None:
    assert humanize.format_bytes(value).replace("\xa0", " ") == expected


def test_a_time_outside_the_calendar_is_empty() -> None:
    assert humanize.format_utc(10**18) == humanize.format_utc(None) == ""


def test_a_page_of_a_large_fleet_is_built_quickly() -> None:
    fleet = many(10_000)
    began = time.thread_time()
    status(fleet, context(PageQuery(text="job 7", page=3)))
    assert time.thread_time() - began < 2


class TestOrder:
    JOBS = (
        view("b", ledger(OK, minutes=9), "Shop"),
        view("A", ledger(BAD, BAD, minutes=1), "app"),
        view("c", ledger(OK, OK, Result.TIMEOUT, minutes=5), "shop", checked_ms=NOW_MS - 9000),
        view("new", None, "shop", up=None),
        view("never", ledger(), "zoo"),
    )

    @pytest.mark.parametrize(
        ("sort", "expected"),
        [
            ("", ["A", "c", "b", "new", "never"]),
            ("nonsense", ["A", "c", "b", "new", "never"]),
            ("project", ["A", "b", "c", "new", "never"]),
            ("-project", ["never", "b", "c", "new", "A"]),
            ("job", ["A", "b", "c", "never", "new"]),
            ("-job", ["new", "never", "c", "b", "A"]),
            ("result", ["A", "c", "b", "new", "never"]),
            ("-result", ["b", "c", "A", "new", "never"]),
            ("duration", ["A", "c", "b", "new", "never"]),
            ("-duration", ["b", "c", "A", "new", "never"]),
            ("-failures", ["A", "c", "b", "never", "new"]),
            ("failures", ["b", "never", "c", "A", "new"]),
            ("polled", ["c", "A", "b", "never", "new"]),
        ],
    )
    def test_each_column_sorts_both_ways_with_unknown_values_last(
        self, sort: str, expected: list[str]
    ) -> None:
        assert names(page_of(*self.JOBS, sort=sort)) == expected

    def test_finish_and_queue_sort_too(self) -> None:
        late, early = ledger(OK), ledger(OK, OK)
        assert late.last
        assert early.last
        jobs = (
            view("late", replace(late, last=replace(late.last, finish_ms=NOW_MS, queue_ms=1))),
            view("early", replace(early, last=replace(early.last, finish_ms=NOW_MS - 9, queue_ms=None))),
        )
        orders = {sort: names(page_of(*jobs, sort=sort)) for sort in ("finished", "-finished", "-queue")}
        assert orders == {
            "finished": ["early", "late"],
            "-finished": ["late", "early"],
            "-queue": ["late", "early"],
        }

    def test_a_click_sorts_another_reverses_and_a_third_leads_back(self) -> None:
        links = []
        query: dict[str, str] = {"text": "a", "page": "2"}
        for _ in range(3):
            heading = page_of(*self.JOBS, **query).headings[Column.DURATION]
            links.append((heading.order, heading.href))
            query = dict(parse_qsl(urlsplit(heading.href).query))
        assert links == [
            ("", "./?text=a&sort=-duration"),
            ("descending", "./?text=a&sort=duration"),
            ("ascending", "./?text=a"),
        ]

    def test_names_and_results_sort_from_the_first_and_all_else_from_the_largest(self) -> None:
        hrefs = {column: heading.href for column, heading in page_of(*self.JOBS).headings.items()}
        ascending = {column for column, href in hrefs.items() if "-" not in href}
        assert ascending == {Column.PROJECT, Column.JOB, Column.RESULT}

    def test_pages_filters_and_the_form_keep_the_order(self) -> None:
        query = PageQuery.parse({"sort": "-queue", "refresh": "off", "trouble": "failing", "text": "x"})
        assert query.kept_by_the_form == {"trouble": "failing", "sort": "-queue", "refresh": "off"}
        page = page_of(*self.JOBS, sort="-queue", refresh="off")
        assert {"sort=-queue&refresh=off" in choice.href for choice in page.filters} == {True}
