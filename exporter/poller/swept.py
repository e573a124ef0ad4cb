"""What a sweep of the job lists brought, and what it means; no I/O, no clock."""

from collections.abc import Mapping
from dataclasses import dataclass

from exporter.errors import ApiError
from exporter.model import Build
from exporter.watchlist import Listing


@dataclass(frozen=True, slots=True)
class Swept:
    """What a sweep of the job lists brought.

    Attributes:
        listings: those that could be read.
        refused: ids of projects whose list is not to be had.
        refusal: why one of them is not; None where none was refused.
        too_large: sizes of lists that were not read to their end.
        project_names: names by id, where they were asked for.
        read_ms: when the sweep began, by the service's clock.
    """

    listings: tuple[Listing, ...]
    refused: tuple[str, ...]
    too_large: Mapping[str, int]
    project_names: Mapping[str, str]
    read_ms: int
    refusal: ApiError | None = None

    @property
    def was_refused(self) -> bool:
        """The API refused whatever was asked."""
        return bool(self.refused) and not self.listings and not self.project_names

    @property
    def was_answered(self) -> bool:
        """The API answered something; a sweep that had no list to read asks nothing."""
        return bool(self.listings or self.refused or self.project_names)


@dataclass(frozen=True, slots=True)
class News:
    """What a sweep means for the ledgers.

    Attributes:
        never_built: watched, without a ledger, and certain to have no builds: they need no poll.
        running: builds that the lists show to be under way, by job.
    """

    never_built: frozenset[str]
    running: Mapping[str, Build]
