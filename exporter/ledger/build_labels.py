"""The labels under which finished builds are counted, and the rules that choose them; pure."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple

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
