"""Samples, files and moments."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.backfill.output import file_name
from exporter.backfill.plan import BLOCK_MS, Period, parse_time
from tests.backfill.conftest import DAY_MS, HOUR_MS, NOON_MS

MINUTE_MS = 60_000


def test_samples_lie_on_multiples_of_the_step_and_at_the_end() -> None:
    period = Period(NOON_MS, NOON_MS + 12 * MINUTE_MS, 5 * MINUTE_MS)
    moments = period.sample_times(period.start_ms, period.end_ms + 1, period.end_ms)
    assert [(ms - NOON_MS) / MINUTE_MS for ms in moments] == [0, 5, 10, 12]


def test_a_job_ends_at_the_whole_second_before_its_end() -> None:
    period = Period(NOON_MS, NOON_MS + DAY_MS, HOUR_MS)
    end_ms = NOON_MS + HOUR_MS + 1234
    assert period.sample_times(NOON_MS, NOON_MS + DAY_MS, end_ms)[-1] == NOON_MS + HOUR_MS + 1000


@given(
    start=st.integers(0, 500),
    length=st.integers(1, 5000),
    step=st.sampled_from((1, 5, 7, 15, 60, 180, 1440)),
    series=st.sampled_from((1, 100, 10_000)),
    early_s=st.integers(0, 200_000),
)
def test_files_contain_each_sample_time_once_and_in_order(
    start: int, length: int, step: int, series: int, early_s: int
) -> None:
    step_ms = step * MINUTE_MS
    start_ms = (NOON_MS + start * MINUTE_MS) // step_ms * step_ms
    period = Period(start_ms, start_ms + length * MINUTE_MS, step_ms)
    end_ms = period.end_ms - min(early_s * 1000, length * MINUTE_MS)
    chunks = period.chunks(series)
    assert all(first % BLOCK_MS == 0 and before % BLOCK_MS == 0 for first, before in chunks)
    assert [first for first, _ in chunks[1:]] == [before for _, before in chunks[:-1]]
    parts = [period.sample_times(first, before, end_ms) for first, before in chunks]
    assert tuple(ms for part in parts for ms in part) == period.sample_times(
        start_ms, period.end_ms + 1, end_ms
    )
    assert all(
        first <= ms < before for (first, before), part in zip(chunks, parts, strict=True) for ms in part
    )


def test_files_cover_one_block_or_more_if_there_are_few_series() -> None:
    period = Period(NOON_MS, NOON_MS + 2 * DAY_MS, 5 * MINUTE_MS)
    lengths = {series: period.chunks(series)[0] for series in (100, 500, 100_000)}
    assert {series: (before - first) // HOUR_MS for series, (first, before) in lengths.items()} == {
        100: 24,
        500: 6,
        100_000: 2,
    }


def test_file_names_sort_by_time() -> None:
    assert file_name(NOON_MS) == "2025-03-10T12.om"
    assert file_name(NOON_MS - 4 * HOUR_MS) < file_name(NOON_MS)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("30d", datetime(2025, 2, 8, 12, tzinfo=UTC)),
        ("0", datetime(2025, 3, 10, 12, tzinfo=UTC)),
        ("2025-03-01", datetime(2025, 3, 1, tzinfo=UTC)),
        ("2025-03-01T08:00:00+08:00", datetime(2025, 3, 1, tzinfo=UTC)),
        ("2025-03-01T08:00:00Z", datetime(2025, 3, 1, 8, tzinfo=UTC)),
    ],
)
def test_times_are_parsed(text: str, moment: datetime) -> None:
    assert parse_time(text, NOON_MS) == moment.timestamp() * 1000


@pytest.mark.parametrize(
    "text", ["", "yesterday", "20250301", "2025-13-01", "30", "1700000000", "2025-03-01T08+25:00"]
)
def test_invalid_times_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be a duration such as 30d or a time such as "):
        parse_time(text, NOON_MS)
