"""What is told before writing is about what is written."""

from pathlib import Path

import pytest

from exporter.backfill import Period, size
from exporter.simulator import Fleet, Plan, Simulator
from tests.backfill.conftest import DAY_MS, HOUR_MS, NOON_MS, Past

WEEK = Period(NOON_MS - 7 * DAY_MS, NOON_MS, HOUR_MS)


@pytest.mark.parametrize(
    "settings",
    [
        "",
        "metrics: {stages: true}\n",
        "metrics: {stages: true, extra_labels: [trigger, branch], branches: [main, 'release/.*']}\n",
    ],
)
def test_the_size_that_is_told(fleet: Fleet, simulator: Simulator, tmp_path: Path, settings: str) -> None:
    for ordinal in range(3):
        fleet.add_job(f"job-{ordinal}", plan=Plan(gap_s=3600, duration_s=60, failure_ratio=0.3))
    past = Past(simulator, tmp_path, settings)
    past.collect(WEEK)
    with past.spool() as spool:
        told = size(
            past.jobs, past.families, WEEK, past.rules, lambda one: spool.told(one.job.id, one.end_ms)
        )
    lines = [
        line
        for file in past.files(WEEK)
        for line in file.read_text().splitlines(keepends=True)
        if not line.startswith("#")
    ]
    series = {line.rpartition(" ")[0].rpartition(" ")[0] for line in lines}
    assert told.series == pytest.approx(len(series), rel=0.1)
    assert told.samples == pytest.approx(len(lines), rel=0.3)
    assert told.bytes == pytest.approx(sum(map(len, lines)), rel=0.3)
