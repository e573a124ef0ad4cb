"""The status page in a real Chromium: no scripts, legible, nothing from other hosts."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from exporter.ledger.settled_runs import Run
from exporter.ledger.state import LastBuild
from exporter.metrics import FleetView
from exporter.model import ConsoleLinks, Result
from tests.support.browser import chromium, playwright_or_skip
from tests.support.sites import NOW_MS
from tests.web.fleets import READINGS, busy, ledger, many, serving, view

playwright_or_skip()

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page, Route

DESKTOP, PHONE, SMALLEST = (1400, 860), (390, 844), (320, 568)
LANGUAGES = ("en-US", "zh-CN")
PAGES = ("/", "/?trouble=failing&sort=-finished", "/jobs/id-of-hangs", "/jobs/id-of-hidden", "/jobs/nowhere")

LONGEST = replace(
    ledger(*[Result.FAILURE] * 20, first=1_234_567, minutes=1436.98),
    runs=(Run(0, 1_234_586, succeeded=True, tail_failures=99_999),),
    last=LastBuild(1_234_586, Result.FAILURE, NOW_MS - 363 * 86_400_000, 86_399_000, 86_399_000),
)

MIXED = FleetView(
    (
        view("fails", ledger(*[Result.SUCCESS] * 9, *[Result.FAILURE] * 3)),
        view("hangs", busy(ledger(*Result), 121), "数据平台"),
        view("gone", ledger(Result.ABORTED), deleted=True),
        view("hidden", None, up=False, failure="HTTP 404 DEV.CB.032011 " + "no such job " * 20),
        view("long", ledger(Result.SUCCESS, minutes=9.98)),
        view("longest", LONGEST, checked_ms=NOW_MS - 1_001 * 86_400_000),
        view("w" * 300, busy(ledger(*[Result.TIMEOUT] * 20), 1), "p" * 300),
        view("\u202egnilaeh <b>\nnew", ledger(Result.SCHEDULE_FAILURE, Result.UNKNOWN)),
        view("new", None, up=None),
        *(view(f"well-{ordinal}", ledger(Result.SUCCESS)) for ordinal in range(3)),
    )
)
BAD_READINGS = READINGS.__class__(
    "1.0",
    "unknown",
    False,
    "credentials refused (401)",
    "HTTP 401 APIGW.0301 Incorrect IAM authentication information: verify aksk signature fail",
    False,
    None,
    {"period-history": 3, "full-stages": 1},
    9000,
    None,
    None,
)

CONTRAST, STRUCTURE, TOO_WIDE, OVERLAPPING = (
    (Path(__file__).parent / f"{name}.js").read_text()
    for name in ("contrast", "structure", "too_wide", "overlapping")
)


@dataclass
class Visit:
    """A page, with its requests and console messages."""

    page: Page
    requests: list[str] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)

    def failed(self, url: str, reason: str | None) -> None:
        """Record a failed request, unless it was aborted by leaving the page."""
        if reason != "net::ERR_ABORTED":
            self.messages.append(f"{url}: {reason}")

    def follow(self, link: Locator) -> None:
        """Click, and wait for the whole next page."""
        with self.page.expect_navigation():
            link.click()

    def rows(self) -> list[str]:
        """Return the names of the listed jobs, or the numbers of the listed builds, in order."""
        return self.page.locator("tbody th bdi, tbody th.build-number").all_inner_texts()

    def assert_nothing_collides(self) -> None:
        """Check that nothing is wider than the screen, and no cell's text is over another's."""
        assert self.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert self.page.evaluate(TOO_WIDE) == []
        assert self.page.evaluate(OVERLAPPING) == []


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@contextmanager
def opened(
    browser: Browser, url: str, size: tuple[int, int] = DESKTOP, *, path: str = "/", **context: Any
) -> Iterator[Visit]:
    """Open a page; in the end it must have no console message and no request to another host."""
    width, height = size
    page = browser.new_page(viewport={"width": width, "height": height}, **context)
    visit = Visit(page)
    page.on("request", lambda request: visit.requests.append(request.url))
    page.on("console", lambda message: visit.messages.append(message.text))
    page.on("pageerror", lambda error: visit.messages.append(str(error)))
    page.on("requestfailed", lambda request: visit.failed(request.url, request.failure))
    try:
        answer = page.goto(f"{url}{path}")
        yield visit
        if answer and answer.status == 404:
            assert "status of 404" in visit.messages.pop(0)
        assert visit.messages == []
        assert [request for request in visit.requests if not request.startswith(f"{url}/")] == []
    finally:
        page.close()


@pytest.fixture(scope="module")
def thousand() -> Iterator[str]:
    with serving(many(1000)) as url:
        yield url


@pytest.fixture(scope="module")
def mixed() -> Iterator[str]:
    links = ConsoleLinks(
        "https://console.example/{job_id}", "https://console.example/{job_id}/{build_number}"
    )
    with serving(MIXED, lambda: BAD_READINGS, links) as url:
        yield url


def seconds_to_reload(page: Page) -> float:
    """Measure a reload; a single one may be slow on a busy machine."""
    began = time.monotonic()
    page.reload()
    return time.monotonic() - began


def test_a_page_of_a_thousand_jobs_loads_quickly(browser: Browser, thousand: str) -> None:
    with opened(browser, thousand) as visit:
        assert min(seconds_to_reload(visit.page) for _ in range(3)) < 3
        assert len(visit.rows()) == 100
        assert visit.page.locator("svg.sparkline").count() == 100
        assert {part.removeprefix(thousand).partition("?")[0] for part in visit.requests} >= {
            "/",
            "/-/status.css",
        }


def test_problems_are_at_the_top(browser: Browser, mixed: str) -> None:
    with opened(browser, mixed) as visit:
        names = [name.strip() for name in visit.rows()]
        assert [names[1], *names[4:7]] == ["fails", "hangs", "gone", "hidden"]
        assert names[-3:] == ["well-0", "well-1", "well-2"]


def test_filters_work_without_scripts(browser: Browser, thousand: str) -> None:
    with opened(browser, thousand, java_script_enabled=False) as visit:
        visit.page.get_by_label("Project").select_option("project-003")
        visit.page.get_by_label("Search").fill("JOB 0030")
        visit.follow(visit.page.get_by_role("button", name="Filter"))
        assert sorted(visit.rows()) == [f"job-0030{digit}" for digit in range(10)]
        assert visit.page.get_by_label("Project").input_value() == "project-003"
        visit.follow(visit.page.get_by_role("link", name="failing"))
        assert visit.rows() == ["job-00307"]
        visit.follow(visit.page.get_by_role("link", name="Clear"))
        assert len(visit.rows()) == 100
        visit.page.get_by_label("Search").fill("nowhere")
        with visit.page.expect_navigation():
            visit.page.get_by_label("Search").press("Enter")
        assert visit.page.get_by_role("heading", name="No job matches").is_visible()


def test_ten_thousand_jobs_are_split_into_pages(browser: Browser) -> None:
    with serving(many(10_000)) as url, opened(browser, url) as visit:
        paging = visit.page.get_by_role("navigation", name="Pages")
        assert "1–100 of 10,000" in paging.inner_text()
        first = visit.rows()
        visit.follow(paging.get_by_role("link", name="Next"))
        assert "Page 2 of 100" in paging.inner_text()
        assert not set(visit.rows()) & set(first)
        visit.follow(paging.get_by_role("link", name="Last"))
        assert visit.rows()[-1] == "job-09999"
        assert paging.get_by_role("link", name="Next").count() == 0
        visit.follow(paging.get_by_role("link", name="First"))
        assert visit.rows() == first


def test_the_page_follows_the_preferred_color_scheme(browser: Browser, mixed: str) -> None:
    backgrounds = []
    for scheme in ("light", "dark"):
        with opened(browser, mixed, color_scheme=scheme) as visit:
            backgrounds.append(visit.page.evaluate("getComputedStyle(document.body).backgroundColor"))
    light, dark = ([int(part) for part in background[4:-1].split(",")] for background in backgrounds)
    assert min(light) > 230
    assert max(dark) < 40


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_contrast_is_sufficient(browser: Browser, mixed: str, scheme: str, size: tuple[int, int]) -> None:
    for path, least in (("/", 100), ("/jobs/id-of-hangs", 40)):
        with opened(browser, mixed, size, path=path, color_scheme=scheme) as visit:
            found = visit.page.evaluate(CONTRAST)
        assert len(found) > least
        bars = {kind for kind, _, _ in found if kind.endswith(" bar")}
        assert bars == {f"{result} bar" for result in Result}
        assert [(element, round(ratio, 2)) for element, ratio, required in found if ratio < required] == []


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("path", [*PAGES, "/?text=nowhere"])
def test_the_structure_suits_screen_readers(browser: Browser, mixed: str, path: str, language: str) -> None:
    with opened(browser, mixed, path=path, locale=language) as visit:
        assert visit.page.evaluate(STRUCTURE) == []
        assert visit.page.evaluate("document.documentElement.lang") == language.removesuffix("-US")


def test_the_table_keeps_its_roles_on_a_phone(browser: Browser, mixed: str) -> None:
    with opened(browser, mixed, PHONE) as visit:
        row = visit.page.get_by_role("row", name="fails").first
        assert row.get_by_role("cell").count() == 8
        assert row.get_by_role("img").get_attribute("aria-label") == (
            "Last 12 builds: 9 success, 3 failure; newest #12 failure"
        )


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("size", [DESKTOP, (1120, 800), (1000, 800), (700, 800), PHONE, SMALLEST], ids=str)
def test_nothing_collides_at_any_width(
    browser: Browser, mixed: str, size: tuple[int, int], language: str
) -> None:
    for path in PAGES:
        with opened(browser, mixed, size, path=path, locale=language) as visit:
            visit.assert_nothing_collides()


def test_columns_sort_without_scripts(browser: Browser, thousand: str) -> None:
    with opened(browser, thousand, java_script_enabled=False) as visit:
        heading = visit.page.get_by_role("columnheader", name="Job", exact=True)
        visit.follow(heading.get_by_role("link"))
        assert visit.rows()[:2] == ["job-00000", "job-00001"]
        assert heading.get_attribute("aria-sort") == "ascending"
        visit.follow(heading.get_by_role("link"))
        assert visit.rows()[:2] == ["job-00999", "job-00998"]
        visit.follow(visit.page.get_by_role("navigation", name="Pages").get_by_role("link", name="Next"))
        assert visit.rows()[0] == "job-00899"
        visit.follow(heading.get_by_role("link"))
        assert visit.rows()[0] == "job-00007"


def test_columns_sort_on_a_phone(browser: Browser, thousand: str) -> None:
    with opened(browser, thousand, PHONE) as visit:
        visit.follow(visit.page.get_by_role("columnheader", name="Failures").get_by_role("link"))
        assert visit.rows()[0] == "job-00007"


def test_a_job_leads_to_its_page_and_back(browser: Browser, mixed: str) -> None:
    with opened(browser, mixed, java_script_enabled=False) as visit:
        visit.follow(visit.page.get_by_role("link", name="fails"))
        assert visit.page.get_by_role("heading", level=1).inner_text() == "fails"
        assert visit.page.get_by_role("row").count() == 13
        assert visit.rows()[:2] == ["#12", "#11"]
        visit.follow(visit.page.get_by_role("link", name="All jobs"))
        assert len(visit.rows()) == len(MIXED.jobs)


def test_a_page_is_refreshed_until_that_is_switched_off(browser: Browser, mixed: str) -> None:
    page = browser.new_page(java_script_enabled=False)
    loads: list[str] = []

    def hasten(route: Route) -> None:
        answer = route.fetch()
        loads.append(route.request.url)
        soon = 'content="0.2"' if len(loads) < 3 else 'content="30"'
        route.fulfill(response=answer, body=answer.text().replace('content="30"', soon))

    page.route(lambda url: url.startswith(f"{mixed}/?") or url == f"{mixed}/", hasten)
    try:
        page.goto(f"{mixed}/?sort=job")
        for _ in range(300):
            if len(loads) < 3:
                page.wait_for_timeout(100)
        assert len(loads) == 3
        assert set(loads) == {f"{mixed}/?sort=job"}
        with page.expect_navigation():
            page.get_by_role("link", name="Switch off").click()
        assert page.url == f"{mixed}/?sort=job&refresh=off"
        assert page.locator("meta[http-equiv=refresh]").count() == 0
    finally:
        page.close()


def test_it_works_below_the_path_of_a_proxy(browser: Browser, mixed: str) -> None:
    page = browser.new_page()
    outside: list[str] = []

    def forward(route: Route) -> None:
        path = route.request.url.removeprefix("http://proxy.test/codearts")
        if path.startswith("/"):
            route.fulfill(response=route.fetch(url=f"{mixed}{path}"))
        else:
            outside.append(route.request.url)
            route.abort()

    page.route("**/*", forward)
    try:
        page.goto("http://proxy.test/codearts/")
        for link, at in (("fails", "jobs/id-of-fails"), ("All jobs", ""), ("Health", "-/healthy")):
            with page.expect_navigation():
                page.get_by_role("link", name=link).click()
            assert page.url == f"http://proxy.test/codearts/{at}"
        assert outside == []
    finally:
        page.close()


def test_the_focus_is_always_visible(browser: Browser, mixed: str) -> None:
    with opened(browser, mixed) as visit:
        page, reached = visit.page, []
        for _ in range(page.locator("a[href], button, select, input:not([type=hidden])").count()):
            page.keyboard.press("Tab")
            reached.append(page.evaluate("document.activeElement.tagName"))
            outline = page.evaluate(
                "(style => [style.outlineStyle, "
                "style.outlineWidth])(getComputedStyle(document.activeElement))"
            )
            assert outline == ["solid", "2px"]
        assert {"A", "SELECT", "INPUT", "BUTTON"} <= set(reached)
        assert "BODY" not in reached
