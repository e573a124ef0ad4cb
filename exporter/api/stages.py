"""Stages of one build: JSON → `Stage`; pure, and tolerant by record as `payload` is.

Documented is an object of stages by name. A list of them is taken too, and null where there are none.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from exporter.api.enums import outcome
from exporter.api.parsers import integer, length_ms, mapping, moment_ms, text
from exporter.errors import PayloadError
from exporter.model import LONGEST_MS, Result, Stage

LONGEST_NAME: Final = 100
"""Characters of a stage's name; what is longer is cut off."""


def build_stages(answer: object) -> tuple[tuple[Stage, ...], tuple[str, ...]]:
    """Read an answer of full-stages: the stages that ran, in order, and words for what could not be read.

    A stage that is not over is left out, and so is one that never ran: behind the stage at which a build
    ended, the service shows stages without a duration, under the build's own status.

    Raises:
        PayloadError: the answer holds no stages of a build.
    """
    result = mapping(mapping(answer, "not_an_object").get("result"), "no_result")
    faults: list[str] = []
    records: list[tuple[float, str, Mapping[str, object]]] = []
    for key, value in _entries(result.get("build_stages")):
        try:
            record = mapping(value, "record_not_an_object")
        except PayloadError as error:
            faults.append(error.reason)
            continue
        sequence = integer(record.get("sequence"))
        records.append((float("inf") if sequence is None else sequence, key, record))
    records.sort(key=lambda one: one[:2])
    stages: list[Stage] = []
    uses: dict[str, int] = {}
    for _, key, record in records:
        name = _free_name(_name(record, key), uses)
        duration_ms = _duration(record, faults)
        if duration_ms is not None:
            stages.append(Stage(name, duration_ms))
    return tuple(stages), tuple(faults)


def _entries(told: object) -> Iterator[tuple[str, object]]:
    if isinstance(told, dict):
        yield from told.items()
    elif isinstance(told, list):
        yield from ((f"stage{at:03}", value) for at, value in enumerate(told))
    elif told is not None:
        raise PayloadError("not_a_list", f"stages were expected, not {type(told).__name__}")


def _name(record: Mapping[str, object], key: str) -> str:
    """What people call the stage."""
    told = (text(record.get("display_name")), text(record.get("execution_stage_name")), text(key))
    return next((" ".join(one.split()) for one in told if one.strip()), "unknown")[:LONGEST_NAME]


def _free_name(name: str, uses: dict[str, int]) -> str:
    """The name itself, or where it is taken, the first of ``Shell (2)``, ``Shell (3)`` that is free.

    Args:
        name: what is wanted.
        uses: the names that are taken, each with the highest number it was given; the free one is added.
    """
    free, nth = name, uses.get(name, 0)
    while free in uses:
        nth += 1
        free = f"{name} ({nth})"
    uses[free] = 1
    uses[name] = max(nth, 1)
    return free


def _duration(record: Mapping[str, object], faults: list[str]) -> int | None:
    """How long the stage took, waiting included; None where it did not run, has not ended, or is absurd."""
    result, state = outcome(record.get("status"), faults)
    length = _told_length(record, faults)
    if state is not None or length is None:
        return None
    if length == 0 and result is not Result.SUCCESS:
        return None
    if 0 <= length <= LONGEST_MS:
        return length
    faults.append("negative_duration" if length < 0 else "absurd_duration")
    return None


def _told_length(record: Mapping[str, object], faults: list[str]) -> int | None:
    whole = length_ms(record.get("duration"), faults)
    if whole is not None:
        return whole
    built = length_ms(record.get("build_duration"), faults)
    if built is not None:
        return built + (length_ms(record.get("pending_duration"), faults) or 0)
    start_ms = moment_ms(record.get("start_time"), faults)
    finish_ms = moment_ms(record.get("finish_time"), faults)
    return None if start_ms is None or finish_ms is None else finish_ms - start_ms
