import pickle
from pathlib import Path

import pytest
from pydantic import ValidationError

from exporter.config import Config, parse_duration
from exporter.config.problems import quote
from exporter.config.regions import KNOWN_REGIONS
from exporter.config.schema import PollConfig
from exporter.model import ALL
from tests.config.helpers import (
    JOB,
    MINIMAL,
    OTHER_JOB,
    PROJECT,
    complaint,
    complaint_about,
    read,
    read_with,
)
from tests.config.helpers import (
    KNOWN_REGIONS as KNOWN_REGIONS_TEXT,
)

AUTH = "auth: {token: made-up}\n"
JOBS = f"jobs: [{JOB}]\n"
URL_WANTED = "must be a URL that begins with https:// or http://, as https://host:8443"


def test_a_small_file_is_enough() -> None:
    config = read(MINIMAL)
    assert [job.id for job in config.jobs] == [JOB]
    assert config.projects == ()
    assert config.ca_file is None
    assert config.poll.interval == parse_duration("1m")
    assert config.poll.max_interval is None
    assert config.poll.lookback == parse_duration("30d")
    assert (config.poll.concurrency, config.poll.max_requests_per_minute, config.poll.timeout) == (
        8,
        300,
        10.0,
    )
    assert (config.recycle_bin.enabled, config.recycle_bin.interval) == (True, 600.0)
    assert config.metrics.extra_labels == ()
    assert config.metrics.branches == ()
    assert (config.metrics.stages, config.metrics.created_series) == (False, False)
    assert config.state.path == "codearts-build-exporter.db"
    assert config.state.redis_url is None
    assert config.state.retention == parse_duration("30d")


def test_buckets_are_those_of_the_contract() -> None:
    metrics = read(MINIMAL).metrics
    assert metrics.duration_buckets == (10, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400)
    assert metrics.queue_buckets == (1, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)


def test_a_configuration_is_frozen() -> None:
    config = read(MINIMAL)
    with pytest.raises(ValidationError, match="frozen"):
        config.poll.interval = 1.0  # type: ignore[misc]


def test_the_same_file_gives_an_equal_configuration() -> None:
    text = MINIMAL + f"projects: [{{id: {PROJECT}, include: [a.*]}}]\n"
    assert read(text) == read(text)
    assert read(text) != read(MINIMAL)


@pytest.mark.parametrize("region", KNOWN_REGIONS)
def test_a_known_region_gives_the_endpoints(region: str) -> None:
    config = read(f"region: {region}\n" + AUTH + JOBS)
    if region == "eu-west-101":
        assert config.endpoint == "https://build-backend.eu-west-101.myhuaweicloud.eu"
        assert config.iam_endpoint == "https://iam.eu-west-101.myhuaweicloud.eu"
    else:
        assert config.endpoint == f"https://cloudbuild-ext.{region}.myhuaweicloud.com"
        assert config.iam_endpoint == f"https://iam.{region}.myhuaweicloud.com"


def test_an_endpoint_stands_in_for_the_region() -> None:
    config = read("endpoint: http://127.0.0.1:8080/build/\n" + AUTH + JOBS)
    assert (config.region, config.endpoint, config.iam_endpoint) == (None, "http://127.0.0.1:8080/build", "")


def test_an_endpoint_allows_any_region() -> None:
    config = read("region: my-cloud-1\nendpoint: https://build.example.com\n" + AUTH + JOBS)
    assert (config.region, config.endpoint) == ("my-cloud-1", "https://build.example.com")


def test_an_unknown_region_without_an_endpoint_is_refused() -> None:
    assert complaint("region: cn-north-9\n" + AUTH + JOBS) == (
        f'config.yaml:1: region: "cn-north-9" is not a known region; did you mean "cn-north-4"? '
        f"{KNOWN_REGIONS_TEXT}"
    )


