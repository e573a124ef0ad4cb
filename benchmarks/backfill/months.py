"""``python -m benchmarks.backfill.months``: requests, time, memory and output size of a backfill.

The simulator runs in a separate process, and requests are not limited. Two periods show what grows with the
length of the history.
"""

import argparse
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter, deque
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final

from benchmarks.tables import table
from exporter.simulator import Fleet, Plan, RealClock, Simulator

_DAY_S: Final = 86_400
_COPY_BUFFER: Final = 1 << 20

_WRITING_BEGINS: Final = " series, "
"""In the line that the backfill prints between download and writing."""

_LINES_SHOWN: Final = 10
"""Last lines that the error shows if the backfill failed."""


def main(arguments: Sequence[str] = ()) -> None:
    """Measure each period, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--builds", type=int, default=10, help="builds per job and day")
    parser.add_argument("--days", type=int, nargs="+", default=[10, 30])
    parser.add_argument("--step", default="1h")
    options = parser.parse_args(arguments)
    rows = []
    for days in options.days:
        with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
            rows.append(measure(options.jobs, options.builds, days, options.step, Path(folder)))
            print(rows[-1], flush=True)
    table(list(rows[0]), [list(row.values()) for row in rows])


def serve(jobs: int, builds: int, days: int, end: Connection) -> None:
    """Serve a fleet until a message arrives; send the URL first, and the requests by operation last."""
    fleet = Fleet(RealClock(), seed=1, history_days=days + 3)
    for ordinal in range(jobs):
        plan = Plan(gap_s=_DAY_S / builds, duration_s=300, queue_s=10)
        job = fleet.add_job(f"job-{ordinal}", f"project-{ordinal % 20}", plan=plan)
        fleet.builds(job.id)  # draws them now; in the first request that would exceed the time-out
    with Simulator(fleet).start() as simulator:
        end.send((simulator.url, simulator.credentials.tokens[0], [job.id for job in fleet.jobs()]))
        end.recv()
        requests: Counter[str] = Counter()
        for (operation, _), count in simulator.counts.items():
            requests[operation] += count
        end.send(requests)


def measure(jobs: int, builds: int, days: int, step: str, folder: Path) -> dict[str, object]:
    """Run one backfill, with the simulator in a separate process."""
    connection, other_end = multiprocessing.Pipe()
    arguments = (jobs, builds, days, other_end)
    server = multiprocessing.get_context("spawn").Process(target=serve, args=arguments, daemon=True)
    server.start()
    url, token, job_ids = connection.recv()
    config = folder / "config.yaml"
    config.write_text(
        f"endpoint: {url}\nauth: {{token: {token}}}\njobs: [{', '.join(job_ids)}]\n"
        "poll: {max_requests_per_minute: 100000, timeout: 1m}\n"
    )
    phases, memory = run(config, folder / "out", days, step)
    connection.send("stop")
    requests: Counter[str] = connection.recv()
    server.join()
    size = sum(file.stat().st_size for file in (folder / "out").glob("*.om"))
    copied = copy(folder / "out", folder / "copy")
    return {
        "days": days,
        "builds": f"{jobs * builds * days:,}",
        "requests": f"{requests.total():,}",
        "by operation": ", ".join(f"{count:,} {operation}" for operation, count in requests.most_common()),
        "× builds": f"{requests.total() / (jobs * builds * days):.3f}",
        "download": f"{phases['download']:,.0f} s",
        "writing": f"{phases['writing']:,.0f} s",
        "text": f"{size / 1e9:.2f} GB",
        "writing ÷ copying": f"{phases['writing'] / copied:.1f}",
        "peak memory": f"{memory / 1024:,.0f} MB",
    }


def run(config: Path, output: Path, days: int, step: str) -> tuple[dict[str, float], int]:
    """Run the backfill, and return the seconds of each phase and the peak memory in KiB."""
    command = [sys.executable, "-m", "exporter", "backfill", f"--config.file={config}"]
    process = subprocess.Popen(
        [*command, f"--start={days}d", f"--step={step}", f"--output={output}"],
        stderr=subprocess.PIPE,
        text=True,
    )
    began = time.monotonic()
    download_s = None
    said: deque[str] = deque(maxlen=_LINES_SHOWN)
    for line in process.stderr or ():
        said.append(line)
        if _WRITING_BEGINS in line:
            download_s = time.monotonic() - began
    _, status, used = os.wait4(process.pid, 0)
    if status or download_s is None:
        code = os.waitstatus_to_exitcode(status)
        raise RuntimeError(f"the backfill failed with exit code {code}:\n{''.join(said)}")
    return {"download": download_s, "writing": time.monotonic() - began - download_s}, used.ru_maxrss


def copy(source: Path, target: Path) -> float:
    """Copy the files with an fsync for each, and return the seconds it took."""
    target.mkdir()
    began = time.monotonic()
    for file in source.glob("*.om"):
        with file.open("rb") as read, (target / file.name).open("wb") as written:
            shutil.copyfileobj(read, written, _COPY_BUFFER)
            written.flush()
            os.fsync(written.fileno())
    return time.monotonic() - began


if __name__ == "__main__":
    main(sys.argv[1:])
