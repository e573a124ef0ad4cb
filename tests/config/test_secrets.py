import os
import re
import traceback
from pathlib import Path

import pytest

from exporter.config import (
    AccessKeyAuth,
    EcsAgencyAuth,
    PasswordAuth,
    TokenAuth,
    TokenFileAuth,
)
from exporter.errors import ConfigError
from tests.config.helpers import JOB, complaint, read

SECRET = "hunter2-made-up"
REST = f"region: cn-north-4\njobs: [{JOB}]\n"


def test_a_token_is_a_kind_of_credentials() -> None:
    auth = read(REST + f"auth: {{token: {SECRET}}}").auth
    assert isinstance(auth, TokenAuth)
    assert auth.token.get_secret_value() == SECRET


def test_a_token_file_is_looked_for_beside_the_configuration_and_not_read(tmp_path: Path) -> None:
    (tmp_path / "token").write_bytes(b"\xff")
    auth = read(REST + "auth: {token_file: token}", base_dir=tmp_path).auth
    assert isinstance(auth, TokenFileAuth)
    assert auth.path == tmp_path / "token"


def test_a_password_belongs_to_the_project_of_the_region() -> None:
    auth = read(REST + f"auth: {{password: {{domain: d, username: u, password: {SECRET}}}}}").auth
    assert isinstance(auth, PasswordAuth)
    assert (auth.domain, auth.username, auth.project) == ("d", "u", "cn-north-4")
    assert auth.password.get_secret_value() == SECRET


def test_another_project_can_be_given() -> None:
    auth = read(
        REST + "auth: {password: {domain: d, username: u, password: x, project: cn-north-4_dev}}"
    ).auth
    assert isinstance(auth, PasswordAuth)
    assert auth.project == "cn-north-4_dev"


@pytest.mark.parametrize("content", [SECRET, SECRET + "\n", SECRET + "\r\n"])
def test_a_password_file_is_read_without_its_last_line_break(tmp_path: Path, content: str) -> None:
    (tmp_path / "password").write_bytes(content.encode())
    text = REST + "auth: {password: {domain: d, username: u, password_file: password}}"
    auth = read(text, base_dir=tmp_path).auth
    assert isinstance(auth, PasswordAuth)
    assert auth.password.get_secret_value() == SECRET


def test_an_access_key_may_have_its_secret_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "sk").write_text(SECRET + "\n")
    text = REST + f"auth: {{access_key: {{access_key: AK, secret_key_file: {tmp_path / 'sk'}}}}}"
    auth = read(text).auth
    assert isinstance(auth, AccessKeyAuth)
    assert auth.secret_key.get_secret_value() == SECRET
    assert (auth.access_key, auth.security_token, auth.project_id) == ("AK", None, None)


@pytest.mark.parametrize("agency", ["ecs_agency: {}", "ecs_agency:"])
def test_an_agency_needs_nothing_more(agency: str) -> None:
    assert read(REST + f"auth:\n  {agency}\n").auth == EcsAgencyAuth()
    assert EcsAgencyAuth().metadata_endpoint == "http://169.254.169.254"


def test_two_kinds_of_credentials_are_refused() -> None:
    assert complaint(REST + f"auth:\n  token: {SECRET}\n  ecs_agency:\n") == (
        "config.yaml:3: auth: needs exactly one of token, token_file, password, access_key or ecs_agency; "
        "found token and ecs_agency"
    )


def test_no_credentials_are_refused() -> None:
    kinds = "token, token_file, password, access_key or ecs_agency"
    assert complaint(REST) == f"config.yaml:1: auth: is missing: give one of {kinds}"
    assert complaint(REST + "auth: {}") == f"config.yaml:3: auth: needs exactly one of {kinds}; found none"
    assert complaint(REST + "auth:\n  token:\n") == "config.yaml:4: auth.token: is empty; give a value"