def test_neither_region_nor_endpoint_is_refused() -> None:
    assert complaint(AUTH + JOBS) == f"config.yaml:1: region: is missing; {KNOWN_REGIONS_TEXT}"


def test_a_password_is_never_sent_to_an_address_made_up_from_a_name() -> None:
    auth = "auth:\n  password: {domain: d, username: u, password: x}\n"
    assert complaint("region: my-cloud-1\nendpoint: https://build.example.com\n" + auth + JOBS) == (
        "config.yaml:4: auth.password: needs iam_endpoint, which has a default only in a known region"
    )
    assert complaint("endpoint: https://b.example\niam_endpoint: https://i.example\n" + auth + JOBS) == (
        "config.yaml:4: auth.password.project: is missing; without region it has no default"
    )


@pytest.mark.parametrize(
    ("url", "wrong"),
    [
        ("file:///etc/passwd", URL_WANTED),
        ("build.example.com", URL_WANTED),
        ("ftp://build.example.com", URL_WANTED),
        ("https://", URL_WANTED),
        ("https://host:port", URL_WANTED),
        ("https://host:99999", URL_WANTED),
        ("'https://[::1'", URL_WANTED),
        ("https://ho st", "must be a URL without spaces, as https://host"),
        ("https://hôte", "must be a URL without spaces, as https://host"),
        ("https://user:pw@host", "must not contain a user name or password; they belong under auth"),
        ("https://user@host", "must not contain a user name or password; they belong under auth"),
        ("https://host/?a=b", 'must end before the "?" or "#": a host and an optional path'),
        ("'https://host/#a'", 'must end before the "?" or "#": a host and an optional path'),
        ("[https://host]", "must be a single value, not a list"),
        ("{https: host}", "must be a single value, not a section"),
    ],
)
def test_an_endpoint_is_a_plain_url(url: str, wrong: str) -> None:
    assert complaint_about(f"endpoint: {url}\niam_endpoint: {url}\n") == (
        f"config.yaml:4: endpoint: {wrong}\nconfig.yaml:5: iam_endpoint: {wrong}"
    )


def test_certificates_are_looked_for_beside_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("-----BEGIN CERTIFICATE-----\n")
    (tmp_path / "ca.der").write_bytes(b"\x30\x82")
    assert read(MINIMAL + "ca_file: ca.pem", base_dir=tmp_path).ca_file == tmp_path / "ca.pem"
    assert complaint(MINIMAL + "ca_file: ca.der", base_dir=tmp_path) == (
        'config.yaml:4: ca_file: contains no certificate in PEM form ("-----BEGIN CERTIFICATE-----")'
    )


def test_nothing_to_watch_is_refused() -> None:
    nothing = "there is nothing to watch; give jobs, projects or both (list-jobs shows the jobs)"
    assert complaint("region: cn-north-4\n" + AUTH) == f"config.yaml:1: jobs: {nothing}"
    assert complaint("region: cn-north-4\n" + AUTH + "jobs: []\n") == f"config.yaml:3: jobs: {nothing}"
    assert read("region: cn-north-4\n" + AUTH + f"projects: [{PROJECT}]").projects[0].id == PROJECT


IN_ITS_URL = "it is the 32 characters [0-9a-z] after the project's in the job's URL, and list-jobs prints it"
AFTER_PROJECT = "it is the 32 characters [0-9a-z] after /project/ in the project's URL"


@pytest.mark.parametrize("bad", ["abc", JOB + "_", "x" * 50, "7"])
def test_a_job_id_is_32_characters(bad: str) -> None:
    wrong = f"is not a job ID; {IN_ITS_URL}"
    assert complaint(
        "region: cn-north-4\n" + AUTH + f"jobs:\n  - {JOB}\n  - {bad}\n  - {{id: {bad}a}}\n"
    ) == (f'config.yaml:5: jobs[1].id: "{bad}" {wrong}\nconfig.yaml:6: jobs[2].id: "{bad}a" {wrong}')


