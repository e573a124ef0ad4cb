"""A past build: its record, completed by its detail; known numbers, and which are missing. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple

from exporter.ledger.job_ledger import LARGEST_STEP
from exporter.ledger.settle_builds import LARGEST_FIRST
from exporter.model import DAY_MS, Build, BuildDetail, Result, Stage


@dataclass(frozen=True, slots=True)
class PastBuild:
    """A build as the API reports it now.

    Attributes:
        build: the history record; only a number if history has none.
        detail: None if there is none; the build is then counted from its history record.
        stages: None if not requested or refused.
    """

    build: Build
    detail: BuildDetail | None = None
    stages: tuple[Stage, ...] | None = None

    @property
    def merged(self) -> Build:
        """The history record, completed by the detail; a finished build always has a result."""
        build, detail = self.build, self.detail or BuildDetail(self.build.number)
        finish_ms = detail.finish_ms if build.finish_ms is None else build.finish_ms
        state = build.state or detail.state
        default = Result.UNKNOWN if finish_ms is not None and state is None else None
        result = build.result or detail.result or default
        start_ms = detail.start_ms if build.start_ms is None else build.start_ms
        return replace(
            build, result=result, state=None if result else state, start_ms=start_ms, finish_ms=finish_ms
        )

    @property
    def dated_ms(self) -> int | None:
        """Finish time, or start time without one; None if the build has not finished or has neither.

        The detail's finish is more exact, and is used if it lies within a day of history's.
        """
        merged = self.merged
        if merged.result is None:
            return None
        exact = self.detail.finish_ms if self.detail else None
        if exact is not None and merged.finish_ms is not None and abs(exact - merged.finish_ms) < DAY_MS:
            return exact
        return merged.start_ms if merged.finish_ms is None else merged.finish_ms


def as_listed(detail: BuildDetail) -> Build:
    """Return the history record of a build: the same, but for times in whole seconds."""
    start_ms, finish_ms = (
        None if time_ms is None else time_ms // 1000 * 1000 for time_ms in (detail.start_ms, detail.finish_ms)
    )
    return Build(
        detail.number, detail.result, detail.state, start_ms, finish_ms, detail.branch, detail.trigger
    )


class KnownBuild(NamedTuple):
    """A build number in the spool: whether history lists it, and whether record-info was fetched."""

    number: int
    dated_ms: int | None
    is_listed: bool
    is_fetched: bool


def plausible(known: Iterable[KnownBuild]) -> list[KnownBuild]:
    """Drop garbage from ascending numbers, by the rules of the ledger."""
    kept: list[KnownBuild] = []
    for build in known:
        if build.number <= (kept[-1].number + LARGEST_STEP if kept else LARGEST_FIRST):
            kept.append(build)
    return kept


def missing_builds(known: Sequence[KnownBuild]) -> list[tuple[int, int]]:
    """Ranges of numbers between known ones."""
    return [
        (low.number + 1, high.number - 1) for low, high in pairwise(known) if low.number + 1 < high.number
    ]