def test_errors_within_two_kinds_are_all_reported() -> None:
    assert complaint(REST + "auth:\n  password: {domian: d, password: x}\n  ecs_agency: 1\n") == (
        "config.yaml:3: auth: needs exactly one of token, token_file, password, access_key or ecs_agency; "
        "found password and ecs_agency\n"
        'config.yaml:4: auth.password.domian: is not a known key; did you mean "domain"?\n'
        "config.yaml:4: auth.password.username: is missing: the name of the IAM user\n"
        "config.yaml:5: auth.ecs_agency: must be a section; the keys here are metadata_endpoint"
    )


def test_a_key_with_the_secret_in_it_is_not_shown() -> None:
    message = complaint(REST + "auth: {token： abc}")
    assert message.startswith("config.yaml:3: auth: has an unknown key; the keys here are ")
    assert message.endswith('; write ":" in place of "：" (U+FF1A FULLWIDTH COLON)')
    assert "abc" not in message


def test_a_secret_is_given_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text(SECRET)
    key = f"auth: {{access_key: {{access_key: AK, secret_key: {SECRET}, secret_key_file: file}}}}"
    assert complaint(REST + key, base_dir=tmp_path) == (
        "config.yaml:3: auth.access_key.secret_key: needs exactly one of secret_key or secret_key_file; "
        "both are given"
    )
    assert complaint(REST + "auth: {password: {domain: d, username: u}}") == (
        "config.yaml:3: auth.password.password: needs exactly one of password or password_file; none is given"
    )


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b"\n", "is empty"),
        (b"a\nb\n", "contains more than one line, or a control character"),
        (b"a\x00", "contains more than one line, or a control character"),
        (b"\xff\xfe", "is not UTF-8"),
        (b"a" * 65_537, "cannot be read: File too large"),
    ],
)
def test_a_password_file_holds_one_line(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "password").write_bytes(content)
    text = REST + "auth: {password: {domain: d, username: u, password_file: password}}"
    assert complaint(text, base_dir=tmp_path) == f"config.yaml:3: auth.password.password: the file {reason}"


def test_unreadable_files_are_reported(tmp_path: Path) -> None:
    where = "(relative paths start from this YAML file's folder)"
    assert complaint(REST + "auth: {token_file: missing}", base_dir=tmp_path) == (
        f"config.yaml:3: auth.token_file: the file cannot be read: No such file or directory {where}"
    )
    assert complaint(REST + "auth: {token_file: .}\nca_file: no.pem", base_dir=tmp_path) == (
        f"config.yaml:3: auth.token_file: the file cannot be read: it is a directory {where}\n"
        f"config.yaml:4: ca_file: the file cannot be read: No such file or directory {where}"
    )


