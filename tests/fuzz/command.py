"""How often, with which seed, and what it came to."""

import argparse
from collections import Counter
from collections.abc import Callable


def main(description: str | None, run: Callable[[int, int], Counter[str]], runs: int, what: str) -> None:
    """Run from the command line.

    Args:
        description: for ``--help``.
        run: takes how often and a seed.
        runs: how often by default.
        what: is sent or read.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--runs", type=int, default=runs)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    came_to = run(given.runs, given.seed)
    print(f"{given.runs:,} {what}:", ", ".join(f"{many:,} × {how}" for how, many in came_to.most_common()))
