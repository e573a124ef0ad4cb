"""The cost of keeping a snapshot ready: changes, the start of the exporter, and memory per job.

Changes are compared with rendering everything, in the same run. A start is that of the real command with a
state file of 10,000 jobs and an API that does not respond.
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
from benchmarks.scrape.servers import EXPORTER, fleet, server, with_new_build
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
        starts.append([f"{JOBS:,}", f"{series / JOBS:.0f}", *(f"{time_s:.1f} s" for time_s in times)])
    table(["jobs in the store", "series each", "first complete scrape after", "worst"], starts)
    print()
    table(["jobs", "memory of the process", "for each job"], list(_memory()))


def _changes(jobs: int) -> tuple[float, ...]:
    """Return durations in the order of the table's columns."""
    view = fleet(jobs)
    renderer = Renderer(JOB_FAMILIES, Format.OPENMETRICS)
    renderer.render(view, compress=True)
    one_build, nothing = [], []
    for round_number in range(ROUNDS):
        view = _with_a_build(view, round_number * jobs // ROUNDS)
        one_build.append(seconds(lambda: renderer.render(view, compress=True)))  # noqa: B023 called at once
        nothing.append(seconds(lambda: renderer.render(view, compress=True)))  # noqa: B023 called at once
    checked = tuple(replace(job, checked_ms=(job.checked_ms or 0) + 60_000) for job in view.jobs)
    polled = tuple(replace(job, ledger=job.ledger and replace(job.ledger)) for job in checked)
    others = []
    for changed in (checked, polled, polled[1:]):
        view = replace(view, jobs=changed)
        others.append(seconds(lambda: renderer.render(view, compress=True)))  # noqa: B023 called at once
    everything = seconds(lambda: Renderer(JOB_FAMILIES, Format.OPENMETRICS).render(view, compress=True))
    return median(one_build), median(nothing), *others, everything


def _with_a_build(view: FleetView, index: int) -> FleetView:
    jobs = view.jobs
    return replace(view, jobs=(*jobs[:index], with_new_build(jobs[index]), *jobs[index + 1 :]))


def _starts(results: Sequence[Result]) -> tuple[float, float, float]:
    """Return the number of series, the shortest and the longest start in seconds."""
    runs = [_start(results) for _ in range(STARTS)]
    return runs[0][0], min(took for _, took in runs), max(took for _, took in runs)


def _start(results: Sequence[Result]) -> tuple[int, float]:
    """Start the exporter, and return series and seconds until the first complete scrape."""
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
                while (scraped := _try_scrape(port)) is None:
                    time.sleep(0.05)
                took = time.monotonic() - began
                text = decompress(scraped)
                if text.count(b"codearts_build_last_build_number{") != JOBS:
                    raise SystemExit("the first scrape was not complete")
                return text.count(b"\n") - text.count(b"\n#"), took
            finally:
                process.kill()


def _try_scrape(port: int) -> bytes | None:
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
