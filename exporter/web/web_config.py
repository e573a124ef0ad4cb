"""The web configuration file, in the format of Prometheus's exporter-toolkit."""

import re
import ssl
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Final, Self

from pydantic import (
    BeforeValidator,
    Field,
    PrivateAttr,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import InitErrorDetails

from exporter.config.loader import read_text, validated
from exporter.config.problems import CONTROL_CHARACTERS
from exporter.config.secret_and_path_types import FilePath
from exporter.config.section_base import Section, collect_errors, problem, problem_at, value_problem
from exporter.config.types import Boolean, Text, as_list, integer_between, one_of, text
from exporter.config.yaml_document import read_document
from exporter.humanize import join_words, nearest
from exporter.redaction import register
from exporter.regular_files import os_reason, read_bounded
from exporter.web import tls
from exporter.web.tls import CLIENT_AUTH_TYPES, CURVES, NO_CLIENT_CERT, REQUIRE_AND_VERIFY, SUITES, VERSIONS

_HEADERS: Final[Mapping[str, tuple[str, ...]]] = {
    "Content-Security-Policy": (),
    "X-Frame-Options": ("deny", "sameorigin"),
    "X-Content-Type-Options": ("nosniff",),
    "X-XSS-Protection": (),
    "Strict-Transport-Security": (),
}
"""Headers that can be set, each with its allowed values; without any, every value is allowed."""

_BCRYPT: Final = re.compile(r"\$2[abxy]\$(?:0[4-9]|1[0-9]|2[0-9]|3[01])\$[./A-Za-z0-9]{53}")

_INTERVAL: Final = re.compile(r"(?:(?:[0-9]{1,9}(?:\.[0-9]{0,9})?|\.[0-9]{1,9})(?:ns|us|µs|ms|s|m|h))+|0")

_SECONDS: Final = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}

_MAX_PEM_BYTES: Final = 2**20

_CONTROL_CHARACTER: Final = "contains a line break or another control character"

_SANS: Final = "client_allowed_sans"


def _wrong(key: str, reason: str) -> InitErrorDetails:
    return problem_at(problem(reason), key)


def _one_line(value: object) -> object:
    if isinstance(value, str) and CONTROL_CHARACTERS.search(value):
        raise problem(_CONTROL_CHARACTER)
    return value


def _mapping(value: object) -> Mapping[str, object]:
    if not isinstance(value, Mapping):
        raise problem("must be a section of names and values")
    return value


def _known(kind: str, names: Iterable[str]) -> BeforeValidator:
    """Accept one of many names, and suggest the nearest one otherwise."""

    def check(value: object) -> str:
        if text(value) in names:
            return text(value)
        meant = nearest(text(value), names)
        hint = f'did you mean "{meant}"?' if meant else f"the known ones are {join_words(names)}"
        raise value_problem(f"is not the name of a {kind}; {hint}")

    return BeforeValidator(check)


def _client_auth_type(value: object) -> str:
    name = text(value)
    if name in tls.UNVERIFIED_CLIENT_AUTH_TYPES:
        raise value_problem(
            "requires a certificate without verifying it, which is not supported; "
            f"use {REQUIRE_AND_VERIFY} with client_ca_file"
        )
    if name not in CLIENT_AUTH_TYPES:
        raise value_problem(f"is not one of {join_words(CLIENT_AUTH_TYPES, 'or')}")
    return name


def _bcrypt_hash(value: object) -> SecretStr:
    """Accept a hash; the error does not repeat another value, which may be a password."""
    hashed = text(value)
    if not _BCRYPT.fullmatch(hashed):
        raise problem('is not a bcrypt hash, as htpasswd -nBC 10 "" makes it')
    register(hashed)
    return SecretStr(hashed)


def _interval(value: object) -> float:
    """Parse a duration in Go's notation; seconds."""
    duration = text(value)
    if not _INTERVAL.fullmatch(duration):
        raise value_problem("is not an interval; write a number and a unit, as 1s, 250ms or 1m30s")
    return sum(float(number) * _SECONDS[unit] for number, unit in re.findall(r"([0-9.]+)([a-zµ]+)", duration))


