"""When a listing is complete; pure. Pages shift, overlap and lie about their total.

Paging ends at an empty page, at one that brings nothing new, and at a short one, unless the total says
that there is more: a service may cut pages shorter than it was asked to. ``offset`` counts pages, by the
documents; where the second page is mostly a repetition of the first, the service counts records instead, and
so do we from there on.
"""

from collections.abc import Callable
from typing import Final, Generic, TypeVar

from exporter.api.parsers import Page

Record = TypeVar("Record")

MAX_PAGES: Final = 1000
"""A listing ends after so many, however many the service has."""

MAX_BLIND_PAGES: Final = 3
"""So many pages of nothing but unreadable records are passed over."""

_TELLING: Final = 10
"""From so many records on, a repetition is no accident of a page that shifted."""


class Pages(Generic[Record]):
    """The pages of one listing, as they come.

    Args:
        size: records that were asked for on a page.
        key: tells records apart.
        believes_total_from: a total not below this ends the paging exactly there; None believes no total.

    Attributes:
        records: all that came, repetitions included.
        more: whether another page should be asked for.
        index: the number of the next page, from 0.
        is_cut: paging ended at `MAX_PAGES`, though the service had more.
    """

    def __init__(
        self, size: int, key: Callable[[Record], object], *, believes_total_from: int | None = None
    ) -> None:
        self._believes_total_from = believes_total_from
        self._size = size
        self._key = key
        self._known: set[object] = set()
        self._unreadable = 0
        self._blind_pages = 0
        self._reached = 0
        self._counts_records = False
        self.records: list[Record] = []
        self.more = True
        self.is_cut = False
        self.index = 0

    @property
    def offset(self) -> int:
        """What to send as ``offset`` for the next page."""
        return self._reached if self._counts_records else self.index

    def add(self, page: Page[Record]) -> None:
        """Take in a page and decide whether there are more."""
        keys = {self._key(record) for record in page.records}
        repeated = len(keys & self._known)
        if self.index == 1 and repeated * 2 > page.seen >= min(self._size, _TELLING):
            self._counts_records = True
            self._reached = 1
        self._reached += page.seen
        self.records += page.records
        self._known |= keys
        self._unreadable += page.seen - len(page.records)
        self.index += 1
        blind = page.seen > 0 and not page.records
        self._blind_pages += blind
        new = len(keys) > repeated or (blind and self._blind_pages <= MAX_BLIND_PAGES)
        whole = page.seen >= self._size
        told = self._reached if self._counts_records else len(self._known) + self._unreadable
        promised = page.total is not None and page.total > told
        believed = self._believes_total_from is not None and page.total == told >= self._believes_total_from
        more = new and (promised or (whole and not believed))
        self.is_cut = more and self.index >= MAX_PAGES
        self.more = more and not self.is_cut
