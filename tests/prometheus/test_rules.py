"""Rules, alerts, their unit tests, runbooks and example configurations are valid and consistent."""

import re
from collections import defaultdict
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from exporter.metrics import Kind
from tests.support.deploy import YAML_LOADER, document
from tests.support.exposition import DECLARED
from tests.support.programs import run_program

ROOT = Path(__file__).parents[2]
RULES = ROOT / "prometheus"
RUNBOOKS = ROOT / "docs" / "runbooks"
PAGES = "https://github.com/codearts-build-exporter/codearts-build-exporter/blob/main/docs/runbooks/"
UNIT_TESTS = sorted((RULES / "tests").glob("*.yml"))

METRIC = re.compile(r"(?<![:\w])codearts_build_\w+(?![:\w*])")
RECORDED_SERIES = re.compile(r"\b\w+:codearts_build_\w+:\w+")
SECTIONS = ["Meaning", "Diagnosis", "Mitigation"]


@cache
def read(path: Path) -> Any:
    return document(path)


def rules(file: str) -> list[dict[str, Any]]:
    return [rule for group in read(RULES / file)["groups"] for rule in group["rules"]]


ALERTS = {rule["alert"]: rule for rule in rules("alerts.yml")}
RECORDED = {rule["record"]: rule for rule in rules("recording.yml")}
EXPRESSIONS = {name: rule["expr"] for name, rule in (ALERTS | RECORDED).items()}
PAGE_OF = {path.stem: path for path in RUNBOOKS.glob("*.md") if path.name != "README.md"}


def exposed() -> frozenset[str]:
    """Return the names of all series, including those of histograms."""
    names = set[str]()
    for metric in DECLARED:
        parts = ("", "_bucket", "_sum", "_count") if metric.kind is Kind.HISTOGRAM else ("",)
        names.update(metric.name + part for part in parts)
    return frozenset(names)


def test_promtool_accepts_the_rules() -> None:
    run_program("promtool", "check", "rules", RULES / "recording.yml", RULES / "alerts.yml")


@pytest.mark.parametrize("file", UNIT_TESTS, ids=lambda path: path.stem)
def test_the_unit_tests_of_the_rules_pass(file: Path, tmp_path: Path) -> None:
    run_unit_tests(file, file.read_text(encoding="utf-8"), tmp_path)


IN_LEAN_DETAIL = {
    "codearts_build_duration_seconds_count": "codearts_build_timed_successes_total",
    "codearts_build_duration_seconds_sum": "codearts_build_success_duration_seconds_total",
    "codearts_build_recovery_duration_seconds_count": "codearts_build_recoveries_total",
}
"""The counters that jobs have in place of their histograms."""

OF_JOB = re.compile(r', job_name="[^"]+"')
WITH_HISTOGRAMS = [
    file
    for file in UNIT_TESTS
    if any("alert_rule_test" in test and "duration_seconds_" in str(test) for test in read(file)["tests"])
]


def in_lean_detail(unit_test: dict[str, Any]) -> dict[str, Any]:
    """Return a unit test with the series that the exporter has in lean detail, and the same expectations."""
    series = []
    for fed in unit_test["input_series"]:
        name, _, labels = fed["series"].partition("{")
        if name in IN_LEAN_DETAIL and 'result="failure"' not in labels:
            series.append({**fed, "series": f"{IN_LEAN_DETAIL[name]}{{{labels}"})
        if "duration_seconds_" in name:
            series.append({**fed, "series": OF_JOB.sub("", fed["series"])})
        elif name not in IN_LEAN_DETAIL:
            series.append(fed)
    unique = {fed["series"]: fed for fed in series}
    alerts = {key: value for key, value in unit_test.items() if key != "promql_expr_test"}
    return {**alerts, "input_series": list(unique.values())}


@pytest.mark.parametrize("file", WITH_HISTOGRAMS, ids=lambda path: path.stem)
def test_the_alerts_of_the_unit_tests_are_the_same_in_lean_detail(file: Path, tmp_path: Path) -> None:
    content = yaml.load(file.read_text(encoding="utf-8"), Loader=yaml.BaseLoader)  # 0x9 is no number
    names = ", ".join(content.pop("rule_files"))
    content["tests"] = [in_lean_detail(test) for test in content["tests"] if "alert_rule_test" in test]
    run_unit_tests(file, f"rule_files: [{names}]\n{yaml.safe_dump(content, sort_keys=False)}", tmp_path)


