"""Finished builds and their durations, counted by their labels; pure.

A tally only grows: Prometheus takes a counter that falls for one that was reset.
"""

from dataclasses import dataclass, replace

from exporter.ledger.build_labels import BuildLabels
from exporter.ledger.histogram import Exemplar, Histogram


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
