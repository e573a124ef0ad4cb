"""Faults of listings and of records that several tests share."""

from typing import Final

from exporter.simulator import Fault, fault

UNUSUAL_PAGES: Final = (
    fault("shifting-pages"),
    fault("record-offset"),
    fault("order", by="ascending"),
    fault("wrong-total", value=-1),
    fault("wrong-total", value="string"),
    fault("wrong-total", value=0),
    fault("wrong-total", value=99_999),
    fault("garbage-records"),
    fault("numbers-as-strings"),
    fault("json-string"),
)
"""Pages of history or records that lose no build."""

DIFFERENCES: Final = (
    fault("disagreement", operation="records", field="duration", seconds=0.001),
    fault("disagreement", operation="records", field="queue", seconds=0.001),
    fault("disagreement", operation="records", field="result"),
    fault("whole-seconds", operation="records"),
)
"""Differences of records from record-info, each for every build."""


def name_of(given: Fault) -> str:
    """Name a fault in the id of a test."""
    return f"{given.kind} {given.options}"
