"""The rules of Grafana's dashboard-linter, and a few of our own.

Each function is named after its rule; https://github.com/grafana/dashboard-linter explains them.
"""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from exporter.metrics import job_families
from grafana.generate.results import COLOURS
from tests.grafana.queries import SELECTOR, dashboards, filled_in, is_of_jobs, metrics, panel_queries, panels
from tests.support.programs import program

DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
UNITS = {
    "none",
    "short",
    "percentunit",
    "s",
    "bytes",
    "reqps",
    "cpm",
    "dateTimeFromNow",
    "bool_yes_no",
}
"""The units in use, all of them known to Grafana."""
EXPORTER_VARIABLES = {"job": "Scrape job", "instance": "Instance"}
"""Labels of the variables that select exporters. The linter expects "Job", which would be ambiguous here."""
OPTIONS = {
    "timeseries": {"legend", "tooltip"},
    "stat": {"reduceOptions", "colorMode", "graphMode", "textMode"},
    "table": {"showHeader", "cellHeight", "sortBy"},
    "heatmap": {
        *("calculate", "cellGap", "cellValues", "color", "exemplars", "filterValues", "legend", "rowsFrame"),
        *("tooltip", "yAxis"),
    },
    "state-timeline": {"alignValue", "legend", "mergeValues", "rowHeight", "showValue", "tooltip"},
    "alertlist": {
        *("viewMode", "groupMode", "groupBy", "maxItems", "sortOrder", "dashboardAlerts", "alertName"),
        *("alertInstanceLabelFilter", "stateFilter"),
    },
    "bargauge": {"reduceOptions", "displayMode", "orientation", "showUnfilled", "valueMode"},
}
"""The options in use, all of them in the panel schemas of Grafana 10.4 to 12.2."""
WITHOUT_SELECTOR = re.compile(
    r"(?<![\w:])(?:(?:codearts_build|process|python|scrape)_\w+|up|ALERTS|\w+:[\w:]+)(?![\w:{])"
)
EXEMPLARS = re.compile(r"codearts_build_(builds_total|\w*duration_seconds_bucket)\{")
RANGE = re.compile(r"(\w+)\s*\([a-z_]\w*\{[^}]*\}\[([^\]]+)\]")
OF_PROJECTS = tuple(
    family.name for family in job_families(stages=True, lean=True) if "job_name" not in family.labels
)
"""In lean detail, these have no job name."""
OF_RULES = ("ALERTS", "job_instance:codearts_build_scrape:up")
"""An alert about a job has no labels of exporters, and the other way round."""
CALCS = {"lastNotNull", "mean", "max", "min"}
"""The calculations in use, all of them known to Grafana."""
RANGE_FUNCTIONS = {"rate", "increase", "last_over_time"}

DASHBOARDS = dashboards()

Panel = dict[str, Any]


def each_panel() -> Iterator[tuple[str, Panel]]:
    for dashboard in DASHBOARDS.values():
        for panel in panels(dashboard):
            yield f"{dashboard['title']} / {panel['title']}", panel


def each_target() -> Iterator[tuple[str, Panel, dict[str, Any]]]:
    for where, panel in each_panel():
        for target in panel.get("targets", ()):
            yield f"{where} / {target['refId']}", panel, target


def variable(dashboard: dict[str, Any], name: str) -> dict[str, Any]:
    found = [entry for entry in dashboard["templating"]["list"] if entry["name"] == name]
    assert len(found) == 1, f"{dashboard['title']}: variable {name}"
    chosen: dict[str, Any] = found[0]
    return chosen


def test_template_datasource_rule() -> None:
    for dashboard in DASHBOARDS.values():
        chosen = variable(dashboard, "datasource")
        settings = (chosen["type"], chosen["query"], chosen["label"])
        assert settings == ("datasource", "prometheus", "Data source"), dashboard["title"]


@pytest.mark.parametrize("name", EXPORTER_VARIABLES)
def test_template_job_rule_and_template_instance_rule(name: str) -> None:
    for dashboard in DASHBOARDS.values():
        assert variable(dashboard, name)["label"] == EXPORTER_VARIABLES[name], dashboard["title"]


def test_variables_begin_with_the_project_and_end_with_the_scrape_job() -> None:
    for dashboard in DASHBOARDS.values():
        labels = [entry["label"] for entry in dashboard["templating"]["list"]]
        assert labels == ["Data source", "Project", "Build job", "Instance", "Scrape job"], dashboard["title"]


