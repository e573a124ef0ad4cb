"""Timing and printing, shared by all benchmarks."""

import time
from collections.abc import Callable, Sequence


def seconds(work: Callable[[], object]) -> float:
    """How long something takes, once."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def milliseconds(time_s: float) -> str:
    """A time as a person reads it."""
    return f"{time_s * 1000:,.1f} ms" if time_s < 0.1 else f"{time_s * 1000:,.0f} ms"


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows under their head, as Markdown."""
    lines = [list(map(str, row)) for row in (head, *rows)]
    widths = [max(len(line[at]) for line in lines) for at in range(len(head))]
    lines.insert(1, ["-" * width for width in widths])
    for line in lines:
        print("| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |")
