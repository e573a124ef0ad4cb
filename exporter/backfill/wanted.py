"""Which questions a backfill still has; pure."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final

from exporter.ledger.draft import LARGEST_STEP

NEAR_MS: Final = 2000
"""History dates builds to the second: one so close to an end of the period may lie within it."""

PROBED: Final = 1000
"""So many of a job's missing numbers are asked for; the others are taken for deleted."""


def missing(numbers: Sequence[int]) -> list[tuple[int, int]]:
    """Ranges between neighbours, but those so wide that the upper one is garbage."""
    return [
        (low + 1, high - 1)
        for low, high in pairwise(numbers)
        if low + 1 < high and high - low <= LARGEST_STEP
    ]


def details(known: Sequence[tuple[int, int | None, bool]], start_ms: int, end_ms: int) -> Iterator[int]:
    """The builds to ask record-info for: those of the period, those missing, and the one after the newest.

    That one is missing too where the newest record of history could not be read.

    Args:
        known: numbers, when they finished as far as history tells, and whether they were asked for.
        start_ms: of the period.
        end_ms: of the job.
    """
    for number, finish_ms, asked in known:
        is_near = finish_ms is None or start_ms - NEAR_MS <= finish_ms <= end_ms + NEAR_MS
        if is_near and not asked:
            yield number
    left = PROBED
    for first, last in missing([number for number, _, _ in known]):
        yield from range(first, min(last, first + left - 1) + 1)
        left = max(0, left - (last - first + 1))
    numbers = {number for number, _, _ in known}
    newest = max((number for number, finish_ms, _ in known if finish_ms is not None), default=None)
    if newest is not None and newest + 1 not in numbers:
        yield newest + 1
