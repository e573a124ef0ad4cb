import pytest

from tests.config.helpers import JOB, MINIMAL, OTHER_JOB, complaint, complaint_about, read, read_with


def test_anchors_and_merge_keys_work() -> None:
    config = read(
        f"""
region: cn-north-4
auth: {{token: made-up}}
jobs:
  - &shop {{id: {JOB}, project: shop}}
  - {{<<: *shop, id: {OTHER_JOB}}}
poll: {{interval: &often 30s, max_interval: *often}}
"""
    )
    assert [(job.id, job.project) for job in config.jobs] == [(JOB, "shop"), (OTHER_JOB, "shop")]
    assert (config.poll.interval, config.poll.max_interval) == (30.0, 30.0)


def test_the_nearest_merged_mapping_wins() -> None:
    config = read(
        f"""
region: cn-north-4
auth: {{token: made-up}}
jobs:
  - &a {{id: {JOB}, project: a}}
  - &b {{id: {OTHER_JOB}, project: b, name: b}}
  - {{<<: [*a, *b], id: {"0" * 32}}}
"""
    )
    assert (config.jobs[2].project, config.jobs[2].name) == ("a", "b")


def test_digits_and_words_are_kept_as_written() -> None:
    zeros = "0" * 30 + "12"
    config = read(
        f"region: cn-north-4\nauth: {{token: 0123}}\njobs: [{{id: {zeros}, name: 1.10, project: yes}}]\n"
    )
    assert (config.jobs[0].id, config.jobs[0].name, config.jobs[0].project) == (zeros, "1.10", "yes")


def test_dates_and_quoted_nulls_are_texts() -> None:
    config = read(
        f"region: cn-north-4\nauth: {{token: x}}\njobs: [{{id: {JOB}, name: 2024-09-20, project: 'null'}}]\n"
    )
    assert (config.jobs[0].name, config.jobs[0].project) == ("2024-09-20", "null")


def test_null_means_the_default() -> None:
    text = (
        "poll:\nrecycle_bin: ~\nmetrics: null\nstate: {path: , retention: }\nprojects:\nendpoint:\nca_file:\n"
    )
    assert read_with(text) == read(MINIMAL)


def test_a_key_given_twice_is_refused() -> None:
    assert complaint_about("poll:\n  timeout: 5s\n  interval: 1m\n  timeout: 6s\npoll: {}\n") == (
        "config.yaml:7: poll.timeout: is given twice, first in line 5; keep one\n"
        "config.yaml:8: poll: is given twice, first in line 4; keep one"
    )


@pytest.mark.parametrize("text", ["", "\n# nothing\n", "---\n", "~", "null"])
def test_an_empty_file_is_refused(text: str) -> None:
    assert complaint(text) == "config.yaml:1: is empty; see config.example.yaml"


