"""The queries of the dashboards, with their variables replaced by values."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

FOLDER: Final = Path(__file__).parents[2] / "grafana" / "dashboards"

VARIABLES: Final[Mapping[str, str]] = {
    "job": ".+",
    "instance": ".+",
    "project": ".+",
    "job_name": ".+",
    "__rate_interval": "30s",
    "__interval": "15s",
    "__range": "5m",
}
"""All jobs of all exporters, over five minutes."""

METRIC: Final = re.compile(r"(?<![\w:])[a-zA-Z_:][\w:]*(?=\{)")
SELECTOR: Final = re.compile(r"(?<![\w:])([a-zA-Z_:][\w:]*)\{([^}]*)\}")
"""The name and the matchers of a metric."""


@dataclass(frozen=True)
class Query:
    """An expression of a panel or annotation, evaluated at one time (instant) or over a range."""

    dashboard: str
    panel: str
    expression: str
    instant: bool

    def __str__(self) -> str:
        return f"{self.dashboard} / {self.panel}: {self.expression}"


def dashboards() -> dict[str, dict[str, Any]]:
    """Return the dashboards by file name without extension."""
    return {file.stem: json.loads(file.read_text(encoding="utf-8")) for file in sorted(FOLDER.glob("*.json"))}


def panels(dashboard: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the panels of a dashboard, without its headings."""
    for entry in dashboard["panels"]:
        yield from (panel for panel in [entry, *entry.get("panels", ())] if panel["type"] != "row")


def filled_in(text: str, variables: Mapping[str, str] = VARIABLES) -> str:
    """Return a query as Grafana sends it.

    Raises:
        KeyError: a variable has no value.
    """
    return re.sub(r"\$\{?(\w+)\}?", lambda match: variables[match[1]], text)


def panel_queries(variables: Mapping[str, str] = VARIABLES) -> list[Query]:
    """Return every query of every panel and annotation."""
    drawn = [
        Query(name, panel["title"], filled_in(target["expr"], variables), target["instant"])
        for name, dashboard in dashboards().items()
        for panel in panels(dashboard)
        for target in panel.get("targets", ())
    ]
    marked = [
        Query(
            name, f"annotation {annotation['name']}", filled_in(annotation["expr"], variables), instant=False
        )
        for name, dashboard in dashboards().items()
        for annotation in dashboard["annotations"]["list"]
    ]
    return drawn + marked


def expressions(dashboard: str, panel: str) -> list[str]:
    """Return the queries of a panel, by its title."""
    found = [
        query.expression for query in panel_queries() if (query.dashboard, query.panel) == (dashboard, panel)
    ]
    assert found, f"no panel {panel} in {dashboard}"
    return found


def variable_queries(variables: Mapping[str, str] = VARIABLES) -> list[tuple[str, str, str, str]]:
    """Return dashboard, name, selector and label of every variable that lists label values."""
    found = []
    for name, dashboard in dashboards().items():
        for variable in dashboard["templating"]["list"]:
            if variable["type"] == "query":
                parts = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"])
                assert parts, f"{name}: variable {variable['name']} is no label_values: {variable['query']}"
                found.append((name, variable["name"], filled_in(parts[1], variables), parts[2]))
    return found


def metrics(expression: str) -> set[str]:
    """Return the names of the metrics in an expression; each has a selector in braces."""
    return set(METRIC.findall(expression))


def is_of_jobs(metric: str) -> bool:
    """Return whether a metric is one of single jobs or projects."""
    return bool(re.match(r"codearts_build_(?!exporter_|recycle_bin_|up$)", metric))