@pytest.mark.parametrize("name", [*EXPORTER_VARIABLES, "project", "job_name"])
def test_variables_allow_several_values_or_all(name: str) -> None:
    for dashboard in DASHBOARDS.values():
        chosen = variable(dashboard, name)
        where = f"{dashboard['title']}: variable {name}"
        assert (chosen["type"], chosen["datasource"]) == ("query", DATASOURCE), where
        assert (chosen["multi"], chosen["includeAll"], chosen["allValue"]) == (True, True, ".+"), where


def test_template_on_time_change_reload_rule() -> None:
    for dashboard in DASHBOARDS.values():
        for entry in dashboard["templating"]["list"]:
            where = f"{dashboard['title']}: variable {entry['name']}"
            assert entry["refresh"] == 2 or entry["type"] == "datasource", where


def test_each_variable_depends_only_on_those_before_it() -> None:
    for dashboard in DASHBOARDS.values():
        before: set[str] = set()
        for entry in dashboard["templating"]["list"]:
            needed = set(re.findall(r"\$(\w+)", entry["query"]))
            assert needed <= before, f"{dashboard['title']}: variable {entry['name']}"
            before.add(entry["name"])
        assert 'project=~"$project"' in variable(dashboard, "job_name")["query"], dashboard["title"]


def test_panel_datasource_rule() -> None:
    for where, panel in each_panel():
        assert panel["datasource"] == DATASOURCE, where
    for where, _, target in each_target():
        assert target["datasource"] == DATASOURCE, where


def test_panel_title_description_rule() -> None:
    for where, panel in each_panel():
        assert panel["title"].strip(), where
        assert panel["description"].endswith("."), f"{where}: description"


def test_panel_units_rule() -> None:
    for where, panel in each_panel():
        config = panel["fieldConfig"]
        units = [config["defaults"].get("unit")]
        properties = [entry for override in config["overrides"] for entry in override["properties"]]
        units += [entry["value"] for entry in properties if entry["id"] == "unit"]
        assert set(units) <= UNITS, f"{where}: {units}"


def test_panel_no_targets_rule() -> None:
    for where, panel in each_panel():
        assert bool(panel.get("targets")) is (panel["type"] != "alertlist"), where


def test_uneditable_dashboard_rule() -> None:
    for dashboard in DASHBOARDS.values():
        assert dashboard["editable"] is False, dashboard["title"]


def test_no_panel_needs_a_plugin() -> None:
    for where, panel in each_panel():
        assert panel["type"] in OPTIONS, where


def test_panels_have_only_options_that_grafana_knows() -> None:
    for where, panel in each_panel():
        assert panel["options"].keys() <= OPTIONS[panel["type"]], where


