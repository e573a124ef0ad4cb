"""One sweep of the job lists: what is asked, and what is made of refusals."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from exporter.errors import ApiError, NotVisibleError, RejectedError
from exporter.model import Build, ListedJob
from exporter.watchlist import Listing

LEAST_WORTH: Final = 1000
"""A list of all jobs is read to its end if it has no more than these, or twice as many as are watched."""


@dataclass(frozen=True, slots=True)
class Swept:
    """What a sweep of the job lists brought.

    Attributes:
        listings: those that could be read.
        refused: ids of projects whose list is not to be had.
        too_large: sizes of lists that were not read to their end.
        project_names: names by id, where they were asked for.
        read_ms: when the sweep began, by the service's clock.
    """

    listings: tuple[Listing, ...]
    refused: tuple[str, ...]
    too_large: Mapping[str, int]
    project_names: Mapping[str, str]
    read_ms: int

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


class Lists(Protocol):
    """The questions a sweep asks; `exporter.api.client.ApiClient` answers them."""

    def job_list(
        self, project_id: str, *, most: int | None, expected: int
    ) -> tuple[Mapping[str, ListedJob], int, bool]:
        """The jobs of a project, or with ``""`` of all; how many there are; whether these are all."""

    def project_names(self) -> Mapping[str, str]:
        """Names of projects by id."""


def sweep(
    service: Lists, wanted: Mapping[str, int], unnamed: Collection[str], watched: int, now_ms: int
) -> Swept:
    """Read job lists, and the names of projects that are not known yet.

    Args:
        service: is asked.
        wanted: ids of projects, ``""`` for the list of all jobs, and how long their lists were before.
        unnamed: ids of projects whose names are wanted.
        watched: how many jobs are watched; tells how long a list is worth reading.
        now_ms: by the service's clock.

    Raises:
        ApiError: a list could not be had, other than by refusal.
    """
    listings: list[Listing] = []
    refused: list[str] = []
    too_large: dict[str, int] = {}
    for project_id, expected in wanted.items():
        most = None if project_id else max(LEAST_WORTH, 2 * watched)
        try:
            jobs, size, is_whole = service.job_list(project_id, most=most, expected=expected)
        except (NotVisibleError, RejectedError):
            refused.append(project_id)
            continue
        listings.append(Listing(project_id, jobs, is_whole))
        if not is_whole:
            too_large[project_id] = size
    return Swept(tuple(listings), tuple(refused), too_large, _names(service, unnamed), now_ms)


def _names(service: Lists, unnamed: Collection[str]) -> Mapping[str, str]:
    if not unnamed:
        return {}
    try:
        return service.project_names()
    except ApiError:
        return {}