PAGE = f"https://devcloud.cn-north-4.huaweicloud.com/codeci/project/{PROJECT}/job/{JOB}"


@pytest.mark.parametrize(
    ("listed", "bad", "message"),
    [
        ("jobs", f"{PAGE}/history", f"is a URL, not a job ID; {IN_ITS_URL}; write {JOB}"),
        ("jobs", f"https://host/project/{PROJECT}/home", f"is a URL, not a job ID; {IN_ITS_URL}"),
        ("jobs", "https://host/page", f"is a URL, not a job ID; {IN_ITS_URL}"),
        ("projects", PAGE, f"is a URL, not a project ID; {AFTER_PROJECT}; write {PROJECT}"),
        ("projects", f"https://host/{JOB}", f"is a URL, not a project ID; {AFTER_PROJECT}"),
        ("jobs", JOB[:-1], f"has 31 characters, but a job ID has 32; {IN_ITS_URL}"),
        ("projects", JOB + "0", f"has 33 characters, but a project ID has 32; {AFTER_PROJECT}"),
        ("jobs", f"{JOB[:8]}-{JOB[8:]}", f"has dashes; IDs have none; write {JOB}"),
    ],
)
def test_an_almost_valid_id_is_reported_with_its_error(listed: str, bad: str, message: str) -> None:
    complaint_of = complaint("region: cn-north-4\n" + AUTH + f"{listed}: [{bad}]\n")
    assert complaint_of == f"config.yaml:3: {listed}[0].id: {quote(bad)} {message}"


def test_an_id_in_an_address_from_the_environment_is_not_shown() -> None:
    assert complaint("region: cn-north-4\n" + AUTH + "jobs: ['${PAGE}']", {"PAGE": PAGE}) == (
        f'config.yaml:3: jobs[0].id: the value of "${{PAGE}}" is a URL, not a job ID; {IN_ITS_URL}'
    )


@pytest.mark.parametrize(
    ("text", "messages"),
    [
        (f"region: cn-north-4\ntoken: made-up\n{JOBS}", ["2: token: belongs in the section auth"]),
        (
            f"region: cn-north-4\nauth:\n  username: u\n  domain: d\n  password_file: p\n{JOBS}",
            [
                f"{line}: auth.{key}: belongs in the section password"
                for line, key in ((3, "username"), (4, "domain"))
            ]
            + ["5: auth.password_file: belongs in the section password"],
        ),
        (
            f"region: cn-north-4\nauth:\n  access_key: a\n  secret_key: b\n{JOBS}",
            ["4: auth.secret_key: belongs in the section access_key"],
        ),
    ],
)
def test_a_key_of_a_section_beside_it_is_reported_once(text: str, messages: list[str]) -> None:
    assert complaint(text) == "\n".join(f"config.yaml:{message}" for message in messages)


def test_an_unknown_region_is_reported_once() -> None:
    password = "auth: {password: {domain: d, username: u, password: made-up}}\n"
    assert len(complaint(f"region: nowhere\n{password}{JOBS}").splitlines()) == 1
    assert len(complaint(f"{password}{JOBS}").splitlines()) == 1


def test_capital_letters_in_an_id_are_reported() -> None:
    message = f"has capital letters; IDs are lower case; write {PROJECT}"
    shouted = PROJECT.upper()
    assert shouted != PROJECT
    assert (
        complaint_about(f"projects: [{shouted}]") == f'config.yaml:4: projects[0].id: "{shouted}" {message}'
    )


def test_a_project_id_is_32_characters() -> None:
    assert complaint_about("projects: [shop]") == (
        'config.yaml:4: projects[0].id: "shop" is not a project ID; it is the 32 characters [0-9a-z] after '
        "/project/ in the project's URL"
    )


def test_a_job_listed_twice_is_refused_with_the_first_line() -> None:
    text = f"region: cn-north-4\n{AUTH}jobs:\n  - {JOB}\n  - {OTHER_JOB}\n  - {{id: {JOB}, name: x}}\n"
    assert complaint(text) == "config.yaml:6: jobs[2].id: jobs[0] has the same id, in line 4; keep one"


