"""``python -m benchmarks.economy.fleets``: fleets by size, activity and request limit of the service."""

import argparse
import multiprocessing
import sys
from collections.abc import Sequence

from benchmarks.economy.measure import Case, measure
from benchmarks.tables import table


def main(arguments: Sequence[str] = ()) -> None:
    """Measure each case in a separate process, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, nargs="+", default=[100, 1000, 10_000])
    parser.add_argument("--active", type=int, nargs="+", default=[0, 1, 5])
    parser.add_argument("--allowed", type=int, nargs="+", default=[50, 120, 300])
    parser.add_argument(
        "--lists", choices=["all", "projects"], nargs="+", default=["all"], help="lists that may be read"
    )
    parser.add_argument(
        "--minutes", type=int, default=20, help="simulated minutes to measure, after a warm-up of five"
    )
    options = parser.parse_args(arguments)
    cases = [
        Case(jobs, active, allowed, options.minutes, refuses_all=lists == "projects")
        for jobs in options.jobs
        for active in options.active
        for allowed in options.allowed
        for lists in options.lists
    ]
    rows = []
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        for row in pool.imap(measure, cases):
            rows.append(row)
            print(row, flush=True)
    table(list(rows[0]), [list(row.values()) for row in rows])


if __name__ == "__main__":
    main(sys.argv[1:])
