"""Everything a ledger waits for: unsettled builds, missing numbers, and unexpected numbers."""

from dataclasses import dataclass, replace
from typing import Final

from exporter.model import HOUR_MS, Build, State

PAGED_FOR_MS: Final = HOUR_MS
"""History is read back this long for unsettled builds; after that, record-info is used."""

REST_SHARE: Final = 12
LONGEST_REST_MS: Final = 6 * HOUR_MS
"""Record-info is requested again after a twelfth of a build's age, and after six hours at most."""

AGREEING: Final = 3
"""Polls that have to show unexpected numbers before record-info is asked to confirm them."""


def clamped(ms: int | None, at_ms: int) -> int | None:
    """Clamp a time, if there is one, to ``at_ms``."""
    return None if ms is None else min(ms, at_ms)


@dataclass(frozen=True, slots=True)
class OpenBuild:
    """A build that is not settled: unfinished, or finished and waiting for its detail.

    Attributes:
        build: merged records of history and record-info.
        first_seen_ms: when a poll first saw it; replaces an unknown start.
        counts: False for a build that had ended at the first poll and is not known to have ended after the
            job was first watched; it counts if its detail says so and history has no earlier finish.
            None if not even that is known: it counts if it is above the baseline or finished after counting
            began, or without a baseline, unless it finished before.
        recovered: it was found after a gap.
        tries: requests for its detail without success.
        unseen_since_ms: since when history does not show it any more; None while it does.
        asked_ms: when record-info was last requested while it was unfinished.
        only_listed: only a job list has shown it, unfinished.
    """

    build: Build
    first_seen_ms: int
    counts: bool | None = True
    recovered: bool = False
    tries: int = 0
    unseen_since_ms: int | None = None
    asked_ms: int | None = None
    only_listed: bool = False

    @property
    def is_active(self) -> bool:
        """It is queued or running, as far as known."""
        return self.build.result is None and self.build.state is not None

    @property
    def is_weak(self) -> bool:
        """Only its number is known, or only from a job list, so it may not exist."""
        is_bare = self.build.state is State.QUEUED and self.build.start_ms is None
        return self.is_active and (is_bare or self.only_listed)

    @property
    def has_ended(self) -> bool:
        """History has a result, or at least a finish without a state."""
        return self.build.result is not None or (
            self.build.state is None and self.build.finish_ms is not None
        )

    @property
    def began_ms(self) -> int:
        """Its start, or when it was first seen."""
        return self.first_seen_ms if self.build.start_ms is None else self.build.start_ms

    @property
    def known_since_ms(self) -> int:
        """Its start or when it was first seen, whichever was earlier; lists may give any start."""
        return self.first_seen_ms if self.only_listed else min(self.began_ms, self.first_seen_ms)

    @property
    def proven(self) -> "OpenBuild":
        """The build without what only a job list has shown of it."""
        return replace(self, build=Build(self.build.number), only_listed=False) if self.only_listed else self

    def clamped(self, at_ms: int) -> "OpenBuild":
        """Clamp the times of polls to ``at_ms``."""
        return replace(
            self,
            first_seen_ms=min(self.first_seen_ms, at_ms),
            unseen_since_ms=clamped(self.unseen_since_ms, at_ms),
            asked_ms=clamped(self.asked_ms, at_ms),
        )

    @property
    def rests_until_ms(self) -> int:
        """Earliest time of the next request to record-info."""
        age_ms = (self.asked_ms or 0) - self.known_since_ms
        if self.asked_ms is None or age_ms <= PAGED_FOR_MS:
            return 0
        return self.asked_ms + min(age_ms // REST_SHARE, LONGEST_REST_MS)


@dataclass(frozen=True, slots=True)
class Gap:
    """Missing numbers ``first`` to ``last``, waited for since ``since_ms``; other fields as in `OpenBuild`.

    Record-info has denied each of them ``tries`` times; adjoining gaps may differ in that.
    """

    first: int
    last: int
    since_ms: int
    counts: bool | None = True
    tries: int = 0

    @property
    def size(self) -> int:
        """Number of missing builds."""
        return self.last - self.first + 1

    def probes(self, limit: int) -> range:
        """Return the numbers to request next: the highest, since the oldest builds are deleted first."""
        return range(max(self.first, self.last - limit + 1), self.last + 1)


@dataclass(frozen=True, slots=True)
class OtherNumbers:
    """Numbers in history that do not continue the known ones.

    Attributes:
        polls: consecutive polls that have shown them.
        seen_ms: time of the last of these.
    """

    first: int
    last: int
    seen_ms: int
    polls: int = 1

    @property
    def to_confirm(self) -> int | None:
        """The number that record-info should confirm, once enough polls agree."""
        return self.last if self.polls >= AGREEING else None
