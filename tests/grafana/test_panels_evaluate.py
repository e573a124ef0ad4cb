"""A real Prometheus scrapes the demo and evaluates every query of the dashboards."""

import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from tests.cli.conftest import started
from tests.grafana.queries import VARIABLES, Query, panel_queries, variable_queries
from tests.support.programs import answers, eventually, free_port, program, running

RANGE_S = 120


class Prometheus:
    """A client for the part of Prometheus's API that Grafana uses."""

    def __init__(self, url: str) -> None:
        self.url = url

    def get(self, path: str, **parameters: str) -> Any:
        answer = requests.get(f"{self.url}/api/v1/{path}", params=parameters, timeout=30)
        body = answer.json()
        assert body["status"] == "success", f"{parameters}: {body.get('error')}"
        return body["data"]

    def evaluate(self, query: Query) -> list[dict[str, Any]]:
        """Return the series that a panel would show."""
        now = time.time()
        if query.instant:
            data = self.get("query", query=query.expression, time=str(now))
        else:
            window = {"start": str(now - RANGE_S), "end": str(now), "step": VARIABLES["__interval"]}
            data = self.get("query_range", query=query.expression, **window)
        found: list[dict[str, Any]] = data["result"]
        return found


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """Start a Prometheus that scrapes the demo and itself, whose series must not appear in panels."""
    binary = program("prometheus")
    folder = tmp_path_factory.mktemp("prometheus")
    own = f"127.0.0.1:{free_port()}"
    with started("demo", "--web.listen-address=127.0.0.1:0", log=folder / "demo.log") as demo:
        target = demo.says("Metrics:").split()[1].removeprefix("http://").removesuffix("/metrics")
        config = folder / "prometheus.yml"
        config.write_text(
            "global: {scrape_interval: 1s}\n"
            "scrape_configs:\n"
            f"  - {{job_name: codearts-build, static_configs: [{{targets: ['{target}']}}]}}\n"
            f"  - {{job_name: prometheus, static_configs: [{{targets: ['{own}']}}]}}\n"
        )
        flags = [f"--storage.tsdb.path={folder / 'tsdb'}", f"--web.listen-address={own}"]
        with running([binary, f"--config.file={config}", *flags], folder / "prometheus.log"):
            client = Prometheus(f"http://{own}")
            eventually(lambda: answers(f"{client.url}/-/ready"), 60)
            finished = "sum(increase(codearts_build_builds_total[1m])) > 5"
            eventually(lambda: bool(client.get("query", query=finished)["result"]), 90, every=1)
            yield client


def test_every_query_of_every_panel_evaluates(prometheus: Prometheus) -> None:
    queries = panel_queries()
    assert len(queries) > 50
    empty = [query for query in queries if not prometheus.evaluate(query)]
    assert len(empty) < len(queries) / 3, "\n".join(map(str, empty))


@pytest.mark.parametrize(("dashboard", "name", "selector", "label"), variable_queries())
def test_every_variable_finds_values(
    prometheus: Prometheus, dashboard: str, name: str, selector: str, label: str
) -> None:
    series = prometheus.get("series", **{"match[]": selector})
    assert {labels[label] for labels in series if label in labels}, (
        f"{dashboard}: variable {name} finds nothing"
    )


def test_panels_of_processes_show_exporters_only(prometheus: Prometheus) -> None:
    up = {series["metric"]["instance"] for series in prometheus.get("query", query="up")["result"]}
    exporters = prometheus.get("query", query="codearts_build_exporter_build_info")["result"]
    assert len(up) == 2
    shown = {
        series["metric"]["instance"]
        for query in panel_queries()
        if "process_" in query.expression or "scrape_" in query.expression
        for series in prometheus.evaluate(query)
    }
    assert shown == {series["metric"]["instance"] for series in exporters}
