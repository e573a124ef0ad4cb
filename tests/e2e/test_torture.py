"""Kills, freezes, outages and lies: afterwards the exposition is the truth, and no counter ever fell."""

import os
from pathlib import Path

import pytest

from tests.e2e.torture import KILLS, torture

pytestmark = pytest.mark.timeout(600)

RUNS = int(os.environ.get("TORTURE_RUNS", "6"))


@pytest.mark.parametrize("seed", range(RUNS))
def test_every_build_is_counted_exactly_once(seed: int, tmp_path: Path) -> None:
    report = torture(seed, tmp_path)
    assert (report.wrong, report.fallen) == ({}, [])
    assert report.kills >= KILLS
    assert "unexpected_error" not in (tmp_path / "exporter.log").read_text()
