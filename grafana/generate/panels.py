"""The kinds of panels; none needs a plugin."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from grafana.generate.results import result_mapping
from grafana.generate.targets import DATASOURCE, column

Json = dict[str, Any]


def _dashed(pattern: str) -> Json:
    return {
        "matcher": {"id": "byRegexp", "options": pattern},
        "properties": [
            {"id": "custom.lineStyle", "value": {"fill": "dash", "dash": [6, 6]}},
            {"id": "custom.fillOpacity", "value": 0},
        ],
    }


DASHED: Final = _dashed("/week before$/")
"""Override that draws last week's series dashed."""

DASHED_LIMIT: Final = _dashed("/: (allowed|limit)$/")
"""Override that draws limits dashed."""

LATEST: Final = ("lastNotNull", "max")
"""Columns of a legend: for levels, which have a current value."""

TYPICAL: Final = ("mean", "max")
"""Columns of a legend: for rates, durations and counts of single builds."""

_COARSE: Final = 60
"""Maximum points in a graph of single builds; few, so that most intervals contain a build."""

Text = tuple[str, str]
"""A panel's title and description."""

Steps = Sequence[tuple[float | None, str]]
"""Thresholds: lowest value and colour."""


def panel(kind: str, text: Text, width: int, unit: str, targets: Sequence[Json]) -> Json:
    """Build the part that all panels have in common."""
    title, description = text
    return {
        "type": kind,
        "title": title,
        "description": description,
        "datasource": DATASOURCE,
        "gridPos": {"w": width},
        "fieldConfig": {"defaults": {"unit": unit, "custom": {}}, "overrides": []},
        "options": {},
        "targets": [{"refId": chr(ord("A") + n), **target} for n, target in enumerate(targets)],
    }