def test_two_jobs_of_one_name_in_one_project_are_refused() -> None:
    text = f"""region: cn-north-4
{AUTH}jobs:
  - {{id: {JOB}, name: checkout, project: shop}}
  - {{id: {OTHER_JOB}, name: checkout, project: shop}}
  - {{id: {"0" * 32}, name: checkout, project: other}}
  - {{id: {"1" * 32}, name: checkout}}
  - {{id: {"2" * 32}, name: checkout}}
"""
    assert complaint(text) == (
        "config.yaml:5: jobs[1]: jobs[0] has the same project and name, in line 4; keep one"
    )


def test_a_project_listed_twice_is_refused() -> None:
    assert complaint_about(f"projects:\n  - {PROJECT}\n  - {{id: {PROJECT}, name: shop}}\n") == (
        "config.yaml:6: projects[1].id: projects[0] has the same id, in line 5; keep one"
    )


def test_jobs_are_a_list_of_ids_or_sections() -> None:
    assert complaint("region: cn-north-4\n" + AUTH + f"jobs: {JOB}\n") == (
        "config.yaml:3: jobs: must be a list, as [a, b]"
    )
    assert complaint("region: cn-north-4\n" + AUTH + "jobs:\n  -\n  - {name: x}\n  - [a]\n") == (
        "config.yaml:4: jobs[0]: is empty; the keys here are id, name and project\n"
        "config.yaml:5: jobs[1].id: is missing: the job's ID\n"
        "config.yaml:6: jobs[2]: must be a section; the keys here are id, name and project"
    )


@pytest.mark.parametrize(
    ("rules", "wanted", "unwanted"),
    [
        ("", ["a", "release-1"], []),
        ("include: [release-.*]", ["release-1"], ["a", "pre-release-1"]),
        ("include: [a, b]", ["a", "b"], ["ab"]),
        ("exclude: [tmp-.*]", ["a", "my-tmp-1"], ["tmp-1"]),
        ("include: [release-.*], exclude: ['.*-old']", ["release-1"], ["release-1-old", "a"]),
    ],
)
def test_a_project_wants_the_jobs_whose_whole_name_matches(
    rules: str, wanted: list[str], unwanted: list[str]
) -> None:
    project = read_with(f"projects: [{{id: {PROJECT}, {rules}}}]").projects[0]
    assert [name for name in wanted + unwanted if project.wants(name)] == wanted


@pytest.mark.parametrize("projects", ["[all]", "[{id: all}]", "[{id: all, exclude: ['x.*']}]"])
def test_all_stands_for_every_project(projects: str) -> None:
    [project] = read(f"region: cn-north-4\n{AUTH}projects: {projects}").projects
    assert (project.id, project.wants("a")) == (ALL, True)


def test_all_projects_can_have_no_name_in_common() -> None:
    complaint = complaint_about("projects:\n  - id: all\n    name: shop\n")
    assert complaint.startswith("config.yaml:6: projects[0].name: cannot be given for all projects")


def test_all_is_the_id_of_no_job() -> None:
    assert 'jobs[0].id: "all" is not a job ID' in complaint(f"region: cn-north-4\n{AUTH}jobs: [all]")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("jobs: [All]", 'jobs[0].id: "All" is not a job ID; every job is watched by projects: [all]'),
        ("projects: [ALL]", 'projects[0].id: "ALL" has capital letters; write all'),
    ],
)
def test_all_is_written_in_small_letters_under_projects(text: str, problem: str) -> None:
    assert complaint(f"region: cn-north-4\n{AUTH}{text}") == f"config.yaml:3: {problem}"


