"""A ledger as a row: versioned JSON, readable by every later version of the exporter; pure.

::

    {"version":1,"ledger":{"since_ms":1700000000000,"runs":[{"first":0,"last":532, …}], …}}

A change of `JobLedger` that old rows do not fit raises `VERSION` and adds a step to `_UPGRADES`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from exporter.ledger import Histogram, JobLedger

VERSION: Final = 1

_UPGRADES: Final[Mapping[int, Callable[[dict[str, Any]], dict[str, Any]]]] = {}
"""From a version to the one after it: a whole row, as JSON reads it, to a whole row."""


@dataclass(frozen=True, slots=True)
class _Versioned:
    """What a row of any version has."""

    version: int


@dataclass(frozen=True, slots=True)
class _Row(_Versioned):
    """A row of today's version."""

    ledger: JobLedger


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
        version = _ANY_VERSION.validate_json(row).version
        if version > VERSION:
            raise ValueError(
                f"written by a newer exporter (row version {version}, this one reads up to {VERSION})"
            )
        ledger = (_TODAY.validate_json(row) if version == VERSION else _upgraded(version, row)).ledger
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise ValueError(f"{where}: {first['msg']}" if where else first["msg"]) from None
    _check(ledger)
    return ledger


def _upgraded(version: int, row: str | bytes) -> _Row:
    body = _RAW.validate_json(row)
    while version < VERSION:
        if version not in _UPGRADES:
            raise ValueError(f"there never was a row version {version}")
        body = _UPGRADES[version](body)
        version += 1
    return _TODAY.validate_python(body)


def _check(ledger: JobLedger) -> None:
    """Refuse what no fold can have written."""
    histograms = (ledger.queue, ledger.recovery, *ledger.durations.values())
    if not all(_is_sound(histogram) for histogram in histograms) or len(ledger.durations) < 2:
        raise ValueError("a histogram contradicts itself")
    if min((0, *ledger.counts.values(), ledger.lost_builds, ledger.recovered_builds)) < 0:
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


def _is_sound(histogram: Histogram) -> bool:
    ascending = all(low < high for low, high in zip(histogram.bounds, histogram.bounds[1:], strict=False))
    return ascending and len(histogram.counts) == len(histogram.bounds) + 1 and min(histogram.counts) >= 0
