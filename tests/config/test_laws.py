import json
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from exporter.config import Config, parse
from exporter.errors import ConfigError
from tests.config.helpers import JOB, MINIMAL, OTHER_JOB, PROJECT

KEYS = [
    *("region", "endpoint", "iam_endpoint", "ca_file", "auth", "jobs", "projects", "poll", "recycle_bin"),
    *("metrics", "state", "token", "token_file", "password", "access_key", "ecs_agency", "id", "name"),
    *("include", "interval", "timeout", "concurrency", "extra_labels", "branches", "path", "redis_url", "<<"),
]
SCALARS = (
    st.sampled_from(
        [JOB, OTHER_JOB, PROJECT, "cn-north-4", "30s", "0", "[[", "https://a", "${A}", "${B", "."]
    )
    | st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=3), inner, max_size=5)
    ),
    max_leaves=20,
)
DOCUMENTS = st.dictionaries(st.sampled_from(KEYS[:11]), VALUES, max_size=11).map(json.dumps)
SNIPPETS = st.lists(
    st.sampled_from([*"\n\t :-[]{},&*!|>'\"%@#?ab0", "\n  ", "<<: ", "${A}", "$${", "\\x", *KEYS]),
    max_size=40,
).map("".join)


def either_or(text: str) -> None:
    try:
        config = parse(text, source="config.yaml", environ={"A": "a"}, base_dir=Path("/nonexistent"))
    except ConfigError as error:
        assert all(line.startswith("config.yaml:") for line in str(error).split("\n"))  # noqa: PT017
        lines = [int(line.split(":")[1]) for line in str(error).split("\n")]
        assert lines == sorted(lines)
    else:
        assert isinstance(config, Config)


@given(st.text() | SNIPPETS)
@example("\ud800")
@example('"\\ud800"')
@example("a: '\u2028'")
@example("%YAML 99999999999999999999.1\n---\na")
@example("? [a]\n: b")
@example("<<: &a [*a]")
@example("!!set {a}")
@example("%TAG ! tag:x,\n--- !%ff a")
def test_any_text_is_a_configuration_or_a_config_error(text: str) -> None:
    either_or(text)


@given(SNIPPETS)
def test_any_text_after_a_good_one_is_a_configuration_or_a_config_error(text: str) -> None:
    either_or(MINIMAL + text)


@given(DOCUMENTS)
def test_any_document_is_a_configuration_or_a_config_error(text: str) -> None:
    either_or(text)


@given(st.text(min_size=1, max_size=12))
@pytest.mark.parametrize(
    "text",
    [
        "auth: {token: '${SECRET}'}\npoll: {interval: x}",
        "auth: {password: {domain: d, password: '${SECRET}'}}",
        "auth: {password_file: '${SECRET}'}",
        "region: '${SECRET}'",
        "jobs: ['${SECRET}', '${SECRET}']",
        "metrics: {extra_labels: ['${SECRET}'], stages: '${SECRET}', queue_buckets: ['${SECRET}']}",
        "endpoint: '${SECRET}'\nstate: {path: '${SECRET}', redis_url: '${SECRET}'}",
    ],
)
def test_no_error_repeats_what_came_from_the_environment(text: str, secret: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text, source="config.yaml", environ={"SECRET": f"Ж{secret}"}, base_dir=Path())
    assert "Ж" not in str(caught.value)
