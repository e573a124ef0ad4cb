"""The stages of a build as they really are: its plan's, one after the other, until the build ends.

That a build which does not succeed ends at one of its stages, and that those behind it are told all the same,
with no duration and the build's own status, is seen in the provider's example; at which one is made up.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from exporter.simulator.builds import Build, Plan, Result

EXPECTED_MS: Final = 600_000
"""How long a build without an end is planned to take."""


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage of a build.

    Attributes:
        key: what the service calls it.
        name: what people call it.
        result: how it ends, or ended.
    """

    key: str
    name: str
    start_ms: int
    finish_ms: int
    result: Result

    @property
    def duration_ms(self) -> int:
        """How long it takes, its wait included."""
        return self.finish_ms - self.start_ms

    @property
    def ran(self) -> bool:
        """Whether it did anything; a build may end before it."""
        return self.result == "success" or self.duration_ms > 0


def stages_of(build: Build, plan: Plan) -> list[Stage]:
    """All stages that are planned; the durations of a finished build's add up to its own."""
    if build.start_ms is None:
        return []
    count = len(plan.stages)
    stops = build.finish_ms is not None and build.result in ("failure", "aborted", "timeout")
    last = build.number % count if stops else count - 1
    end_ms = build.start_ms + EXPECTED_MS if build.finish_ms is None else build.finish_ms
    whole = sum(share for _, share in plan.stages[: last + 1])
    stages: list[Stage] = []
    spent, start_ms = 0, build.start_ms
    for at, (name, share) in enumerate(plan.stages):
        spent = min(whole, spent + share)
        finish_ms = build.start_ms + (end_ms - build.start_ms) * spent // whole
        result = "success" if at < last else build.result
        stages.append(Stage(_key(at, count), name, start_ms, finish_ms, result))
        start_ms = finish_ms
    return stages


def lengths(stages: Iterable[Stage]) -> list[tuple[str, int]]:
    """Names and durations of those that ran; a name that comes again in a build is told with its count."""
    told: list[tuple[str, int]] = []
    seen: Counter[str] = Counter()
    for stage in stages:
        seen[stage.name] += 1
        if stage.ran:
            nth = seen[stage.name]
            told.append((stage.name if nth == 1 else f"{stage.name} ({nth})", stage.duration_ms))
    return told


def _key(at: int, count: int) -> str:
    if at == 0:
        return "initial"
    return "final" if at == count - 1 else f"stage{at}"