def test_an_invalid_regular_expression_is_refused() -> None:
    text = f"projects:\n  - id: {PROJECT}\n    include: ['a(']\n    exclude: [ok, '*b']\n"
    wrong = "is not a regular expression in RE2's syntax"
    assert complaint_about(text + 'metrics: {branches: ["[a", "a{1001}"]}') == (
        f'config.yaml:6: projects[0].include[0]: "a(" {wrong}: missing )\n'
        f'config.yaml:7: projects[0].exclude[1]: "*b" {wrong}: no argument for repetition operator\n'
        f'config.yaml:8: metrics.branches[0]: "[a" {wrong}: missing ]\n'
        f'config.yaml:8: metrics.branches[1]: "a{{1001}}" {wrong}: invalid repetition size'
    )


@pytest.mark.parametrize(
    "expression", ["(?!tmp).*", "(?=a)a", "a(?<!b)", "(?<=a)b", r"(a)\1", "(?P<n>a)(?P=n)"]
)
def test_errors_mention_unsupported_regex_features(
    expression: str, capfd: pytest.CaptureFixture[str]
) -> None:
    complaint = complaint_about(f"metrics: {{branches: ['{expression}']}}")
    assert complaint.startswith(
        f'config.yaml:4: metrics.branches[0]: "{expression}" is not a regular expression'
    )
    assert complaint.endswith("; RE2 has no lookarounds and no backreferences")
    assert capfd.readouterr() == ("", "")


def test_an_expression_is_a_single_value() -> None:
    assert complaint_about("metrics: {branches: [[main]]}") == (
        "config.yaml:4: metrics.branches[0]: must be a single value, not a list"
    )


@pytest.mark.timeout(20)
def test_no_expression_takes_long_over_an_ordinary_name() -> None:
    name = "feature-this-is-a-quite-ordinary-branch-name-x"
    slow = "'([a-z0-9]+-?)+/main'"
    assert read_with(f"metrics: {{branches: [{slow}]}}").metrics.branch_label(name) == "other"
    for key in ("include", "exclude"):
        project = read_with(f"projects: [{{id: {PROJECT}, {key}: [{slow}]}}]").projects[0]
        assert project.wants(name) is (key == "exclude")


@pytest.mark.parametrize(
    ("expression", "wanted", "unwanted"),
    [
        ("发布/.", "发布/一", "发布/一二"),
        (r"\p{Han}+", "构建", "build"),
        ("(?i)ÉTÉ", "été", "ete"),
        ("[^a]🎉", "b🎉", "a🎉"),
        ("a|ab", "ab", "abc"),
        (".*", "", "two\nlines"),
    ],
)
def test_expressions_match_whole_names_in_any_script(expression: str, wanted: str, unwanted: str) -> None:
    metrics = read_with(f"metrics: {{branches: ['{expression}']}}").metrics
    assert [metrics.branch_label(name) for name in (wanted, unwanted)] == [wanted, "other"]


def test_a_lone_surrogate_in_a_name_is_accepted() -> None:
    metrics = read_with("metrics: {branches: ['release.*']}").metrics
    assert metrics.branch_label("\ud800") == "other"


def test_equal_expressions_are_equal_patterns() -> None:
    first, second = (read_with("metrics: {branches: ['release/.*']}").metrics.branches for _ in range(2))
    assert first == second
    assert repr(first) == "(Pattern(text='release/.*'),)"
    assert pickle.loads(pickle.dumps(first))[0].matches("release/1")


def test_unknown_keys_are_refused_with_what_was_meant() -> None:
    assert complaint_about("pol: {}\npoll: {intervall: 1m, x: 1}\nstate: {redisurl: x}\n") == (
        'config.yaml:4: pol: is not a known key; did you mean "poll"?\n'
        'config.yaml:5: poll.intervall: is not a known key; did you mean "interval"?\n'
        "config.yaml:5: poll.x: is not a known key; the keys here are interval, max_interval, lookback, "
        "concurrency, max_requests_per_minute and timeout\n"
        'config.yaml:6: state.redisurl: is not a known key; did you mean "redis_url"?'
    )


