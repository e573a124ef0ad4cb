"""Queries as a panel holds them."""

import re
from typing import Any, Final

DATASOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}

_WITH_EXEMPLARS: Final = re.compile(
    r"codearts_build_(builds_total|(duration|queue_duration|recovery_duration)_seconds_bucket)\b"
)


def has_exemplars(expr: str) -> bool:
    """Whether builds are behind the values, and are those of the time that is shown."""
    return bool(_WITH_EXEMPLARS.search(expr)) and " offset " not in expr


def over_time(expr: str, legend: str) -> dict[str, Any]:
    """A query over the range of the dashboard, with exemplars where there are any."""
    exemplars = {"exemplar": True} if has_exemplars(expr) else {}
    return _target(expr, legend, instant=False) | exemplars


def rows(expr: str, legend: str) -> dict[str, Any]:
    """A query for a heat map with one row for each series; an exemplar has no place in those rows."""
    return _target(expr, legend, instant=False)


def buckets(expr: str) -> dict[str, Any]:
    """A query for a heat map, one series for each ``le``."""
    return over_time(expr, "{{le}}") | {"format": "heatmap"}


def now(expr: str, legend: str = "") -> dict[str, Any]:
    """A query at the end of the range."""
    return _target(expr, legend, instant=True)


def column(expr: str) -> dict[str, Any]:
    """A query at the end of the range, as one column of a table."""
    return now(expr) | {"format": "table"}


def _target(expr: str, legend: str, *, instant: bool) -> dict[str, Any]:
    return {
        "datasource": DATASOURCE,
        "editorMode": "code",
        "expr": expr,
        "format": "time_series",
        "instant": instant,
        "legendFormat": legend,
        "range": not instant,
    }