def run_unit_tests(file: Path, text: str, folder: Path) -> None:
    """Run a file with only the rules that it needs, because promtool evaluates every rule that it reads."""
    unit_tests = yaml.load(text, YAML_LOADER)
    needed = needed_rules(unit_tests["tests"])
    groups = [
        group
        | {"rules": [rule for rule in group["rules"] if needed & {rule.get("alert"), rule.get("record")}]}
        for name in unit_tests["rule_files"]
        for group in read(file.parent / name)["groups"]
    ]
    (folder / "rules.yml").write_text(yaml.safe_dump({"groups": groups}))
    copy = re.sub(r"^rule_files: .*$", "rule_files: [rules.yml]", text, flags=re.MULTILINE)
    (folder / file.name).write_text(copy, encoding="utf-8")
    run_program("promtool", "test", "rules", folder / file.name)


def needed_rules(unit_tests: list[dict[str, Any]]) -> set[str]:
    """Return the alerts and recorded series that unit tests name, and those that these are computed from."""
    cases = [
        case
        for kind in ("alert_rule_test", "promql_expr_test")
        for test in unit_tests
        for case in test.get(kind, ())
    ]
    found: set[str] = set()
    new = {case["alertname"] for case in cases if "alertname" in case}
    new |= {name for case in cases for name in RECORDED_SERIES.findall(case.get("expr", ""))}
    while new:
        found |= new
        new = {name for rule in new for name in RECORDED_SERIES.findall(EXPRESSIONS[rule])} - found
    return found


def test_promtool_accepts_the_example_configuration() -> None:
    run_program("promtool", "check", "config", RULES / "prometheus.yml")


def test_amtool_accepts_the_example_configuration() -> None:
    run_program("amtool", "check-config", RULES / "alertmanager.yml")


@pytest.mark.parametrize(
    ("severity", "receiver"), [("critical", "pager"), ("warning", "chat"), ("info", "chat")]
)
def test_the_alertmanager_routes_by_severity(severity: str, receiver: str) -> None:
    file = f"--config.file={RULES / 'alertmanager.yml'}"
    assert run_program("amtool", "config", "routes", "test", file, f"severity={severity}").strip() == receiver


def test_the_example_has_the_scrape_job_of_the_alert() -> None:
    jobs = {scraped["job_name"] for scraped in read(RULES / "prometheus.yml")["scrape_configs"]}
    named = [re.findall(r'job="([^"]+)"', expression) for expression in EXPRESSIONS.values()]
    [[scrape_job]] = filter(None, named)
    assert scrape_job in jobs


def matched(matchers: Iterable[str]) -> set[str]:
    """Return the names of alerts in Alertmanager matchers, with alternatives expanded."""
    found: set[str] = set()
    for matcher in matchers:
        for prefix, words, rest in re.findall(r'^alertname=~?"(\w+)(?:\(([^)]*)\))?(.*)"$', matcher):
            found |= {prefix + word + rest for word in words.split("|")}
    return found


def test_the_alertmanager_inhibits_alerts_that_exist() -> None:
    for rule in read(RULES / "alertmanager.yml")["inhibit_rules"]:
        for matchers in (rule["source_matchers"], rule["target_matchers"]):
            assert matched(matchers)
            assert matched(matchers) - ALERTS.keys() == set()


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_has_severity_duration_and_annotations(name: str) -> None:
    alert = ALERTS[name]
    assert re.fullmatch(r"CodeArtsBuild([A-Z][a-z]+)+", name)
    assert alert["labels"]["severity"] in ("critical", "warning", "info")
    assert re.fullmatch(r"\d+[mh]", alert["for"])
    assert alert["annotations"].keys() == {"summary", "description", "runbook_url"}
    assert "{{" not in alert["annotations"]["summary"]
    assert re.search(r"\{\{.*\$(value|labels)", alert["annotations"]["description"])


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_about_a_job_names_the_job_and_no_instance(name: str) -> None:
    alert = ALERTS[name]
    description = alert["annotations"]["description"]
    if "by (project, job_name)" in alert["expr"]:
        assert "{{ $labels.project }}" in description
        assert "{{ $labels.job_name }}" in description
        assert "instance" not in alert["expr"] + description


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_has_a_runbook(name: str) -> None:
    assert ALERTS[name]["annotations"]["runbook_url"] == f"{PAGES}{name}.md"
    page = PAGE_OF[name].read_text(encoding="utf-8")
    assert page.startswith(f"# {name}\n")
    assert re.findall(r"^## (.*)$", page, re.MULTILINE) == SECTIONS


