"""Queries in the form that panels contain."""

import re
from typing import Any, Final

DATASOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}

_WITH_EXEMPLARS: Final = re.compile(
    r"codearts_build_(builds_total|(duration|queue_duration|recovery_duration)_seconds_bucket)\b"
)


def has_exemplars(expr: str) -> bool:
    """Return whether a query has exemplars: builds at the time shown, not with an offset."""
    return bool(_WITH_EXEMPLARS.search(expr)) and " offset " not in expr


def over_time(expr: str, legend: str) -> dict[str, Any]:
    """Build a query over the time range of the dashboard, with exemplars if the metric has them."""
    exemplars = {"exemplar": True} if has_exemplars(expr) else {}
    return _target(expr, legend, instant=False) | exemplars


def rows(expr: str, legend: str) -> dict[str, Any]:
    """Build a query for a heat map with a row for each series, which cannot show exemplars."""
    return _target(expr, legend, instant=False)


def buckets(expr: str) -> dict[str, Any]:
    """Build a query for a heat map of buckets, one series for each ``le``."""
    return over_time(expr, "{{le}}") | {"format": "heatmap"}


def now(expr: str, legend: str = "") -> dict[str, Any]:
    """Build a query at the end of the time range."""
    return _target(expr, legend, instant=True)


def column(expr: str) -> dict[str, Any]:
    """Build a query at the end of the time range, as one column of a table."""
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
