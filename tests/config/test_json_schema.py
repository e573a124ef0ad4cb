"""The JSON Schema against the loader: it accepts everything that the loader accepts.

The loader is stricter where a rule needs other files, the environment, the length of a duration, the limits
of a quoted number, the syntax of regular expressions, or two values at once.
"""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from exporter.config import parse
from exporter.config.regions import KNOWN_REGIONS
from exporter.errors import ConfigError
from tests.config.helpers import JOB, MINIMAL, OTHER_JOB, PROJECT
from tests.config.test_laws import DOCUMENTS
from tools.reference.schema import Schema, config_schema, sections_in

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator

ROOT = Path(__file__).parents[2]
SCHEMA = config_schema()
SNIPPETS = [
    body
    for document in sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("deploy/**/*.md")])
    for body in re.findall(r"^```yaml\n(# config\.yaml\n.*?)^```$", document.read_text("utf-8"), re.M | re.S)
]
FILES = ["config.example.yaml", "deploy/kubernetes/base/config.yaml", "deploy/compose/exporter.yaml"]
AUTH = "auth: {token: made-up}"
PLACE = "region: cn-north-4"
ENVIRON = dict.fromkeys(re.findall(r"\$\{(\w+)\}", json.dumps(SCHEMA)), "made-up") | {
    "A": "30s",
    "B": "200",
    "ID": OTHER_JOB,
    "CODEARTS_REDIS_URL": "redis://cache",
}
"""What the examples name, and some more."""


