"""A listing ends after the service's last record, whatever its pages and total report."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.api.pagination import MAX_PAGES, MAX_UNREADABLE_PAGES, Pages
from exporter.api.parsers import Page

SIZE = 10

Ask = Callable[[int, int], Page[int]]
"""Returns the page at an offset; the second argument is the number of the request."""


def page(records: range | list[int], *, total: int | None = None, unreadable: int = 0) -> Page[int]:
    faults = ("bad_build_number",) * unreadable
    return Page(tuple(records), len(records) + unreadable, total, faults)


def read(ask: Ask) -> tuple[set[int], int]:
    """Return all records of a service, and the number of requests."""
    pages: Pages[int] = Pages(SIZE, key=lambda record: record)
    while pages.more:
        pages.add(ask(pages.offset, pages.index))
    return set(pages.records), pages.index


def by_page(count: int, total: int | None) -> Ask:
    return lambda offset, _: page(range(count)[offset * SIZE :][:SIZE], total=total)


@pytest.mark.parametrize(
    ("count", "requests"), [(0, 1), (1, 1), (SIZE - 1, 1), (SIZE, 1), (SIZE + 1, 2), (3 * SIZE, 3)]
)
def test_a_service_with_a_true_total_is_read_in_as_few_requests_as_there_are_pages(
    count: int, requests: int
) -> None:
    expected = requests if count < SIZE else requests + (count % SIZE == 0)
    assert read(by_page(count, total=count)) == (set(range(count)), expected)


@pytest.mark.parametrize("total", [None, -1, 0, 1, 14, 16, 10**9])
@pytest.mark.parametrize("count", [0, 1, SIZE, SIZE + 5, 4 * SIZE])
def test_a_wrong_total_costs_no_record_and_at_most_one_request(count: int, total: int | None) -> None:
    records, requests = read(by_page(count, total))
    assert records == set(range(count))
    assert requests <= count // SIZE + 2


@pytest.mark.parametrize("count", [SIZE, SIZE + 1, 4 * SIZE, 4 * SIZE + 3])
@pytest.mark.parametrize("total", [None, -1, 10**9])
def test_a_service_whose_offset_counts_records_is_read_in_one_request_more(
    count: int, total: int | None
) -> None:
    records, requests = read(lambda offset, _: page(range(count)[offset:][:SIZE], total=total))
    assert records == set(range(count))
    assert requests <= count // SIZE + 3


def test_unreadable_records_do_not_make_a_record_offset_skip_any() -> None:
    def ask(offset: int, _: int) -> Page[int]:
        kept = [record for record in range(50)[offset:][:SIZE] if record not in (2, 3, 14)]
        return page(kept, total=50, unreadable=len(range(50)[offset:][:SIZE]) - len(kept))

    assert read(ask)[0] == set(range(50)) - {2, 3, 14}


@pytest.mark.parametrize("by_records", [True, False])
def test_a_service_that_cuts_pages_shorter_is_read_as_far_as_its_total(by_records: bool) -> None:
    def ask(offset: int, _: int) -> Page[int]:
        first = offset if by_records else offset * 40
        return page(range(400)[first : first + 40], total=400)

    pages: Pages[int] = Pages(100, key=lambda record: record)
    while pages.more:
        pages.add(ask(pages.offset, pages.index))
    assert set(pages.records) == set(range(400))
    assert pages.index <= 12


@pytest.mark.parametrize("arrivals", [1, 4])
def test_pages_that_shift_while_builds_arrive_bring_every_build_that_was_there(arrivals: int) -> None:
    def ask(offset: int, request: int) -> Page[int]:
        newest_first = range(34 + request * arrivals, -1, -1)
        return page(newest_first[offset * SIZE :][:SIZE], total=len(newest_first))

    records, _ = read(ask)
    assert set(range(35)) <= records


def test_a_service_that_ignores_the_offset_is_asked_twice() -> None:
    assert read(lambda offset, request: page(range(SIZE), total=500)) == (set(range(SIZE)), 2)


def test_an_unreadable_page_is_passed_over() -> None:
    def ask(offset: int, _: int) -> Page[int]:
        if offset == 1:
            return page([], total=30, unreadable=SIZE)
        return page(range(30)[offset * SIZE :][:SIZE], total=30)

    assert read(ask)[0] == {*range(10), *range(20, 30)}


def test_paging_ends_after_several_unreadable_pages() -> None:
    assert read(lambda offset, request: page([], unreadable=SIZE)) == (set(), MAX_UNREADABLE_PAGES + 1)


def test_an_endless_listing_is_read_up_to_the_page_limit() -> None:
    def ask(offset: int, _: int) -> Page[int]:
        return page(range(offset * SIZE, (offset + 1) * SIZE))

    assert read(ask) == (set(range(MAX_PAGES * SIZE)), MAX_PAGES)


def test_a_listing_cut_at_the_page_limit_is_marked_as_cut() -> None:
    pages: Pages[int] = Pages(1, key=lambda record: record)
    for index in range(MAX_PAGES):
        assert (pages.more, pages.is_cut) == (True, False)
        pages.add(page([index]))
    assert (pages.more, pages.is_cut) == (False, True)


def test_a_record_that_comes_twice_is_kept_twice() -> None:
    pages: Pages[int] = Pages(2, key=lambda record: record)
    pages.add(page([1, 2], total=3))
    pages.add(page([2, 3], total=3))
    assert pages.records == [1, 2, 2, 3]


@given(
    count=st.integers(0, 60),
    total=st.none() | st.integers(-5, 100),
    shifts=st.lists(st.integers(0, 3), max_size=10),
    unreadable=st.sets(st.integers(0, 59)),
)
def test_every_record_of_any_service_that_counts_pages_is_read(
    count: int, total: int | None, shifts: list[int], unreadable: set[int]
) -> None:
    def ask(offset: int, request: int) -> Page[int]:
        newest_first = range(count - 1 + sum(shifts[:request]), -1, -1)[offset * SIZE :][:SIZE]
        kept = [record for record in newest_first if record not in unreadable]
        return page(kept, total=total, unreadable=len(newest_first) - len(kept))

    records, requests = read(ask)
    blind = len(unreadable) >= SIZE  # so many can make pages that look like nothing new
    assert blind or set(range(count)) - unreadable <= records
    assert requests <= (count + sum(shifts)) // SIZE + 2
