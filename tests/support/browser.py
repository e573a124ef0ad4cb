"""Debian's Chromium, driven by playwright."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.support.programs import program

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start a headless browser; without Chromium the test is skipped, in CI it fails."""
    from playwright.sync_api import sync_playwright

    path = program("chromium")
    # Chromium's sandbox does not work as root, which is the user in containers and CI.
    flags = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=flags)
        try:
            yield browser
        finally:
            browser.close()


def playwright_or_skip() -> None:
    """Skip a whole module if playwright is not installed; in CI let its import fail."""
    if os.environ.get("CI") != "true":
        pytest.importorskip("playwright", reason="playwright is not installed")