def test_every_runbook_has_an_alert() -> None:
    assert PAGE_OF.keys() == ALERTS.keys()


def test_the_index_of_the_runbooks_lists_every_alert_with_its_severity() -> None:
    index = (RUNBOOKS / "README.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| \[(\w+)\]\((\w+)\.md\) \| (\w+) \| \S.* \|$", index, re.MULTILINE)
    assert listed == [(name, name, alert["labels"]["severity"]) for name, alert in ALERTS.items()]


def test_every_query_of_the_runbooks_is_valid(tmp_path: Path) -> None:
    queries = [
        query
        for page in PAGE_OF.values()
        for query in re.findall(r"^```promql\n(.*?)^```$", page.read_text(encoding="utf-8"), re.M | re.S)
    ]
    assert len(queries) >= len(PAGE_OF)
    file = tmp_path / "queries.yml"
    found = [{"record": f"query:{index}", "expr": query} for index, query in enumerate(queries)]
    file.write_text(yaml.safe_dump({"groups": [{"name": "runbooks", "rules": found}]}))
    run_program("promtool", "check", "rules", file)


def expectations(kind: str, key: str) -> dict[str, list[tuple[str, list[Any]]]]:
    """Return the test and the expectation of each case, by the name of the alert or rule."""
    found: dict[str, list[tuple[str, list[Any]]]] = defaultdict(list)
    for file in UNIT_TESTS:
        for test in read(file)["tests"]:
            for case in test.get(kind, ()):
                name = case.get("alertname") or case["expr"].partition("{")[0]
                found[name].append((test["name"], case.get(key) or []))
    return found


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_has_cases_in_which_it_fires_resolves_and_stays_quiet(name: str) -> None:
    cases = expectations("alert_rule_test", "exp_alerts")[name]
    fires = {test for test, expected in cases if expected}
    stays_quiet = {test for test, _ in cases} - fires
    assert fires
    assert stays_quiet
    for test in fires:
        states = [bool(expected) for name_of_test, expected in cases if name_of_test == test]
        assert states[-1] is False, f"{test}: does not resolve"
        assert states[0] is False, f"{test}: fires at once"
    for _, expected in cases:
        for alert in expected:
            assert alert["exp_annotations"].keys() == ALERTS[name]["annotations"].keys()


def test_every_unit_test_is_about_an_existing_alert() -> None:
    assert expectations("alert_rule_test", "exp_alerts").keys() == ALERTS.keys()


@pytest.mark.parametrize("name", RECORDED)
def test_a_recording_rule_has_a_conventional_name_and_a_unit_test(name: str) -> None:
    assert re.fullmatch(
        r"(job_instance|project)(_job_name)?(_result)?:codearts_build_[a-z_]+:[a-z0-9_]+", name
    )
    assert any(expected for _, expected in expectations("promql_expr_test", "exp_samples")[name])


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_a_rule_uses_existing_metrics_and_recording_rules(name: str) -> None:
    expression = EXPRESSIONS[name]
    assert set(METRIC.findall(expression)) - exposed() == set()
    assert set(RECORDED_SERIES.findall(expression)) - RECORDED.keys() == set()


@pytest.mark.parametrize("name", PAGE_OF)
def test_a_runbook_names_existing_metrics(name: str) -> None:
    named = set(METRIC.findall(PAGE_OF[name].read_text(encoding="utf-8")))
    assert named - exposed() - {"codearts_build_"} == set()


def test_the_unit_tests_use_existing_series() -> None:
    for file in UNIT_TESTS:
        for test in read(file)["tests"]:
            fed = {series["series"].partition("{")[0] for series in test["input_series"]}
            assert fed - exposed() - {"up", "process_start_time_seconds"} == set()
