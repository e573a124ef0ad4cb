"""Versioned JSON rows of ledgers, readable by every later version of the exporter; pure.

::

    {"version":4,"ledger":{"since_ms":1700000000000,"runs":[{"first":0,"last":532, …}], …}}

A change of `JobLedger` that old rows do not fit increments `ROW_VERSION` and adds a step to `_UPGRADES`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from exporter.ledger.build_labels import OTHER, BuildLabels
from exporter.ledger.histogram import Histogram, NativeBuckets
from exporter.ledger.job_ledger import RECENT_KEPT, JobLedger
from exporter.ledger.stages import AWAITED_KEPT, STAGE_NAMES_KEPT
from exporter.model import Result

ROW_VERSION: Final = 4


def _with_tallies(row: dict[str, Any]) -> dict[str, Any]:
    """Upgrade version 1, which kept builds and durations by result in separate objects."""
    ledger = {**row["ledger"]}
    counts, durations = ledger.pop("counts", {}), ledger.pop("durations", {})
    tallies = [
        {"labels": [result], "builds": counts.get(result, 0), "durations": durations.get(result)}
        for result in sorted(counts.keys() | durations.keys())
    ]
    return {"version": 2, "ledger": {**ledger, "tallies": tallies}}


def _without_stages(row: dict[str, Any]) -> dict[str, Any]:
    """Upgrade version 2, which had no stages."""
    return {"version": 3, "ledger": row["ledger"]}


def _with_native_buckets(row: dict[str, Any]) -> dict[str, Any]:
    """Upgrade version 3, whose histograms had no native buckets: those of their classic ones are spread."""

    def spread(histogram: dict[str, Any] | None) -> dict[str, Any] | None:
        return histogram and {
            **histogram,
            "native": NativeBuckets.spread(histogram["bounds"], histogram["counts"]),
        }

    ledger = {**row["ledger"]}
    ledger |= {name: spread(ledger.get(name)) for name in ("queue", "recovery")}
    ledger["tallies"] = [
        tally | {"durations": spread(tally.get("durations"))} for tally in ledger.get("tallies", ())
    ]
    stages = ledger.get("stages", {})
    durations = {name: spread(histogram) for name, histogram in stages.get("durations", {}).items()}
    return {"version": 4, "ledger": ledger | {"stages": stages | {"durations": durations}}}


_UPGRADES: Final[Mapping[int, Callable[[dict[str, Any]], dict[str, Any]]]] = {
    1: _with_tallies,
    2: _without_stages,
    3: _with_native_buckets,
}
"""Steps from a version to the next one: whole rows, as parsed JSON."""


@dataclass(frozen=True, slots=True)
class _Versioned:
    """The part that rows of all versions have."""

    version: int


@dataclass(frozen=True, slots=True)
class _Row(_Versioned):
    """A row of the current version."""

    ledger: JobLedger


_LARGEST_SUM: Final = 1 << 63

_ANY_VERSION: Final = TypeAdapter(_Versioned)

_CURRENT: Final = TypeAdapter(_Row)

_RAW: Final = TypeAdapter(dict[str, Any])


def encode(ledger: JobLedger) -> str:
    """Serialise a ledger as a row."""
    return _CURRENT.dump_json(_Row(ROW_VERSION, ledger), exclude_defaults=True).decode()


def decode(row: str | bytes) -> JobLedger:
    """Parse a row.

    Raises:
        ValueError: it is not a ledger, contradicts itself, or has a newer version.
    """
    try:
        parsed = _CURRENT.validate_json(row)
    except ValidationError:
        parsed = None
    if parsed is None or parsed.version != ROW_VERSION:
        parsed = _parse_other_version(row)
    _check(parsed.ledger)
    return parsed.ledger


def _parse_other_version(row: str | bytes) -> _Row:
    """Parse a row that does not have the current form, or raise the reason."""
    try:
        version = _ANY_VERSION.validate_json(row).version
        if version > ROW_VERSION:
            raise ValueError(
                f"written by a newer exporter (row version {version}, this one reads up to {ROW_VERSION})"
            )
        return _CURRENT.validate_json(row) if version == ROW_VERSION else _upgraded(version, row)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise ValueError(f"{where}: {first['msg']}" if where else first["msg"]) from None


def _upgraded(version: int, row: str | bytes) -> _Row:
    body = _RAW.validate_json(row)
    while version < ROW_VERSION:
        if version not in _UPGRADES:
            raise ValueError(f"there never was a row version {version}")
        try:
            body = _UPGRADES[version](body)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
            raise ValueError(f"not what row version {version} looked like") from None
        version += 1
    return _CURRENT.validate_python(body)


def _require(condition: bool, otherwise: str) -> None:
    if not condition:
        raise ValueError(otherwise)


def _check(ledger: JobLedger) -> None:
    """Refuse a ledger that no fold can have produced."""
    labels = [tally.labels for tally in ledger.tallies]
    _require(labels == sorted(set(labels)), "builds are not tallied once for each set of labels")
    durations = {tally.labels: tally.durations for tally in ledger.tallies if tally.durations}
    _require(
        {BuildLabels(Result.SUCCESS), BuildLabels(Result.FAILURE)} <= durations.keys(),
        "the durations of successes or failures are missing",
    )
    histograms = (ledger.queue, ledger.recovery, *durations.values())
    _require(all(map(_is_sound, histograms)), "a histogram contradicts itself")
    counters = (*(tally.builds for tally in ledger.tallies), ledger.lost_builds, ledger.recovered_builds)
    _require(min(counters) >= 0, "a counter below zero")
    last = -1
    for run in ledger.runs:
        _require(last < run.first <= run.last, "runs overlap")
        last = run.last
    _require(bool(ledger.runs) and ledger.runs[0].first == 0, "the first run does not begin at 0")
    numbers = [build.build.number for build in ledger.open.values()]
    _require(numbers == list(ledger.open), "an open build under another number")
    _require(ledger.baseline is None or ledger.baseline <= ledger.highest, "a baseline above all builds")
    recent = [build.number for build in ledger.recent]
    _require(
        len(recent) <= RECENT_KEPT and recent == sorted(set(recent)),
        "recent builds are too many or not ascending",
    )
    _require(
        not recent or (ledger.last is not None and recent[-1] <= ledger.last.number),
        "a recent build after the last one",
    )
    _check_stages(ledger)


def _check_stages(ledger: JobLedger) -> None:
    stages, bounds = ledger.stages, ledger.no_durations.bounds
    names, histograms = list(stages.durations), stages.durations.values()
    _require(
        names == sorted(names) and len({*names} - {OTHER}) <= STAGE_NAMES_KEPT,
        "stages are too many or not ascending",
    )
    _require(
        all(_is_sound(histogram) and histogram.bounds == bounds for histogram in histograms),
        "a histogram of a stage contradicts itself or the others",
    )
    lengths = stages.last.lengths if stages.last else {}
    _require(
        lengths.keys() <= stages.durations.keys() and min(lengths.values(), default=0) >= 0,
        "the last stages are not among the stages, or below zero",
    )
    _require(
        len(stages.awaited) <= AWAITED_KEPT and not stages.awaited.keys() & ledger.open.keys(),
        "too many builds wait for their stages, or they are not settled",
    )


def _is_sound(histogram: Histogram) -> bool:
    buckets = [histogram.bucket_of(exemplar.value_ms) for exemplar in histogram.exemplars]
    return (
        len(histogram.counts) == len(histogram.bounds) + 1
        and _are_ascending(histogram.bounds)
        and min(histogram.counts) >= 0
        and 0 <= histogram.sum_ms < _LARGEST_SUM
        and buckets == sorted(set(buckets))
        and all(histogram.counts[bucket] for bucket in buckets)
        and _is_sound_native(histogram.native)
        and histogram.native.count == histogram.count
    )


def _is_sound_native(native: NativeBuckets) -> bool:
    return (
        len(native.counts) == len(native.indices)
        and native.indices == tuple(sorted(set(native.indices)))
        and min(native.counts, default=1) > 0
        and native.zeros >= 0
    )


@lru_cache(maxsize=64)
def _are_ascending(bounds: tuple[int, ...]) -> bool:
    return all(low < high for low, high in pairwise(bounds))
