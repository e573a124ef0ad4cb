"""Screenshot for the README: ``python -m tests.support.screenshot docs/images/status.png``.

The demo runs until the status page shows its stuck build, then a browser takes the screenshot.
"""

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Literal

import requests

from tests.cli.conftest import started
from tests.support.browser import chromium
from tests.support.programs import eventually

_STUCK_WITHIN_S = 240


def main() -> None:
    """Write one PNG."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("path", type=Path)
    arguments.add_argument("--theme", choices=("light", "dark"), default="light")
    given = arguments.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        started("demo", "--web.listen-address=127.0.0.1:0", log=Path(folder) / "log") as demo,
    ):
        url = demo.says("Status:").split()[1]
        eventually(lambda: "stuck for" in requests.get(url, timeout=5).text, _STUCK_WITHIN_S, every=2)
        given.path.write_bytes(picture(url, given.theme))
    sys.stdout.write(f"{given.path}: {given.path.stat().st_size:,} bytes\n")


def picture(url: str, theme: Literal["light", "dark"]) -> bytes:
    """Return a PNG of the page."""
    with chromium() as browser:
        page = browser.new_page(
            viewport={"width": 1240, "height": 730}, device_scale_factor=1.3, color_scheme=theme
        )
        page.goto(url)
        return page.screenshot()


if __name__ == "__main__":
    main()
