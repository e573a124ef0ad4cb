"""A month of twelve jobs in a real Prometheus, and the live exporter that goes on from there.

How exactly the numbers are held against the truth:

- Samples lie six hours apart, at midnight too. A range of a day and a millisecond that ends at midnight takes
  in both midnights, in Prometheus 2 and in Prometheus 3, whose ranges leave out their beginning. Extrapolated
  is that millisecond alone: ``increase(counter[1d1ms])`` is the number of builds that finished in that day,
  and quantiles are those of exactly the builds of that week.
- Across the border nothing is assumed of extrapolation: the samples themselves are added up as Prometheus
  adds them, where a lower value is a reset. The border is one reset, and the sum is the truth.
- ``increase()`` over a range that holds the border and all of the live time is at most that sum, extended by
  no more than its 1.1 sample distances at each end.
"""

import math
import subprocess
import sys
import time
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import accumulate, pairwise
from pathlib import Path

import pytest

from exporter.config import DURATION_BUCKETS
from exporter.simulator import BuildTruth, Fleet, JobTruth, Plan, RealClock, Simulator
from tests.support.programs import Labels, Prometheus, answers, eventually, exporter, program, prometheus

pytestmark = pytest.mark.timeout(600)

JOBS = 12
DAYS = 30
DAY_S = 86_400
LIVE = 40
ROUNDING = 1e-9
A_MILLISECOND = 1e-8
"""More than a millisecond extrapolated may move a rank by: a bucket that begins at 0 is not extrapolated."""


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    fleet = Fleet(RealClock(), seed=3, history_days=DAYS + 4)
    for ordinal in range(JOBS):
        plan = Plan(
            gap_s=3600 * (3 + ordinal % 7),
            duration_s=20 * (1 + ordinal % 30),
            queue_s=20,
            failure_ratio=0.3,
            concurrency=1 + ordinal % 3,
            first_number=1 + 400 * (ordinal % 2),
        )
        fleet.add_job(f"job-{ordinal}", f"project-{ordinal % 4}", plan=plan)
    with Simulator(fleet).start() as running:
        yield running


def configuration(simulator: Simulator, folder: Path) -> Path:
    jobs = "".join(f"  - {job.id}\n" for job in simulator.fleet.jobs())
    path = folder / "config.yaml"
    path.write_text(
        f"endpoint: {simulator.url}\nauth: {{token: {simulator.credentials.tokens[0]}}}\njobs:\n{jobs}"
        "poll: {interval: 1s, max_interval: 2s, max_requests_per_minute: 60000}\n"
        'state: {path: ":memory:"}\n'
    )
    return path


def backfill(config: Path, url: str, output: Path) -> None:
    command = [sys.executable, "-m", "exporter", "backfill", f"--config.file={config}", f"--output={output}"]
    labels = ["--label=job=codearts", f"--label=instance={url.removeprefix('http://')}"]
    flags = [f"--start={DAYS}d", "--step=6h", f"--exporter={url}/metrics", *labels]
    subprocess.run([*command, *flags], check=True, timeout=240)


def make_blocks(files: Path, tsdb: Path) -> None:
    for file in sorted(files.glob("*.om")):
        command = [program("promtool"), "tsdb", "create-blocks-from", "openmetrics", str(file), str(tsdb)]
        subprocess.run(command, check=True, timeout=60, capture_output=True)


def finished(job: JobTruth) -> Iterator[tuple[float, BuildTruth]]:
    """When builds finished, in seconds, and the builds."""
    for build in job.builds:
        if build.finish_ms is not None and build.finished:
            yield build.finish_ms / 1000, build


def names(job: JobTruth, **more: str) -> Labels:
    return tuple(sorted({"project": job.project, "job_name": job.job_name, **more}.items()))


def whole_days(now_s: float) -> list[float]:
    """The ends of the UTC days that lie wholly in the past that was brought back."""
    today = now_s // DAY_S * DAY_S
    return [today - back * DAY_S for back in range(DAYS - 1)]


def of_days_and_results(asked: Prometheus, jobs: list[JobTruth], ends: list[float]) -> None:
    for end_s in ends:
        expected: Counter[Labels] = Counter()
        for job in jobs:
            for at_s, build in finished(job):
                if end_s - DAY_S < at_s <= end_s:
                    expected[names(job, result=str(build.result))] += 1
        shown = asked.query("increase(codearts_build_builds_total[1d1ms])", end_s)
        assert {labels: round(value, 6) for labels, value in shown.items() if value} == expected, end_s


def quantile(share: float, values_s: list[float]) -> float:
    """What ``histogram_quantile`` makes of these, by its documentation."""
    bounds = DURATION_BUCKETS
    counts = [0] * (len(bounds) + 1)
    for value in values_s:
        counts[bisect_left(bounds, value)] += 1
    through = list(accumulate(counts))
    rank = share * through[-1]
    at = next(at for at, count in enumerate(through) if count >= rank)
    if at == len(bounds):
        return bounds[-1]
    low = bounds[at - 1] if at else 0.0
    return low + (bounds[at] - low) * (rank - (through[at] - counts[at])) / counts[at]


