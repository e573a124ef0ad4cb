"""Finished builds counted under their labels."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from exporter.ledger.histogram import Exemplar, Histogram
from exporter.model import Result, Trigger

OTHER: Final = "other"
"""Stands for all values of a label that are not told apart."""


class BuildLabels(NamedTuple):
    """What tells counted builds apart; empty where it was not asked for when they were counted."""

    result: Result
    trigger: str = ""
    branch: str = ""

    def exposed(self, *, trigger: bool, branch: bool) -> "BuildLabels":
        """As they are shown where a trigger, or a branch, is asked for.

        What was counted before a label was asked for shows as ``unknown`` trigger and ``other`` branch.
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
        builds: how many.
        durations: of those whose duration is known; None where none was ever.
        latest: the one that finished last.
    """

    labels: BuildLabels
    builds: int = 0
    durations: Histogram | None = None
    latest: Exemplar | None = None

    def plus(self, other: "Tally") -> "Tally":
        """Both under the labels of this one."""
        durations = self.durations or other.durations
        if self.durations and other.durations:
            durations = self.durations.plus(other.durations)
        latest = max((one for one in (self.latest, other.latest) if one), default=None)
        return Tally(self.labels, self.builds + other.builds, durations, latest)

    def emptied(self) -> "Tally":
        """The same before its first build."""
        return Tally(self.labels, durations=self.durations and self.durations.emptied())

    def with_buckets(self, bounds: tuple[int, ...]) -> "Tally":
        """The same under other buckets."""
        return replace(self, durations=self.durations and self.durations.with_buckets(bounds))


@dataclass(frozen=True, slots=True)
class LabelPolicy:
    """How closely finished builds are looked at beside their result.

    Attributes:
        trigger: by what started them.
        branch: gives the label's value for a branch; None where branches are not told apart.
        has_room: whether branches may come that the job did not have before. Without room they are counted
            under ``other``, which every job has.
        stages: whether their stages are measured too.
        always: the branches, beside ``other``, that every job has from the start.
    """

    trigger: bool = False
    branch: Callable[[str], str] | None = None
    has_room: bool = True
    stages: bool = False
    always: frozenset[str] = frozenset()

    def labels(self, result: Result, trigger: Trigger, branch: str) -> BuildLabels:
        """What a build is counted under, if there is room."""
        return BuildLabels(
            result, trigger.value if self.trigger else "", self.branch(branch) if self.branch else ""
        )

    def overflow_labels(self, labels: BuildLabels) -> BuildLabels:
        """What it is counted under where there is no room for its branch."""
        return labels._replace(branch=OTHER if self.branch else "")


BY_RESULT: Final = LabelPolicy()
"""Finished builds are told apart by their result alone."""
