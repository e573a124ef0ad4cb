"""Histograms with integer sums, so that no order of additions can change a digit."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Histogram:
    """Observations in milliseconds.

    Attributes:
        bounds: upper bounds, inclusive, ascending, without +Inf.
        counts: observations in each bucket (not cumulative), one more than bounds: the last is +Inf.
        sum_ms: sum of all observations.
    """

    bounds: tuple[int, ...]
    counts: tuple[int, ...]
    sum_ms: int = 0

    @classmethod
    def empty(cls, bounds: tuple[int, ...]) -> "Histogram":
        """A histogram without observations."""
        return cls(bounds, (0,) * (len(bounds) + 1))

    def emptied(self) -> "Histogram":
        """The same bounds without observations."""
        return Histogram.empty(self.bounds)

    @property
    def count(self) -> int:
        """Observations in all."""
        return sum(self.counts)

    def observed(self, value_ms: int) -> "Histogram":
        """The same with one observation more."""
        at = bisect_left(self.bounds, value_ms)
        counts = (*self.counts[:at], self.counts[at] + 1, *self.counts[at + 1 :])
        return Histogram(self.bounds, counts, self.sum_ms + value_ms)

    def rebounded(self, bounds: tuple[int, ...]) -> "Histogram":
        """The same observations under other bounds.

        Count and sum stay exact. An observation goes to the smallest new bucket that surely holds it: the
        first whose bound is not below the old one.
        """
        if bounds == self.bounds:
            return Histogram(bounds, self.counts, self.sum_ms)
        counts = [0] * (len(bounds) + 1)
        for bound, count in zip(self.bounds, self.counts, strict=False):
            counts[bisect_left(bounds, bound)] += count
        counts[-1] += self.counts[-1]
        return Histogram(bounds, tuple(counts), self.sum_ms)


@dataclass(frozen=True, slots=True)
class Buckets:
    """Upper bounds of the three histograms, in milliseconds, ascending, without +Inf."""

    duration: tuple[int, ...]
    queue: tuple[int, ...]
    recovery: tuple[int, ...]

    @classmethod
    def of_seconds(
        cls, duration: Sequence[float], queue: Sequence[float], recovery: Sequence[float]
    ) -> "Buckets":
        """The same from bounds in seconds."""
        return cls(
            *(tuple(round(bound * 1000) for bound in bounds) for bounds in (duration, queue, recovery))
        )
