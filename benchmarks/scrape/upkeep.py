"""What it costs to keep a snapshot ready: a change of one job, a start, and memory for each job.

A change is held against rendering everything anew, in the same run; a start is that of the real command with
a state file of 10,000 jobs and a service that does not answer.
"""

import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from gzip import decompress
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Final

from benchmarks.scrape.scraper import fetch
from benchmarks.scrape.servers import EXPORTER, built, fleet, server
from benchmarks.store.fleet import ledgers
from benchmarks.tables import milliseconds, seconds, table
from exporter.exposition import Format, Renderer
from exporter.metrics import JOB_FAMILIES, FleetView
from exporter.model import Result
from exporter.store import open_store
from exporter.web import address_of, bind

SIZES: Final = (100, 1000, 10_000)
ROUNDS: Final = 15
STARTS: Final = 3
JOBS: Final = 10_000


def main() -> None:
    """Measure, and print the tables."""
    table(
        [
            "jobs",
            "one build",
            "nothing",
            "all job lists",
            "every ledger, no visible change",
            "first job removed",
            "everything",
        ],
        [[f"{jobs:,}", *map(milliseconds, _changes(jobs))] for jobs in SIZES],
    )
    print()
    starts = []
    for results in (tuple(Result)[:2], tuple(Result)):
        series, *times = _starts(results)
        starts.append([f"{JOBS:,}", f"{series / JOBS:.0f}", *(f"{one:.1f} s" for one in times)])
    table(["jobs in the store", "series each", "first complete scrape after", "worst"], starts)
    print()
    table(["jobs", "memory of the process", "for each job"], list(_memory()))


def _changes(jobs: int) -> tuple[float, ...]:
    """In the order of the table's columns."""
    view = fleet(jobs)
    renderer = Renderer(JOB_FAMILIES, Format.OPENMETRICS)
    renderer.render(view, compress=True)
    one, none = [], []
    for at in range(ROUNDS):
        view = _with_a_build(view, at * jobs // ROUNDS)
        one.append(seconds(lambda: renderer.render(view, compress=True)))  # noqa: B023 called at once
        none.append(seconds(lambda: renderer.render(view, compress=True)))  # noqa: B023 called at once
    swept = tuple(replace(one, checked_ms=(one.checked_ms or 0) + 60_000) for one in view.jobs)
    polled = tuple(replace(one, ledger=one.ledger and replace(one.ledger)) for one in swept)
    others = []
    for changed in (swept, polled, polled[1:]):
        view = replace(view, jobs=changed)
        others.append(seconds(lambda: renderer.render(view, compress=True)))  # noqa: B023 called at once
    anew = seconds(lambda: Renderer(JOB_FAMILIES, Format.OPENMETRICS).render(view, compress=True))
    return median(one), median(none), *others, anew


def _with_a_build(view: FleetView, at: int) -> FleetView:
    return replace(view, jobs=(*view.jobs[:at], built(view.jobs[at]), *view.jobs[at + 1 :]))


def _starts(results: Sequence[Result]) -> tuple[float, float, float]:
    """Series, the best time and the worst."""
    runs = [_start(results) for _ in range(STARTS)]
    return runs[0][0], min(took for _, took in runs), max(took for _, took in runs)


def _start(results: Sequence[Result]) -> tuple[int, float]:
    """Series and seconds."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        kept = ledgers(JOBS, results)
        store = open_store(str(folder / "state.db"), None)
        store.commit(kept)
        store.close()
        config = folder / "config.yaml"
        config.write_text(
            "endpoint: http://127.0.0.1:9\nauth: {token: example}\n"
            f"jobs: [{', '.join(kept)}]\nstate: {{path: {folder / 'state.db'}}}\n"
        )
        spare = bind(["127.0.0.1:0"])[0]
        address = address_of(spare)
        spare.close()
        flags = [f"--config.file={config}", f"--web.listen-address={address}", "--log.level=error"]
        began = time.monotonic()
        with subprocess.Popen(
            [sys.executable, "-m", "exporter", *flags], stdout=subprocess.DEVNULL
        ) as process:
            try:
                port = int(address.rpartition(":")[2])
                while (scraped := _scraped(port)) is None:
                    time.sleep(0.05)
                took = time.monotonic() - began
                text = decompress(scraped)
                if text.count(b"codearts_build_last_build_number{") != JOBS:
                    raise SystemExit("the first scrape was not complete")
                return text.count(b"\n") - text.count(b"\n#"), took
            finally:
                process.kill()


def _scraped(port: int) -> bytes | None:
    try:
        return fetch(port, gzip=True)
    except OSError:
        return None


def _memory() -> Iterator[list[str]]:
    empty = 0.0
    for jobs in (1, *SIZES[1:]):
        with server(EXPORTER, jobs) as port:
            resident = next(
                float(line.split()[1])
                for line in decompress(fetch(port, gzip=True)).decode().splitlines()
                if line.startswith("process_resident_memory_bytes ")
            )
        empty = empty or resident
        each = f"{(resident - empty) / jobs / 1024:.1f} KB" if jobs > 1 else ""
        yield [f"{jobs:,}", f"{resident / 2**20:.0f} MB", each]


if __name__ == "__main__":
    main()
