"""The estimated size is close to the actual one."""

from pathlib import Path

import pytest

from exporter.backfill.openmetrics import estimate_size
from exporter.backfill.past_build import PastBuild
from exporter.backfill.plan import PastJob, Period
from exporter.model import Build, BuildDetail, Job, Result, Stage
from exporter.simulator import Fleet, Plan, Simulator
from tests.backfill.conftest import DAY_MS, HOUR_MS, NOON_MS, Past

WEEK = Period(NOON_MS - 7 * DAY_MS, NOON_MS, 4 * HOUR_MS)


@pytest.mark.parametrize(
    "settings",
    [
        "",
        "metrics: {stages: true}\n",
        "metrics: {stages: true, extra_labels: [trigger, branch], branches: [main, 'release/.*']}\n",
    ],
)
def test_the_estimated_size(fleet: Fleet, simulator: Simulator, tmp_path: Path, settings: str) -> None:
    for ordinal in range(3):
        fleet.add_job(f"job-{ordinal}", plan=Plan(gap_s=3600, duration_s=60, failure_ratio=0.3))
    past = Past(simulator, tmp_path, settings)
    past.collect(WEEK)
    with past.spool() as spool:
        estimated = estimate_size(
            past.jobs,
            past.families,
            WEEK,
            past.rules,
            lambda one: spool.iter_finished(one.job.id, one.end_ms),
        )
    lines = [
        line
        for file in past.files(WEEK)
        for line in file.read_text().splitlines(keepends=True)
        if not line.startswith("#")
    ]
    series = {line.rpartition(" ")[0].rpartition(" ")[0] for line in lines}
    assert estimated.series == pytest.approx(len(series), rel=0.1)
    assert estimated.samples == pytest.approx(len(lines), rel=0.3)
    assert estimated.bytes == pytest.approx(sum(map(len, lines)), rel=0.3)


def test_a_build_with_other_stages_adds_series(past: Past) -> None:
    past = Past(past.simulator, past.folder, "metrics: {stages: true}\n")
    [job] = past.config.jobs

    def built(number: int, stages: tuple[str, ...]) -> PastBuild:
        moments = (WEEK.end_ms - 5000, WEEK.end_ms)
        return PastBuild(
            Build(number, Result.SUCCESS, None, *moments),
            BuildDetail(number, Result.SUCCESS, None, moments[0], *moments, record_id="r"),
            tuple(Stage(name, 1000) for name in stages),
        )

    def series(*builds: tuple[str, ...]) -> int:
        builds_at = [(WEEK.end_ms, built(number, stages)) for number, stages in enumerate(builds, start=1)]
        one = PastJob(Job(job.id, "job", "project"), WEEK.end_ms)
        return estimate_size([one], past.families, WEEK, past.rules, lambda _: builds_at).series

    assert series(("compile",), ("compile", "test")) == series(("compile", "test")) > series(("compile",))
