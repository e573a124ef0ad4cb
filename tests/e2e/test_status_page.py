"""The status page in a real Chromium: no scripts, legible, nothing from other hosts."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from exporter.ledger.job_ledger import LastBuild
from exporter.ledger.streaks import Run
from exporter.metrics import FleetView
from exporter.model import ConsoleLinks, Result
from tests.e2e.tabs import DESKTOP, ColorScheme, Tabs, script
from tests.support.browser import chromium, playwright_or_skip
from tests.support.sites import NOW_MS
from tests.web.fleets import READINGS, busy, ledger, many, serving, view

playwright_or_skip()

if TYPE_CHECKING:
    from playwright.sync_api import Page, Route

PHONE = (390, 844)
SIZES = (DESKTOP, (1120, 800), (1000, 800), (700, 800), PHONE, (320, 568))
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
    NOW_MS - 600_000,
    "/var/lib/" + "state/" * 60 + "state.db: no space left on device",
    3,
)

CONTRAST, STRUCTURE = script("contrast"), script("structure")


@pytest.fixture(scope="module")
def tabs() -> Iterator[Tabs]:
    with chromium() as browser:
        yield Tabs(browser)


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


def test_a_page_of_a_thousand_jobs_loads_quickly(tabs: Tabs, thousand: str) -> None:
    with tabs.opened(thousand) as visit:
        assert any(seconds_to_reload(visit.page) < 3 for _ in range(3))
        assert len(visit.rows()) == 100
        assert visit.page.locator("svg.sparkline").count() == 100
        assert {part.removeprefix(thousand).partition("?")[0] for part in visit.requests} >= {
            "/",
            "/-/status.css",
        }


def test_problems_are_at_the_top(tabs: Tabs, mixed: str) -> None:
    with tabs.opened(mixed) as visit:
        names = [name.strip() for name in visit.rows()]
        assert [names[1], *names[4:7]] == ["fails", "hangs", "gone", "hidden"]
        assert names[-3:] == ["well-0", "well-1", "well-2"]


def test_filters_work_without_scripts(tabs: Tabs, thousand: str) -> None:
    with tabs.opened(thousand, java_script_enabled=False) as visit:
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


def test_ten_thousand_jobs_are_split_into_pages(tabs: Tabs) -> None:
    with serving(many(10_000)) as url, tabs.opened(url) as visit:
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


def test_the_page_follows_the_preferred_color_scheme(tabs: Tabs, mixed: str) -> None:
    backgrounds = []
    schemes: tuple[ColorScheme, ...] = ("light", "dark")
    for scheme in schemes:
        with tabs.opened(mixed, color_scheme=scheme) as visit:
            backgrounds.append(visit.page.evaluate("getComputedStyle(document.body).backgroundColor"))
    light, dark = ([int(part) for part in background[4:-1].split(",")] for background in backgrounds)
    assert min(light) > 230
    assert max(dark) < 40


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_contrast_is_sufficient(tabs: Tabs, mixed: str, scheme: ColorScheme, size: tuple[int, int]) -> None:
    for path, least in (("/", 100), ("/jobs/id-of-hangs", 40)):
        with tabs.opened(mixed, size, path=path, color_scheme=scheme) as visit:
            found = visit.page.evaluate(CONTRAST)
        assert len(found) > least
        bars = {kind for kind, _, _ in found if kind.endswith(" bar")}
        assert bars == {f"{result} bar" for result in Result}
        assert [(element, round(ratio, 2)) for element, ratio, required in found if ratio < required] == []


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("path", [*PAGES, "/?text=nowhere"])
def test_the_structure_suits_screen_readers(tabs: Tabs, mixed: str, path: str, language: str) -> None:
    with tabs.opened(mixed, path=path, locale=language) as visit:
        assert visit.page.evaluate(STRUCTURE) == []
        assert visit.page.evaluate("document.documentElement.lang") == language.removesuffix("-US")


def test_the_table_keeps_its_roles_on_a_phone(tabs: Tabs, mixed: str) -> None:
    with tabs.opened(mixed, PHONE) as visit:
        row = visit.page.get_by_role("row", name="fails").first
        assert row.get_by_role("cell").count() == 8
        assert row.get_by_role("img").get_attribute("aria-label") == (
            "Last 12 builds: 9 success, 3 failure; newest #12 failure"
        )


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("path", PAGES)
def test_nothing_collides_at_any_width(tabs: Tabs, mixed: str, path: str, language: str) -> None:
    with tabs.opened(mixed, path=path, locale=language) as visit:
        for size in SIZES:
            visit.resize(size)
            assert visit.page.evaluate("[innerWidth, innerHeight]") == [*size]
            visit.assert_nothing_collides()


def test_columns_sort_without_scripts(tabs: Tabs, thousand: str) -> None:
    with tabs.opened(thousand, java_script_enabled=False) as visit:
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


def test_columns_sort_on_a_phone(tabs: Tabs, thousand: str) -> None:
    with tabs.opened(thousand, PHONE) as visit:
        visit.follow(visit.page.get_by_role("columnheader", name="Failures").get_by_role("link"))
        assert visit.rows()[0] == "job-00007"


def test_a_job_leads_to_its_page_and_back(tabs: Tabs, mixed: str) -> None:
    with tabs.opened(mixed, java_script_enabled=False) as visit:
        visit.follow(visit.page.get_by_role("link", name="fails"))
        assert visit.page.get_by_role("heading", level=1).inner_text() == "fails"
        assert visit.page.get_by_role("row").count() == 13
        assert visit.rows()[:2] == ["#12", "#11"]
        visit.follow(visit.page.get_by_role("link", name="All jobs"))
        assert len(visit.rows()) == len(MIXED.jobs)


def test_a_page_is_refreshed_until_that_is_switched_off(tabs: Tabs, mixed: str) -> None:
    loads: list[str] = []

    def hasten(route: Route) -> None:
        answer = route.fetch()
        loads.append(route.request.url)
        soon = 'content="0.2"' if len(loads) < 3 else 'content="30"'
        route.fulfill(response=answer, body=answer.text().replace('content="30"', soon))

    with tabs.tab(java_script_enabled=False) as page:
        page.route(lambda url: url.startswith(f"{mixed}/?") or url == f"{mixed}/", hasten)
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


def test_it_works_below_the_path_of_a_proxy(tabs: Tabs, mixed: str) -> None:
    outside: list[str] = []

    def forward(route: Route) -> None:
        path = route.request.url.removeprefix("http://proxy.test/codearts")
        if path.startswith("/"):
            route.fulfill(response=route.fetch(url=f"{mixed}{path}"))
        else:
            outside.append(route.request.url)
            route.abort()

    with tabs.tab() as page:
        page.route("**/*", forward)
        page.goto("http://proxy.test/codearts/")
        for link, at in (("fails", "jobs/id-of-fails"), ("All jobs", ""), ("Health", "-/healthy")):
            with page.expect_navigation():
                page.get_by_role("link", name=link).click()
            assert page.url == f"http://proxy.test/codearts/{at}"
        assert outside == []


def test_the_focus_is_always_visible(tabs: Tabs, mixed: str) -> None:
    with tabs.opened(mixed) as visit:
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
