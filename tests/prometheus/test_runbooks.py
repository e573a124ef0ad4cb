"""The runbooks' queries return data while the alert fires; their commands match ``deploy/``."""

import itertools
import re
import shlex
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from exporter.cli.commands import cli
from exporter.config import parse_duration
from tests.support.deploy import DEPLOY, document
from tests.support.kustomize import BASE
from tests.support.markdown import fences
from tests.support.programs import program

ROOT = Path(__file__).parents[2]
RULES = ROOT / "prometheus"
PAGES = {path.stem: path.read_text(encoding="utf-8") for path in (ROOT / "docs" / "runbooks").glob("*.md")}
ALERTS = sorted(PAGES.keys() - {"README"})
GUIDES = {path: (ROOT / path).read_text(encoding="utf-8") for path in ("README.md", "docs/deployment.md")}

STATEFUL_SET = document(BASE / "statefulset.yaml")
NAME = STATEFUL_SET["metadata"]["name"]
CONTAINER = STATEFUL_SET["spec"]["template"]["spec"]["containers"][0]
UNIT = (DEPLOY / "systemd" / f"{NAME}.service").read_text(encoding="utf-8")


@cache
def while_it_fires(alert: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the first unit test in which the alert fires, and the case that expects it."""
    for file in sorted((RULES / "tests").glob("*.yml")):
        for test in document(file)["tests"]:
            for case in test.get("alert_rule_test", ()):
                if case["alertname"] == alert and case["exp_alerts"]:
                    return test, case
    raise AssertionError(f"{alert} never fires")


def queries(alert: str) -> list[str]:
    """Return the queries of a page, for the job or project of the alert's unit test."""
    _, case = while_it_fires(alert)
    found = fences(PAGES[alert], "promql")
    for label in ("project", "job_name"):
        value = case["exp_alerts"][0]["exp_labels"].get(label, "")
        found = [re.sub(rf'\b{label}="[^"]+"', f'{label}="{value}"', query) for query in found]
    return found


def without_data(queries_of_alerts: list[tuple[str, str]], folder: Path) -> list[tuple[str, str]]:
    """Return the queries, given with their alerts, that have no data while the alert fires."""
    files = []
    for number, (alert, query) in enumerate(queries_of_alerts):
        test, case = while_it_fires(alert)
        eval_time = f"{parse_duration(case['eval_time']) + 120:.0f}s"  # past a restart in some of the tests
        empty = {"expr": f"{query} # <{number}>", "eval_time": eval_time, "exp_samples": []}
        kept = {key: test[key] for key in ("interval", "input_series")}
        # With this interval, promtool does not look for rules at each minute of several days.
        content = {"evaluation_interval": eval_time, "tests": [{**kept, "promql_expr_test": [empty]}]}
        files.append(folder / f"{number}.yml")
        files[-1].write_text(yaml.safe_dump(content))
    result = subprocess.run(
        [program("promtool"), "test", "rules", *map(str, files)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    failures = re.findall(r'expr: ".* # <(\d+)>", time: .*\n +exp: nil\n +got: \{', result.stderr)
    assert len(failures) == result.stderr.count("expr: "), result.stderr
    return [query for number, query in enumerate(queries_of_alerts) if str(number) not in failures]


def test_each_table_of_the_index_names_each_alert() -> None:
    by_importance, by_subject = PAGES["README"].split("The same alerts by subject:")
    assert sorted(re.findall(r"^\| \[(\w+)\]\(\1\.md\)", by_importance, re.M)) == ALERTS
    assert sorted(re.findall(r"`(CodeArts\w+)`", by_subject)) == ALERTS


def test_the_first_query_of_a_runbook_has_data_while_its_alert_fires(tmp_path: Path) -> None:
    assert without_data([(alert, queries(alert)[0]) for alert in ALERTS], tmp_path) == []


def test_queries_about_an_exporter_that_is_down_do_not_use_its_metrics(tmp_path: Path) -> None:
    alert = "CodeArtsBuildExporterDown"
    assert without_data([(alert, query) for query in queries(alert)], tmp_path) == []


def commands(program_name: str) -> list[list[str]]:
    """Return the words of each command of a program in the runbooks and guides."""
    lines = [
        line
        for page in (*PAGES.values(), *GUIDES.values())
        for body in (*fences(page, "sh"), *fences(page, "console"))
        for line in body.replace("\\\n", " ").splitlines()
    ]
    words = [shlex.split(line, comments=True) for line in lines if line.startswith(f"{program_name} ")]
    assert words
    return words


def value_of(flag: str, words: list[str]) -> str | None:
    """Return the value of a flag, written with a space or an equals sign."""
    joined = " ".join(words)
    found = re.search(rf"{flag}[= ](\S+)", joined)
    return found[1] if found else None


def test_kubectl_uses_the_namespace_of_the_manifests() -> None:
    [applied] = {value_of("--namespace", words) for words in commands("kubectl") if "apply" in words}
    assert applied
    assert {value_of("--namespace", words) for words in commands("kubectl")} == {applied}


def test_kubectl_names_resources_of_the_manifests() -> None:
    labels = STATEFUL_SET["spec"]["template"]["metadata"]["labels"]
    [claim] = STATEFUL_SET["spec"]["volumeClaimTemplates"]
    known = {
        "pod": f"{NAME}-0",
        "logs": f"{NAME}-0",
        "exec": f"{NAME}-0",
        "statefulset": NAME,
        "persistentvolumeclaim": f"{claim['metadata']['name']}-{NAME}-0",
    }
    named = 0
    for words in commands("kubectl"):
        if selector := value_of("--selector", words):
            assert dict([selector.split("=")]).items() <= labels.items()
        for kind, name in itertools.pairwise(words):
            if kind in known and not name.startswith("--"):
                assert name == known[kind], words
                named += 1
    assert named >= 5


def test_helm_uses_the_namespace_of_the_manifests_and_the_name_of_the_release() -> None:
    [namespace] = {value_of("--namespace", words) for words in commands("kubectl")}
    for words in commands("helm"):
        assert value_of("--namespace", words) == namespace
        assert (NAME, "deploy/helm") in itertools.pairwise(words)


@pytest.mark.parametrize("words", [*commands("kubectl"), *commands("helm")], ids=" ".join)
def test_kubectl_and_helm_know_each_flag(words: list[str]) -> None:
    name, *own = words[: words.index("--")] if "--" in words else words
    found = program("kubectl") if name == "kubectl" else program("helm")
    result = subprocess.run(
        [found, *own, "--help"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result.stderr


def test_check_config_runs_with_the_settings_of_the_deployment() -> None:
    [config] = [flag.partition("=")[2] for flag in CONTAINER["args"] if flag.startswith("--config.file=")]
    in_containers = [*commands("kubectl"), *commands("docker exec")]
    for words in (words for words in in_containers if "check-config" in words):
        command = words[words.index("check-config") - 1 :]
        assert command == [NAME, "check-config", "--online", f"--config.file={config}"]
    [words] = commands("systemd-run")
    unit = dict(re.findall(r"^(ExecStart|EnvironmentFile|LoadCredential|StateDirectory)=(.*)$", UNIT, re.M))
    assert unit["ExecStart"].split()[0] in words
    assert f"--property=EnvironmentFile={unit['EnvironmentFile']}" in words
    assert f"--working-directory=/var/lib/{unit['StateDirectory']}" in words
    assert f"LoadCredential=config.yaml:{value_of('--config.file', words)}" in UNIT


@pytest.mark.parametrize("name", ["systemctl", "journalctl", "docker"])
def test_services_and_containers_have_the_names_of_the_guides(name: str) -> None:
    [container] = {value_of("--name", words) for words in commands("docker run")}
    assert container == NAME
    for words in commands(name):
        if words[1] not in ("run", "build", "compose", "daemon-reload", "-k"):
            assert NAME in {word.rpartition("=")[2] for word in words}


@pytest.mark.parametrize("page", PAGES)
def test_the_exporter_knows_each_flag(page: str) -> None:
    parent = click.Context(cli, **cli.context_settings)  # a command keeps the --help of its first context
    for body in fences(PAGES[page], "sh"):
        for line in body.splitlines():
            if line.startswith(f"{NAME} "):
                name, *flags = shlex.split(line)[1:]
                cli.commands[name].make_context(name, flags, parent)


@pytest.mark.parametrize("words", commands("curl"), ids=" ".join)
def test_curl_shows_errors(words: list[str]) -> None:
    quiet = [word for word in words if re.fullmatch(r"-[a-zA-Z]*s[a-zA-Z]*", word)]
    assert all("S" in word for word in quiet)
