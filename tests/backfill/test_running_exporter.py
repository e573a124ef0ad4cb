"""The metrics of running exporters, parsed line by line."""

import tracemalloc
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.backfill.plan import CountedJob, earliest, running_exporter
from exporter.errors import BackfillError
from exporter.model import Job

NAMES = 'project="shop",job_name="one\u2028two"'
HEADS = (
    "# HELP codearts_build_builds Finished builds.",
    "# TYPE codearts_build_builds counter",
    f'codearts_build_builds_total{{{NAMES},result="success"}} 3.0',
)
CREATED = f'codearts_build_builds_created{{{NAMES},result="success"}} 1741600000.5'
BASELINE = (
    "# TYPE codearts_build_baseline_build_number gauge",
    f"codearts_build_baseline_build_number{{{NAMES}}} 7.0",
)
INFO = (
    "# TYPE codearts_build_job_info gauge",
    f'codearts_build_job_info{{{NAMES},job_id="a",project_id="p"}} 1.0',
)
LINES = (*HEADS, CREATED, *BASELINE, *INFO, "# EOF", "")
JOB = Job("a", "one\u2028two", "shop", "p")


def of(*lines: str) -> dict[str, CountedJob]:
    return running_exporter(line.encode() for line in lines)


def test_counted_jobs_are_parsed() -> None:
    assert of(*LINES) == {"a": CountedJob(JOB, 1741600000500, 7)}


@pytest.mark.parametrize("value", ["NaN", "+Inf", "-Inf", "seven", "", "1e400"])
def test_invalid_values_are_errors(value: str) -> None:
    for line in (CREATED, BASELINE[1]):
        changed = [f"{text.rpartition(' ')[0]} {value}" if text == line else text for text in LINES]
        with pytest.raises(BackfillError, match="cannot be read"):
            of(*changed)


def test_a_truncated_exposition_is_an_error() -> None:
    with pytest.raises(BackfillError, match="cannot be read"):
        of(*LINES[:-2])


def test_another_exposition_is_an_error() -> None:
    with pytest.raises(BackfillError, match="does it watch any job"):
        of("# EOF")
    with pytest.raises(BackfillError):
        of("<html>", "</html>")
    with pytest.raises(BackfillError):
        running_exporter([b"codearts_build_job_info{\xff} 1", b"# EOF"])


@given(st.data())
def test_garbage_raises_only_backfill_errors(data: st.DataObject) -> None:
    text = "\n".join(LINES)
    at = data.draw(st.integers(0, len(text) - 1))
    length = data.draw(st.integers(0, 10))
    put = data.draw(st.text('{}",=\\ #\n019eNaN.+-', max_size=5))
    with suppress(BackfillError):
        of(*(text[:at] + put + text[at + length :]).split("\n"))


def test_irrelevant_lines_take_no_memory() -> None:
    others = (
        f'codearts_build_duration_seconds_bucket{{{NAMES},le="{at}"}} 1.0'.encode() for at in range(20_000)
    )
    tracemalloc.start()
    try:
        running_exporter(
            line for part in ((line.encode() for line in LINES[:-2]), others, (b"# EOF",)) for line in part
        )
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_the_exporter_that_counts_longest_wins() -> None:
    late, early = CountedJob(JOB, 2000, 9), CountedJob(JOB, 1000, 5)
    for told in ([{"a": late}, {"a": early}], [{"a": early}, {"a": late}]):
        assert earliest(told) == {"a": early}
    other = CountedJob(Job("b", "x", "y"), 1, None)
    assert earliest([{"a": late}, {"b": other}]) == {"a": late, "b": other}