def _headers(value: object) -> dict[str, str]:
    """Check the headers, and drop blank ones; as in Go, line breaks become spaces and outer spaces go."""
    problems: list[InitErrorDetails] = []
    accepted: dict[str, str] = {}
    for name, content in _mapping(value).items():
        allowed = _HEADERS.get(name)
        if isinstance(content, str):
            content = re.sub(r"[\r\n]", " ", content).strip(" \t")
        if allowed is None:
            problems.append(_wrong(name, f"cannot be set; the headers here are {join_words(_HEADERS)}"))
        elif not isinstance(content, str | None):
            problems.append(_wrong(name, "must be a single value"))
        elif content and CONTROL_CHARACTERS.search(content):
            problems.append(_wrong(name, _CONTROL_CHARACTER))
        elif content and allowed and content not in allowed:
            problems.append(problem_at(value_problem(f"is not {join_words(allowed, 'or')}"), name))
        elif content:
            accepted[name] = content
    return collect_errors("headers", problems, lambda: accepted)


File = Annotated[FilePath, BeforeValidator(_one_line)]

Pem = Annotated[SecretStr, BeforeValidator(lambda value: SecretStr(text(value)))]

Version = Annotated[str, one_of(*VERSIONS, title="version")]

Suite = Annotated[str, _known("cipher suite", (*SUITES, *tls.TLS13_SUITES))]

Curve = Annotated[str, _known("curve", CURVES)]

BcryptHash = Annotated[SecretStr, BeforeValidator(_bcrypt_hash)]


class TlsServerConfig(Section):
    """The TLS settings, together with the context made from them and from the files that they name."""

    cert: Pem | None = None
    key: Pem | None = None
    client_ca: Pem | None = None
    cert_file: File | None = None
    key_file: File | None = None
    client_ca_file: File | None = None
    client_auth_type: Annotated[str, BeforeValidator(_client_auth_type)] = NO_CLIENT_CERT
    client_allowed_sans: Annotated[tuple[Text, ...], BeforeValidator(as_list)] = ()
    min_version: Version = "TLS12"
    max_version: Version = "TLS13"
    cipher_suites: Annotated[tuple[Suite, ...], BeforeValidator(as_list)] = ()
    prefer_server_cipher_suites: Boolean = True
    curve_preferences: Annotated[tuple[Curve, ...], BeforeValidator(as_list)] = ()

    _context: ssl.SSLContext = PrivateAttr()

    @classmethod
    def expand_shorthand(cls, given: Mapping[str, object]) -> Mapping[str, object]:
        """Drop blank values, as the toolkit does, except blank names, which must not admit everyone."""
        return {
            key: () if key == _SANS and item in (None, "") else item
            for key, item in given.items()
            if item != "" or key == _SANS
        }

    @property
    def context(self) -> ssl.SSLContext:
        """The context for new connections."""
        return self._context

    @property
    def files(self) -> tuple[Path, ...]:
        """The certificate and key files."""
        return tuple(file for file in (self.cert_file, self.key_file, self.client_ca_file) if file)

    @property
    def ignored_keys(self) -> tuple[str, ...]:
        """Keys without full effect: Python can set only one curve, and OpenSSL may refuse old versions."""
        ignored = ["curve_preferences"] if len(self.curve_preferences) > 1 else []
        for key in ("min_version", "max_version"):
            if not tls.is_supported(self._context, VERSIONS[getattr(self, key)]):
                ignored.append(key)
        return tuple(f"tls_server_config.{key}" for key in ignored)

    @model_validator(mode="after")
    def _create_context(self) -> Self:
        collect_errors("tls", [*self._pem_problems(), *self._contradictions()], lambda: None)
        mode = CLIENT_AUTH_TYPES[self.client_auth_type]
        try:
            self._context = tls.new_context(self._pem("cert"), self._pem("key"))
            if mode is not ssl.CERT_NONE:
                tls.verify_clients(self._context, mode, self._pem("client_ca"))
        except tls.RefusedError as error:
            wrong = _wrong(self._given_as(error.key), str(error))
            raise ValidationError.from_exception_data("tls", [wrong], hide_input=True) from None
        tls.limit_versions(self._context, VERSIONS[self.min_version], VERSIONS[self.max_version])
        tls.limit_suites(self._context, self.cipher_suites, own_order=self.prefer_server_cipher_suites)
        if len(self.curve_preferences) == 1:
            self._context.set_ecdh_curve(CURVES[self.curve_preferences[0]])
        return self

    def _pem(self, key: str) -> bytes:
        given: Path | SecretStr = getattr(self, self._given_as(key))
        if isinstance(given, SecretStr):
            return given.get_secret_value().encode()
        try:
            return read_bounded(given, _MAX_PEM_BYTES)
        except OSError as error:
            raise tls.RefusedError(key, f"the file cannot be read: {os_reason(error)}") from None

    def _given_as(self, key: str) -> str:
        """Return the key that holds a certificate, key or authorities; empty if there is none."""
        return next((name for name in (f"{key}_file", key) if getattr(self, name)), "")

    def _pem_problems(self) -> Iterator[InitErrorDetails]:
        for key in ("cert", "key", "client_ca"):
            if getattr(self, key) and getattr(self, f"{key}_file"):
                yield _wrong(key, f"cannot be given together with {key}_file; keep one")
            if key != "client_ca" and not self._given_as(key):
                yield _wrong(f"{key}_file", f"is missing: give {key}_file or {key}")

    def _contradictions(self) -> Iterator[InitErrorDetails]:
        auth_type, names, suites = self.client_auth_type, self.client_allowed_sans, self.cipher_suites
        lowest, highest, authorities = self.min_version, self.max_version, self._given_as("client_ca")
        if CLIENT_AUTH_TYPES[auth_type] is not ssl.CERT_NONE and not authorities:
            yield _wrong("client_auth_type", f"{auth_type} needs client_ca_file or client_ca")
        if authorities and auth_type == NO_CLIENT_CERT:
            yield _wrong(
                authorities, f"has no effect without client_auth_type: set it to {REQUIRE_AND_VERIFY}"
            )
        if _SANS in self.model_fields_set and not any(map(str.strip, names)):
            yield _wrong(_SANS, "has no name, so no certificate would be accepted; add one, or drop the key")
        if names and auth_type != REQUIRE_AND_VERIFY:
            yield _wrong(_SANS, f"needs client_auth_type {REQUIRE_AND_VERIFY}")
        if VERSIONS[lowest] > VERSIONS[highest]:
            yield _wrong("max_version", f"{highest} is older than min_version {lowest}")
        if suites and SUITES.keys().isdisjoint(suites) and highest != "TLS13":
            yield _wrong("cipher_suites", f"has no suite of {highest}, which is max_version")


