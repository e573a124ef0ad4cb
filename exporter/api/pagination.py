"""Completeness of paged listings; pure. Pages shift, overlap and report wrong totals.

Paging ends at an empty page, at one without new records, and at a short one, unless the total promises more:
a service may send shorter pages than requested. ``offset`` counts pages, according to the documents; if the
second page mostly repeats the first, the service counts records instead, and so does paging from there on.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from exporter.api.parsers import Page

Record = TypeVar("Record")

PAGE_SIZE: Final = 100
"""Records per page; the API allows no more."""

MAX_PAGES: Final = 1000
"""Page limit of a listing, however many pages the service has."""

MAX_UNREADABLE_PAGES: Final = 3
"""Number of pages without a single readable record that are passed over."""

_SIGNIFICANT: Final = 10
"""From this many records on, a repetition is not explained by a page that shifted."""


def pages_of(records: int) -> int:
    """Return the number of pages of a listing, which has at least one."""
    return max(1, -(-records // PAGE_SIZE))


@dataclass
class Pages(Generic[Record]):
    """The pages of one listing read so far.

    Attributes:
        size: requested records per page.
        key: identifies a record.
        trusts_total_from: a total not below this ends the paging exactly there; None trusts no total.
        records: all records so far, repetitions included.
        more: True if another page should be requested.
        index: the number of the next page, from 0.
        is_cut: paging ended at `MAX_PAGES`, though the service had more.
    """

    size: int
    key: Callable[[Record], object]
    trusts_total_from: int | None = None
    records: list[Record] = field(default_factory=list)
    more: bool = True
    index: int = 0
    is_cut: bool = False
    _known: set[object] = field(default_factory=set)
    _unreadable: int = 0
    _unreadable_pages: int = 0
    _record_offset: int = 0
    _counts_records: bool = False

    @property
    def offset(self) -> int:
        """The ``offset`` parameter of the next page."""
        return self._record_offset if self._counts_records else self.index

    def add(self, page: Page[Record]) -> None:
        """Add a page and decide whether there are more."""
        keys = {self.key(record) for record in page.records}
        repeated = len(keys & self._known)
        if self.index == 1 and repeated * 2 > page.size >= min(self.size, _SIGNIFICANT):
            self._counts_records = True
            self._record_offset = 1
        self._record_offset += page.size
        self.records += page.records
        self._known |= keys
        self._unreadable += page.size - len(page.records)
        self.index += 1
        is_unreadable = page.size > 0 and not page.records
        self._unreadable_pages += is_unreadable
        is_new = len(keys) > repeated or (is_unreadable and self._unreadable_pages <= MAX_UNREADABLE_PAGES)
        count = self._record_offset if self._counts_records else len(self._known) + self._unreadable
        is_promised = page.total is not None and page.total > count
        is_total = self.trusts_total_from is not None and page.total == count >= self.trusts_total_from
        more = is_new and (is_promised or (page.size >= self.size and not is_total))
        self.is_cut = more and self.index >= MAX_PAGES
        self.more = more and not self.is_cut
