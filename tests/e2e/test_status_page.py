"""The status page in a real Chromium: no scripts, legible, nothing from other hosts."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from exporter.metrics import FleetView
from exporter.model import ConsoleLinks, Result
from tests.support.browser import chromium, playwright_or_skip
from tests.web.fleets import READINGS, busy, ledger, many, serving, view

playwright_or_skip()

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

DESKTOP, PHONE, SMALLEST = (1280, 860), (390, 844), (320, 568)

MIXED = FleetView(
    (
        view("fails", ledger(*[Result.SUCCESS] * 9, *[Result.FAILURE] * 3)),
        view("hangs", busy(ledger(*Result), 121), "数据平台"),
        view("gone", ledger(Result.ABORTED), deleted=True),
        view("hidden", None, up=False),
        view("long", ledger(Result.SUCCESS, minutes=9.98)),
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
        """Return the names of the listed jobs, in order."""
        return self.page.locator("tbody th").all_inner_texts()


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
        page.goto(f"{url}{path}")
        yield visit
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
        assert [names[1], *names[3:6]] == ["fails", "hangs", "gone", "hidden"]
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
    with opened(browser, mixed, size, color_scheme=scheme) as visit:
        found = visit.page.evaluate(CONTRAST)
    assert len(found) > 100
    assert {kind for kind, _, _ in found if kind.endswith(" bar")} == {f"{result} bar" for result in Result}
    assert [(element, round(ratio, 2)) for element, ratio, required in found if ratio < required] == []


@pytest.mark.parametrize("path", ["/", "/?text=nowhere", "/?trouble=failing"])
def test_the_structure_suits_screen_readers(browser: Browser, mixed: str, path: str) -> None:
    with opened(browser, mixed, path=path) as visit:
        assert visit.page.evaluate(STRUCTURE) == []


def test_the_table_keeps_its_roles_on_a_phone(browser: Browser, mixed: str) -> None:
    with opened(browser, mixed, PHONE) as visit:
        row = visit.page.get_by_role("row", name="fails").first
        assert row.get_by_role("cell").count() == 7
        assert row.get_by_role("img").get_attribute("aria-label") == (
            "Last 12 builds: 9 success, 3 failure; newest #12 failure"
        )


@pytest.mark.parametrize("size", [DESKTOP, (1000, 800), (700, 800), PHONE, SMALLEST], ids=str)
def test_nothing_is_wider_than_the_screen(browser: Browser, mixed: str, size: tuple[int, int]) -> None:
    with opened(browser, mixed, size) as visit:
        assert visit.page.evaluate("document.documentElement.scrollWidth") <= size[0]
        assert visit.page.evaluate(TOO_WIDE) == []
        assert visit.page.evaluate(OVERLAPPING) == []


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
