"""Two real Prometheis scrape an exporter that is killed repeatedly, one with native histograms, one without.

Durations are the quantiles of a log-normal distribution, so that the exact answers are known. The order in
which the builds finish is random.
"""

import math
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from itertools import pairwise
from pathlib import Path
from random import Random
from statistics import NormalDist, quantiles

import pytest
import requests

from tests.e2e.processes import Service, Victim, configure, service
from tests.support.programs import Prometheus, answers, eventually, prometheus

BUILDS, BATCHES = 300, 6
MEDIAN_S, SIGMA = 180.0, 0.8
DURATIONS_S = [
    round(MEDIAN_S * math.exp(SIGMA * NormalDist().inv_cdf((rank + 0.5) / BUILDS)), 3)
    for rank in range(BUILDS)
]
EXACT = {
    q: quantiles(DURATIONS_S, n=100, method="inclusive")[round(q * 100) - 1] for q in (0.5, 0.9, 0.95, 0.99)
}
NAME = "codearts_build_duration_seconds"
OF_JOB = (("job_name", "job-0"), ("project", "p"), ("result", "success"))


@pytest.mark.long
@pytest.mark.timeout(600)
def test_native_histograms_are_exact_through_kills(tmp_path: Path) -> None:
    with service(tmp_path) as simulator, ExitStack() as stack:
        job = simulator.post("jobs", {"name": "job-0", "project": "p"})["job_id"]
        config = configure(simulator, [job], tmp_path, f"path: {tmp_path / 'state.db'}")
        victim = stack.enter_context(closing(Victim(config, tmp_path)))
        victim.start()
        eventually(lambda: answers(f"{victim.url}/-/ready"), 60)
        target = victim.url.removeprefix("http://")
        for name in ("native", "classic"):
            (tmp_path / name).mkdir()
        native = stack.enter_context(
            prometheus(target, tmp_path / "native", "--enable-feature=native-histograms")
        )
        classic = stack.enter_context(prometheus(target, tmp_path / "classic"))
        eventually(lambda: bool(native.query(f"histogram_count({NAME})")), 60)
        eventually(lambda: bool(classic.query(f"{NAME}_count")), 60)
        for batch in batches():
            build(simulator, job, batch)
            victim.signal(signal.SIGKILL)
            victim.start()
            eventually(lambda: answers(f"{victim.url}/-/ready"), 60)
        eventually(lambda: classic.query(f"{NAME}_count").get(OF_JOB) == BUILDS, 60, every=1)
        eventually(lambda: native.query(f"histogram_count({NAME})").get(OF_JOB) == BUILDS, 60, every=1)
        check_native(native)
        check_classic(classic)


def batches() -> Iterator[Sequence[float]]:
    durations = list(DURATIONS_S)
    Random(5).shuffle(durations)
    size = BUILDS // BATCHES
    yield from (durations[start : start + size] for start in range(0, BUILDS, size))


def build(simulator: Service, job_id: str, durations_s: Sequence[float]) -> None:
    """Add builds that have just finished, and give the exporter time for some of them."""
    for duration_s in durations_s:
        started_ms = round((time.time() - duration_s) * 1000) - 100
        body = {"result": "success", "queue_s": 0, "duration_s": duration_s, "at_ms": started_ms}
        simulator.post(f"jobs/{job_id}/builds", body)
    time.sleep(2)


def check_native(client: Prometheus) -> None:
    samples = client.histograms(f"{NAME}[10m]")[OF_JOB]
    assert (samples[0].count, samples[0].buckets) == (0, {})
    for before, after in pairwise(samples):
        assert before.count <= after.count
        assert before.sum <= after.sum
        assert all(after.buckets.get(bounds, 0) >= count for bounds, count in before.buckets.items())
    assert samples[-1].count == sum(samples[-1].buckets.values()) == BUILDS
    assert samples[-1].sum == pytest.approx(sum(DURATIONS_S), abs=1e-6)
    for quantile, exact_s in EXACT.items():
        answer_s = client.query(f"histogram_quantile({quantile}, {NAME})")[OF_JOB]
        assert answer_s == pytest.approx(exact_s, rel=0.05), quantile
    of_jobs = {name for name in names(client) if not name.startswith("codearts_build_exporter_")}
    assert NAME in of_jobs
    assert [name for name in of_jobs if name.endswith(("_bucket", "_sum", "_count", "_created"))] == []
    [series] = client.query('count({job_name="job-0"})').values()
    assert series <= 45


def check_classic(client: Prometheus) -> None:
    worst = 0.0
    for quantile, exact_s in EXACT.items():
        answer_s = client.query(f"histogram_quantile({quantile}, {NAME}_bucket)")[OF_JOB]
        worst = max(worst, abs(answer_s / exact_s - 1))
    assert worst > 0.2
    of_jobs = names(client)
    assert {f"{NAME}_bucket", f"{NAME}_sum", f"{NAME}_count"} <= of_jobs
    assert NAME not in of_jobs
    assert not [name for name in of_jobs if name.endswith("_created")]
    assert not client.histograms(f"{NAME}[10m]")


def names(client: Prometheus) -> set[str]:
    answer = requests.get(f"{client.url}/api/v1/label/__name__/values", timeout=10).json()
    return {name for name in answer["data"] if name.startswith("codearts_build_")}
