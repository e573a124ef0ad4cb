"""The command line of the fuzz tests."""

import argparse
from collections import Counter
from collections.abc import Callable


def main(description: str | None, run: Callable[[int, int], Counter[str]], runs: int, unit: str) -> None:
    """Run from the command line.

    Args:
        description: for ``--help``.
        run: takes the number of runs and a seed, and returns how often each outcome occurred.
        runs: default number of runs.
        unit: what is counted, in the plural.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--runs", type=int, default=runs)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    outcomes = run(given.runs, given.seed)
    summary = ", ".join(f"{count:,} × {outcome}" for outcome, count in outcomes.most_common())
    print(f"{given.runs:,} {unit}: {summary}")