def graph(
    text: Text,
    width: int,
    unit: str,
    *targets: Json,
    overrides: Sequence[Json] = (),
    coarse: bool = False,
    calcs: Sequence[str] | None = None,
    **custom: Any,
) -> Json:
    """Build lines over time.

    Args:
        text: title and description.
        width: in columns of the grid, which has 24.
        unit: of all lines.
        targets: the queries.
        overrides: options of single lines.
        coarse: whether the graph is of single builds.
        calcs: columns of the legend; the default is `TYPICAL` for a coarse graph, and else `LATEST`.
        custom: options for drawing.
    """
    result = panel("timeseries", text, width, unit, targets)
    result["fieldConfig"]["defaults"] |= {
        "min": 0,
        "color": {"mode": "palette-classic"},
        "custom": {"lineWidth": 1, "fillOpacity": 8, "showPoints": "auto", "spanNulls": False} | custom,
    }
    result["fieldConfig"]["overrides"] = list(overrides)
    result["options"] = {
        "legend": {
            "showLegend": True,
            "displayMode": "table",
            "placement": "bottom",
            "calcs": list(calcs or (TYPICAL if coarse else LATEST)),
        },
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    return result | ({"maxDataPoints": _COARSE} if coarse else {})


def stacked_bars(text: Text, width: int, unit: str, *targets: Json, overrides: Sequence[Json] = ()) -> Json:
    """Build stacked bars over time, for counts of builds."""
    bars: Json = {"drawStyle": "bars", "fillOpacity": 80, "stacking": {"mode": "normal", "group": "A"}}
    return graph(text, width, unit, *targets, overrides=overrides, coarse=True, **bars)


def stat(
    text: Text,
    width: int,
    unit: str,
    target: Json,
    *,
    steps: Steps = ((None, "text"),),
    decimals: int | None = None,
    mappings: Sequence[Json] = (),
) -> Json:
    """Build one large value, or one for each series."""
    result = panel("stat", text, width, unit, [target])
    result["fieldConfig"]["defaults"] |= {"color": {"mode": "thresholds"}, "thresholds": _thresholds(steps)}
    result["fieldConfig"]["defaults"] |= {"mappings": list(mappings)}
    if decimals is not None:
        result["fieldConfig"]["defaults"]["decimals"] = decimals
    result["options"] = _reduced() | {"colorMode": "value", "graphMode": "none", "textMode": "auto"}
    return result


def bars(text: Text, width: int, unit: str, target: Json, *, overrides: Sequence[Json] = ()) -> Json:
    """Build one horizontal bar for each series, with its value."""
    result = panel("bargauge", text, width, unit, [target])
    defaults = {"min": 0, "decimals": 0, "color": {"mode": "fixed", "fixedColor": "blue"}}
    result["fieldConfig"]["defaults"] |= defaults
    result["fieldConfig"]["overrides"] = list(overrides)
    result["options"] = _reduced() | {
        "displayMode": "basic",
        "orientation": "horizontal",
        "showUnfilled": True,
        "valueMode": "text",
    }
    return result


def heat_map(text: Text, width: int, unit: str, target: Json) -> Json:
    """Build a heat map with a row for each bucket or series; a darker colour means more builds."""
    result = panel("heatmap", text, width, unit, [target])
    result["maxDataPoints"] = _COARSE
    result["fieldConfig"]["defaults"]["custom"] = {"scaleDistribution": {"type": "linear"}}
    result["options"] = {
        "calculate": False,
        "cellGap": 1,
        "cellValues": {"unit": "short", "decimals": 1},
        "color": {"mode": "scheme", "scheme": "Blues", "scale": "exponential", "exponent": 0.5, "steps": 64},
        "exemplars": {"color": "rgba(255,0,255,0.7)"},
        "filterValues": {"le": 1e-9},
        "legend": {"show": True},
        "rowsFrame": {"layout": "auto"},
        "tooltip": {"mode": "single", "showColorScale": True, "yHistogram": False},
        "yAxis": {"axisPlacement": "left", "unit": unit},
    }
    return result


def timeline(text: Text, width: int, *targets: Json, mappings: Sequence[Json] = ()) -> Json:
    """Build a row for each series, coloured and labelled by its value."""
    result = panel("state-timeline", text, width, "none", targets)
    result["fieldConfig"]["defaults"] |= {
        "color": {"mode": "thresholds"},
        "custom": {"fillOpacity": 80, "lineWidth": 0},
        "mappings": list(mappings) or result_mapping(),
        "thresholds": _thresholds(((None, "text"),)),
    }
    result["options"] = {
        "alignValue": "left",
        "legend": {"showLegend": True, "displayMode": "list", "placement": "bottom"},
        "mergeValues": True,
        "rowHeight": 0.8,
        "showValue": "auto",
        "tooltip": {"mode": "single", "sort": "none"},
    }
    return result


def table(
    text: Text,
    width: int,
    columns: Mapping[str, tuple[str, str]],
    *,
    first: str | None = None,
    overrides: Sequence[Json] = (),
) -> Json:
    """Build a table with a row for each set of labels.

    Args:
        text: title and description.
        width: in columns of the grid, which has 24.
        columns: header to unit and query; the unit "" hides the value, so that only the labels are shown.
        first: the column by which rows are sorted, largest first.
        overrides: options of single columns, by header.
    """
    units = [unit for unit, _ in columns.values()]
    result = panel("table", text, width, units[0], [column(expr) for _, expr in columns.values()])
    values = [f"Value #{target['refId']}" if len(columns) > 1 else "Value" for target in result["targets"]]
    headers = dict(zip(values, columns, strict=True))
    hidden = [name for name, unit in zip(values, units, strict=True) if not unit]
    result["transformations"] = [
        {"id": "merge", "options": {}},
        {
            "id": "organize",
            "options": {
                "excludeByName": dict.fromkeys(["Time", *hidden], True),
                "renameByName": {name: header for name, header in headers.items() if name not in hidden},
            },
        },
    ]
    result["fieldConfig"]["overrides"] = [
        *(named(header, unit=unit) for header, (unit, _) in columns.items() if unit),
        *overrides,
    ]
    result["fieldConfig"]["defaults"]["custom"] = {"align": "auto", "filterable": True}
    result["options"] = {"showHeader": True, "cellHeight": "sm"}
    if first:
        result["options"]["sortBy"] = [{"displayName": first, "desc": True}]
    return result


def alert_list(text: Text, width: int, name: str) -> Json:
    """Build the list of firing and pending alerts whose names contain a text, firing ones first."""
    result = panel("alertlist", text, width, "none", [])
    result["options"] = {
        "viewMode": "list",
        "groupMode": "default",
        "groupBy": [],
        "maxItems": 50,
        "sortOrder": 3,
        "dashboardAlerts": False,
        "alertName": name,
        "alertInstanceLabelFilter": "",
        "stateFilter": {"firing": True, "pending": True, "noData": False, "normal": False, "error": True},
    }
    return result


def named(column_or_series: str, **properties: Any) -> Json:
    """Build an override for a column or series by name; ``__`` in a property stands for a dot."""
    return {
        "matcher": {"id": "byName", "options": column_or_series},
        "properties": [{"id": name.replace("__", "."), "value": value} for name, value in properties.items()],
    }


def _thresholds(steps: Steps) -> Json:
    return {"mode": "absolute", "steps": [{"value": value, "color": colour} for value, colour in steps]}


def _reduced() -> Json:
    return {"reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False}}
