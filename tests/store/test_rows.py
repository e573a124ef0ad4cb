"""Rows: what was encoded is decoded, whatever it was; what is no row is refused with a ValueError."""

import contextlib
import json
import string
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.ledger import JobLedger
from exporter.store import rows
from exporter.store.rows import decode, encode
from tests.store.ledgers import counted, ledgers


@given(ledgers())
@settings(max_examples=300, deadline=None)
def test_a_ledger_comes_back_as_it_was(ledger: JobLedger) -> None:
    row = encode(ledger)
    assert decode(row) == decode(row.encode()) == ledger
    assert encode(decode(row)) == row


def with_changes(**changes: Any) -> str:
    """The row of a sound ledger, some of its fields replaced."""
    row = json.loads(encode(counted(2)))
    row["ledger"] |= changes
    return json.dumps(row)


HISTOGRAM = {"bounds": [1, 2], "counts": [0, 0, 0]}


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ("", "EOF while parsing"),
        ("not JSON", "expected"),
        (b"\xff\xfe", "expected"),
        ("[" * 100_000, "recursion limit"),
        ("[]", "object"),
        ("{}", "version: Field required"),
        ('{"version": "one"}', "version: Input should be a valid integer"),
        ('{"version": 2, "ledger": {"all": "new"}}', "written by a newer exporter (row version 2"),
        ('{"version": 0, "ledger": {}}', "there never was a row version 0"),
        ('{"version": -7}', "there never was a row version -7"),
        ('{"version": 1}', "ledger: Field required"),
        ('{"version": 1, "ledger": {}}', "ledger.since_ms: Field required"),
        (with_changes(counts={"success": -1}), "a counter below zero"),
        (with_changes(counts={"good": 1}), "ledger.counts.good"),
        (with_changes(lost_builds=-1), "a counter below zero"),
        (with_changes(queue={"bounds": [2, 1], "counts": [0, 0, 0]}), "a histogram contradicts itself"),
        (with_changes(queue={"bounds": [1, 2], "counts": [0, 0]}), "a histogram contradicts itself"),
        (with_changes(durations={"success": HISTOGRAM}), "a histogram contradicts itself"),
        (with_changes(runs=[]), "the first run does not begin at 0"),
        (with_changes(runs=[{"first": 3, "last": 4}]), "the first run does not begin at 0"),
        (with_changes(runs=[{"first": 0, "last": 4}, {"first": 4, "last": 5}]), "runs overlap"),
        (with_changes(open={"5": {"build": {"number": 6}, "first_seen_ms": 1}}), "an open build under"),
    ],
)
def test_what_is_no_row_is_refused(row: str | bytes, told: str) -> None:
    with pytest.raises(ValueError, match=r".") as refused:
        decode(row)
    assert told in str(refused.value)


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_no_damage_raises_anything_but_a_value_error(data: st.DataObject) -> None:
    row = encode(counted(3))
    start = data.draw(st.integers(0, len(row)))
    end = data.draw(st.integers(start, len(row)))
    patch = data.draw(st.text(string.printable, max_size=8))
    with contextlib.suppress(ValueError):
        decode(row[:start] + patch + row[end:])


def test_an_older_row_is_brought_up_to_date(monkeypatch: pytest.MonkeyPatch) -> None:
    def named_differently_once(row: dict[str, Any]) -> dict[str, Any]:
        ledger = row["ledger"]
        return {"version": 1, "ledger": {**ledger, "since_ms": ledger.pop("began_ms")}}

    monkeypatch.setattr(rows, "_UPGRADES", {0: named_differently_once})
    row = json.loads(encode(counted(2)))
    row["ledger"]["began_ms"] = row["ledger"].pop("since_ms")
    assert decode(json.dumps(row | {"version": 0})) == counted(2)
