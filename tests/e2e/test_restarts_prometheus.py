"""A real Prometheus scrapes an exporter that is killed again and again: it must not see a reset.

How its numbers are held against the truth:

- ``resets(counter[10m])`` is 0 for every series.
- ``max_over_time(counter[10m]) - min_over_time(counter[10m])`` is the truth, exactly: no build was there
  before the first scrape, so a counter that never falls goes from 0 to as many as there were.
- ``increase(counter[10m])`` is that difference, extrapolated. Where samples do not reach the ends of the
  range, Prometheus extends them at each end by at most 1.1 times their average distance, which is
  ``1 / (n - 1)`` of the time they cover for n samples; it does not extend a counter below 0, where these
  begin. So with a truth of x, it lies between x and ``x * (1 + 1.1 / (n - 1))``, give or take rounding.

Series that first appear with a value, as the durations of a result that never occurred before, have no first
sample at 0. Of those, the last sample is held against the truth.
"""

import signal
import time
from contextlib import closing
from pathlib import Path
from random import Random

import pytest
import requests

from tests.e2e.torture import Victim, configure, live, service
from tests.support.programs import Prometheus, answers, eventually, prometheus
from tests.support.truth import Labels, Values, differences, expected

JOBS = 5
KILLS = 5
BUSY_S = 40
ROUNDING = 1e-9


def counters(asked: Prometheus, function: str, name: str) -> dict[Labels, float]:
    return asked.query(f"{function}({name}[10m])")


@pytest.mark.long
def test_prometheus_sees_no_reset_and_the_whole_increase(tmp_path: Path) -> None:
    dice = Random(11)
    with service(tmp_path) as simulator:
        jobs = [simulator.post("jobs", {"name": f"job-{at}", "project": "p"})["job_id"] for at in range(JOBS)]
        config = configure(simulator, jobs, tmp_path, f"path: {tmp_path / 'state.db'}")
        with closing(Victim(config, tmp_path)) as victim:
            victim.start()
            eventually(lambda: answers(f"{victim.url}/-/ready"), 60)
            with prometheus(victim.url.removeprefix("http://"), tmp_path) as asked:
                eventually(lambda: bool(asked.query("codearts_build_builds_total")), 60)
                for _ in range(KILLS):
                    live(simulator, jobs, dice, BUSY_S / (KILLS + 1) - 1)
                    victim.signal(signal.SIGKILL)
                    live(simulator, jobs, dice, dice.uniform(0, 2))
                    victim.start()
                live(simulator, jobs, dice, BUSY_S / (KILLS + 1))
                eventually(simulator.is_quiet, 60)
                wanted = counters_only(expected(simulator.truth()))
                eventually(lambda: not differences(last_samples(asked, wanted), wanted), 60, every=1)
                time.sleep(3)
                eventually(lambda: fewest_samples(asked) > BUSY_S / 4, 60, every=1)
                agree(asked, wanted)


def fewest_samples(asked: Prometheus) -> float:
    """Of the counters of builds; a busy machine is slow to start the exporter again."""
    return min(counters(asked, "count_over_time", "codearts_build_builds_total").values())


def counters_of_builds(asked: Prometheus) -> list[str]:
    """The names of all series that may never fall, as Prometheus knows them."""
    answer = requests.get(f"{asked.url}/api/v1/label/__name__/values", timeout=10).json()
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


def last_samples(asked: Prometheus, wanted: Values) -> Values:
    return {
        (name, labels): value
        for name in {name for name, _ in wanted}
        for labels, value in asked.query(name).items()
    }


def agree(asked: Prometheus, wanted: Values) -> None:
    for name in counters_of_builds(asked):
        resets = counters(asked, "resets", name)
        assert len(resets) >= JOBS
        assert {labels: count for labels, count in resets.items() if count} == {}, name
    assert differences(last_samples(asked, wanted), wanted) == {}
    for name in sorted({name for name, _ in wanted}):
        first, last = (counters(asked, f"{end}_over_time", name) for end in ("min", "max"))
        samples, increase = counters(asked, "count_over_time", name), counters(asked, "increase", name)
        from_start = [labels for labels, value in first.items() if value == 0]
        assert len(from_start) >= JOBS, name
        for labels in from_start:
            truth, count = wanted[name, labels], samples[labels]
            assert last[labels] - first[labels] == truth, (name, labels)
            assert count > BUSY_S / 4
            most = truth * (1 + 1.1 / (count - 1))
            assert truth - ROUNDING <= increase[labels] <= most + ROUNDING, (name, labels, count)
    assert sum(value for (name, _), value in wanted.items() if name.endswith("builds_total")) > 50
