"""Tabs of a browser, and the visit of a page in one of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page, Request

ColorScheme = Literal["light", "dark"]

DESKTOP = (1400, 860)
"""Width and height of a window."""


def script(name: str) -> str:
    """Return a script of this folder."""
    return (Path(__file__).parent / f"{name}.js").read_text()


TOO_WIDE, OVERLAPPING = script("too_wide"), script("overlapping")


def resize(page: Page, size: tuple[int, int]) -> None:
    """Change the size of a tab's window, which the browser draws again."""
    width, height = size
    if page.viewport_size != {"width": width, "height": height}:
        page.set_viewport_size({"width": width, "height": height})


@dataclass
class Visit:
    """A page, with its requests and console messages."""

    page: Page
    requests: list[str] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)

    def listeners(self) -> dict[Any, Callable[[Any], None]]:
        """Return the functions that record events of the page, by event."""
        return {
            "request": lambda request: self.requests.append(request.url),
            "console": lambda message: self.messages.append(message.text),
            "pageerror": lambda error: self.messages.append(str(error)),
            "requestfailed": self.failed,
        }

    def failed(self, request: Request) -> None:
        """Record a failed request, unless it was aborted by leaving the page."""
        if request.failure != "net::ERR_ABORTED":
            self.messages.append(f"{request.url}: {request.failure}")

    def resize(self, size: tuple[int, int]) -> None:
        """Change the size of the window."""
        resize(self.page, size)

    def follow(self, link: Locator) -> None:
        """Click, and wait for the whole next page."""
        with self.page.expect_navigation():
            link.click()

    def rows(self) -> list[str]:
        """Return the names of the listed jobs, or the numbers of the listed builds, in order."""
        return self.page.locator("tbody th bdi, tbody th.build-number").all_inner_texts()

    def assert_nothing_collides(self) -> None:
        """Check that nothing is wider than the screen, and no cell's text is over another's."""
        size = self.page.viewport_size
        assert self.page.evaluate("document.documentElement.scrollWidth <= innerWidth"), size
        assert self.page.evaluate(TOO_WIDE) == [], size
        assert self.page.evaluate(OVERLAPPING) == [], size


class Tabs:
    """A browser with one tab for each combination of settings; to open a tab costs more than any page."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self._pages: dict[tuple[bool, str], Page] = {}

    @contextmanager
    def tab(
        self, size: tuple[int, int] = DESKTOP, *, java_script_enabled: bool = True, locale: str = "en-US"
    ) -> Iterator[Page]:
        """Lend a tab; in the end it is blank, and its routes are removed."""
        key = (java_script_enabled, locale)
        if key not in self._pages:
            self._pages[key] = self._browser.new_page(java_script_enabled=java_script_enabled, locale=locale)
        page = self._pages[key]
        resize(page, size)
        try:
            yield page
        finally:
            page.unroute_all()
            page.goto("about:blank")  # which is not refreshed

    @contextmanager
    def opened(
        self,
        url: str,
        size: tuple[int, int] = DESKTOP,
        *,
        path: str = "/",
        color_scheme: ColorScheme = "light",
        **settings: Any,
    ) -> Iterator[Visit]:
        """Open a page; in the end it must have no console message and no request to another host."""
        with self.tab(size, **settings) as page:
            visit = Visit(page)
            page.emulate_media(color_scheme=color_scheme)
            listeners = visit.listeners()
            for event, listener in listeners.items():
                page.on(event, listener)
            try:
                answer = page.goto(f"{url}{path}")
                yield visit
                if answer and answer.status == 404:
                    assert "status of 404" in visit.messages.pop(0)
                assert visit.messages == []
                assert [request for request in visit.requests if not request.startswith(f"{url}/")] == []
            finally:
                for event, listener in listeners.items():
                    page.remove_listener(event, listener)