def of_quantiles(asked: Prometheus, jobs: list[JobTruth], ends: list[float]) -> None:
    expression = (
        "histogram_quantile({}, sum by (project, job_name, le)"
        ' (increase(codearts_build_duration_seconds_bucket{{result="success"}}[7d1ms])))'
    )
    for end_s in ends[:-6:7]:
        durations = defaultdict(list)
        for job in jobs:
            for at_s, build in finished(job):
                if end_s - 7 * DAY_S < at_s <= end_s and build.result == "success":
                    durations[names(job)].append((build.duration_ms or 0) / 1000)
        for share in (0.5, 0.9, 0.99):
            shown = asked.query(expression.format(share), end_s)
            shown = {labels: value for labels, value in shown.items() if not math.isnan(value)}
            assert shown.keys() == durations.keys(), (end_s, share)
            for labels, values in durations.items():
                least, most = (quantile(share * (1 + by), values) for by in (-A_MILLISECOND, A_MILLISECOND))
                where = (end_s, share, labels)
                assert least * (1 - ROUNDING) <= shown[labels] <= most * (1 + ROUNDING), where


def of_sums(asked: Prometheus, jobs: list[JobTruth], ends: list[float]) -> None:
    """Milliseconds: queue times come from each build's details."""
    start_s, end_s = ends[-1], ends[0]
    days = round((end_s - start_s) / DAY_S)
    shown = asked.query(f"increase(codearts_build_queue_duration_seconds_sum[{days}d1ms])", end_s)
    expected = {
        names(job): sum(
            (build.queue_ms or 0) / 1000 for at_s, build in finished(job) if start_s < at_s <= end_s
        )
        for job in jobs
    }
    assert shown == pytest.approx(expected, rel=1e-8)


def added_up(samples: list[tuple[float, float]]) -> tuple[float, int]:
    """What ``increase()`` adds up before it extrapolates, and how often the counter was reset."""
    total, resets = 0.0, 0
    for (_, before), (_, after) in pairwise(samples):
        resets += after < before
        total += after if after < before else after - before
    return total, resets


def across_the_border(asked: Prometheus, simulator: Simulator) -> bool:
    """Whether all builds from the first sample of the past to now add up to the truth."""
    samples = asked.samples(f"codearts_build_builds_total[{DAYS + 2}d]")
    assert len(samples) == JOBS * 6
    start_s = min(series[0][0] for series in samples.values())
    counted = {}
    for labels, series in samples.items():
        total, resets = added_up(series)
        assert resets <= 1, labels
        counted[labels] = round(total)
    expected = Counter(
        names(job, result=str(build.result))
        for job in simulator.truth().values()
        for at_s, build in finished(job)
        if at_s > start_s
    )
    return +Counter(counted) == expected


def without_a_jump(asked: Prometheus, jobs: list[JobTruth], border_s: float) -> None:
    now_s = time.time()
    minutes = math.ceil((now_s - border_s) / 60) + 600
    shown = asked.query(f"sum(increase(codearts_build_builds_total[{minutes}m]))", now_s)
    builds = sum(now_s - minutes * 60 - 6 * 3600 < at_s for job in jobs for at_s, _ in finished(job))
    assert shown[()] <= builds * 1.1 + ROUNDING


@pytest.mark.long
def test_a_month_is_the_truth_and_goes_on(simulator: Simulator, tmp_path: Path) -> None:
    program("prometheus")
    config = configuration(simulator, tmp_path)
    ends = whole_days(time.time())  # before anything is counted: this may run at midnight
    with exporter(config, tmp_path / "exporter.log") as url:
        eventually(lambda: answers(f"{url}/-/ready"), 60)
        border_s = time.time()
        backfill(config, url, tmp_path / "history")
        make_blocks(tmp_path / "history", tmp_path / "tsdb")
        flags = ("--storage.tsdb.retention.time=10y",)
        with prometheus(url.removeprefix("http://"), tmp_path, *flags) as asked:
            eventually(lambda: bool(asked.query("codearts_build_builds_total")), 30)
            for at in range(LIVE):
                job = simulator.fleet.jobs()[at % JOBS]
                simulator.fleet.add_build(job.id, duration_s=1, result="failure" if at % 3 else "success")
                time.sleep(0.2)
            simulator.fleet.stop_arrivals()
            eventually(lambda: across_the_border(asked, simulator), 60)
            jobs = list(simulator.truth().values())
            of_days_and_results(asked, jobs, ends)
            of_quantiles(asked, jobs, ends)
            of_sums(asked, jobs, ends)
            without_a_jump(asked, jobs, border_s)
