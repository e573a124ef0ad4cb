"""Finished builds counted by their labels, and histograms of what was observed of them.

Histograms have integer sums, so that the order of additions cannot change a digit.
"""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from exporter.model import Result, Trigger

OTHER: Final = "other"
"""Stands for all values of a label that are not kept separate."""


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
        return Histogram(self.bounds, counts, self.sum_ms + value_ms, exemplars)

    def plus(self, other: "Histogram") -> "Histogram":
        """Add the observations of a histogram with the same bounds."""
        counts = tuple(map(sum, zip(self.counts, other.counts, strict=True)))
        exemplars = self._latest((*self.exemplars, *other.exemplars))
        return Histogram(self.bounds, counts, self.sum_ms + other.sum_ms, exemplars)

    def with_buckets(self, bounds: tuple[int, ...]) -> "Histogram":
        """Move the observations to other buckets, without exemplars, which could be in the wrong bucket.

        Count and sum stay exact. An observation goes to the smallest new bucket that certainly holds it: the
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


class BuildLabels(NamedTuple):
    """Labels of counted builds; a label that was not configured when they were counted is empty."""

    result: Result
    trigger: str = ""
    branch: str = ""

    def exposed(self, *, trigger: bool, branch: bool) -> "BuildLabels":
        """Return the labels as they are exposed with these extra labels configured.

        Builds counted before a label was configured have the trigger ``unknown`` and the branch ``other``.
        """
        return BuildLabels(
            self.result,
            (self.trigger or Trigger.UNKNOWN.value) if trigger else "",
            (self.branch or OTHER) if branch else "",
        )


@dataclass(frozen=True, slots=True)
class Tally:
    """Builds counted under the same labels.

    Attributes:
        builds: number of builds.
        durations: of those with a known duration; None if there are none.
        latest: the one that finished last.
    """

    labels: BuildLabels
    builds: int = 0
    durations: Histogram | None = None
    latest: Exemplar | None = None

    def plus(self, other: "Tally") -> "Tally":
        """Add another tally, under the labels of this one."""
        durations = self.durations or other.durations
        if self.durations and other.durations:
            durations = self.durations.plus(other.durations)
        latest = max((build for build in (self.latest, other.latest) if build), default=None)
        return Tally(self.labels, self.builds + other.builds, durations, latest)

    def emptied(self) -> "Tally":
        """Return the tally as before its first build."""
        return Tally(self.labels, durations=self.durations and self.durations.emptied())

    def with_buckets(self, bounds: tuple[int, ...]) -> "Tally":
        """Move durations to other buckets."""
        return replace(self, durations=self.durations and self.durations.with_buckets(bounds))


@dataclass(frozen=True, slots=True)
class LabelPolicy:
    """Labels under which finished builds are counted, beside their result.

    Attributes:
        trigger: whether there is a label for the trigger.
        branch: returns the label's value for a branch; None if there is no such label.
        has_room: whether new branches of a job get series of their own. Otherwise they are counted under
            ``other``, which every job has.
        stages: whether stages are measured.
        always: branches, beside ``other``, that every job has from the start.
    """

    trigger: bool = False
    branch: Callable[[str], str] | None = None
    has_room: bool = True
    stages: bool = False
    always: frozenset[str] = frozenset()

    def labels(self, result: Result, trigger: Trigger, branch: str) -> BuildLabels:
        """Return the labels of a build, if there is room for them."""
        return BuildLabels(
            result, trigger.value if self.trigger else "", self.branch(branch) if self.branch else ""
        )

    def overflow_labels(self, labels: BuildLabels) -> BuildLabels:
        """Return the labels of a build whose branch has no room."""
        return labels._replace(branch=OTHER if self.branch else "")


BY_RESULT: Final = LabelPolicy()
"""Counts finished builds by their result alone."""
