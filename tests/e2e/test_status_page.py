"""The status page in a real Chromium: it works without scripts, reads well, and asks nobody else."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from exporter.metrics import FleetView
from exporter.model import Result
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
TROUBLED = READINGS.__class__(
    "1.0", "unknown", False, "credentials refused (401)", False, None, 3, 9000, None, None
)

CONTRAST, STRUCTURE, TOO_WIDE, OVERLAPPING = (
    (Path(__file__).parent / f"{name}.js").read_text()
    for name in ("contrast", "structure", "too_wide", "overlapping")
)


@dataclass
class Seen:
    """A page, and what it did that nobody sees."""

    page: Page
    asked: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    def failed(self, url: str, reason: str | None) -> None:
        """A request came to nothing; one that was under way when the page was left does not matter."""
        if reason != "net::ERR_ABORTED":
            self.said.append(f"{url}: {reason}")

    def follow(self, there: Locator) -> None:
        """Click, and wait for the whole next page."""
        with self.page.expect_navigation():
            there.click()

    def rows(self) -> list[str]:
        """The jobs it shows, from the top."""
        return self.page.locator("tbody th").all_inner_texts()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@contextmanager
def opened(
    browser: Browser, url: str, size: tuple[int, int] = DESKTOP, *, path: str = "/", **context: Any
) -> Iterator[Seen]:
    """The page at a URL; in the end it must have been quiet, and have asked nobody else."""
    width, height = size
    page = browser.new_page(viewport={"width": width, "height": height}, **context)
    seen = Seen(page)
    page.on("request", lambda request: seen.asked.append(request.url))
    page.on("console", lambda message: seen.said.append(message.text))
    page.on("pageerror", lambda error: seen.said.append(str(error)))
    page.on("requestfailed", lambda request: seen.failed(request.url, request.failure))
    try:
        page.goto(f"{url}{path}")
        yield seen
        assert seen.said == []
        assert [asked for asked in seen.asked if not asked.startswith(f"{url}/")] == []
    finally:
        page.close()


@pytest.fixture(scope="module")
def thousand() -> Iterator[str]:
    with serving(many(1000)) as url:
        yield url


@pytest.fixture(scope="module")
def mixed() -> Iterator[str]:
    with serving(MIXED, lambda: TROUBLED) as url:
        yield url


def seconds_to_reload(page: Page) -> float:
    """One time of several may be that of a busy machine."""
    began = time.monotonic()
    page.reload()
    return time.monotonic() - began


def test_a_thousand_jobs_load_in_a_blink(browser: Browser, thousand: str) -> None:
    with opened(browser, thousand) as seen:
        assert min(seconds_to_reload(seen.page) for _ in range(3)) < 3
        assert len(seen.rows()) == 100
        assert seen.page.locator("svg.strip").count() == 100
        assert {part.removeprefix(thousand).partition("?")[0] for part in seen.asked} >= {
            "/",
            "/-/status.css",
        }


def test_trouble_is_at_the_top(browser: Browser, mixed: str) -> None:
    with opened(browser, mixed) as seen:
        shown = [name.strip() for name in seen.rows()]
        assert [shown[1], *shown[3:6]] == ["fails", "hangs", "gone", "hidden"]
        assert shown[-3:] == ["well-0", "well-1", "well-2"]


def test_filters_work_without_scripts(browser: Browser, thousand: str) -> None:
    with opened(browser, thousand, java_script_enabled=False) as seen:
        seen.page.get_by_label("Project").select_option("project-003")
        seen.page.get_by_label("Text").fill("JOB 0030")
        seen.follow(seen.page.get_by_role("button", name="Filter"))
        assert sorted(seen.rows()) == [f"job-0030{digit}" for digit in range(10)]
        assert seen.page.get_by_label("Project").input_value() == "project-003"
        seen.follow(seen.page.get_by_role("link", name="failing"))
        assert seen.rows() == ["job-00307"]
        seen.follow(seen.page.get_by_role("link", name="Clear"))
        assert len(seen.rows()) == 100
        seen.page.get_by_label("Text").fill("nowhere")
        with seen.page.expect_navigation():
            seen.page.get_by_label("Text").press("Enter")
        assert seen.page.get_by_role("heading", name="No job matches").is_visible()


def test_ten_thousand_jobs_are_turned_page_by_page(browser: Browser) -> None:
    with serving(many(10_000)) as url, opened(browser, url) as seen:
        paging = seen.page.get_by_role("navigation", name="Pages")
        assert "1–100 of 10,000" in paging.inner_text()
        first = seen.rows()
        seen.follow(paging.get_by_role("link", name="Next"))
        assert "Page 2 of 100" in paging.inner_text()
        assert not set(seen.rows()) & set(first)
        seen.follow(paging.get_by_role("link", name="Last"))
        assert seen.rows()[-1] == "job-09999"
        assert paging.get_by_role("link", name="Next").count() == 0
        seen.follow(paging.get_by_role("link", name="First"))
        assert seen.rows() == first


def test_it_is_dark_for_who_likes_it_dark(browser: Browser, mixed: str) -> None:
    grounds = []
    for scheme in ("light", "dark"):
        with opened(browser, mixed, color_scheme=scheme) as seen:
            grounds.append(seen.page.evaluate("getComputedStyle(document.body).backgroundColor"))
    light, dark = ([int(part) for part in ground[4:-1].split(",")] for ground in grounds)
    assert min(light) > 230
    assert max(dark) < 40


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_everything_stands_out_from_its_ground(
    browser: Browser, mixed: str, scheme: str, size: tuple[int, int]
) -> None:
    with opened(browser, mixed, size, color_scheme=scheme) as seen:
        found = seen.page.evaluate(CONTRAST)
    assert len(found) > 100
    assert {kind for kind, _, _ in found if kind.endswith(" bar")} == {f"{result} bar" for result in Result}
    assert [(what, round(ratio, 2)) for what, ratio, least in found if ratio < least] == []


@pytest.mark.parametrize("path", ["/", "/?text=nowhere", "/?trouble=failing"])
def test_a_reader_of_screens_finds_the_way(browser: Browser, mixed: str, path: str) -> None:
    with opened(browser, mixed, path=path) as seen:
        assert seen.page.evaluate(STRUCTURE) == []


def test_a_table_stays_a_table_on_a_phone(browser: Browser, mixed: str) -> None:
    with opened(browser, mixed, PHONE) as seen:
        row = seen.page.get_by_role("row", name="fails").first
        assert row.get_by_role("cell").count() == 7
        assert row.get_by_role("img").get_attribute("aria-label") == (
            "Last 12 builds: 9 success, 3 failure; newest #12 failure"
        )


@pytest.mark.parametrize("size", [DESKTOP, (1000, 800), (700, 800), PHONE, SMALLEST], ids=str)
def test_nothing_is_wider_than_the_screen(browser: Browser, mixed: str, size: tuple[int, int]) -> None:
    with opened(browser, mixed, size) as seen:
        assert seen.page.evaluate("document.documentElement.scrollWidth") <= size[0]
        assert seen.page.evaluate(TOO_WIDE) == []
        assert seen.page.evaluate(OVERLAPPING) == []


def test_the_focus_can_be_seen_wherever_it_goes(browser: Browser, mixed: str) -> None:
    with opened(browser, mixed) as seen:
        page, reached = seen.page, []
        for _ in range(page.locator("a[href], button, select, input:not([type=hidden])").count()):
            page.keyboard.press("Tab")
            reached.append(page.evaluate("document.activeElement.tagName"))
            outline = page.evaluate(
                "(one => [one.outlineStyle, one.outlineWidth])(getComputedStyle(document.activeElement))"
            )
            assert outline == ["solid", "2px"]
        assert {"A", "SELECT", "INPUT", "BUTTON"} <= set(reached)
        assert "BODY" not in reached
