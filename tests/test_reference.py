"""The generated pages are up to date and complete."""

import ast
import re
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import chain
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from exporter.cli.commands import cli
from exporter.metrics import FLEET_FAMILIES, Declared, Kind
from exporter.metrics.exporter_metrics import EXPORTER_METRICS
from tools.reference import PAGES, written
from tools.reference.commands import WIDTH, help_of
from tools.reference.fleet import exposition, families
from tools.reference.metrics import samples
from tools.reference.words import REASONS

ROOT = Path(__file__).parents[1]
DECLARED: tuple[Declared, ...] = (*families(), *FLEET_FAMILIES, *EXPORTER_METRICS)

REPORTED_IN = {"PayloadError": 0, "mapping": 1, "payload_fault": 1, "faults.append": 0, "_count_faults": 1}
"""Calls with a reason, and the index of that argument."""


@cache
def pages() -> Mapping[str, str]:
    return written()


@cache
def lines() -> list[str]:
    return exposition().splitlines()


@pytest.mark.parametrize("name", PAGES)
def test_the_committed_pages_are_up_to_date(name: str) -> None:
    committed = (ROOT / name).read_text(encoding="utf-8")
    assert committed == pages()[name], f"{name} is out of date: run `make reference`"


def test_generating_twice_gives_the_same_pages() -> None:
    assert written() == pages()


@pytest.mark.parametrize("command", ["", *cli.commands])
def test_the_command_line_page_has_the_help_of_each_command(command: str) -> None:
    assert help_of(cli, command) in pages()["docs/command-line.md"]


@pytest.mark.parametrize("command", ["", *cli.commands])
def test_help_is_the_same_in_every_terminal(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = help_of(cli, command)
    monkeypatch.setenv("COLUMNS", "55")
    monkeypatch.setenv("TERM", "dumb")
    assert help_of(cli, command) == before
    assert max(map(len, before.splitlines())) <= WIDTH


@pytest.mark.parametrize("metric", DECLARED, ids=lambda metric: metric.name)
def test_a_metric_has_real_samples(metric: Declared) -> None:
    [family] = text_string_to_metric_families(
        f"# TYPE {metric.name} {metric.kind}\n" + "\n".join(samples_of(metric)) + "\n"
    )
    assert family.type == metric.kind
    assert len(family.samples) == (3 if metric.kind is Kind.HISTOGRAM else 1)
    assert all(sample.labels.keys() - {"le"} == set(metric.labels) for sample in family.samples)


def samples_of(metric: Declared) -> list[str]:
    found = samples(metric, lines())
    assert "\n".join(found) in pages()["docs/metrics.md"]
    return found


def test_a_metric_without_a_sample_is_an_error() -> None:
    with pytest.raises(LookupError, match=r"fleet\.py shows no sample of codearts_build_new$"):
        samples(Declared("codearts_build_new", Kind.GAUGE, "New."), lines())


def test_every_reason_that_can_be_reported_is_explained() -> None:
    files = [*ROOT.glob("exporter/api/*.py"), *ROOT.glob("exporter/ledger/*.py")]
    found = {reason for file in files for reason in reasons(ast.parse(file.read_text(encoding="utf-8")))}
    assert found == {*chain.from_iterable(REASONS)}


def reasons(source: ast.Module) -> Iterator[str]:
    for statement in source.body:
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.value, ast.Constant):
            yield from names_in(statement.value)
    for node in ast.walk(source):
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "reason":
            yield from names_in(node.value)
        elif isinstance(node, ast.Call):
            function = re.sub(r"^(self\.)?(_?telemetry\.)?", "", ast.unparse(node.func))
            if function == "_plausible":
                yield from (f"{fault}_{ast.literal_eval(node.args[1])}" for fault in ("negative", "absurd"))
            elif function in REPORTED_IN:
                yield from names_in(node.args[REPORTED_IN[function]])


def names_in(expression: ast.expr) -> Iterator[str]:
    constants = (node.value for node in ast.walk(expression) if isinstance(node, ast.Constant))
    yield from (text for text in map(str, constants) if re.fullmatch(r"[a-z]+(_[a-z]+)+", text))
