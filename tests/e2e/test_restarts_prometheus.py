"""A real Prometheus scrapes an exporter that is killed repeatedly; it must not observe a counter reset.

Comparison of Prometheus's numbers with the simulator's truth:

- ``resets(counter[10m])`` is 0 for every series.
- ``max_over_time(counter[10m]) - min_over_time(counter[10m])`` is exactly the truth: no build finished before
  the first scrape, so a counter that never decreases rises from 0 to the number of builds.
- ``increase(counter[10m])`` is that difference, extrapolated. Where samples do not reach the ends of the
  range, Prometheus extrapolates at each end by at most 1.1 times their average distance, which is
  ``1 / (n - 1)`` of their time span for n samples; it does not extrapolate a counter below 0, where these
  begin. So with a truth of x, the result is between x and ``x * (1 + 1.1 / (n - 1))``, apart from rounding.

Series that first appear with a value, such as the durations of a new result, have no first sample at 0. For
those, only the last sample is compared.
"""

import signal
import time
from contextlib import closing
from pathlib import Path
from random import Random

import pytest
import requests

from tests.e2e.processes import Victim, configure, live, service
from tests.support.programs import Prometheus, answers, eventually, prometheus
from tests.support.truth import Labels, Values, differences, expected

JOBS = 5
KILLS = 5
BUSY_S = 18
SAMPLES = 10
ROUNDING = 1e-9


def counters(client: Prometheus, function: str, name: str) -> dict[Labels, float]:
    return client.query(f"{function}({name}[10m])")


@pytest.mark.long
def test_prometheus_observes_no_reset_and_the_whole_increase(tmp_path: Path) -> None:
    rng = Random(11)
    with service(tmp_path) as simulator:
        jobs = [
            simulator.post("jobs", {"name": f"job-{index}", "project": "p"})["job_id"]
            for index in range(JOBS)
        ]
        config = configure(simulator, jobs, tmp_path, f"path: {tmp_path / 'state.db'}")
        with closing(Victim(config, tmp_path)) as victim:
            victim.start()
            eventually(lambda: answers(f"{victim.url}/-/ready"), 60)
            with prometheus(victim.url.removeprefix("http://"), tmp_path) as client:
                eventually(lambda: bool(client.query("codearts_build_builds_total")), 60)
                for _ in range(KILLS):
                    live(simulator, jobs, rng, BUSY_S / (KILLS + 1) - 1)
                    victim.signal(signal.SIGKILL)
                    live(simulator, jobs, rng, rng.uniform(0, 2))
                    victim.start()
                live(simulator, jobs, rng, BUSY_S / (KILLS + 1))
                eventually(simulator.is_quiet, 60)
                wanted = counters_only(expected(simulator.truth()))
                eventually(lambda: not differences(last_samples(client, wanted), wanted), 60, every=1)
                time.sleep(3)
                eventually(lambda: fewest_samples(client) > SAMPLES, 60, every=1)
                check(client, wanted)


def fewest_samples(client: Prometheus) -> float:
    """Return the lowest number of samples of a build counter; on a busy machine, restarts are slow."""
    return min(counters(client, "count_over_time", "codearts_build_builds_total").values())


def counters_of_builds(client: Prometheus) -> list[str]:
    """Return the names of all series in Prometheus that must not decrease."""
    answer = requests.get(f"{client.url}/api/v1/label/__name__/values", timeout=10).json()
    found = [
        name
        for name in answer["data"]
        if name.startswith("codearts_build_") and not name.startswith("codearts_build_exporter_")
        if name.endswith(("_total", "_bucket", "_sum", "_count"))
    ]
    assert len(found) >= 3 + 3 * 3
    return found


def counters_only(wanted: Values) -> Values:
    return {key: value for key, value in wanted.items() if key[0].endswith(("_total", "_sum", "_count"))}


def last_samples(client: Prometheus, wanted: Values) -> Values:
    return {
        (name, labels): value
        for name in {name for name, _ in wanted}
        for labels, value in client.query(name).items()
    }


def check(client: Prometheus, wanted: Values) -> None:
    for name in counters_of_builds(client):
        resets = counters(client, "resets", name)
        assert len(resets) >= JOBS
        assert {labels: count for labels, count in resets.items() if count} == {}, name
    assert differences(last_samples(client, wanted), wanted) == {}
    for name in sorted({name for name, _ in wanted}):
        first, last = (counters(client, f"{end}_over_time", name) for end in ("min", "max"))
        samples, increase = counters(client, "count_over_time", name), counters(client, "increase", name)
        from_start = [labels for labels, value in first.items() if value == 0]
        assert len(from_start) >= JOBS, name
        for labels in from_start:
            truth, count = wanted[name, labels], samples[labels]
            assert last[labels] - first[labels] == truth, (name, labels)
            assert count > SAMPLES
            most = truth * (1 + 1.1 / (count - 1))
            assert truth - ROUNDING <= increase[labels] <= most + ROUNDING, (name, labels, count)
    assert sum(value for (name, _), value in wanted.items() if name.endswith("builds_total")) > 50