def test_a_key_with_its_section_before_a_dot_is_corrected() -> None:
    assert complaint_about("metrics.detail: lean\n") == (
        'config.yaml:4: "metrics.detail": is not a known key; write metrics: {detail: …}'
    )


@pytest.mark.parametrize(
    "auth", ["{token: made-up}", "{password: {domain: d, username: u, password: made-up}}"]
)
def test_a_misspelt_key_is_reported_once_and_without_its_consequences(auth: str) -> None:
    assert complaint(f"regon: cn-north-4\nauth: {auth}\njobs: [{JOB}]\n") == (
        'config.yaml:1: regon: is not a known key; did you mean "region"?'
    )
    assert complaint(f"region: cn-north-4\nauth: {auth}\njob: [{JOB}]\n") == (
        'config.yaml:3: job: is not a known key; did you mean "jobs"?'
    )


def test_a_misspelt_key_beside_the_correct_one_hides_nothing() -> None:
    assert complaint_about("poll: {intervall: 1m, interval: 5x}\n") == (
        'config.yaml:4: poll.intervall: is not a known key; did you mean "interval"?\n'
        'config.yaml:4: poll.interval: "5x" is not a duration; write a number and a unit, as 30s, 5m, 1h30m '
        "or 7d"
    )


def test_a_section_is_no_single_value() -> None:
    assert complaint_about("recycle_bin: true\nstate: [a]\n") == (
        "config.yaml:4: recycle_bin: must be a section; the keys here are enabled and interval\n"
        "config.yaml:5: state: must be a section; the keys here are redis_url, path and retention"
    )


@pytest.mark.parametrize(
    ("key", "bad", "limits"),
    [
        ("poll: {interval: BAD}", "0", "100ms and 1d"),
        ("poll: {max_interval: BAD}", "2d", "100ms and 1d"),
        ("poll: {lookback: BAD}", "1h", "1d and 365d"),
        ("poll: {lookback: BAD}", "366d", "1d and 365d"),
        ("poll: {timeout: BAD}", "6m", "100ms and 5m"),
        ("poll: {concurrency: BAD}", "0", "1 and 64"),
        ("poll: {concurrency: BAD}", "65", "1 and 64"),
        ("poll: {max_requests_per_minute: BAD}", "-1", "1 and 100000"),
        ("recycle_bin: {interval: BAD}", "1ms", "100ms and 1d"),
        ("state: {retention: BAD}", "0", "1h and 10y"),
    ],
)
def test_numbers_and_durations_have_limits(key: str, bad: str, limits: str) -> None:
    path = key.replace(": {", ".").split(":")[0]
    assert complaint_about(key.replace("BAD", bad)) == (
        f'config.yaml:4: {path}: "{bad}" is not between {limits}'
    )


def test_invalid_numbers_durations_and_booleans_are_refused() -> None:
    text = """poll:
  interval: 5
  timeout: 1.5s
  concurrency: 2.0
  max_requests_per_minute: [1]
recycle_bin: {enabled: maybe}
metrics: {stages: 1, created_series: 2}
"""
    form = "is not a duration; write a number and a unit, as 30s, 5m, 1h30m or 7d"
    assert complaint_about(text) == (
        f'config.yaml:5: poll.interval: "5" {form}\n'
        f'config.yaml:6: poll.timeout: "1.5s" {form}\n'
        'config.yaml:7: poll.concurrency: "2.0" is not a whole number\n'
        "config.yaml:8: poll.max_requests_per_minute: must be a single value, not a list\n"
        'config.yaml:9: recycle_bin.enabled: "maybe" is neither true nor false\n'
        'config.yaml:10: metrics.stages: "1" is neither true nor false\n'
        'config.yaml:10: metrics.created_series: "2" is neither true nor false'
    )


