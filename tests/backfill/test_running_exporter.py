"""The metrics of running exporters, parsed as they arrive."""

import tracemalloc
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.backfill.running_exporter import CountedJob, earliest, running_exporter
from exporter.errors import BackfillError
from exporter.exposition import Format
from exporter.metrics import FleetView, JobView
from exporter.model import Job
from tests.backfill.conftest import counting
from tests.exposition.views import CHECKOUT, full
from tests.ledger.examples import idle
from tests.support.client_model import MetricFamily, exposition
from tests.support.oracle import rendered

JOB = Job("a", "one\u2028two", "shop", "p")
SINCE_MS = 1741600000500
WHOLE = exposition(*counting(JOB, SINCE_MS, 7))


def chunks(body: bytes, size: int = 10) -> Iterator[bytes]:
    return (body[start : start + size] for start in range(0, len(body), size))


def test_counted_jobs_are_parsed() -> None:
    assert running_exporter([WHOLE]) == {"a": CountedJob(JOB, SINCE_MS, 7)}


@given(st.integers(1, 200))
def test_chunks_may_end_anywhere(size: int) -> None:
    assert running_exporter(chunks(WHOLE, size)) == {"a": CountedJob(JOB, SINCE_MS, 7)}


def test_the_exposition_of_this_exporter_is_parsed() -> None:
    ledger = replace(idle(), baseline=9)
    new = replace(CHECKOUT, id="b" * 32, name="new")
    view = FleetView((JobView(CHECKOUT, ledger, up=True), JobView(new, up=True)))
    expected = {CHECKOUT.id: CountedJob(CHECKOUT, ledger.since_ms, 9)}
    assert running_exporter([rendered(view, Format.PROTOBUF)]) == expected
    assert running_exporter([rendered(full(), Format.PROTOBUF, stages=True)]).keys() == {CHECKOUT.id}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_invalid_values_are_errors(value: float) -> None:
    with pytest.raises(BackfillError, match="cannot be read"):
        running_exporter([exposition(*counting(JOB, SINCE_MS, value))])


@pytest.mark.parametrize("end", [-1, -10, -len(WHOLE) + 1, -len(WHOLE) + 20])
def test_a_truncated_exposition_is_an_error(end: int) -> None:
    with pytest.raises(BackfillError, match="cannot be read: it is incomplete"):
        running_exporter([WHOLE[:end]])


def test_another_exposition_is_an_error() -> None:
    for body in (b"", exposition(MetricFamily(name="up", metric=[{"gauge": {"value": 1}}]))):
        with pytest.raises(BackfillError, match="does it watch any job"):
            running_exporter([body])
    with pytest.raises(BackfillError):
        running_exporter([b"<html>", b"</html>"])
    with pytest.raises(BackfillError):
        running_exporter([WHOLE.replace(b"one", b"\xff\xff\xff")])


def test_a_field_of_unlimited_length_is_an_error() -> None:
    info = MetricFamily(name="codearts_build_job_info", metric=[{"label": [{"name": "x" * 2**20}]}])
    with pytest.raises(BackfillError, match="a field of more than"):
        running_exporter([exposition(info)])


@given(st.data())
def test_garbage_raises_only_backfill_errors(data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(WHOLE) - 1))
    length = data.draw(st.integers(0, 10))
    put = data.draw(st.binary(max_size=5))
    with suppress(BackfillError):
        running_exporter([WHOLE[:at] + put + WHOLE[at + length :]])


def test_irrelevant_families_take_no_memory() -> None:
    others = exposition(MetricFamily(name="other", help="x" * 3_000_000))
    body = WHOLE + others
    tracemalloc.start()
    try:
        assert running_exporter(chunks(body, 1 << 16)).keys() == {"a"}
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_the_exporter_that_counts_longest_wins() -> None:
    late, early = CountedJob(JOB, 2000, 9), CountedJob(JOB, 1000, 5)
    for answers in ([{"a": late}, {"a": early}], [{"a": early}, {"a": late}]):
        assert earliest(answers) == {"a": early}
    other = CountedJob(Job("b", "x", "y"), 1, None)
    assert earliest([{"a": late}, {"b": other}]) == {"a": late, "b": other}
