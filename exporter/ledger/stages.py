"""Stages of a job's builds: their durations, and the builds whose stages are still to be requested.

A build is counted without waiting for its stages. They are requested afterwards and folded in once; an answer
for a build that does not wait changes nothing. The state consists of sums, maxima and unions.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from exporter.ledger.build_labels import OTHER
from exporter.ledger.histogram import Histogram
from exporter.model import Stage

STAGE_NAMES_KEPT: Final = 30
"""Stages of a job that keep their names; later ones are added up under ``other``."""

AWAITED_KEPT: Final = 500
"""Builds of a job that wait for their stages; beyond it, the oldest stop waiting."""


@dataclass(frozen=True, slots=True)
class AwaitedStages:
    """A settled build whose stages are not known yet.

    Attributes:
        record_id: the service's id of the build.
        finish_ms: when the build finished, if known.
        counts: False for a build that is not counted; its stages only set gauges.
        tries: failed requests.
    """

    record_id: str
    finish_ms: int | None = None
    counts: bool = True
    tries: int = 0


@dataclass(frozen=True, slots=True)
class LastStages:
    """The build with the highest number whose stages are known; durations in ms by name, in order."""

    number: int
    lengths: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class KnownStages:
    """Stages of one build, as answered by the service."""

    number: int
    stages: tuple[Stage, ...]


@dataclass(frozen=True, slots=True)
class Stages:
    """Known and awaited stages of a job's builds.

    With more than `STAGE_NAMES_KEPT` names, their order decides which are kept; up to there, no order or
    split of the answers makes a difference.

    Attributes:
        awaited: builds to request stages of, by number.
        durations: of counted builds, ascending by name; empty for names only seen in builds not counted.
        last: shown in gauges.
    """

    awaited: Mapping[int, AwaitedStages] = field(default_factory=dict)
    durations: Mapping[str, Histogram] = field(default_factory=dict)
    last: LastStages | None = None

    def wanted(self) -> tuple[int, ...]:
        """List the builds to request: those with the fewest failures first, then the newest."""
        return tuple(sorted(self.awaited, key=lambda number: (self.awaited[number].tries, -number)))

    def awaiting(self, number: int, build: AwaitedStages) -> "Stages":
        """Add a build that waits."""
        return replace(self, awaited=dict(sorted({**self.awaited, number: build}.items())[-AWAITED_KEPT:]))

    def refused(self, number: int) -> "Stages":
        """Stop waiting for a build."""
        return replace(self, awaited={n: build for n, build in self.awaited.items() if n != number})

    def failed(self, number: int, max_tries: int) -> "Stages":
        """Count a failed request; stop waiting after ``max_tries``."""
        tried = replace(self.awaited[number], tries=self.awaited[number].tries + 1)
        if tried.tries >= max_tries:
            return self.refused(number)
        return replace(self, awaited={**self.awaited, number: tried})

    def observed(self, known: KnownStages, no_durations: Histogram) -> "Stages":
        """Fold in the stages of a build that waits; ``no_durations`` is the empty histogram to start from."""
        build = self.awaited[known.number]
        durations, lengths = dict(self.durations), dict[str, int]()
        for stage in known.stages:
            names = durations.keys() - {OTHER}
            name = stage.name if stage.name in names or len(names) < STAGE_NAMES_KEPT else OTHER
            durations.setdefault(name, no_durations)
            if build.counts:
                durations[name] = durations[name].observed(
                    stage.duration_ms, number=known.number, at_ms=build.finish_ms
                )
            lengths[name] = lengths.get(name, 0) + stage.duration_ms
        last = self.last
        if lengths and (last is None or known.number > last.number):
            last = LastStages(known.number, lengths)
        return Stages(self.awaited, dict(sorted(durations.items())), last).refused(known.number)

    def with_buckets(self, bounds: tuple[int, ...]) -> "Stages":
        """Move durations to other buckets; counts and sums stay exact."""
        if all(histogram.bounds == bounds for histogram in self.durations.values()):
            return self
        durations = {name: histogram.with_buckets(bounds) for name, histogram in self.durations.items()}
        return replace(self, durations=durations)


NO_STAGES: Final = Stages()