def test_the_longest_interval_is_not_shorter_than_the_interval() -> None:
    assert complaint_about("poll:\n  max_interval: 1m\n  interval: 90s\n") == (
        "config.yaml:5: poll.max_interval: must not be shorter than poll.interval: 1m is below 1m30s"
    )
    assert read_with("poll: {interval: 20m}").poll.max_interval is None


@pytest.mark.parametrize(
    ("buckets", "wrong"),
    [
        ("[]", ": must have at least one upper bound, in seconds"),
        ("[1, 3, 2]", ": must ascend by at least a millisecond; 2 follows 3"),
        ("[1, 1.0]", ": must ascend by at least a millisecond; 1 follows 1"),
        ("60", ": must be a list, as [a, b]"),
        ("[1, 1m]", '[1]: "1m" is not a number of seconds'),
        ("[true]", '[0]: "true" is not a number of seconds'),
        (
            "[1, 2, .inf]",
            '[2]: ".inf" must be a finite number of seconds above 0; the +Inf bucket is added',
        ),
        ("[1, +Inf]", '[1]: "+Inf" must be a finite number of seconds above 0; the +Inf bucket is added'),
        ("[.nan]", '[0]: ".nan" must be a finite number of seconds above 0; the +Inf bucket is added'),
        ("[1e999]", '[0]: "1e999" must be a finite number of seconds above 0; the +Inf bucket is added'),
        ("[0]", '[0]: "0" must be a finite number of seconds above 0; the +Inf bucket is added'),
        ("[0.0001]", '[0]: "0.0001" must be between 0.001 and 31536000 seconds'),
        ("[1e306]", '[0]: "1e306" must be between 0.001 and 31536000 seconds'),
        ("[1.0001, 1.0002]", ": must ascend by at least a millisecond; 1 follows 1"),
        ("[-1]", '[0]: "-1" must be a finite number of seconds above 0; the +Inf bucket is added'),
        ("[[1]]", "[0]: must be a single value, not a list"),
    ],
)
def test_buckets_ascend_and_are_finite(buckets: str, wrong: str) -> None:
    assert complaint_about(f"metrics: {{duration_buckets: {buckets}}}") == (
        f"config.yaml:4: metrics.duration_buckets{wrong}"
    )


def test_buckets_may_have_fractions() -> None:
    assert read_with("metrics: {queue_buckets: [.5, 1., 1.5, 1e2]}").metrics.queue_buckets == (
        0.5,
        1,
        1.5,
        100,
    )


def test_extra_labels_are_trigger_and_branch() -> None:
    assert complaint_about("metrics: {extra_labels: [trigger, user]}") == (
        'config.yaml:4: metrics.extra_labels[1]: "user" is not one of trigger or branch'
    )
    assert read_with("metrics: {extra_labels: [trigger, trigger]}").metrics.extra_labels == ("trigger",)


def test_the_label_branch_needs_a_list_of_branches() -> None:
    assert complaint_about("metrics: {extra_labels: [branch]}") == (
        "config.yaml:4: metrics.branches: must list the branches to distinguish, because extra_labels "
        'has "branch"'
    )


def test_plain_branches_have_no_regex_syntax() -> None:
    text = "metrics: {branches: [main, 'release/.*', feature_x-1, 'v1\\.0', 'a|b', main, 开发, x$]}"
    assert read_with(text).metrics.plain_branches == ("main", "feature_x-1", "开发")


def test_branches_outside_of_the_list_become_other() -> None:
    metrics = read_with("metrics: {extra_labels: [branch], branches: [main, release/.*]}").metrics
    assert [metrics.branch_label(name) for name in ("main", "release/1", "main2", "")] == [
        "main",
        "release/1",
        "other",
        "other",
    ]


