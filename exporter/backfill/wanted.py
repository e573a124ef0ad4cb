"""Which questions a backfill still has; pure."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

from exporter.ledger.draft import LARGEST_FIRST
from exporter.ledger.state import LARGEST_STEP

NEAR_MS: Final = 2000
"""History dates builds to the second: one so close to an end of the period may lie within it."""

PROBED: Final = 1000
"""So many of a job's missing numbers are asked for; the others are taken for deleted."""


class Known(NamedTuple):
    """A build number that has been seen.

    Attributes:
        dated_ms: when the build finished, as far as that is known.
        is_listed: history told of it.
        is_asked: record-info was asked for it.
    """

    number: int
    dated_ms: int | None
    is_listed: bool
    is_asked: bool


def plausible(known: Iterable[Known]) -> list[Known]:
    """Those ascending numbers that are no garbage, by the rules of the ledger."""
    kept: list[Known] = []
    for one in known:
        if one.number <= (kept[-1].number + LARGEST_STEP if kept else LARGEST_FIRST):
            kept.append(one)
    return kept


def missing(known: Sequence[Known]) -> list[tuple[int, int]]:
    """Ranges of numbers between those that are known."""
    return [
        (low.number + 1, high.number - 1) for low, high in pairwise(known) if low.number + 1 < high.number
    ]


def numbers_to_ask(known: Sequence[Known], start_ms: int, end_ms: int) -> Iterator[int]:
    """The builds to ask record-info for: those of the period, those missing, and the one after the newest.

    That one is missing too where the newest record of history could not be read.

    Args:
        known: plausible ones, ascending.
        start_ms: of the period.
        end_ms: of the past of the job.
    """
    for one in known:
        is_near = one.dated_ms is None or start_ms - NEAR_MS <= one.dated_ms <= end_ms + NEAR_MS
        if is_near and not one.is_asked:
            yield one.number
    left = PROBED - sum(not one.is_listed for one in known)
    for first, last in missing(known):
        yield from range(first, min(last, first + left - 1) + 1)
        left = max(0, left - (last - first + 1))
    newest = max((one.number for one in known if one.is_listed), default=None)
    if newest is not None and all(one.number != newest + 1 for one in known):
        yield newest + 1
