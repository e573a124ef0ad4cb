"""After kills, freezes, outages and wrong responses, all metrics match the truth; counters never decrease."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.e2e.torture import KILLS, Report, torture

RUNS = 3


@pytest.mark.long
@pytest.mark.timeout(900)
def test_every_build_is_counted_exactly_once(tmp_path: Path) -> None:
    def run(seed: int) -> Report:
        folder = tmp_path / str(seed)
        folder.mkdir()
        return torture(seed, folder)

    with ThreadPoolExecutor(RUNS) as pool:
        reports = list(pool.map(run, range(RUNS)))
    assert [report for report in reports if not report.is_clean] == []
    assert min(report.kills for report in reports) >= KILLS
    assert sum(report.hints for report in reports) > 0
    answered = set().union(*(report.answered for report in reports))
    assert {"records", "record-info-v1", "job-list"} <= answered
