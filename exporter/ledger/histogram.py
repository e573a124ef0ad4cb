"""Histograms of durations, in classic and in native buckets.

Counts and sums are integers, so that the order of additions cannot change a digit.
"""

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple


class Exemplar(NamedTuple):
    """One build that was observed.

    Attributes:
        at_ms: when it finished.
        number: its number.
        value_ms: the observed value; 1 for builds that are only counted.
    """

    at_ms: int
    number: int
    value_ms: int


NATIVE_SCHEMA: Final = 4
"""Resolution of native histograms: each bucket is 4.4 % wide, so that no quantile is further off."""

_PER_OCTAVE: Final = 1 << NATIVE_SCHEMA

_FRACTIONS: Final = tuple(2.0 ** (index / _PER_OCTAVE - 1) for index in range(_PER_OCTAVE))
"""Lower bounds of the buckets between 0.5 and 1."""


def native_index(value_ms: int) -> int:
    """Return the index ``i`` of the native bucket of a positive value: (2**((i-1)/16), 2**(i/16)] seconds."""
    fraction, exponent = math.frexp(value_ms / 1000)
    return bisect_left(_FRACTIONS, fraction) + (exponent - 1) * _PER_OCTAVE


@dataclass(frozen=True, slots=True)
class NativeBuckets:
    """The buckets of a Prometheus native histogram that hold observations, of `NATIVE_SCHEMA`.

    Source: https://prometheus.io/docs/specs/native_histograms/

    Attributes:
        zeros: observations of 0.
        indices: as `native_index` returns them, ascending.
        counts: observations by index; none is 0.
    """

    zeros: int = 0
    indices: tuple[int, ...] = ()
    counts: tuple[int, ...] = ()

    @classmethod
    def spread(cls, bounds: Sequence[int], counts: Sequence[int]) -> "NativeBuckets":
        """Spread the observations of classic buckets, as evenly as integers allow.

        Each count goes to the native buckets between the bounds of its own. The first bucket is taken to
        begin at half its bound, the last one to end at twice the highest bound.
        """
        native = cls()
        for index, count in enumerate(counts):
            lower = bounds[index - 1] if index else bounds[0] // 2
            upper = bounds[index] if index < len(bounds) else 2 * bounds[-1]
            last = native_index(upper)
            first = min(native_index(lower) + 1, last) if lower else last
            width = last - first + 1
            shares = [count * (place + 1) // width - count * place // width for place in range(width)]
            held = [(first + place, share) for place, share in enumerate(shares) if share]
            native = native.plus(cls(0, tuple(i for i, _ in held), tuple(share for _, share in held)))
        return native

    @property
    def count(self) -> int:
        """Number of observations."""
        return self.zeros + sum(self.counts)

    def observed(self, value_ms: int) -> "NativeBuckets":
        """Add an observation."""
        if value_ms <= 0:
            return replace(self, zeros=self.zeros + 1)
        return self.plus(NativeBuckets(0, (native_index(value_ms),), (1,)))

    def plus(self, other: "NativeBuckets") -> "NativeBuckets":
        """Add the observations of others."""
        if not other.indices:
            return replace(self, zeros=self.zeros + other.zeros)
        counts = dict(zip(self.indices, self.counts, strict=True))
        for index, count in zip(other.indices, other.counts, strict=True):
            counts[index] = counts.get(index, 0) + count
        indices = self.indices if len(counts) == len(self.indices) else tuple(sorted(counts))
        return NativeBuckets(self.zeros + other.zeros, indices, tuple(counts[index] for index in indices))

    def since(self, before: "NativeBuckets") -> "NativeBuckets":
        """Return the observations that an earlier state lacks."""
        counts = Counter(dict(zip(self.indices, self.counts, strict=True)))
        counts.subtract(dict(zip(before.indices, before.counts, strict=True)))
        more = sorted((+counts).items())
        zeros = max(0, self.zeros - before.zeros)
        return NativeBuckets(zeros, tuple(index for index, _ in more), tuple(count for _, count in more))


@dataclass(frozen=True, slots=True)
class Histogram:
    """Observations in milliseconds.

    Attributes:
        bounds: upper bounds, inclusive, ascending, without +Inf.
        counts: observations in each bucket (not cumulative), one more than bounds: the last is +Inf.
        sum_ms: sum of all observations.
        exemplars: the latest of each bucket that has one, ascending by value.
        native: the same observations in buckets that do not depend on ``bounds``.
    """

    bounds: tuple[int, ...]
    counts: tuple[int, ...]
    sum_ms: int = 0
    exemplars: tuple[Exemplar, ...] = ()
    native: NativeBuckets = NativeBuckets()

    @classmethod
    def empty(cls, bounds: tuple[int, ...]) -> "Histogram":
        """Create a histogram without observations."""
        return cls(bounds, (0,) * (len(bounds) + 1))

    def emptied(self) -> "Histogram":
        """Return the same bounds without observations."""
        return Histogram.empty(self.bounds)

    @property
    def count(self) -> int:
        """Number of observations."""
        return sum(self.counts)

    def bucket_of(self, value_ms: int) -> int:
        """Return the index of the bucket of an observation."""
        return bisect_left(self.bounds, value_ms)

    def observed(self, value_ms: int, *, number: int | None = None, at_ms: int | None = None) -> "Histogram":
        """Add an observation, as an exemplar too if its build and its time are known."""
        bucket = self.bucket_of(value_ms)
        counts = (*self.counts[:bucket], self.counts[bucket] + 1, *self.counts[bucket + 1 :])
        new = () if number is None or at_ms is None else (Exemplar(at_ms, number, value_ms),)
        exemplars = self._latest((*self.exemplars, *new))
        native = self.native.observed(value_ms)
        return Histogram(self.bounds, counts, self.sum_ms + value_ms, exemplars, native)

    def plus(self, other: "Histogram") -> "Histogram":
        """Add the observations of a histogram with the same bounds."""
        counts = tuple(map(sum, zip(self.counts, other.counts, strict=True)))
        exemplars = self._latest((*self.exemplars, *other.exemplars))
        native = self.native.plus(other.native)
        return Histogram(self.bounds, counts, self.sum_ms + other.sum_ms, exemplars, native)

    def since(self, before: "Histogram | None") -> "Histogram":
        """Return the observations that an earlier state with the same bounds lacks, without exemplars.

        If a native bucket has fallen, as one spread again from larger counts may, the classic ones decide.
        """
        if before is None:
            return replace(self, exemplars=())
        pairs = zip(self.counts, before.counts, strict=True)
        more = tuple(max(0, count - known) for count, known in pairs)
        native = self.native.since(before.native)
        if native.count != sum(more):
            native = NativeBuckets.spread(self.bounds, more)
        return Histogram(self.bounds, more, max(0, self.sum_ms - before.sum_ms), native=native)

    def with_buckets(self, bounds: tuple[int, ...]) -> "Histogram":
        """Move the observations to other classic buckets, without exemplars, which could be in the wrong one.

        Count and sum stay exact. An observation goes to the smallest new bucket that certainly holds it: the
        first whose bound is not below the old one.
        """
        if bounds == self.bounds:
            return self
        counts = [0] * (len(bounds) + 1)
        for bound, count in zip(self.bounds, self.counts, strict=False):
            counts[bisect_left(bounds, bound)] += count
        counts[-1] += self.counts[-1]
        return Histogram(bounds, tuple(counts), self.sum_ms, native=self.native)

    def _latest(self, exemplars: tuple[Exemplar, ...]) -> tuple[Exemplar, ...]:
        latest: dict[int, Exemplar] = {}
        for exemplar in exemplars:
            bucket = self.bucket_of(exemplar.value_ms)
            latest[bucket] = max(exemplar, latest.get(bucket, exemplar))
        return tuple(latest[bucket] for bucket in sorted(latest))


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
        """Create buckets from bounds in seconds."""
        return cls(
            *(tuple(round(bound * 1000) for bound in bounds) for bounds in (duration, queue, recovery))
        )
