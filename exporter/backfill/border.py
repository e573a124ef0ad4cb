"""Where the past of a job ends: by a moment, or by the number from which an exporter counts; pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from exporter.backfill.wanted import Known
from exporter.model import DAY_MS, Job


class Border(NamedTuple):
    """The last builds of a past.

    Attributes:
        end_ms: what finished later is not of it, in milliseconds since the epoch by the service's clock.
        baseline: nor is what has a higher number; None where the moment alone tells.
    """

    end_ms: int
    baseline: int | None

    def includes(self, number: int, dated_ms: int) -> bool:
        """Whether a build is of the past."""
        return dated_ms <= self.end_ms and (self.baseline is None or number <= self.baseline)


@dataclass(frozen=True, slots=True)
class PastJob:
    """A job, and up to when its builds are brought back.

    Attributes:
        end_ms: when its last sample lies, in milliseconds since the epoch.
        baseline: the highest number that had finished when an exporter began to count, which was then.
    """

    job: Job
    end_ms: int
    baseline: int | None = None

    def border(self, known: Sequence[Known]) -> Border:
        """What is of its past: by numbers where they are told, as clocks may differ.

        The build of the baseline had finished when the exporter looked, so what finished before it had too.
        """
        finish_ms = next((one.dated_ms for one in known if one.number == self.baseline), None)
        if finish_ms is None or finish_ms - self.end_ms > DAY_MS:
            return Border(self.end_ms, self.baseline)
        return Border(max(self.end_ms, finish_ms), self.baseline)
