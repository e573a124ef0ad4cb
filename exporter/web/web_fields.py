"""The types of single values in the web configuration."""

import re
from collections.abc import Mapping
from typing import Annotated, Final

from pydantic import BeforeValidator, SecretStr
from pydantic_core import InitErrorDetails

from exporter.config.problems import CONTROL_CHARACTERS, join_words, nearest
from exporter.config.secret_types import FilePath
from exporter.config.section import collect_errors, problem, problem_at, value_problem
from exporter.config.types import one_of, text
from exporter.redaction import register
from exporter.web.tls import CLIENT_AUTH_TYPES, UNVERIFIED_CLIENT_AUTH_TYPES, VERSIONS

_HEADERS: Final[Mapping[str, tuple[str, ...]]] = {
    "Content-Security-Policy": (),
    "X-Frame-Options": ("deny", "sameorigin"),
    "X-Content-Type-Options": ("nosniff",),
    "X-XSS-Protection": (),
    "Strict-Transport-Security": (),
}
"""What may be set, and to what if not to anything."""

_BCRYPT: Final = re.compile(r"\$2[abxy]\$(?:0[4-9]|1[0-9]|2[0-9]|3[01])\$[./A-Za-z0-9]{53}")

_INTERVAL: Final = re.compile(r"(?:(?:[0-9]{1,9}(?:\.[0-9]{0,9})?|\.[0-9]{1,9})(?:ns|us|µs|ms|s|m|h))+|0")

_SECONDS: Final = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


def one_line(value: object) -> object:
    """Refuse line breaks and other controls; the reader of this format lets them through."""
    if isinstance(value, str) and CONTROL_CHARACTERS.search(value):
        raise problem("contains a line break or another control character")
    return value


def known(what: str, names: tuple[str, ...]) -> BeforeValidator:
    """Take one of many names."""

    def check(value: object) -> str:
        if text(value) in names:
            return text(value)
        meant = nearest(text(value), names)
        hint = f'did you mean "{meant}"?' if meant else f"the known ones are {join_words(names)}"
        raise value_problem(f"is not the name of a {what}; {hint}")

    return BeforeValidator(check)


def client_auth_type(value: object) -> str:
    """Take a type that can be had here."""
    name = text(value)
    if name in UNVERIFIED_CLIENT_AUTH_TYPES:
        raise value_problem(
            "asks for a certificate that nobody verifies, which is not possible here; "
            "RequireAndVerifyClientCert with client_ca_file is what protects"
        )
    if name not in CLIENT_AUTH_TYPES:
        raise value_problem(f"is not one of {join_words(CLIENT_AUTH_TYPES, 'or')}")
    return name


def bcrypt_hash(value: object) -> SecretStr:
    """Take a hash; what stands there instead may be a password and is not repeated."""
    if isinstance(value, SecretStr):
        return value
    if not _BCRYPT.fullmatch(text(value)):
        raise problem('is not a bcrypt hash, as htpasswd -nBC 10 "" makes it')
    register(text(value))
    return SecretStr(text(value))


def mapping(value: object) -> Mapping[str, object]:
    """Take names and values."""
    if not isinstance(value, Mapping):
        raise problem("must be a section of names and values")
    return value


def interval(value: object) -> float:
    """Read a length of time as Go writes it; seconds."""
    if isinstance(value, int | float):
        return float(value)
    word = text(value)
    if not _INTERVAL.fullmatch(word):
        raise value_problem("is not an interval; write a number and a unit, as 1s, 250ms or 1m30s")
    return sum(float(number) * _SECONDS[unit] for number, unit in re.findall(r"([0-9.]+)([a-zµ]+)", word))


def headers(value: object) -> dict[str, str]:
    """Take the headers of the format, and no other; a blank one is not set.

    As in Go, line breaks become spaces, and spaces at both ends are dropped.
    """
    found: list[InitErrorDetails] = []
    kept: dict[str, str] = {}
    for name, content in mapping(value).items():
        choices = _HEADERS.get(name)
        if isinstance(content, str):
            content = re.sub(r"[\r\n]", " ", content).strip(" \t")
        if choices is None:
            found.append(
                problem_at(problem(f"cannot be set; the headers here are {join_words(_HEADERS)}"), name)
            )
        elif not isinstance(content, str | None):
            found.append(problem_at(problem("must be a single value"), name))
        elif content and CONTROL_CHARACTERS.search(content):
            found.append(problem_at(problem("contains a line break or another control character"), name))
        elif content and choices and content not in choices:
            found.append(problem_at(value_problem(f"is not {join_words(choices, 'or')}"), name))
        elif content:
            kept[name] = content
    return collect_errors("headers", found, lambda: kept)


File = Annotated[FilePath, BeforeValidator(one_line)]

Pem = Annotated[SecretStr, BeforeValidator(lambda value: SecretStr(text(value)))]

Version = Annotated[str, BeforeValidator(one_of(*VERSIONS))]

ClientAuthType = Annotated[str, BeforeValidator(client_auth_type)]

BcryptHash = Annotated[SecretStr, BeforeValidator(bcrypt_hash)]

Interval = Annotated[float, BeforeValidator(interval)]

Headers = Annotated[dict[str, str], BeforeValidator(headers)]
