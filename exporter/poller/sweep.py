"""One sweep of the job lists: what is asked, and what is made of refusals."""

from collections.abc import Callable, Collection, Mapping
from typing import Final, Protocol

from exporter.errors import ApiError, NotPublishedError, NotVisibleError, RejectedError
from exporter.model import ListedJob
from exporter.poller.lists import ALL, PAGE
from exporter.poller.swept import Swept
from exporter.poller.work import Work
from exporter.watchlist import Listing

LEAST_WORTH: Final = 1000
"""A list of all jobs is read to its end if it has no more than these, or twice as many as are watched, or if
that takes no more requests than the lists of the watched projects would."""


class Lists(Protocol):
    """The questions a sweep asks; `exporter.api.client.ApiClient` answers them."""

    def job_list(
        self, project_id: str, *, most: int | None, expected: int
    ) -> tuple[Mapping[str, ListedJob], int, bool]:
        """The jobs of a project, or with ``""`` of all; how many there are; whether these are all."""

    def project_names(self) -> Mapping[str, str]:
        """Names of projects by id."""


def sweep(service: Lists, work: Work, watched: int, began_ms: Callable[[], int]) -> Swept:
    """Read job lists, and the names of projects that are not known yet.

    Where the list of all jobs is refused or too long to be read, the watched projects' own lists are read at
    once, since nothing else tells of their jobs.

    Args:
        service: is asked.
        work: which lists and names are wanted.
        watched: how many jobs are watched; tells how long a list is worth reading.
        began_ms: when this began, by the service's clock, which the answers tell.

    Raises:
        ApiError: a list could not be had, other than by refusal.
    """
    own_pages = sum(max(1, -(-expected // PAGE)) for expected in work.own_lists.values())
    most = max(LEAST_WORTH, 2 * watched, PAGE * own_pages)
    listings, refused, too_large = _read(service, work.lists, most)
    if ALL in refused or ALL in too_large:
        own, own_refused, _ = _read(service, work.own_lists, most)
        listings += own
        refused |= own_refused
    names = _names(service, work.unnamed)
    refusal = next(iter(refused.values()), None)
    return Swept(tuple(listings), tuple(refused), too_large, names, began_ms(), refusal)


def _read(
    service: Lists, wanted: Mapping[str, int], most: int
) -> tuple[list[Listing], dict[str, ApiError], dict[str, int]]:
    """What those lists show, why others are refused, and how long that of all jobs is if ``most`` is less."""
    listings: list[Listing] = []
    refused: dict[str, ApiError] = {}
    too_large: dict[str, int] = {}
    for project_id, expected in wanted.items():
        try:
            jobs, size, is_whole = service.job_list(
                project_id, most=None if project_id else most, expected=expected
            )
        except (NotVisibleError, RejectedError, NotPublishedError) as error:
            refused[project_id] = error
            continue
        listings.append(Listing(project_id, jobs, is_whole))
        if not is_whole:
            too_large[project_id] = size
    return listings, refused, too_large


def _names(service: Lists, unnamed: Collection[str]) -> Mapping[str, str]:
    if not unnamed:
        return {}
    try:
        return service.project_names()
    except ApiError:
        return {}