class HttpServerConfig(Section):
    """Settings of all responses."""

    http2: Boolean = True  # accepted for compatibility; this server does not speak HTTP/2
    headers: Annotated[dict[str, str], BeforeValidator(_headers)] = Field({})


class RateLimit(Section):
    """A token bucket for the requests of all clients together; without an ``interval`` there is no limit."""

    interval: Annotated[float, BeforeValidator(_interval)] = 0.0
    burst: Annotated[int, integer_between(0, 1_000_000)] = Field(0, validate_default=True)

    @field_validator("burst")
    @classmethod
    def _allows_requests(cls, value: int, info: ValidationInfo) -> int:
        if not value and info.data.get("interval"):
            raise problem("must be 1 at least, or no request would be answered")
        return value


class WebConfig(Section):
    """The whole file; an empty one means plain HTTP without authentication."""

    tls_server_config: TlsServerConfig | None = None
    http_server_config: HttpServerConfig = HttpServerConfig()
    basic_auth_users: Annotated[dict[str, BcryptHash], BeforeValidator(_mapping)] = Field({})
    rate_limit: RateLimit = RateLimit()

    @classmethod
    def expand_shorthand(cls, given: Mapping[str, object]) -> Mapping[str, object]:
        """Treat an empty TLS section as absent, as the toolkit does."""
        return {**given, "tls_server_config": None} if given.get("tls_server_config") == {} else given

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that were read besides the web configuration."""
        return self.tls_server_config.files if self.tls_server_config else ()

    @property
    def scheme(self) -> str:
        """The scheme of the exporter's URLs."""
        return "https" if self.tls_server_config else "http"

    @property
    def users(self) -> dict[bytes, SecretStr]:
        """Bcrypt hashes by user name in UTF-8."""
        return {name.encode(): hashed for name, hashed in self.basic_auth_users.items()}


def load(path: Path) -> WebConfig:
    """Read the web configuration, and the certificates and keys that it names relative to its folder.

    Raises:
        ConfigError: a file cannot be read or its content is invalid; one line for each problem.
    """
    return parse(read_text(path), source=str(path), base_dir=path.parent)


def parse(content: str, *, source: str, base_dir: Path) -> WebConfig:
    """Parse a web configuration; ``source`` is the file's name in errors, and ``${NAME}`` has no meaning.

    Raises:
        ConfigError: one line for each problem, in the order of the lines.
    """
    document = read_document(content, None)
    if document.data is None:
        document.data = {}
    return validated(WebConfig, document, source=source, base_dir=base_dir, example="docs/tls.md")
