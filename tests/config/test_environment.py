from exporter.config import TokenAuth
from tests.config.helpers import JOB, complaint, complaint_about, read, read_with


def test_a_name_is_replaced_anywhere_in_a_value() -> None:
    text = (
        f"region: '${{PLACE}}-north-${{NUMBER}}'\nauth: {{token: '${{TOKEN}}'}}\n"
        f'jobs: [{{id: {JOB}, name: "${{TEAM}}\'s build"}}]'
    )
    config = read(text, {"PLACE": "cn", "NUMBER": "4", "TOKEN": "made-up", "TEAM": "shop"})
    assert config.region == "cn-north-4"
    assert isinstance(config.auth, TokenAuth)
    assert config.auth.token.get_secret_value() == "made-up"
    assert config.jobs[0].name == "shop's build"


def test_numbers_durations_and_booleans_may_come_from_the_environment() -> None:
    text = """
poll: {interval: "${INTERVAL}", concurrency: "${CONCURRENCY}"}
metrics: {stages: "${STAGES}", queue_buckets: ["${BUCKET}"]}
"""
    config = read_with(text, {"INTERVAL": "30s", "CONCURRENCY": "4", "STAGES": "true", "BUCKET": "2.5"})
    assert (config.poll.interval, config.poll.concurrency) == (30.0, 4)
    assert (config.metrics.stages, config.metrics.queue_buckets) == (True, (2.5,))


def test_a_replaced_value_is_not_yaml_again() -> None:
    text = f"region: cn-north-4\nauth: {{token: '${{TOKEN}}'}}\njobs: [{{id: {JOB}, name: '${{NAME}}'}}]"
    config = read(text, {"TOKEN": "null", "NAME": "{a: [${TOKEN}]} # b"})
    assert isinstance(config.auth, TokenAuth)
    assert config.auth.token.get_secret_value() == "null"
    assert config.jobs[0].name == "{a: [${TOKEN}]} # b"


def test_a_doubled_dollar_escapes() -> None:
    text = f"region: cn-north-4\nauth: {{token: x}}\njobs: [{{id: {JOB}, name: '$${{NAME}} $NAME $$ $'}}]"
    assert read(text, {"NAME": "replaced"}).jobs[0].name == "${NAME} $NAME $$ $"


def test_keys_are_left_alone() -> None:
    assert complaint_about("'${POLL}': {}", {"POLL": "poll"}).startswith(
        'config.yaml:4: "${POLL}": is not a known key; the keys here are '
    )


def test_every_variable_that_is_not_set_is_named() -> None:
    assert complaint_about("poll:\n  timeout: ${A}${B}\n  interval: ${C}\n", {"C": "1m"}) == (
        "config.yaml:5: poll.timeout: the environment variable A is not set\n"
        "config.yaml:5: poll.timeout: the environment variable B is not set"
    )


def test_an_empty_secret_is_refused() -> None:
    text = f"region: cn-north-4\nauth: {{token: '${{TOKEN}}'}}\njobs: [{JOB}]"
    assert complaint(text, {"TOKEN": ""}) == (
        "config.yaml:2: auth.token: the environment variable TOKEN is empty; give a value or leave "
        "the key out"
    )


def test_a_reference_without_a_name_is_refused() -> None:
    expected = (
        'config.yaml:4: ca_file: has a "${" without a name and "}"; write ${NAME}, or $${ for "${" itself'
    )
    assert complaint_about("ca_file: a${b") == expected
    assert complaint_about("ca_file: ${B:-default}") == expected


def test_a_line_break_from_the_environment_is_refused() -> None:
    text = f"region: cn-north-4\nauth: {{token: '${{TOKEN}}'}}\njobs: [{JOB}]"
    assert complaint(text, {"TOKEN": "made-up\n"}) == (
        "config.yaml:2: auth.token: contains a line break or another control character"
    )


def test_what_came_from_the_environment_is_not_shown() -> None:
    assert complaint_about("poll: {timeout: '${TIMEOUT}'}", {"TIMEOUT": "hunter2"}) == (
        'config.yaml:4: poll.timeout: the value of "${TIMEOUT}" is not a duration; write a number and a '
        "unit, as 30s, 5m, 1h30m or 7d"
    )
