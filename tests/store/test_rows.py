"""Rows: any ledger survives encoding and decoding; anything else is refused with a ValueError."""

import contextlib
import json
import string
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.ledger.histogram import Histogram, NativeBuckets
from exporter.ledger.job_ledger import JobLedger
from exporter.model import JobNames
from exporter.store import serialization
from exporter.store.serialization import decode, encode
from tests.ledger.examples import durations_by_result
from tests.store.ledgers import START_MS, counted, ledgers


@given(ledgers())
def test_a_decoded_ledger_equals_the_encoded_one(ledger: JobLedger) -> None:
    row = encode(ledger)
    assert decode(row) == decode(row.encode()) == ledger
    assert encode(decode(row)) == row


def with_changes(**changes: Any) -> str:
    """The row of a valid ledger with some fields replaced."""
    row = json.loads(encode(counted(2)))
    row["ledger"] |= changes
    return json.dumps(row)


def with_tallies(*tallies: dict[str, Any]) -> str:
    """The row of a valid ledger with these tallies beside that of its failures."""
    return with_changes(tallies=[{"labels": ["failure"], "durations": HISTOGRAM}, *tallies])


def with_stages(**stages: Any) -> str:
    """The row of a valid ledger with these stages."""
    return with_changes(stages=stages)


def with_spread_buckets(ledger: JobLedger) -> JobLedger:
    """The ledger as a row without native buckets is read."""

    def spread(histogram: Histogram) -> Histogram:
        return replace(histogram, native=NativeBuckets.spread(histogram.bounds, histogram.counts))

    tallies = [replace(t, durations=t.durations and spread(t.durations)) for t in ledger.tallies]
    return replace(
        ledger, queue=spread(ledger.queue), recovery=spread(ledger.recovery), tallies=tuple(tallies)
    )


STAGE = {"bounds": [10_000, 60_000, 600_000], "counts": [0, 0, 0, 0]}
HISTOGRAM = {"bounds": [1, 2], "counts": [0, 0, 0]}
SUCCESSES = {"labels": ["success"], "durations": HISTOGRAM}


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("", "EOF while parsing"),
        ("not JSON", "expected"),
        (b"\xff\xfe", "expected"),
        ("[" * 100_000, "recursion limit"),
        ("[]", "object"),
        ("{}", "version: Field required"),
        ('{"version": "one"}', "version: Input should be a valid integer"),
        ('{"version": 5, "ledger": {"all": "new"}}', "written by a newer exporter (row version 5"),
        ('{"version": 0, "ledger": {}}', "there never was a row version 0"),
        ('{"version": -7}', "there never was a row version -7"),
        ('{"version": 1}', "not what row version 1 looked like"),
        ('{"version": 1, "ledger": []}', "not what row version 1 looked like"),
        ('{"version": 1, "ledger": {"counts": 7}}', "not what row version 1 looked like"),
        ('{"version": 1, "ledger": {"counts": {"good": 1}}}', "ledger.since_ms: Field required"),
        ('{"version": 2}', "not what row version 2 looked like"),
        ('{"version": 2, "ledger": {}}', "ledger.since_ms: Field required"),
        ('{"version": 3}', "not what row version 3 looked like"),
        (
            '{"version": 3, "ledger": {"queue": {"bounds": [], "counts": [1]}}}',
            "not what row version 3 looked",
        ),
        (
            '{"version": 3, "ledger": {"queue": {"bounds": [1], "counts": [1, "2"]}}}',
            "not what row version 3",
        ),
        (
            '{"version": 3, "ledger": {"queue": {"bounds": ["1e999"], "counts": [1]}}}',
            "not what row version 3",
        ),
        ('{"version": 4}', "ledger: Field required"),
        ('{"version": 3, "ledger": {}}', "ledger.since_ms: Field required"),
        (with_tallies(SUCCESSES | {"builds": -1}), "a counter below zero"),
        (with_tallies({"labels": ["good"], "builds": 1}), "ledger.tallies.1.labels.0"),
        (with_tallies(SUCCESSES, SUCCESSES), "builds are not tallied once for each set of labels"),
        (with_tallies(SUCCESSES | {"durations": None}), "the durations of successes or failures are missing"),
        (with_tallies(SUCCESSES | {"durations": HISTOGRAM | {"bounds": [1]}}), "a histogram contradicts"),
        (
            with_tallies(SUCCESSES | {"durations": HISTOGRAM | {"exemplars": [[1, 1, 1]]}}),
            "a histogram contr",
        ),
        (with_changes(lost_builds=-1), "a counter below zero"),
        (with_changes(queue={"bounds": [2, 1], "counts": [0, 0, 0]}), "a histogram contradicts itself"),
        (with_changes(queue={"bounds": [1, 2], "counts": [0, 0]}), "a histogram contradicts itself"),
        (with_changes(runs=[]), "the first run does not begin at 0"),
        (with_changes(runs=[{"first": 3, "last": 4}]), "the first run does not begin at 0"),
        (with_changes(runs=[{"first": 0, "last": 4}, {"first": 4, "last": 5}]), "runs overlap"),
        (with_changes(open={"5": {"build": {"number": 6}, "first_seen_ms": 1}}), "an open build under"),
        (with_changes(baseline=5), "a baseline above all builds"),
        (with_changes(recent=[[2, "success", 1, 1], [1, "success", 1, 1]]), "not ascending"),
        (with_changes(recent=[[n, "success", 1, 1] for n in range(1, 22)]), "too many"),
        (with_changes(recent=[[3, "success", 1, 1]]), "a recent build after the last one"),
        (with_changes(recent=[[1, "good", 1, 1]]), "ledger.recent.0.1"),
        (with_stages(durations={"b": STAGE, "a": STAGE}), "stages are too many or not ascending"),
        (with_stages(durations={f"{n:02}": STAGE for n in range(31)}), "stages are too many"),
        (with_stages(durations={"a": HISTOGRAM}), "a histogram of a stage contradicts itself or the others"),
        (with_stages(durations={"a": STAGE | {"sum_ms": -1}}), "a histogram of a stage contradicts itself"),
        (with_stages(last={"number": 1, "lengths": {"a": 1}}), "not among the stages"),
        (
            with_stages(durations={"a": STAGE}, last={"number": 1, "lengths": {"a": -1}}),
            "the last stages are not among the stages, or below zero",
        ),
        (with_stages(awaited={"first": {"record_id": "r"}}), "ledger.stages.awaited.first"),
        (with_stages(awaited={str(n): {"record_id": "r"} for n in range(501)}), "too many builds wait"),
    ],
)
def test_an_invalid_row_is_refused(row: str | bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=r".") as refused:
        decode(row)
    assert reason in str(refused.value)