@pytest.mark.parametrize("text", ["- a", "region", "[]", "12"])
def test_a_file_that_is_no_mapping_is_refused(text: str) -> None:
    assert complaint(text) == "config.yaml:1: must be a mapping of keys to values, as in config.example.yaml"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\tregion: x", "1: is not YAML: a tab; YAML is indented with spaces"),
        ("region: @x", '1: is not YAML: a value cannot begin with "@"; quote it'),
        ("region: %x", '1: is not YAML: a value cannot begin with "%"; quote it'),
        ('region: "x\n', "2: is not YAML: a quotation mark without its partner (it begins in line 1)"),
        (
            "jobs: [a\npoll: {}",
            '2: is not YAML: a "[" without its "]", a "," is missing, or a "?" inside "[]" needs quotes '
            "(it begins in line 1)",
        ),
        (
            "region: x\npoll: {a: b\nauth: x",
            '3: is not YAML: a "{" without its "}", a "," is missing, or a ${NAME} inside "{}" needs quotes '
            "(it begins in line 2)",
        ),
        (
            "region: a: b",
            '1: is not YAML: a ":" is not allowed here; quote a value that contains ": "',
        ),
        (
            "region: x\npoll\nauth: {}",
            '3: is not YAML: a key without ":", or a quotation mark without its partner '
            "(it begins in line 2)",
        ),
        (
            "poll:\n    interval: 1m\n  timeout: 1s\n",
            "3: is not YAML: the indentation does not fit the lines above (it begins in line 1)",
        ),
        (
            "region: x\n---\nregion: y",
            '2: is not YAML: a second document ("---") begins here; only one is allowed '
            "(it begins in line 1)",
        ),
        (
            "region: *x",
            '1: is not YAML: an alias "*…" without its anchor "&…"; quote a value that begins with "*"',
        ),
        (
            "region: &a x\nendpoint: &a y",
            '2: is not YAML: the same anchor "&…" twice; quote a value that begins with "&" '
            "(it begins in line 1)",
        ),
        (
            "region: !x!y z",
            '1: is not YAML: a tag that is not defined; quote a value that begins with "!"',
        ),
        ("region: x\npoll: \x07", "2: is not YAML: the character U+0007 is not allowed"),
        ('region: "\\U00110000"', "1: is not YAML: an impossible escape or number"),
        ('region: "\\q"', "1: is not YAML: found unknown escape character"),
        ("[" * 5_000, "1: is nested too deeply"),
    ],
)
def test_what_is_not_yaml_is_refused_with_its_line(text: str, expected: str) -> None:
    assert complaint(text) == f"config.yaml:{expected}"


@pytest.mark.parametrize("tag", ["!!python/object:os.system", "!!python/name:os.system", "!!binary", "!mine"])
def test_tags_are_refused(tag: str) -> None:
    assert complaint_about(f"poll: {{timeout: {tag} x}}") == (
        'config.yaml:4: poll.timeout: has an unsupported YAML tag; quote a value that begins with "!"'
    )


def test_a_bomb_of_aliases_is_refused() -> None:
    levels = "\n".join(f"  l{i}: &l{i} [{', '.join([f'*l{i - 1}'] * 10)}]" for i in range(1, 10))
    assert complaint(f"poll:\n  l0: &l0 [a]\n{levels}\n") == (
        "config.yaml:1: its aliases expand to more than 200,000 values"
    )


def test_a_bomb_of_merges_is_refused() -> None:
    levels = "\n".join(f"  l{i}: &l{i} {{<<: [{', '.join([f'*l{i - 1}'] * 10)}]}}" for i in range(1, 10))
    assert complaint(f"poll:\n  l0: &l0 {{a: b}}\n{levels}\n") == (
        "config.yaml:1: its aliases expand to more than 200,000 values"
    )


def test_a_value_within_itself_is_refused() -> None:
    place = "poll.timeout" + "[0]" * 19
    assert complaint_about("poll: {timeout: &a [*a]}") == (
        f"config.yaml:4: {place}: is nested too deeply, or within itself\n"
        "config.yaml:4: poll.timeout: must be a single value, not a list"
    )


def test_a_mapping_merged_with_itself_is_refused() -> None:
    assert (
        'config.yaml:4: poll: merges itself or a value that is not a mapping with "<<"'
        in complaint_about("poll: &a {<<: *a}").splitlines()
    )


def test_only_mappings_can_be_merged() -> None:
    assert complaint_about("poll:\n  <<: 5m\n") == (
        'config.yaml:5: poll: merges itself or a value that is not a mapping with "<<"'
    )


def test_keys_are_plain_text() -> None:
    assert complaint_about("poll:\n  [a]: b\n") == "config.yaml:5: poll: has a key that is not plain text"


def test_odd_keys_are_shown_in_quotation_marks() -> None:
    assert complaint_about("poll: {'a b': c}") == (
        'config.yaml:4: poll."a b": is not a known key; the keys here are interval, max_interval, lookback, '
        "concurrency, max_requests_per_minute and timeout"
    )


