"""What a ledger waits for: builds that are not settled, missing numbers, and strange ones."""

from dataclasses import dataclass
from typing import Final

from exporter.model import HOUR_MS, Build, State

PAGED_FOR_MS: Final = HOUR_MS
"""No further pages of history are read for what has been unsettled for longer; record-info tells of it."""

REST_SHARE: Final = 12
LONGEST_REST_MS: Final = 6 * HOUR_MS
"""Record-info is asked again about such a build after a twelfth of its age, and after six hours at most."""

AGREEING: Final = 3
"""Strange numbers are believed when so many polls show them and record-info confirms them."""


@dataclass(frozen=True, slots=True)
class OpenBuild:
    """A build that is not settled: unfinished, or finished and waiting for its detail.

    Attributes:
        build: all that history and detail said of it so far.
        first_seen_ms: when a poll first saw it; stands in for a start the service does not tell.
        counts: False for a build that had ended at the first poll and is not known to have ended after the
            job was first watched; it counts if its detail says so and history does not tell an earlier end.
            None where not even that is known: it counts if it is above the baseline or finished after
            counting began, and where there is no baseline, unless it finished before.
        recovered: it was found after a gap.
        tries: requests for its detail that brought nothing.
        unseen_since_ms: since when history shows it no more; None while it does.
        asked_ms: when record-info was last asked for it while it was unfinished.
    """

    build: Build
    first_seen_ms: int
    counts: bool | None = True
    recovered: bool = False
    tries: int = 0
    unseen_since_ms: int | None = None
    asked_ms: int | None = None

    @property
    def is_active(self) -> bool:
        """It is queued or running, as far as anyone told."""
        return self.build.result is None and self.build.state is not None

    @property
    def is_weak(self) -> bool:
        """Little more than its number is known: it may never have been."""
        return self.is_active and self.build.state is State.QUEUED and self.build.start_ms is None

    @property
    def has_ended(self) -> bool:
        """History tells that it is over, by a result or at least by an end."""
        return self.build.result is not None or (
            self.build.state is None and self.build.finish_ms is not None
        )

    @property
    def began_ms(self) -> int:
        """Its start, or else the first sight of it."""
        return self.first_seen_ms if self.build.start_ms is None else self.build.start_ms

    @property
    def known_since_ms(self) -> int:
        """Its start or the first sight of it, whichever was first."""
        return min(self.began_ms, self.first_seen_ms)

    @property
    def rests_until_ms(self) -> int:
        """When record-info may be asked for it again."""
        age_ms = (self.asked_ms or 0) - self.known_since_ms
        if self.asked_ms is None or age_ms <= PAGED_FOR_MS:
            return 0
        return self.asked_ms + min(age_ms // REST_SHARE, LONGEST_REST_MS)


@dataclass(frozen=True, slots=True)
class Gap:
    """Missing numbers ``first`` to ``last``, waited for since ``since_ms``; the rest as in `OpenBuild`.

    All of them were denied by record-info equally often, ``tries`` times. Neighbours may differ in that.
    """

    first: int
    last: int
    since_ms: int
    counts: bool | None = True
    tries: int = 0

    @property
    def size(self) -> int:
        """How many numbers are missing."""
        return self.last - self.first + 1

    def probes(self, most: int) -> range:
        """The numbers to ask record-info for next: the highest, since the oldest are deleted first."""
        return range(max(self.first, self.last - most + 1), self.last + 1)


@dataclass(frozen=True, slots=True)
class OtherNumbers:
    """Numbers that history shows and that do not go on from those that are known.

    Attributes:
        polls: so many polls in a row have shown them.
        seen_ms: when the last of these was.
    """

    first: int
    last: int
    seen_ms: int
    polls: int = 1

    @property
    def asked(self) -> int | None:
        """The one that record-info is to confirm, once enough polls agree."""
        return self.last if self.polls >= AGREEING else None
