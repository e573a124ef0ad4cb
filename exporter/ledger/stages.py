"""The stages of a job's builds: how long each took, and which builds are still to be asked for theirs.

A build is counted without waiting for its stages. They are asked for afterwards, and each build's are folded
in once: an answer for a build that does not wait changes nothing. All of it is sums, maxima and unions.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from exporter.ledger.histogram import Histogram
from exporter.ledger.tallies import OTHER
from exporter.model import Stage

TOLD_APART: Final = 30
"""So many stages of a job keep their names; what comes later is added up under ``other``."""

AWAITED_KEPT: Final = 500
"""So many builds of a job wait for their stages; beyond that the oldest go without."""


@dataclass(frozen=True, slots=True)
class AwaitedStages:
    """A settled build whose stages are not known yet.

    Attributes:
        record_id: what the service knows the build by.
        finish_ms: when the build finished, if that is known.
        counts: False for a build that is not counted; its stages show in gauges only.
        tries: requests that brought nothing.
    """

    record_id: str
    finish_ms: int | None = None
    counts: bool = True
    tries: int = 0


@dataclass(frozen=True, slots=True)
class LastStages:
    """The build with the highest number whose stages are known; times in milliseconds by name, in order."""

    number: int
    lengths: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class KnownStages:
    """What the service told of the stages of one build."""

    number: int
    stages: tuple[Stage, ...]


@dataclass(frozen=True, slots=True)
class Stages:
    """What is known of the stages of a job's builds.

    Which names are kept depends on the order in which they came, once there are more than `TOLD_APART`; up to
    there, no order or split of the answers changes anything.

    Attributes:
        awaited: builds to ask for, by number.
        durations: of counted builds by name, ascending; empty ones are of a build that is not counted.
        last: what the gauges show.
    """

    awaited: Mapping[int, AwaitedStages] = field(default_factory=dict)
    durations: Mapping[str, Histogram] = field(default_factory=dict)
    last: LastStages | None = None

    def wanted(self) -> tuple[int, ...]:
        """The builds to ask for, those that failed least and are newest first."""
        return tuple(sorted(self.awaited, key=lambda number: (self.awaited[number].tries, -number)))

    def awaiting(self, number: int, one: AwaitedStages) -> "Stages":
        """The same with one build more that waits."""
        kept = sorted({**self.awaited, number: one}.items())[-AWAITED_KEPT:]
        return replace(self, awaited=dict(kept))

    def waiting_for_none(self) -> "Stages":
        """The same where nothing waits any more."""
        return replace(self, awaited={}) if self.awaited else self

    def refused(self, number: int) -> "Stages":
        """That build's stages will never be told."""
        return replace(self, awaited={n: one for n, one in self.awaited.items() if n != number})

    def failed(self, number: int, most: int) -> "Stages":
        """That build's stages were not told this time; after ``most`` times it goes without."""
        tried = replace(self.awaited[number], tries=self.awaited[number].tries + 1)
        if tried.tries >= most:
            return self.refused(number)
        return replace(self, awaited={**self.awaited, number: tried})

    def seen(self, known: KnownStages, nothing: Histogram) -> "Stages":
        """Fold in the stages of a build that waits.

        Args:
            known: the build and its stages.
            nothing: a histogram without observations, with the bounds of durations.
        """
        one = self.awaited[known.number]
        durations, lengths = dict(self.durations), dict[str, int]()
        for stage in known.stages:
            name = _place(stage.name, durations)
            so_far = durations.get(name, nothing)
            durations[name] = (
                so_far.observed(stage.duration_ms, number=known.number, at_ms=one.finish_ms)
                if one.counts
                else so_far
            )
            lengths[name] = lengths.get(name, 0) + stage.duration_ms
        last = self.last
        if lengths and (last is None or known.number > last.number):
            last = LastStages(known.number, lengths)
        told = Stages(self.awaited, {name: durations[name] for name in sorted(durations)}, last)
        return told.refused(known.number)

    def with_buckets(self, bounds: tuple[int, ...]) -> "Stages":
        """The same under other buckets; counts and sums stay exact."""
        if all(histogram.bounds == bounds for histogram in self.durations.values()):
            return self
        return replace(
            self, durations={name: one.with_buckets(bounds) for name, one in self.durations.items()}
        )


NO_STAGES: Final = Stages()


def _place(name: str, taken: Iterable[str]) -> str:
    """The name itself where it is known or there is room, else ``other``."""
    names = {*taken} - {OTHER}
    return name if name in names or len(names) < TOLD_APART else OTHER