COLON = 'write ":" in place of "：" (U+FF1A FULLWIDTH COLON)'
COMMA = 'write "," in place of "，" (U+FF0C FULLWIDTH COMMA)'
HYPHEN = 'write "-" in place of "－" (U+FF0D FULLWIDTH HYPHEN-MINUS)'
QUOTE = """write '"' in place of "“" (U+201C LEFT DOUBLE QUOTATION MARK)"""
BRACKET = 'write "[" in place of "［" (U+FF3B FULLWIDTH LEFT SQUARE BRACKET)'
NO_BREAK = "write a space in place of U+00A0 NO-BREAK SPACE"
IDEOGRAPHIC = "write a space in place of U+3000 IDEOGRAPHIC SPACE"
REST = "region: cn-north-4\nauth: {token: made-up}\n"


@pytest.mark.parametrize(
    ("text", "line", "hint"),
    [
        (f"region： cn-north-4\nauth: {{token: x}}\njobs: [{JOB}]\n", 1, COLON),
        ("region： cn-north-4\n", 1, COLON),
        ("region： cn-north-4\n\nauth：\n  token： x\n", 1, COLON),
        (REST + f"jobs:\n  - id： {JOB}\n", 4, COLON),
        (REST + f"jobs:\n  - id: {JOB}\n    name： x\n", 5, COLON),
        (REST + f"jobs: [{{id： {JOB}}}]\n", 3, COLON),
        (MINIMAL + "poll:\n  timeout： 5s\n  interval: 1m\n", 5, COLON),
        (MINIMAL + "poll:\n  interval: 1m\n  timeout： 5s\n", 6, COLON),
        (MINIMAL + "poll:\n  interval: 1m\n\u3000timeout: 5s\n", 6, IDEOGRAPHIC),
        (MINIMAL + "poll:\n\u00a0 interval: 1m\n", 5, NO_BREAK),
        (MINIMAL + "poll:\n  interval:\u00a01m\n", 5, NO_BREAK),
        (f"region:\u3000cn-north-4\nauth: {{token: x}}\njobs: [{JOB}]\n", 1, IDEOGRAPHIC),
        (REST + f"jobs:\n  -\u3000{JOB}\n", 4, IDEOGRAPHIC),
        (REST + f"jobs:\n  - {JOB}\n  －{OTHER_JOB}\n", 5, HYPHEN),
        (REST + f"jobs: [{JOB}，{OTHER_JOB}]\n", 3, COMMA),
        (MINIMAL + "poll: {interval: 1m，timeout: 5s}\n", 4, COMMA),
        (REST + f'jobs:\n  - "{JOB}"，\n', 4, COMMA),
        (REST + f"jobs: ［{JOB}］\n", 3, BRACKET),
        (f"region: “cn-north-4”\nauth: {{token: x}}\njobs: [{JOB}]\n", 1, QUOTE),
        (MINIMAL + "recycle_bin: {enabled: “true”}\n", 4, QUOTE),
        (REST + f"jobs:\n  -{JOB}\n", 4, 'write a space after "-"'),
        (REST + f"jobs:\n  - {JOB}\n  -{OTHER_JOB}\n", 5, 'write a space after "-"'),
        (f"region:cn-north-4\nauth: {{token: x}}\njobs: [{JOB}]\n", 1, 'write a space after ":"'),
    ],
)
def test_a_lookalike_character_is_reported_in_its_line(text: str, line: int, hint: str) -> None:
    message = complaint(text)
    assert message.startswith(f"config.yaml:{line}: ")
    assert message.endswith(hint)
    assert "\n" not in message


def test_names_and_comments_may_have_such_characters() -> None:
    text = MINIMAL.replace(
        f"[{JOB}]", f"\n  - {{id: {JOB}, name: 构建：主，“次”, project: 商店－一}}  # 说明：如下"
    )
    assert (read(text).jobs[0].name, read(text).jobs[0].project) == ("构建：主，“次”", "商店－一")
    assert complaint(text + "poll: {interval: 5}\n").endswith("as 30s, 5m, 1h30m or 7d")