def test_the_state_is_kept_in_a_file_or_on_a_server() -> None:
    assert read_with("state: {path: ':memory:'}").state.path == ":memory:"
    state = read_with("state: {redis_url: 'rediss://cache:6380/1'}").state
    assert state.path is None
    assert state.redis_url is not None
    assert state.redis_url.get_secret_value() == "rediss://cache:6380/1"
    assert complaint_about("state: {redis_url: 'redis://cache', path: a.db}") == (
        "config.yaml:4: state.path: cannot be given together with redis_url; keep one"
    )
    assert complaint_about("state: {redis_url: cache, path: a.db}") == (
        "config.yaml:4: state.redis_url: must begin with redis://, rediss:// (TLS) or unix://"
    )


@pytest.mark.parametrize(
    "url",
    [
        "redis://",
        "redis://cache",
        "redis://cache:6379/",
        "redis://:secret@cache:6379/3?socket_timeout=1",
        "redis://user:a%23b%2Fc%3Fd%40e%25:f@[::1]:6379",
        "rediss://:secret@cache/0?ssl_ca_certs=/etc/ca.pem&ssl_check_hostname=false",
        "unix:///run/redis@2/redis.sock?db=2",
        "unix://user:secret@/run/redis.sock",
    ],
)
def test_the_address_of_a_redis_server(url: str) -> None:
    state = read_with(f"state: {{redis_url: '{url}'}}").state
    assert state.redis_url is not None
    assert state.redis_url.get_secret_value() == url


@pytest.mark.parametrize(
    "url",
    [
        "redis://:2024#hunter2@cache",
        "redis://:2024/hunter2@cache",
        "redis://:2024?hunter2@cache",
        "redis://:2024#hunter2/x@cache",
        "redis://:hun@ter2@cache",
        "redis://:hunter2%@cache",
        "redis://:hunter2%2@cache",
        "redis://:hunter2",
        "redis://:hunter2@cache:70000",
        "redis://:hunter2@cache:0",
        "redis://:hunter2@cache/hunter2",
        "redis://:hunter2@ca che",
        "rediss://cache?password=hunter2@",
        "redis://[::1?hunter2",
        "unix://:hunter2/x@/run/redis.sock",
        "unix://hunter2",
        "unix://:hunter2@run/redis.sock",
    ],
)
def test_a_password_that_would_be_truncated_is_refused_and_not_shown(url: str) -> None:
    form = (
        "[[user]:password@]/path/of/the/socket"
        if url.startswith("unix")
        else "[[user]:password@]host[:port][/database]"
    )
    assert complaint_about(f"state: {{redis_url: '{url}'}}") == (
        f"config.yaml:4: state.redis_url: must have the form {form}; percent-encode # / ? @ % in the password"
    )


def test_all_errors_are_reported_in_the_order_of_the_lines() -> None:
    text = f"""regoin: cn-north-4
auth: {{token: '${{TOKEN}}', token: x}}
jobs:
  - abc
  - {JOB}
  - {JOB}
poll: {{concurrency: 100, interval: 5x}}
state: {{retention: 5}}
"""
    places = [line.split(": ")[:2] for line in complaint(text).splitlines()]
    assert places == [
        ["config.yaml:1", "regoin"],
        ["config.yaml:2", "auth.token"],
        ["config.yaml:2", "auth.token"],
        ["config.yaml:4", "jobs[0].id"],
        ["config.yaml:6", "jobs[2].id"],
        ["config.yaml:7", "poll.interval"],
        ["config.yaml:7", "poll.concurrency"],
        ["config.yaml:8", "state.retention"],
    ]


def test_sections_can_be_constructed_in_code() -> None:
    poll = PollConfig(interval=0.5, max_interval=1.0)
    assert (poll.interval, poll.max_interval, poll.timeout) == (0.5, 1.0, 10.0)
    assert read(MINIMAL).model_copy(update={"poll": poll}).poll is poll


def test_validation_errors_contain_no_values() -> None:
    with pytest.raises(ValidationError) as caught:
        Config.model_validate({"auth": {"token": "hunter2 hunter2"}, "x": "hunter2"})
    assert "hunter2" not in str(caught.value)
    assert "hunter2" not in repr(caught.value.errors())
