"""Finished builds counted by their labels."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from exporter.ledger.histogram import Exemplar, Histogram
from exporter.model import Result, Trigger

OTHER: Final = "other"
"""Stands for all values of a label that are not kept separate."""

COMMON_RESULTS: Final = (Result.SUCCESS, Result.FAILURE)
"""Results that nearly every job has; the others are rare."""


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
        lean: whether results that are not common have series only from their first build on.
    """

    trigger: bool = False
    branch: Callable[[str], str] | None = None
    has_room: bool = True
    stages: bool = False
    always: frozenset[str] = frozenset()
    lean: bool = False

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