@pytest.mark.parametrize(
    ("auth", "key"),
    [
        ("token_file: pipe", "token_file: the file cannot be read:"),
        (
            "password: {domain: d, username: u, password_file: pipe}",
            "password.password_file: the file cannot be read:",
        ),
        (
            "access_key: {access_key: AK, secret_key_file: pipe}",
            "access_key.secret_key_file: the file cannot be read:",
        ),
    ],
)
def test_a_pipe_in_place_of_a_file_is_refused(tmp_path: Path, auth: str, key: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    message = complaint(REST + f"auth: {{{auth}}}", base_dir=tmp_path)
    assert message.startswith(f"config.yaml:3: auth.{key} it is not a regular file")


def test_a_key_with_a_space_is_refused() -> None:
    wrong = "contains a space or another character that no such key has"
    assert complaint(REST + "auth: {access_key: {access_key: A K, secret_key: 'x '}}") == (
        f"config.yaml:3: auth.access_key.access_key: {wrong}\n"
        f"config.yaml:3: auth.access_key.secret_key: {wrong}"
    )


@pytest.mark.parametrize(
    "auth",
    [
        f"auth: {{token: {SECRET}}}",
        f"auth: {{password: {{domain: d, username: u, password: {SECRET}}}}}",
        f"auth: {{access_key: {{access_key: a, secret_key: {SECRET}, security_token: {SECRET}}}}}",
        "auth: {password: {domain: d, username: u, password_file: secret}}",
        f"auth: {{token: x}}\nstate: {{redis_url: 'redis://:{SECRET}@cache'}}",
    ],
)
def test_a_configuration_does_not_show_its_secrets(tmp_path: Path, auth: str) -> None:
    (tmp_path / "secret").write_text(SECRET)
    config = read(REST + auth, base_dir=tmp_path)
    for shown in (repr(config), str(config), f"{config.auth}", repr(config.model_dump())):
        assert SECRET not in shown


@pytest.mark.parametrize(
    "text",
    [
        "auth: {token: SECRET}\npol: {}",
        "auth: {tokn: SECRET}",
        "auth: {token: SECRET, tokn: SECRET}",
        "auth: SECRET",
        "auth: [SECRET]",
        "auth: {SECRET}",
        "auth: {token: [SECRET]}",
        "auth: {token: 'SECRET SECRET'}",
        "auth: {token: {SECRET: SECRET}}",
        "auth: {token: !SECRET x}",
        "auth: {token: !SECRET!x y}",
        "auth: {token: *SECRET}",
        "auth: {token: &SECRET a, token_file: &SECRET b}",
        "auth: {token: @SECRET}",
        "auth: {token: SECRET: b}",
        'auth: {token: "SECRET}',
        'auth: {token: "SECRET\\q"}',
        "auth: {token_file: SECRET}",
        "auth: {token: '${TOKEN}', x: ''}",
        "auth: {token: ' ${TOKEN}'}",
        "auth: {password: SECRET}",
        "auth: {password: {SECRET}}",
        "auth: {password: {domain: d, username: u, passwrd: SECRET}}",
        "auth: {password: {domain: d, username: u, password_file: SECRET}}",
        "auth: {password: {domain: d, username: u, password_file: '${TOKEN}'}}",
        "auth: {password: {username: u, password: SECRET}}",
        "auth: {access_key: {access_key: SECRET SECRET, secret_key: SECRET}}",
        "auth: {token: x}\nstate: redis://:SECRET@cache",
        "auth: {token: x}\nstate: {path: 'redis://:SECRET@cache'}",
        "auth: {token: x}\nstate: {redis_url: 'http://:SECRET@cache'}",
        "auth: {token: x}\nstate: {redis_url: 'redis://:SECRET@cache', path: a}",
        "auth: {token: x}\nstate: {redis: 'redis://:SECRET@cache'}",
        "auth: {token: x}\nendpoint: https://user:SECRET@host",
        "auth: {token: x}\nendpoint: ftp://user:SECRET@host",
        "auth: {token: x}\nendpoint: https://host/?token=SECRET",
        "auth: {token: x}\nregion: '${TOKEN}'",
        "auth: {token: x}\njobs: ['${TOKEN}']",
        "auth: {token: x}\nmetrics: {stages: '${TOKEN}', extra_labels: ['${TOKEN}']}",
        "auth: {token: x}\nmetrics: {branches: ['(?P<${TOKEN}', '(?P=${TOKEN})']}",
    ],
)
def test_no_error_shows_a_secret(text: str) -> None:
    secret = "hunter2"
    text = text.replace("SECRET", secret)
    if "\njobs" not in text:
        text += f"\njobs: [{JOB}]"
    with pytest.raises(ConfigError) as caught:
        read(text, {"TOKEN": secret})
    error = caught.value
    assert secret not in str(error)
    assert secret not in repr(error)
    assert secret not in "".join(traceback.format_exception(error))
    assert error.__cause__ is None
    assert error.__context__ is None


def test_an_unknown_key_is_repeated_unless_it_could_be_a_secret() -> None:
    assert complaint(REST + f"auth: {{password: {{domain: d, username: u, password: x, {SECRET}: }}}}") == (
        "config.yaml:3: auth.password: has an unknown key; the keys here are domain, username, "
        "password_file, password and project"
    )
    assert re.search(r'auth\.tokn: is not a known key; did you mean "token"\?', complaint("auth: {tokn: x}"))
