"""A backfilled fortnight of twelve jobs in a real Prometheus, continued by a running exporter.

Comparison of Prometheus's numbers with the simulator's truth:

- Samples are six hours apart, including midnight. A range of a day and a millisecond that ends at midnight
  includes both midnights, also in Prometheus 3, whose ranges exclude their start. Only that millisecond is
  extrapolated, so ``increase(counter[1d1ms])`` is the number of builds that finished on that day, and
  quantiles are those of exactly the builds of that week.
- Across the cutoff between backfill and exporter, the test sums samples itself, as Prometheus does: a lower
  value is a reset. The cutoff causes one reset, and the sum is the truth.
- ``increase()`` over a range with the cutoff and all samples of the exporter is at most that sum,
  extrapolated by at most 1.1 sample distances at each end.
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

from exporter.config.schema import DURATION_BUCKETS
from exporter.simulator import BuildTruth, Fleet, JobTruth, Plan, RealClock, Simulator
from tests.support import fork_server
from tests.support.programs import Labels, Prometheus, answers, eventually, exporter, program, prometheus

pytestmark = pytest.mark.timeout(600)

JOBS = 12
DAYS = 16
DAY_S = 86_400
LIVE_BUILDS = 24
ROUNDING = 1e-9
EXTRAPOLATION = 1e-8
"""Upper bound of the change of a rank by one extrapolated millisecond."""


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
    assert fork_server.run([*command, *flags], timeout=240).returncode == 0


def make_blocks(files: Path, tsdb: Path) -> None:
    for file in sorted(files.glob("*.om")):
        command = [program("promtool"), "tsdb", "create-blocks-from", "openmetrics", str(file), str(tsdb)]
        subprocess.run(command, check=True, timeout=60, capture_output=True)


def finished(job: JobTruth) -> Iterator[tuple[float, BuildTruth]]:
    """Yield finish times in seconds, and the finished builds."""
    for build in job.builds:
        if build.finish_ms is not None and build.finished:
            yield build.finish_ms / 1000, build


def names(job: JobTruth, **more: str) -> Labels:
    return tuple(sorted({"project": job.project, "job_name": job.job_name, **more}.items()))


def whole_days(now_s: float) -> list[float]:
    """Return the ends of the UTC days that were backfilled completely."""
    today = now_s // DAY_S * DAY_S
    return [today - days * DAY_S for days in range(DAYS - 1)]


def check_days_and_results(client: Prometheus, jobs: list[JobTruth], ends: list[float]) -> None:
    for end_s in ends:
        expected: Counter[Labels] = Counter()
        for job in jobs:
            for at_s, build in finished(job):
                if end_s - DAY_S < at_s <= end_s:
                    expected[names(job, result=str(build.result))] += 1
        shown = client.query("increase(codearts_build_builds_total[1d1ms])", end_s)
        assert {labels: round(value, 6) for labels, value in shown.items() if value} == expected, end_s


def quantile(share: float, values_s: list[float]) -> float:
    """Return the result of ``histogram_quantile`` for these values, by its documentation."""
    bounds = DURATION_BUCKETS
    counts = [0] * (len(bounds) + 1)
    for value in values_s:
        counts[bisect_left(bounds, value)] += 1
    cumulative = list(accumulate(counts))
    rank = share * cumulative[-1]
    index = next(index for index, count in enumerate(cumulative) if count >= rank)
    if index == len(bounds):
        return bounds[-1]
    low = bounds[index - 1] if index else 0.0
    return low + (bounds[index] - low) * (rank - (cumulative[index] - counts[index])) / counts[index]


def check_quantiles(client: Prometheus, jobs: list[JobTruth], ends: list[float]) -> None:
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
            shown = client.query(expression.format(share), end_s)
            shown = {labels: value for labels, value in shown.items() if not math.isnan(value)}
            assert shown.keys() == durations.keys(), (end_s, share)
            for labels, values in durations.items():
                least, most = (quantile(share * (1 + by), values) for by in (-EXTRAPOLATION, EXTRAPOLATION))
                where = (end_s, share, labels)
                assert least * (1 - ROUNDING) <= shown[labels] <= most * (1 + ROUNDING), where


def check_sums(client: Prometheus, jobs: list[JobTruth], ends: list[float]) -> None:
    """Check sums of queue times, which are exact to the millisecond."""
    start_s, end_s = ends[-1], ends[0]
    days = round((end_s - start_s) / DAY_S)
    shown = client.query(f"increase(codearts_build_queue_duration_seconds_sum[{days}d1ms])", end_s)
    expected = {
        names(job): sum(
            (build.queue_ms or 0) / 1000 for at_s, build in finished(job) if start_s < at_s <= end_s
        )
        for job in jobs
    }
    assert shown == pytest.approx(expected, rel=1e-8)


def summed(samples: list[tuple[float, float]]) -> tuple[float, int]:
    """Return the increase without extrapolation, and the number of counter resets."""
    total, resets = 0.0, 0
    for (_, before), (_, after) in pairwise(samples):
        resets += after < before
        total += after if after < before else after - before
    return total, resets


def agrees_across_the_cutoff(client: Prometheus, simulator: Simulator) -> bool:
    """Return whether the sum of all builds since the first backfilled sample is the truth."""
    samples = client.samples(f"codearts_build_builds_total[{DAYS + 2}d]")
    assert len(samples) == JOBS * 6
    start_s = min(series[0][0] for series in samples.values())
    counted = {}
    for labels, series in samples.items():
        total, resets = summed(series)
        assert resets <= 1, labels
        counted[labels] = round(total)
    expected = Counter(
        names(job, result=str(build.result))
        for job in simulator.truth().values()
        for at_s, build in finished(job)
        if at_s > start_s
    )
    return +Counter(counted) == expected


def check_increase(client: Prometheus, jobs: list[JobTruth], cutoff_s: float) -> None:
    now_s = time.time()
    minutes = math.ceil((now_s - cutoff_s) / 60) + 600
    shown = client.query(f"sum(increase(codearts_build_builds_total[{minutes}m]))", now_s)
    builds = sum(now_s - minutes * 60 - 6 * 3600 < at_s for job in jobs for at_s, _ in finished(job))
    assert shown[()] <= builds * 1.1 + ROUNDING


@pytest.mark.long
def test_backfilled_builds_match_the_truth_and_are_continued(simulator: Simulator, tmp_path: Path) -> None:
    program("prometheus")
    config = configuration(simulator, tmp_path)
    ends = whole_days(time.time())  # before the exporter starts, in case the test runs at midnight
    with exporter(config, tmp_path / "exporter.log") as url:
        eventually(lambda: answers(f"{url}/-/ready"), 60)
        cutoff_s = time.time()
        backfill(config, url, tmp_path / "history")
        make_blocks(tmp_path / "history", tmp_path / "tsdb")
        flags = ("--storage.tsdb.retention.time=10y",)
        with prometheus(url.removeprefix("http://"), tmp_path, *flags) as client:
            eventually(lambda: bool(client.query("codearts_build_builds_total")), 30)
            for build in range(LIVE_BUILDS):
                job = simulator.fleet.jobs()[build % JOBS]
                simulator.fleet.add_build(job.id, duration_s=1, result="failure" if build % 3 else "success")
                time.sleep(0.2)
            simulator.fleet.stop_arrivals()
            eventually(lambda: agrees_across_the_cutoff(client, simulator), 60)
            jobs = list(simulator.truth().values())
            check_days_and_results(client, jobs, ends)
            check_quantiles(client, jobs, ends)
            check_sums(client, jobs, ends)
            check_increase(client, jobs, cutoff_s)
