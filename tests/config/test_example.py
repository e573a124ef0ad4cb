import re
from pathlib import Path

from pydantic import BaseModel

from exporter.config import (
    AccessKeyAuth,
    Config,
    EcsAgencyAuth,
    JobConfig,
    PasswordAuth,
    ProjectConfig,
    TokenAuth,
    parse_duration,
)
from exporter.config.auth import AuthSection
from exporter.config.console import ConsoleConfig
from exporter.config.schema import MetricsConfig, PollConfig, RecycleBinConfig, StateConfig
from exporter.poller import Intervals
from tests.config.helpers import complaint, read

EXAMPLE = (Path(__file__).parents[2] / "config.example.yaml").read_text(encoding="utf-8")
COMMENTED_KEY = re.compile(r"^( *)#(?=[a-z_]+:)", re.MULTILINE)
SECTIONS: list[type[BaseModel]] = [
    Config,
    AuthSection,
    PasswordAuth,
    AccessKeyAuth,
    EcsAgencyAuth,
    JobConfig,
    ProjectConfig,
    PollConfig,
    RecycleBinConfig,
    MetricsConfig,
    StateConfig,
    ConsoleConfig,
]
AUTH_KINDS = ["token", "token_file", "password", "access_key", "ecs_agency"]


def variables() -> dict[str, str]:
    names = re.findall(r"\$\{([A-Z_]+)\}", EXAMPLE)
    return {name: "redis://cache" if name.endswith("_URL") else "made-up" for name in names if name != "NAME"}


def test_the_example_loads_with_the_variables_that_it_names() -> None:
    config = read(EXAMPLE, variables())
    assert config.region == "cn-north-4"
    assert isinstance(config.auth, TokenAuth)
    assert [job.name for job in config.jobs] == [None, "checkout"]
    assert config.projects[0].wants("release-1")


def test_the_example_needs_no_variable_but_the_token() -> None:
    assert read(EXAMPLE, {"CODEARTS_TOKEN": "made-up"}) == read(EXAMPLE, variables())


def test_the_example_shows_every_key() -> None:
    shown = set(re.findall(r"^[ #-]*\b([a-z_]+):", EXAMPLE, re.MULTILINE))
    known = {key for section in SECTIONS for key in section.model_fields}
    assert known - shown == set()


def test_no_section_of_the_schema_is_forgotten_here() -> None:
    used = {
        part
        for section in SECTIONS
        for field in section.model_fields.values()
        for part in [field.annotation, *getattr(field.annotation, "__args__", ())]
        if isinstance(part, type) and issubclass(part, BaseModel)
    }
    assert {section.__name__ for section in used - set(SECTIONS)} == {"TokenAuth", "TokenFileAuth"}


def test_the_values_of_the_example_are_the_defaults() -> None:
    config = read(EXAMPLE, variables())
    assert config.poll == PollConfig()
    assert config.recycle_bin == RecycleBinConfig()
    assert config.metrics == MetricsConfig()
    assert config.state == StateConfig()
    for section in (config.recycle_bin, config.metrics):
        assert section.model_fields_set == set(type(section).model_fields)
    assert config.poll.model_fields_set == set(PollConfig.model_fields) - {"max_interval"}
    assert config.state.model_fields_set == {"path", "retention"}


def test_the_commented_interval_is_the_default() -> None:
    [shown] = re.findall(r"^ *#max_interval: (\S+)$", EXAMPLE, re.MULTILINE)
    assert parse_duration(shown) == Intervals(60.0, None, None).longest


def test_the_commented_endpoints_and_agency_are_the_defaults() -> None:
    shown = dict(re.findall(r"^ *#(\w*endpoint): (\S+)$", EXAMPLE, re.MULTILINE))
    config = read(EXAMPLE, variables())
    assert shown == {
        "endpoint": config.endpoint,
        "iam_endpoint": config.iam_endpoint,
        "metadata_endpoint": EcsAgencyAuth().metadata_endpoint,
    }


def test_the_uncommented_example_only_gives_too_much(tmp_path: Path) -> None:
    (tmp_path / "secrets").mkdir()
    for name in ("ca.pem", "secrets/token", "secrets/password", "secrets/secret-key"):
        (tmp_path / name).write_text("-----BEGIN CERTIFICATE-----\n")
    lines = complaint(COMMENTED_KEY.sub(r"\1", EXAMPLE), variables(), tmp_path).splitlines()
    assert [line.split(": ", 1)[1] for line in lines] == [
        "auth: needs exactly one of token, token_file, password, access_key or ecs_agency; "
        "found token, token_file, password, access_key and ecs_agency",
        "auth.password.password: needs exactly one of password or password_file; both are given",
        "auth.access_key.secret_key: needs exactly one of secret_key or secret_key_file; both are given",
        "state.path: cannot be given together with redis_url; keep one",
    ]
