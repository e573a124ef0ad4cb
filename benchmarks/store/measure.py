"""Bytes per job, time of a commit, time and memory of a start, with 10,000 jobs.

Each store is compared with a plain file in the same folder and run: the same rows, written sequentially and
synchronised to the disk, which is the minimum for any store.
"""

import json
import math
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from shutil import which
from tempfile import TemporaryDirectory
from typing import Final

from benchmarks.store.fleet import ledgers, selection
from benchmarks.tables import milliseconds, seconds, table
from exporter.errors import StoreError
from exporter.ledger.job_ledger import JobLedger
from exporter.store import open_store
from exporter.store.serialization import encode

JOBS: Final = 10_000
ROUNDS: Final = ((1, 100), (100, 50), (JOBS, 10))
"""Changed ledgers per round, and number of rounds."""

PLAIN, SQLITE, REDIS = "plain file", "SQLite", "Redis"

Commit = Callable[[Mapping[str, JobLedger]], object]


def main() -> None:
    """Measure, and print the tables."""
    fleet = ledgers(JOBS)
    rows = sum(len(encode(ledger)) for ledger in fleet.values())
    print(f"{JOBS:,} jobs, {rows / JOBS:,.0f} bytes of JSON each")
    with TemporaryDirectory() as root, _redis(Path(root)) as url:
        path = str(Path(root) / "state.db")
        locations = {SQLITE: (path, None)} | ({REDIS: (None, url)} if url else {})
        with ExitStack() as stack:
            stores = {
                name: stack.enter_context(closing(open_store(*location)))
                for name, location in locations.items()
            }
            commits: dict[str, Commit] = {PLAIN: Plain(Path(root) / "plain").commit}
            commits |= {name: store.commit for name, store in stores.items()}
            for commit in commits.values():
                commit(fleet)
            rounds = {size: _times(commits, selection(fleet, size), times) for size, times in ROUNDS}
        head = ["commit of", *(name if name == PLAIN else f"{name}, × plain" for name in commits)]
        table(head, [[_jobs(size), *_against_plain(times)] for size, times in rounds.items()])
        print(f"\nSQLite keeps {Path(path).stat().st_size / JOBS:,.0f} bytes for each job in its file")
        print("when it is closed.\n")
        starts = {name: _start(*location) for name, location in locations.items()}
    table(
        ["start", "time", "peak memory", "of it before"],
        [
            [name, milliseconds(run["s"]), _mb(run["peak"]), _mb(run["before"])]
            for name, run in starts.items()
        ],
    )


def start(path: str | None, url: str | None) -> None:
    """Open a store and load everything, as the exporter does at its start; print time and memory."""
    job_ids = [f"{ordinal:032x}" for ordinal in range(JOBS)]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.perf_counter()
    with closing(open_store(path, url)) as store:
        store.prune(job_ids, 0)
        if len(store.load(job_ids)) != JOBS:
            raise SystemExit("ledgers are missing in the store")
    took = time.perf_counter() - began
    print(
        json.dumps({"s": took, "before": before, "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss})
    )


def _start(path: str | None, url: str | None) -> dict[str, float]:
    code = f"from benchmarks.store.measure import start; start({path!r}, {url!r})"
    runs: list[dict[str, float]] = [
        json.loads(subprocess.check_output([sys.executable, "-c", code])) for _ in range(5)
    ]
    return min(runs, key=lambda run: float(run["s"]))


class Plain:
    """A file of rows, written sequentially."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def commit(self, changed: Mapping[str, JobLedger]) -> None:
        """Replace the content of the file, and wait for the disk."""
        with self._path.open("wb") as file:
            for job_id, ledger in changed.items():
                file.write(f"{job_id} {encode(ledger)}\n".encode())
            file.flush()
            os.fsync(file.fileno())


def _times(commits: Mapping[str, Commit], changed: Mapping[str, JobLedger], times: int) -> dict[str, float]:
    """Return the shortest time of each store. They take turns, so that other load affects all of them."""
    best = dict.fromkeys(commits, math.inf)
    for _ in range(times):
        for name, commit in commits.items():
            best[name] = min(best[name], seconds(lambda commit=commit: commit(changed)))  # type: ignore[misc]
    return best


def _against_plain(times: Mapping[str, float]) -> Iterator[str]:
    for name, time_s in times.items():
        ratio = f", × {time_s / times[PLAIN]:.1f}" if name != PLAIN else ""
        yield milliseconds(time_s) + ratio


def _jobs(size: int) -> str:
    return f"{size:,} ledger{'s' * (size > 1)}"


def _mb(kilobytes: float) -> str:
    return f"{kilobytes / 1024:,.0f} MB"


@contextmanager
def _redis(folder: Path) -> Iterator[str | None]:
    """Start a Redis that is as durable as SQLite; the value is its URL, or None if it is not installed."""
    server = which("redis-server")
    if server is None:
        print("redis-server is not installed; its columns are left out")
        yield None
        return
    socket = folder / "redis.sock"
    settings = [*("--port", "0", "--unixsocket", str(socket)), *("--dir", str(folder), "--save", "")]
    durable = ["--appendonly", "yes", "--appendfsync", "always"]
    with subprocess.Popen([server, *settings, *durable], stdout=subprocess.DEVNULL) as process:
        try:
            _await(f"unix://{socket}")
            yield f"unix://{socket}"
        finally:
            process.terminate()


def _await(url: str) -> None:
    for _ in range(100):
        try:
            open_store(None, url).close()
        except StoreError:
            time.sleep(0.1)
        else:
            return
    raise SystemExit("redis-server does not respond")


if __name__ == "__main__":
    main()