def test_target_promql_rule(tmp_path: Path) -> None:
    queries = panel_queries()
    rules = [{"record": f"query:{number}", "expr": query.expression} for number, query in enumerate(queries)]
    file = tmp_path / "rules.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboards", "rules": rules}]}))
    result = subprocess.run(
        [program("promtool"), "check", "rules", "--lint=none", str(file)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    wrong = [str(queries[int(number)]) for number in re.findall(r'"query:(\d+)"', result.stderr)]
    assert result.returncode == 0, "\n".join([*wrong, result.stdout, result.stderr])


@pytest.mark.parametrize("name", EXPORTER_VARIABLES)
def test_target_job_rule_and_target_instance_rule(name: str) -> None:
    for where, _, target in each_target():
        for metric, matchers in SELECTOR.findall(target["expr"]):
            or_without = "|" if metric in OF_RULES else ""
            assert f'{name}=~"${name}{or_without}"' in matchers, f"{where}: {metric} lacks {name}"


def test_metrics_of_jobs_are_filtered_by_the_selected_jobs() -> None:
    for where, _, target in each_target():
        for metric, matchers in SELECTOR.findall(target["expr"]):
            if is_of_jobs(metric):
                assert 'project=~"$project"' in matchers, f"{where}: {metric} lacks project"
                or_of_project = r"\|?" if metric.startswith(OF_PROJECTS) else ""
                selected = rf'job_name=~"\$job_name{or_of_project}"'
                assert re.search(selected, matchers), f"{where}: {metric} lacks job_name"


def test_alerts_are_those_of_the_selected_jobs() -> None:
    found = [
        matchers
        for _, _, target in each_target()
        for metric, matchers in SELECTOR.findall(target["expr"])
        if metric in OF_RULES
    ]
    assert found
    for matchers in found:
        for name in ("project", "job_name"):
            assert f'{name}=~"${name}|"' in matchers


def test_every_legend_of_a_graph_has_calculations() -> None:
    legends = [
        (where, panel["options"]["legend"]) for where, panel in each_panel() if panel["type"] == "timeseries"
    ]
    assert legends
    for where, legend in legends:
        assert (legend["showLegend"], legend["displayMode"]) == (True, "table"), where
        assert len(legend["calcs"]) == 2, where
        assert set(legend["calcs"]) <= CALCS, where


def test_every_metric_has_its_selector() -> None:
    for where, _, target in each_target():
        assert metrics(target["expr"]), where
        assert not WITHOUT_SELECTOR.findall(target["expr"]), where


def test_target_counter_agg_rule() -> None:
    for where, _, target in each_target():
        counters = re.findall(r"\w+_(?:total|bucket|sum|count)(?=\{)", target["expr"])
        wrapped = re.findall(r"(?:rate|increase)\(\w+_(?:total|bucket|sum|count)\{", target["expr"])
        assert len(wrapped) == len(counters), where


def test_target_rate_interval_rule() -> None:
    for where, _, target in each_target():
        ranges = RANGE.findall(target["expr"])
        assert len(ranges) == target["expr"].count("["), where
        for function, width in ranges:
            assert function in RANGE_FUNCTIONS, f"{where}: {function}"
            assert function != "rate" or width == "$__rate_interval", f"{where}: rate over {width}"
            assert width in ("$__rate_interval", "$__range"), f"{where}: {function} over {width}"


def test_range_queries_use_the_interval_of_the_resolution() -> None:
    """Only an instant query, or one fixed to the end of the range, may aggregate the whole range."""
    for where, _, target in each_target():
        if target["instant"]:
            assert "$__rate_interval" not in target["expr"], where
        else:
            pinned = re.sub(r"\[\$__range\] @ end\(\)", "", target["expr"])
            assert not re.search(r"(rate|increase)\([^\[]*\[\$__range", pinned), where


def test_exemplars_are_requested_for_graphs_of_builds() -> None:
    for where, panel, target in each_target():
        drawn = panel["type"] == "timeseries" or target["format"] == "heatmap"
        ours = EXEMPLARS.search(target["expr"]) and "codearts_build_exporter_api" not in target["expr"]
        expected = bool(drawn and ours and " offset " not in target["expr"])
        assert target.get("exemplar", False) is expected, where


def test_every_quantile_is_of_a_native_histogram_or_of_buckets_summed_by_le() -> None:
    for where, _, target in each_target():
        quantiles = target["expr"].count("histogram_quantile(")
        native = r"histogram_quantile\([0-9.]+, sum(?: by \([a-z_, ]+\) | )\((?:rate|increase)\(\w+_seconds\{"
        classic = r"histogram_quantile\([0-9.]+, sum by \([a-z_, ]*\ble\) \((?:rate|increase)\(\w+_bucket\{"
        of_native, of_classic = (len(re.findall(form, target["expr"])) for form in (native, classic))
        assert of_native + of_classic == quantiles, where
        ours = "codearts_build_exporter_api" not in target["expr"]
        assert of_native == (of_classic if ours else 0), where


def in_parentheses(text: str) -> str:
    """Return the content of the parentheses that a text begins with, or nothing."""
    depth = 0
    for index, character in enumerate(text):
        depth += {"(": 1, ")": -1}.get(character, 0)
        if depth == 0:
            return text[1:index]
    return ""


def test_no_ratio_divides_by_zero_or_by_its_own_numerator() -> None:
    for where, _, target in each_target():
        numerator, *divisors = target["expr"].split(" / ")
        for divisor in divisors:
            if "process_max_fds" not in divisor:
                count, guard, rest = in_parentheses(divisor).partition(" > 0")
                assert (guard, rest) == (" > 0", ""), f"{where}: {divisor}"
                assert numerator.strip("() ") != count.strip("() "), where
            numerator = divisor


def test_job_metrics_are_not_grouped_by_shard() -> None:
    for where, _, target in each_target():
        if any(
            not re.match(r"codearts_build_(exporter|recycle_bin|up)|(?!codearts)", name)
            for name in metrics(target["expr"])
        ):
            assert not re.search(r"by \([^)]*instance", target["expr"]), where


def test_results_have_the_same_colour_and_word_everywhere() -> None:
    for where, panel, target in each_target():
        if target["legendFormat"] == "{{result}}":
            overrides = {
                override["matcher"]["options"]: override["properties"][0]["value"]["fixedColor"]
                for override in panel["fieldConfig"]["overrides"]
            }
            assert overrides == {f"/(^|: ){name}$/": colour for name, colour in COLOURS.items()}, where
    mapped = [
        panel["fieldConfig"]["defaults"]["mappings"]
        for _, panel in each_panel()
        if panel["title"] == "Result of the last build"
    ]
    colours = [
        {option["text"]: option["color"] for option in mapping["options"].values()} for [mapping] in mapped
    ]
    assert colours == [COLOURS]


def test_every_variable_in_a_query_is_known() -> None:
    for _, _, target in each_target():
        filled_in(target["expr"])
