"""The kinds of panels, all of them Grafana's own."""

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
"""Draws the week before as dashes."""

DASHED_LIMIT: Final = _dashed("/: (allowed|limit)$/")
"""Draws what is allowed as dashes."""

_COARSE: Final = 60
"""Points in a graph of single builds: wide enough windows that most hold one."""

Text = tuple[str, str]
"""A panel's title and description."""

Steps = Sequence[tuple[float | None, str]]
"""Thresholds: from this value on, this colour."""


def panel(kind: str, text: Text, width: int, unit: str, targets: Sequence[Json]) -> Json:
    """What all panels have in common."""
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
    **custom: Any,
) -> Json:
    """Lines over time; ``custom`` changes how they are drawn, ``coarse`` suits graphs of single builds."""
    made = panel("timeseries", text, width, unit, targets)
    made["fieldConfig"]["defaults"] |= {
        "min": 0,
        "color": {"mode": "palette-classic"},
        "custom": {"lineWidth": 1, "fillOpacity": 8, "showPoints": "auto", "spanNulls": False} | custom,
    }
    made["fieldConfig"]["overrides"] = list(overrides)
    made["options"] = {
        "legend": {"showLegend": True, "displayMode": "list", "placement": "bottom", "calcs": []},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    return made | ({"maxDataPoints": _COARSE} if coarse else {})


def stacked_bars(text: Text, width: int, unit: str, *targets: Json, overrides: Sequence[Json] = ()) -> Json:
    """Bars on top of each other, for counts of builds."""
    bars = {"drawStyle": "bars", "fillOpacity": 80, "stacking": {"mode": "normal", "group": "A"}}
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
    """One large value, or one for each series."""
    made = panel("stat", text, width, unit, [target])
    made["fieldConfig"]["defaults"] |= {"color": {"mode": "thresholds"}, "thresholds": _thresholds(steps)}
    made["fieldConfig"]["defaults"] |= {"mappings": list(mappings)}
    if decimals is not None:
        made["fieldConfig"]["defaults"]["decimals"] = decimals
    made["options"] = _reduced() | {"colorMode": "value", "graphMode": "none", "textMode": "auto"}
    return made


def bars(text: Text, width: int, unit: str, target: Json, *, overrides: Sequence[Json] = ()) -> Json:
    """One bar for each series, with its value."""
    made = panel("bargauge", text, width, unit, [target])
    defaults = {"min": 0, "decimals": 0, "color": {"mode": "fixed", "fixedColor": "blue"}}
    made["fieldConfig"]["defaults"] |= defaults
    made["fieldConfig"]["overrides"] = list(overrides)
    made["options"] = _reduced() | {
        "displayMode": "basic",
        "orientation": "horizontal",
        "showUnfilled": True,
        "valueMode": "text",
    }
    return made


def heat_map(text: Text, width: int, unit: str, target: Json) -> Json:
    """One row for each bucket or series, one column for each step; a stronger colour means more builds."""
    made = panel("heatmap", text, width, unit, [target])
    made["maxDataPoints"] = _COARSE
    made["fieldConfig"]["defaults"]["custom"] = {"scaleDistribution": {"type": "linear"}}
    made["options"] = {
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
    return made


def timeline(text: Text, width: int, *targets: Json, mappings: Sequence[Json] = ()) -> Json:
    """One row for each series, coloured and labelled by its value."""
    made = panel("state-timeline", text, width, "none", targets)
    made["fieldConfig"]["defaults"] |= {
        "color": {"mode": "thresholds"},
        "custom": {"fillOpacity": 80, "lineWidth": 0},
        "mappings": list(mappings) or result_mapping(),
        "thresholds": _thresholds(((None, "text"),)),
    }
    made["options"] = {
        "alignValue": "left",
        "legend": {"showLegend": True, "displayMode": "list", "placement": "bottom"},
        "mergeValues": True,
        "rowHeight": 0.8,
        "showValue": "auto",
        "tooltip": {"mode": "single", "sort": "none"},
    }
    return made


def table(
    text: Text,
    width: int,
    columns: Mapping[str, tuple[str, str]],
    *,
    first: str | None = None,
    overrides: Sequence[Json] = (),
) -> Json:
    """One row for each set of labels.

    Args:
        text: title and description.
        width: of 24.
        columns: header to unit and query, or a unit of "" for a query whose labels alone are wanted.
        first: the column by which rows are sorted, largest first.
        overrides: for single columns, by header.
    """
    units = [unit for unit, _ in columns.values()]
    made = panel("table", text, width, units[0], [column(expr) for _, expr in columns.values()])
    values = {f"Value #{one['refId']}" if len(columns) > 1 else "Value": one for one in made["targets"]}
    headers = dict(zip(values, columns, strict=True))
    unwanted = [name for name, unit in zip(values, units, strict=True) if not unit]
    made["transformations"] = [
        {"id": "merge", "options": {}},
        {
            "id": "organize",
            "options": {
                "excludeByName": dict.fromkeys(["Time", *unwanted], True),
                "renameByName": {name: header for name, header in headers.items() if name not in unwanted},
            },
        },
    ]
    made["fieldConfig"]["overrides"] = [
        *(named(header, unit=unit) for header, (unit, _) in columns.items() if unit),
        *overrides,
    ]
    made["fieldConfig"]["defaults"]["custom"] = {"align": "auto", "filterable": True}
    made["options"] = {"showHeader": True, "cellHeight": "sm"}
    if first:
        made["options"]["sortBy"] = [{"displayName": first, "desc": True}]
    return made


def named(column_or_series: str, **properties: Any) -> Json:
    """An override for what has this name; ``__`` in a property stands for a dot."""
    return {
        "matcher": {"id": "byName", "options": column_or_series},
        "properties": [{"id": name.replace("__", "."), "value": value} for name, value in properties.items()],
    }


def _thresholds(steps: Steps) -> Json:
    return {"mode": "absolute", "steps": [{"value": value, "color": colour} for value, colour in steps]}


def _reduced() -> Json:
    return {"reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False}}
