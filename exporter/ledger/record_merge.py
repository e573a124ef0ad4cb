"""Records of one build from history and record-info, merged into one consistent statement."""

from dataclasses import dataclass
from typing import Final, TypeVar

from exporter.model import DAY_MS, LONGEST_MS, Build, BuildDetail, Result, State, Trigger

AHEAD_MS: Final = DAY_MS
"""A finish so long after the latest poll is taken as unknown."""

Label = TypeVar("Label", Result, Trigger)


@dataclass(frozen=True, slots=True)
class FinishedBuild:
    """A finished build without implausible values.

    Attributes:
        dated_ms: its finish, or if that is unknown, the latest known time before it.
        faults: reasons for values that were left out.
    """

    number: int
    result: Result
    finish_ms: int | None
    dated_ms: int | None
    duration_ms: int | None
    queue_ms: int | None
    trigger: Trigger
    branch: str
    faults: tuple[str, ...]


def join(first: Build, second: Build) -> Build:
    """Merge two records of a build, in either order: a result beats a state, running beats queued."""
    result = _preferred(first.result, second.result, Result.UNKNOWN)
    states = {first.state, second.state}
    state = next((state for state in (State.RUNNING, State.QUEUED) if state in states), None)
    return Build(
        number=first.number,
        result=result,
        state=None if result else state,
        start_ms=min((ms for ms in (first.start_ms, second.start_ms) if ms is not None), default=None),
        finish_ms=max((ms for ms in (first.finish_ms, second.finish_ms) if ms is not None), default=None),
        branch=max(first.branch, second.branch),
        trigger=_preferred(first.trigger, second.trigger, Trigger.UNKNOWN) or Trigger.UNKNOWN,
    )


def finished_build(build: Build, detail: BuildDetail | None, polled_ms: int) -> FinishedBuild:
    """Merge the history record of a finished build with its detail, whose values take precedence."""
    detail = detail or BuildDetail(build.number)
    start_ms = build.start_ms if detail.start_ms is None else detail.start_ms
    finish_ms = build.finish_ms if detail.finish_ms is None else detail.finish_ms
    duration_ms, queue_ms, faults = detail.duration_ms, None, []
    if detail.start_ms is not None and detail.queued_ms is not None:
        queue_ms = detail.start_ms - detail.queued_ms
    if start_ms is None and duration_ms == 0:
        duration_ms = None
    if start_ms is not None and finish_ms is not None:
        if start_ms > finish_ms:
            queue_ms = None
        if duration_ms is None:
            duration_ms = finish_ms - start_ms
    if finish_ms is not None and finish_ms > polled_ms + AHEAD_MS:
        faults.append("absurd_finish")
        finish_ms = None
    return FinishedBuild(
        number=build.number,
        result=detail.result or build.result or Result.UNKNOWN,
        finish_ms=finish_ms,
        dated_ms=next((ms for ms in (finish_ms, start_ms, detail.queued_ms) if ms is not None), None),
        duration_ms=_plausible(duration_ms, "duration", faults),
        queue_ms=_plausible(queue_ms, "queue_duration", faults),
        trigger=_preferred(build.trigger, detail.trigger, Trigger.UNKNOWN) or Trigger.UNKNOWN,
        branch=max(build.branch, detail.branch),
        faults=tuple(faults),
    )


def counts_alike(first: BuildDetail, second: BuildDetail, *, stages: bool) -> bool:
    """Return whether two details of a build lead to the same counts, sums and labels, to the millisecond.

    With ``stages``, they must also lead to the same request for its stages.
    """
    build, polled_ms = Build(first.number), first.finish_ms or 0
    is_same = finished_build(build, first, polled_ms) == finished_build(build, second, polled_ms)
    return is_same and (first.record_id == second.record_id or not stages)


def contradicts(build: Build, detail: BuildDetail) -> bool:
    """Return whether a history record and a detail differ, apart from fractions of seconds."""
    pairs = ((build.start_ms, detail.start_ms), (build.finish_ms, detail.finish_ms))
    is_other_time = any(
        first is not None and second is not None and first // 1000 != second // 1000
        for first, second in pairs
    )
    return is_other_time or build.result not in (None, Result.UNKNOWN, detail.result)


def _plausible(length_ms: int | None, name: str, faults: list[str]) -> int | None:
    if length_ms is None or 0 <= length_ms <= LONGEST_MS:
        return length_ms
    faults.append(f"negative_{name}" if length_ms < 0 else f"absurd_{name}")
    return None


def _preferred(first: Label | None, second: Label | None, least: Label) -> Label | None:
    """Return one of two labels regardless of their order: a known one, ``least``, or None."""
    labels = {label for label in (first, second) if label is not None}
    return min(labels - {least}, default=least if labels else None)
