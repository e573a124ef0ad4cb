"""Histograms with integer sums, so that no order of additions can change a digit."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple


class Exemplar(NamedTuple):
    """One build that was observed.

    Attributes:
        at_ms: when it finished.
        number: the build's.
        value_ms: what was observed of it; 1 build where builds are counted.
    """

    at_ms: int
    number: int
    value_ms: int


@dataclass(frozen=True, slots=True)
class Histogram:
    """Observations in milliseconds.

    Attributes:
        bounds: upper bounds, inclusive, ascending, without +Inf.
        counts: observations in each bucket (not cumulative), one more than bounds: the last is +Inf.
        sum_ms: sum of all observations.
        exemplars: the latest of each bucket that has one, ascending by value.
    """

    bounds: tuple[int, ...]
    counts: tuple[int, ...]
    sum_ms: int = 0
    exemplars: tuple[Exemplar, ...] = ()

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

    def bucket_of(self, value_ms: int) -> int:
        """The index of the bucket that an observation falls into."""
        return bisect_left(self.bounds, value_ms)

    def observed(self, value_ms: int, *, number: int | None = None, at_ms: int | None = None) -> "Histogram":
        """The same with one observation more; it becomes an exemplar if its build and its time are known."""
        at = self.bucket_of(value_ms)
        counts = (*self.counts[:at], self.counts[at] + 1, *self.counts[at + 1 :])
        new = () if number is None or at_ms is None else (Exemplar(at_ms, number, value_ms),)
        exemplars = self._latest((*self.exemplars, *new))
        return Histogram(self.bounds, counts, self.sum_ms + value_ms, exemplars)

    def plus(self, other: "Histogram") -> "Histogram":
        """The observations of both, which have the same bounds."""
        counts = tuple(one + two for one, two in zip(self.counts, other.counts, strict=True))
        exemplars = self._latest((*self.exemplars, *other.exemplars))
        return Histogram(self.bounds, counts, self.sum_ms + other.sum_ms, exemplars)

    def with_buckets(self, bounds: tuple[int, ...]) -> "Histogram":
        """The same observations under other bounds, without exemplars, which might lie in the wrong one.

        Count and sum stay exact. An observation goes to the smallest new bucket that surely holds it: the
        first whose bound is not below the old one.
        """
        if bounds == self.bounds:
            return self
        counts = [0] * (len(bounds) + 1)
        for bound, count in zip(self.bounds, self.counts, strict=False):
            counts[bisect_left(bounds, bound)] += count
        counts[-1] += self.counts[-1]
        return Histogram(bounds, tuple(counts), self.sum_ms)

    def _latest(self, exemplars: tuple[Exemplar, ...]) -> tuple[Exemplar, ...]:
        latest: dict[int, Exemplar] = {}
        for exemplar in exemplars:
            at = self.bucket_of(exemplar.value_ms)
            latest[at] = max(exemplar, latest.get(at, exemplar))
        return tuple(latest[at] for at in sorted(latest))


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
