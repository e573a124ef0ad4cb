"""Scrapes of the exporter, of nginx with the same bytes in a file, and of prometheus-client's application.

The exporter and nginx take turns within each row, so that other load on the machine affects both.
"""

import argparse
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import replace
from itertools import product
from multiprocessing import get_context
from typing import Final

from benchmarks.scrape.plot import Point, plot
from benchmarks.scrape.scraper import Mode, Times, fetch, scrape
from benchmarks.scrape.servers import CLIENT, EXPORTER, nginx, server
from benchmarks.tables import milliseconds, table

JOBS: Final = (1, 100, 1000, 10_000)
BUILDS_A_SECOND: Final = 50
ROUNDS: Final = 3
MODES: Final = tuple(Mode(*mode) for mode in product((True, False), (True, False), (1, 8)))

HEAD: Final = (
    "jobs",
    "builds/s",
    "scrapes",
    "exporter p50",
    "p99",
    "worst",
    "nginx p50",
    "p99",
    "× p50",
    "× p99",
)


def main(arguments: Sequence[str] = ()) -> None:
    """Measure, print the tables, and draw the plot if requested."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--jobs", type=int, nargs="+", default=JOBS)
    parser.add_argument("--seconds", type=float, default=1.0, help="duration of each round of each row")
    parser.add_argument("--protobuf", action="store_true", help="scrape as with native histograms")
    parser.add_argument("--plot", help="PNG file for a plot of p50 and p99 by number of jobs")
    options = parser.parse_args(arguments)
    with ProcessPoolExecutor(8, mp_context=get_context("spawn")) as executor:
        points = [
            point
            for jobs in options.jobs
            for point in measure(executor, jobs, options.seconds, protobuf=options.protobuf)
        ]
    if options.plot:
        plot(points, options.plot)


def measure(executor: Executor, jobs: int, seconds: float, *, protobuf: bool) -> Iterator[Point]:
    """Print the rows of one fleet size, and yield points for the plot."""
    rows: list[list[str]] = []
    for builds_a_second in (0, BUILDS_A_SECOND):
        with server(EXPORTER, jobs, builds_a_second) as port:
            identity, packed = (fetch(port, gzip=gzip, protobuf=protobuf) for gzip in (False, True))
            with nginx(identity, packed) as static:
                for mode in (replace(mode, protobuf=protobuf) for mode in MODES):
                    ours, theirs = _take_turns(executor, port, static, mode, seconds)
                    rows.append([f"{jobs:,}", str(builds_a_second), str(mode), *_row(ours, theirs)])
                    if mode == Mode(protobuf=protobuf):
                        yield Point("exporter", jobs, builds_a_second, ours)
                        if theirs:
                            yield Point("nginx, static file", jobs, builds_a_second, theirs)
                if not builds_a_second:
                    spaced = Times.of(scrape(executor, port, Mode(pause_s=1.1, protobuf=protobuf), 15.0))
    print(f"\n{jobs:,} jobs: {len(identity):,} bytes, {len(packed):,} as gzip\n")
    table(HEAD, rows)
    print(f"\nmore than a second apart, without the shared result: p50 {milliseconds(spaced.p50)}")
    with server(CLIENT, jobs) as port:
        slow = {
            gzip: Times.of(scrape(executor, port, Mode(gzip=gzip), 3.0, at_least=3)) for gzip in (True, False)
        }
    yield Point("prometheus-client", jobs, 0, slow[True])
    print(f"prometheus-client's own application: p50 {milliseconds(slow[True].p50)} as gzip,", end=" ")
    print(f"{milliseconds(slow[False].p50)} plain, of {slow[True].scrapes} scrapes each or more")


def _take_turns(
    executor: Executor, port: int, static: int | None, mode: Mode, seconds: float
) -> tuple[Times, Times | None]:
    ours: list[float] = []
    theirs: list[float] = []
    for _ in range(ROUNDS):
        ours += scrape(executor, port, mode, seconds)
        if static:
            theirs += scrape(executor, static, mode, seconds)
    return Times.of(ours), Times.of(theirs) if theirs else None


def _row(ours: Times, theirs: Times | None) -> Iterator[str]:
    for time_s in (ours.p50, ours.p99, ours.worst):
        yield _ms(time_s)
    if theirs is None:
        yield from ("", "", "", "")
        return
    yield from (_ms(theirs.p50), _ms(theirs.p99))
    yield from (f"{ours.p50 / theirs.p50:.1f}", f"{ours.p99 / theirs.p99:.1f}")


def _ms(time_s: float) -> str:
    return f"{time_s * 1000:,.2f} ms" if time_s < 0.01 else milliseconds(time_s)


if __name__ == "__main__":
    import sys

    main(sys.argv[1:])
