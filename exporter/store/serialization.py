"""A ledger as a row: versioned JSON, readable by every later version of the exporter; pure.

::

    {"version":3,"ledger":{"since_ms":1700000000000,"runs":[{"first":0,"last":532, …}], …}}

A change of `JobLedger` that old rows do not fit raises `VERSION` and adds a step to `_UPGRADES`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from exporter.ledger import (
    AWAITED_KEPT,
    OTHER,
    RECENT_KEPT,
    STAGE_NAMES_KEPT,
    BuildLabels,
    Histogram,
    JobLedger,
)
from exporter.model import Result

VERSION: Final = 3


def _tallied(row: dict[str, Any]) -> dict[str, Any]:
    """Version 1 kept builds and durations by result alone, in objects of their own."""
    ledger = {**row["ledger"]}
    counts, durations = ledger.pop("counts", {}), ledger.pop("durations", {})
    tallies = [
        {"labels": [result], "builds": counts.get(result, 0), "durations": durations.get(result)}
        for result in sorted(counts.keys() | durations.keys())
    ]
    return {"version": 2, "ledger": {**ledger, "tallies": tallies}}


def _without_stages(row: dict[str, Any]) -> dict[str, Any]:
    """Version 2 knew no stages."""
    return {"version": 3, "ledger": row["ledger"]}


_UPGRADES: Final[Mapping[int, Callable[[dict[str, Any]], dict[str, Any]]]] = {
    1: _tallied,
    2: _without_stages,
}
"""From a version to the one after it: a whole row, as JSON reads it, to a whole row."""


@dataclass(frozen=True, slots=True)
class _Versioned:
    """What a row of any version has."""

    version: int


@dataclass(frozen=True, slots=True)
class _Row(_Versioned):
    """A row of today's version."""

    ledger: JobLedger


_LARGEST_SUM: Final = 1 << 63
"""Three hundred million years of building."""

_ANY_VERSION: Final = TypeAdapter(_Versioned)

_TODAY: Final = TypeAdapter(_Row)

_RAW: Final = TypeAdapter(dict[str, Any])


def encode(ledger: JobLedger) -> str:
    """The row of a ledger."""
    return _TODAY.dump_json(_Row(VERSION, ledger), exclude_defaults=True).decode()


def decode(row: str | bytes) -> JobLedger:
    """The ledger of a row.

    Raises:
        ValueError: it is no ledger, one that contradicts itself, or one of a newer version.
    """
    try:
        known = _TODAY.validate_json(row)
    except ValidationError:
        known = None
    if known is None or known.version != VERSION:
        known = _of_another_version(row)
    _check(known.ledger)
    return known.ledger


def _of_another_version(row: str | bytes) -> _Row:
    """A row that is not as today's are, and if it cannot be read, the reason."""
    try:
        version = _ANY_VERSION.validate_json(row).version
        if version > VERSION:
            raise ValueError(
                f"written by a newer exporter (row version {version}, this one reads up to {VERSION})"
            )
        return _TODAY.validate_json(row) if version == VERSION else _upgraded(version, row)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise ValueError(f"{where}: {first['msg']}" if where else first["msg"]) from None


def _upgraded(version: int, row: str | bytes) -> _Row:
    body = _RAW.validate_json(row)
    while version < VERSION:
        if version not in _UPGRADES:
            raise ValueError(f"there never was a row version {version}")
        try:
            body = _UPGRADES[version](body)
        except (AttributeError, KeyError, TypeError):
            raise ValueError(f"not what row version {version} looked like") from None
        version += 1
    return _TODAY.validate_python(body)


def _check(ledger: JobLedger) -> None:
    """Refuse what no fold can have written."""
    labels = [tally.labels for tally in ledger.tallies]
    if labels != sorted(set(labels)):
        raise ValueError("builds are not tallied once for each set of labels")
    durations = {tally.labels: tally.durations for tally in ledger.tallies if tally.durations}
    if not {BuildLabels(Result.SUCCESS), BuildLabels(Result.FAILURE)} <= durations.keys():
        raise ValueError("the durations of successes or failures are missing")
    if not all(_is_sound(histogram) for histogram in (ledger.queue, ledger.recovery, *durations.values())):
        raise ValueError("a histogram contradicts itself")
    counters = (tally.builds for tally in ledger.tallies)
    if min((0, *counters, ledger.lost_builds, ledger.recovered_builds)) < 0:
        raise ValueError("a counter below zero")
    reach = -1
    for run in ledger.runs:
        if run.first <= reach or run.last < run.first:
            raise ValueError("runs overlap")
        reach = run.last
    if not ledger.runs or ledger.runs[0].first != 0:
        raise ValueError("the first run does not begin at 0")
    if any(number != one.build.number for number, one in ledger.open.items()):
        raise ValueError("an open build under another number")
    if ledger.baseline is not None and ledger.baseline > ledger.highest:
        raise ValueError("a baseline above all builds")
    _check_recent(ledger)
    _check_stages(ledger)


def _check_recent(ledger: JobLedger) -> None:
    numbers = [build.number for build in ledger.recent]
    if len(numbers) > RECENT_KEPT or numbers != sorted(set(numbers)):
        raise ValueError("recent builds are too many or not ascending")
    if numbers and (ledger.last is None or ledger.last.number < numbers[-1]):
        raise ValueError("a recent build after the last one")


def _check_stages(ledger: JobLedger) -> None:
    stages, bounds = ledger.stages, ledger.no_durations.bounds
    names = list(stages.durations)
    if names != sorted(names) or len({*names} - {OTHER}) > STAGE_NAMES_KEPT:
        raise ValueError("stages are too many or not ascending")
    if not all(_is_sound(one) and one.bounds == bounds for one in stages.durations.values()):
        raise ValueError("a histogram of a stage contradicts itself or the others")
    shown = stages.last.lengths if stages.last else {}
    if not shown.keys() <= stages.durations.keys() or min(shown.values(), default=0) < 0:
        raise ValueError("the last stages are not among the stages, or below zero")
    if len(stages.awaited) > AWAITED_KEPT or stages.awaited.keys() & ledger.open.keys():
        raise ValueError("too many builds wait for their stages, or they are not settled")


def _is_sound(histogram: Histogram) -> bool:
    complete = len(histogram.counts) == len(histogram.bounds) + 1
    taken = [histogram.bucket_of(exemplar.value_ms) for exemplar in histogram.exemplars]
    return (
        complete
        and _ascend(histogram.bounds)
        and min(histogram.counts) >= 0
        and 0 <= histogram.sum_ms < _LARGEST_SUM
        and taken == sorted(set(taken))
        and all(histogram.counts[at] for at in taken)
    )


@lru_cache(maxsize=64)
def _ascend(bounds: tuple[int, ...]) -> bool:
    return all(low < high for low, high in pairwise(bounds))