@given(st.data())
def test_a_damaged_row_raises_only_value_errors(data: st.DataObject) -> None:
    row = encode(counted(3))
    start = data.draw(st.integers(0, len(row)))
    end = data.draw(st.integers(start, len(row)))
    patch = data.draw(st.text(string.printable, max_size=8))
    with contextlib.suppress(ValueError):
        decode(row[:start] + patch + row[end:])


def test_a_row_without_recent_builds_is_read() -> None:
    row = json.loads(encode(counted(2)))
    assert row["ledger"].pop("recent") == [
        [1, "success", 500, START_MS + 1500],
        [2, "success", 500, START_MS + 2500],
    ]
    assert decode(json.dumps(row)) == replace(counted(2), recent=())


def test_a_row_of_version_2_is_read() -> None:
    row = json.loads(encode(counted(2)))
    assert decode(json.dumps(row | {"version": 2})) == with_spread_buckets(counted(2))


def test_native_buckets_of_version_3_are_those_of_the_classic_ones() -> None:
    row = json.loads(encode(counted(2)))
    for tally in row["ledger"]["tallies"]:
        tally["durations"].pop("native", None)
    row["ledger"]["queue"].pop("native")
    before = decode(json.dumps(row | {"version": 3}))
    assert before == with_spread_buckets(counted(2)) != counted(2)
    assert all(h.native.count == h.count for h in (before.queue, *durations_by_result(before).values()))


def test_a_job_without_stages_has_none_in_its_row() -> None:
    assert "stages" not in encode(counted(2))


def test_a_row_without_the_mark_gone_is_of_an_existing_job() -> None:
    row = json.loads(encode(counted(2).as_removed(JobNames("checkout"))))
    assert row["ledger"].pop("gone") is True
    assert decode(json.dumps(row)) == counted(2).with_names(JobNames("checkout"))
    assert "gone" not in encode(counted(2))


def test_an_older_row_is_upgraded(monkeypatch: pytest.MonkeyPatch) -> None:
    def with_a_former_name(row: dict[str, Any]) -> dict[str, Any]:
        ledger = row["ledger"]
        return {"version": 1, "ledger": {**ledger, "since_ms": ledger.pop("began_ms")}}

    row = json.loads(encode(counted(2)))
    ledger = row["ledger"]
    ledger["counts"] = {"success": 2}
    ledger["durations"] = {one["labels"][0]: one["durations"] for one in ledger.pop("tallies")}
    ledger["began_ms"] = ledger.pop("since_ms")
    monkeypatch.setattr(serialization, "_UPGRADES", {0: with_a_former_name, **serialization._UPGRADES})
    upgraded = decode(json.dumps(row | {"version": 0}))
    assert (upgraded.counts, durations_by_result(upgraded)) == (
        counted(2).counts,
        durations_by_result(with_spread_buckets(counted(2))),
    )
    assert upgraded.since_ms == counted(2).since_ms