class _Loader(yaml.SafeLoader):
    """YAML as editors read it: no dates."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith(":timestamp")]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


@cache
def validator() -> Draft202012Validator:
    """Import jsonschema late: that takes seconds, and every worker imports every test."""
    from jsonschema import Draft202012Validator

    return Draft202012Validator(SCHEMA)


def fits(data: object) -> bool:
    return bool(validator().is_valid(data))


def read(text: str) -> Any:
    return yaml.load(text, _Loader)


def loads(text: str) -> bool:
    try:
        parse(text, source="config.yaml", environ=ENVIRON, base_dir=Path("/nonexistent"))
    except ConfigError:
        return False
    return True


def test_it_is_a_schema_that_refuses_unknown_keys_everywhere() -> None:
    validator().check_schema(SCHEMA)
    for section in sections(SCHEMA):
        assert section["additionalProperties"] is False
        assert all(spec["description"].endswith(".") for spec in section["properties"].values())


def test_the_examples_of_a_key_and_its_default_fit_the_key() -> None:
    for section in sections(SCHEMA):
        for key, spec in section["properties"].items():
            own = validator().evolve(schema={**spec, "$defs": SCHEMA["$defs"]})
            for value in (*spec.get("examples", ()), *([spec["default"]] if "default" in spec else ())):
                assert own.is_valid(value), (key, value)


def sections(section: Schema) -> list[Schema]:
    inner = [child for spec in section["properties"].values() for child in sections_in(SCHEMA, spec)]
    return [section, *(descendant for child in inner for descendant in sections(child))]


@pytest.mark.parametrize("name", FILES)
def test_the_configurations_in_the_repository_fit(name: str) -> None:
    assert list(validator().iter_errors(read((ROOT / name).read_text(encoding="utf-8")))) == []


def test_the_first_line_of_the_example_names_the_schema_wherever_it_is_copied_to() -> None:
    first = (ROOT / "config.example.yaml").read_text(encoding="utf-8").splitlines()[0]
    assert first == f"# yaml-language-server: $schema={SCHEMA['$id']}"


@pytest.mark.parametrize("snippet", SNIPPETS)
def test_every_configuration_in_the_documents_fits(snippet: str) -> None:
    assert list(validator().iter_errors({**read(MINIMAL), **read(snippet)})) == []


VALID_FILES = [
    MINIMAL,
    f"{PLACE}\n{AUTH}\nprojects: [{PROJECT}]",
    f"{PLACE}\n{AUTH}\nprojects: [all]",
    f"{PLACE}\n{AUTH}\nprojects: [{PROJECT}, {{id: all, exclude: [a]}}]",
    f"{PLACE}\n{AUTH}\njobs: [{'7' * 32}]",
    f"{PLACE}\nauth: {{ecs_agency: }}\njobs: [{JOB}]",
    f"{PLACE}\nauth: {{token: '${{A}}'}}\njobs: ['${{ID}}']",
    f"{PLACE}\nauth: {{password: {{domain: 7, username: true, password: x}}}}\njobs: [{JOB}]",
    f"endpoint: HTTPS://host:8443/build\nregion: anywhere\n{AUTH}\njobs: [{{id: {JOB}, name: 2024-01-01}}]",
    MINIMAL + "poll: {interval: '${A}', timeout: 1m30s, max_interval: , concurrency: '8'}",
    f"{PLACE}\nauth: {{access_key: {{access_key: a, secret_key: b, secret_key_file: }}}}\njobs: [{JOB}]",
    MINIMAL + "poll:\nmetrics:\nrecycle_bin: {enabled: 'YES'}\nstate: {path: ':memory:'}",
    MINIMAL + "metrics: {queue_buckets: [.5, '1e2', '${B}'], extra_labels: [trigger, trigger]}",
    MINIMAL + "metrics: {branches: [main, 7, '(?i)release/.*'], max_series: 2000}",
    MINIMAL + "state: {redis_url: '${CODEARTS_REDIS_URL}', path: , retention: 1y}",
]


@pytest.mark.parametrize("text", VALID_FILES)
def test_a_valid_file_fits_the_schema(text: str) -> None:
    assert loads(text)
    assert list(validator().iter_errors(read(text))) == []


INVALID_FILES = [
    "[]",
    "region: cn-north-4",
    f"{AUTH}\njobs: [{JOB}]",
    f"region: nowhere\n{AUTH}\njobs: [{JOB}]",
    f"{PLACE}\n{AUTH}",
    f"{PLACE}\n{AUTH}\njobs: []",
    f"{PLACE}\n{AUTH}\njobs: {JOB}",
    f"{PLACE}\n{AUTH}\njobs: [abc]",
    f"{PLACE}\n{AUTH}\njobs: [{JOB.upper()}]",
    f"{PLACE}\n{AUTH}\njobs: [{{name: checkout}}]",
    f"{PLACE}\n{AUTH}\njobs: [{{id: {JOB}, colour: blue}}]",
    f"{PLACE}\n{AUTH}\nprojects: [shop]",
    f"{PLACE}\n{AUTH}\njobs: [all]",
    f"{PLACE}\nauth: {{}}\njobs: [{JOB}]",
    f"{PLACE}\nauth:\njobs: [{JOB}]",
    f"{PLACE}\nauth: {{token: a, token_file: b}}\njobs: [{JOB}]",
    f"{PLACE}\nauth: {{token: a b}}\njobs: [{JOB}]",
    f"{PLACE}\nauth: {{token: a, ecs_agency: {{}}}}\njobs: [{JOB}]",
    f"{PLACE}\nauth: {{password: {{domain: d, username: u}}}}\njobs: [{JOB}]",
    f"{PLACE}\nauth: {{password: {{domain: d, username: u, password: a, password_file: b}}}}\njobs: [{JOB}]",
    f"{PLACE}\nauth: {{access_key: {{secret_key: a}}}}\njobs: [{JOB}]",
    MINIMAL + "endpoint: ftp://host",
    MINIMAL + "endpoint: https://host/?a=b",
    MINIMAL + "pol: {}",
    MINIMAL + "poll: 1m",
    MINIMAL + "poll: {interval: 60}",
    MINIMAL + "poll: {interval: 1.5s}",
    MINIMAL + "poll: {interval: 30s1m}",
    MINIMAL + "poll: {interval: ''}",
    MINIMAL + "poll: {concurrency: 65}",
    MINIMAL + "poll: {concurrency: 1.5}",
    MINIMAL + "poll: {concurrency: many}",
    MINIMAL + "poll: {max_requests_per_minute: 0}",
    MINIMAL + "recycle_bin: {enabled: maybe}",
    MINIMAL + "recycle_bin: {enabled: 1}",
    MINIMAL + "metrics: {duration_buckets: []}",
    MINIMAL + "metrics: {duration_buckets: [1, 1]}",
    MINIMAL + "metrics: {duration_buckets: [0]}",
    MINIMAL + "metrics: {duration_buckets: [1m]}",
    MINIMAL + "metrics: {extra_labels: [user]}",
    MINIMAL + "metrics: {extra_labels: trigger}",
    MINIMAL + "metrics: {branches: [[main]]}",
    MINIMAL + "metrics: {max_series: 1}",
    MINIMAL + "state: {redis_url: cache}",
    MINIMAL + "state: {redis_url: redis://cache, path: a.db}",
]


@pytest.mark.parametrize("text", INVALID_FILES)
def test_an_invalid_file_is_refused_by_schema_and_loader(text: str) -> None:
    assert not loads(text)
    assert not fits(read(text))


LOADER_ONLY = [
    MINIMAL + "poll: {interval: 1ms}",
    MINIMAL + "poll: {interval: 5m, max_interval: 1m}",
    MINIMAL + "poll: {concurrency: '65'}",
    MINIMAL + "metrics: {duration_buckets: [2, 1]}",
    MINIMAL + "metrics: {branches: ['[']}",
    MINIMAL + "metrics: {extra_labels: [branch]}",
    MINIMAL + "ca_file: not-there.pem",
    MINIMAL + "state: {path: '${UNSET}'}",
    f"{PLACE}\n{AUTH}\njobs: [{JOB}, {JOB}]",
    f"endpoint: https://host\nauth: {{password: {{domain: d, username: u, password: x}}}}\njobs: [{JOB}]",
]


@pytest.mark.parametrize("text", LOADER_ONLY)
def test_the_loader_is_stricter_here(text: str) -> None:
    assert not loads(text)
    assert fits(read(text))


TEXTS = (
    *(JOB, OTHER_JOB, "cn-north-4", "", "0", "30s", "1h30m", "10m5h", "8", "yes", "OFF", "a b", ".5", "1e2"),
    *(
        "https://a",
        "HTTP://a/b",
        "redis://a",
        "${A}",
        "x${A}",
        "$${A}",
        ":memory:",
        "main",
        "trigger",
        "branch",
    ),
)
OTHERS = (None, True, False, 0, 1, 64, 65, 1000, -1, 0.001, 0.5, 1e9, 10**31)
SCALARS = st.sampled_from(TEXTS) | st.sampled_from(OTHERS)
VALUES: st.SearchStrategy[Any] = SCALARS | st.lists(SCALARS, max_size=3) | st.just({})


def near(section: Schema) -> st.SearchStrategy[Any]:
    """Some of the keys that there are, most of them with a default or an example."""
    keys = {key: spec for key, spec in section["properties"].items() if spec.get("title") != "file path"}
    return st.fixed_dictionaries({}, optional={key: near_key(spec) for key, spec in keys.items()})


def near_key(spec: Schema) -> st.SearchStrategy[Any]:
    right = [
        st.just(value)
        for value in (*spec.get("examples", ()), *([spec["default"]] if "default" in spec else []))
    ]
    inner = [near(child) for child in sections_in(SCHEMA, spec)]
    if "items" in spec:
        inner = [st.lists(section, max_size=2) for section in inner]
    usual = st.one_of(*inner or right or [VALUES])
    return st.sampled_from([VALUES, *[usual] * 12]).flatmap(lambda chosen: chosen)


VALID = {"region": "cn-north-4", "auth": {"token": "made-up"}, "jobs": [JOB]}
KEPT = st.sampled_from([sorted(VALID)] * 4 + [[], ["auth"], ["auth", "region"], ["auth", "jobs"]])
REGIONS = st.sampled_from([*KNOWN_REGIONS[:2], "nowhere", "${A}", None])


@given(near(SCHEMA), KEPT)
def test_what_the_schema_refuses_the_loader_refuses(drawn: dict[str, Any], kept: list[str]) -> None:
    data = {**drawn, **{key: VALID[key] for key in kept}}
    assert fits(data) or not loads(json.dumps(data))


@given(st.data())
def test_the_loader_refuses_a_value_that_the_schema_refuses(data: st.DataObject) -> None:
    key = data.draw(st.sampled_from(sorted(SCHEMA["properties"])))
    changed = {**VALID, key: data.draw(near_key(SCHEMA["properties"][key]) | REGIONS)}
    assert fits(changed) or not loads(json.dumps(changed))


@given(DOCUMENTS)
def test_any_document_that_loads_fits(text: str) -> None:
    assert fits(read(text)) or not loads(text)
