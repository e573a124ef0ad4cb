"""``python -m benchmarks.prometheus.series``: memory and CPU time of a Prometheus that scrapes a fleet.

The same fleet is exposed as classic histograms, as native ones, and in lean detail with native ones, each to
a Prometheus of its own. Memory is the heap after a garbage collection, less that of one with a single job.
"""

import argparse
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import requests

from benchmarks.prometheus.quantiles import FEATURE
from benchmarks.scrape.servers import EXPORTER, server
from benchmarks.tables import table
from tests.support.programs import eventually, prometheus

SIZE: Final = "codearts_build_exporter_snapshot_size_bytes"

FORMS: Final[Mapping[str, tuple[str, str, tuple[str, ...]]]] = {
    "classic": ("full", "openmetrics", ()),
    "native": ("full", "protobuf", (FEATURE,)),
    "lean": ("lean", "protobuf", (FEATURE,)),
}
"""Detail of the exporter, format of the scrapes, and flags of Prometheus."""

OF_BUILDS: Final = '{__name__=~"codearts_build_.*", __name__!~"codearts_build_exporter_.*"}'

BUILD_EVERY_S: Final = 300
"""Each job has a build in this time."""


@dataclass(frozen=True)
class Cost:
    """Figures of one Prometheus after its last scrape.

    Attributes:
        series: of jobs and projects, without the exporter's own.
        heap: bytes in use after a garbage collection.
        cpu_s: CPU time for each scrape.
        size: bytes of one scrape, as gzip.
    """

    series: float
    heap: float
    cpu_s: float
    size: float


def main(arguments: Sequence[str] = ()) -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--jobs", type=int, nargs="+", default=(100, 1000, 5000))
    parser.add_argument("--scrapes", type=int, default=60)
    parser.add_argument("--interval", type=int, default=2, help="seconds between two scrapes")
    options = parser.parse_args(arguments)
    rows = []
    for jobs in options.jobs:
        costs = {form: _measure(form, jobs, options.scrapes, options.interval) for form in FORMS}
        empty = {form: _measure(form, 1, options.scrapes, options.interval).heap for form in FORMS}
        classic = costs["classic"]
        for form, cost in costs.items():
            heap = cost.heap - empty[form]
            rows.append(
                [
                    f"{jobs:,}",
                    form,
                    f"{cost.series / jobs:.1f}",
                    f"{cost.size / 1024:,.0f} KB",
                    f"{heap / 2**20:.1f} MB",
                    f"{heap / (classic.heap - empty['classic']):.2f}",
                    f"{cost.cpu_s * 1000:.1f} ms",
                    f"{cost.cpu_s / classic.cpu_s:.2f}",
                ]
            )
    head = ["jobs", "form", "series a job", "gzip", "memory", "× classic", "CPU a scrape", "× classic"]
    table(head, rows)


def _measure(form: str, jobs: int, scrapes: int, interval_s: int) -> Cost:
    detail, fmt, flags = FORMS[form]
    with (
        server(EXPORTER, jobs, jobs / BUILD_EVERY_S, detail) as port,
        TemporaryDirectory() as folder,
        prometheus(f"127.0.0.1:{port}", Path(folder), *flags, interval=f"{interval_s}s") as stored,
    ):
        eventually(lambda: bool(stored.query('up{job="codearts"} == 1')), 60)
        before_s = _own(stored.url, "process_cpu_seconds_total")
        time.sleep(scrapes * interval_s)
        cpu_s = _own(stored.url, "process_cpu_seconds_total") - before_s
        requests.get(f"{stored.url}/debug/pprof/heap?gc=1", timeout=60)
        heap = _own(stored.url, "go_memstats_heap_alloc_bytes")
        series = sum(stored.query(f"count({OF_BUILDS})").values())
        [size] = stored.query(f'{SIZE}{{encoding="gzip", format="{fmt}"}}').values()
        return Cost(series, heap, cpu_s / scrapes, size)


def _own(url: str, name: str) -> float:
    """Return a metric that Prometheus has of itself."""
    lines = requests.get(f"{url}/metrics", timeout=60).text.splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(f"{name} "))


if __name__ == "__main__":
    import sys

    main(sys.argv[1:])
