"""Stages of one build: JSON → `Stage`; pure, and tolerant by record as `parsers` is.

Documented is an object of stages by name. A list of them is accepted too, and null if there are none.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from exporter.api.enum_words import result_or_state
from exporter.api.parsers import integer, mapping, optional_duration_ms, optional_time_ms, result_of, text
from exporter.errors import PayloadError
from exporter.model import LONGEST_MS, Result, Stage

MAX_NAME: Final = 100
"""Characters of a stage's name; longer ones are truncated."""


def build_stages(body: object) -> tuple[tuple[Stage, ...], tuple[str, ...]]:
    """Parse a response of full-stages: the stages that ran, in order, and the faults.

    An unfinished stage is left out, and so is one that never ran: after the stage at which a build ended, the
    service lists stages without a duration, under the build's own status.
    """
    faults: list[str] = []
    records: list[tuple[float, str, Mapping[str, object]]] = []
    for key, value in _entries(result_of(body).get("build_stages")):
        try:
            record = mapping(value, "record_not_an_object")
        except PayloadError as error:
            faults.append(error.reason)
            continue
        sequence = integer(record.get("sequence"))
        records.append((float("inf") if sequence is None else sequence, key, record))
    stages: list[Stage] = []
    taken: dict[str, int] = {}  # the highest number that each name was given
    for _, key, record in sorted(records, key=lambda entry: entry[:2]):
        name = _unique_name(_name(record, key), taken)
        duration_ms = _duration_ms(record, faults)
        if duration_ms is not None:
            stages.append(Stage(name, duration_ms))
    return tuple(stages), tuple(faults)


def _entries(stages: object) -> Iterator[tuple[str, object]]:
    if isinstance(stages, dict):
        yield from stages.items()
    elif isinstance(stages, list):
        yield from ((f"stage{index:03}", value) for index, value in enumerate(stages))
    elif stages is not None:
        raise PayloadError("not_a_list", f"stages were expected, not {type(stages).__name__}")


def _name(record: Mapping[str, object], key: str) -> str:
    names = (record.get("display_name"), record.get("execution_stage_name"), key)
    return next((name for name in (" ".join(text(name).split()) for name in names) if name), "unknown")[
        :MAX_NAME
    ]


def _unique_name(name: str, taken: dict[str, int]) -> str:
    """Return the name, or the first of ``Shell (2)``, ``Shell (3)`` that is free, and add it to ``taken``."""
    unique, number = name, taken.get(name, 0)
    while unique in taken:
        number += 1
        unique = f"{name} ({number})"
    taken[unique] = 1
    taken[name] = max(number, 1)
    return unique


def _duration_ms(record: Mapping[str, object], faults: list[str]) -> int | None:
    """Return the duration, waiting included; None if it is absurd, or the stage unfinished or never run."""
    result, state = result_or_state(record.get("status"), faults)
    duration_ms = _reported_duration_ms(record, faults)
    if state is not None or duration_ms is None:
        return None
    if duration_ms == 0 and result is not Result.SUCCESS:
        return None
    if 0 <= duration_ms <= LONGEST_MS:
        return duration_ms
    faults.append("negative_duration" if duration_ms < 0 else "absurd_duration")
    return None


def _reported_duration_ms(record: Mapping[str, object], faults: list[str]) -> int | None:
    total_ms = optional_duration_ms(record.get("duration"), faults)
    if total_ms is not None:
        return total_ms
    build_ms = optional_duration_ms(record.get("build_duration"), faults)
    if build_ms is not None:
        return build_ms + (optional_duration_ms(record.get("pending_duration"), faults) or 0)
    start_ms = optional_time_ms(record.get("start_time"), faults)
    finish_ms = optional_time_ms(record.get("finish_time"), faults)
    return None if start_ms is None or finish_ms is None else finish_ms - start_ms
