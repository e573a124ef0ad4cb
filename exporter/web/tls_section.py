"""``tls_server_config``: what may stand in it, and what cannot stand together."""

import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final, Self

from pydantic import BeforeValidator, Field, PrivateAttr, SecretStr, ValidationError, model_validator
from pydantic_core import InitErrorDetails

from exporter.config.secret_types import os_reason, read_bounded
from exporter.config.section import Section, collect_errors, problem, problem_at
from exporter.config.types import Boolean, as_list, text
from exporter.web import tls
from exporter.web.tls import CLIENT_AUTH_TYPES, CURVES, NO_CLIENT_CERT, SUITES, SUITES_OF_TLS13, VERSIONS
from exporter.web.web_fields import ClientAuthType, File, Pem, Version, known

_LARGEST_PEM: Final = 2**20

_NAMES: Final = "client_allowed_sans"


class TlsServerConfig(Section):
    """TLS as it is spoken; the certificate and all else are read and tried out with the file."""

    cert: Pem | None = Field(None, description="the certificate and its chain, in PEM form")
    key: Pem | None = Field(None, description="the private key, in PEM form")
    client_ca: Pem | None = Field(None, description="authorities of clients, in PEM form")
    cert_file: File | None = Field(None, description="the path of a file with the certificate")
    key_file: File | None = Field(None, description="the path of a file with the private key")
    client_auth_type: ClientAuthType = Field(NO_CLIENT_CERT, description="whether clients need certificates")
    client_ca_file: File | None = Field(
        None, description="the path of a file with the authorities of clients"
    )
    client_allowed_sans: Annotated[
        tuple[Annotated[str, BeforeValidator(text)], ...], BeforeValidator(as_list)
    ] = Field((), description="names of which a client's certificate needs one")
    min_version: Version = Field("TLS12", description="the oldest version")
    max_version: Version = Field("TLS13", description="the newest version")
    cipher_suites: Annotated[
        tuple[Annotated[str, known("cipher suite", (*SUITES, *SUITES_OF_TLS13))], ...],
        BeforeValidator(as_list),
    ] = Field((), description="suites of TLS 1.2 and below")
    prefer_server_cipher_suites: Boolean = Field(True, description="whose order of suites counts")
    curve_preferences: Annotated[
        tuple[Annotated[str, known("curve", tuple(CURVES))], ...], BeforeValidator(as_list)
    ] = Field((), description="curves of the key exchange")

    _context: ssl.SSLContext = PrivateAttr()

    @classmethod
    def expand_shorthand(cls, given: Mapping[str, object]) -> Mapping[str, object]:
        """Take a blank value for none, as the toolkit does; but blank names let nobody in, not everybody."""
        return {
            key: () if key == _NAMES and item in (None, "") else item
            for key, item in given.items()
            if item != "" or key == _NAMES
        }

    @property
    def context(self) -> ssl.SSLContext:
        """What new connections are to use."""
        return self._context

    @property
    def files(self) -> tuple[Path, ...]:
        """What was read beside the web configuration itself."""
        return tuple(file for file in (self.cert_file, self.key_file, self.client_ca_file) if file)

    @property
    def idle_keys(self) -> tuple[str, ...]:
        """Keys without full effect: Python cannot name several curves, OpenSSL may refuse old versions."""
        idle = ["curve_preferences"] if len(self.curve_preferences) > 1 else []
        for key in ("min_version", "max_version"):
            if not tls.works(self._context, VERSIONS[getattr(self, key)]):
                idle.append(key)
        return tuple(f"tls_server_config.{key}" for key in idle)

    @model_validator(mode="after")
    def _usable(self) -> Self:
        collect_errors("tls", self._contradictions(), lambda: None)
        try:
            identity = tls.Identity(certificate=self._pem("cert"), key=self._pem("key"))
            context = tls.new_context(identity)
        except tls.RefusedError as error:
            raise _refusal(self._given_as("key" if error.is_about_key else "cert"), str(error)) from None
        tls.limit_versions(context, VERSIONS[self.min_version], VERSIONS[self.max_version])
        tls.limit_suites(context, self.cipher_suites, prefers_own_order=self.prefer_server_cipher_suites)
        if len(self.curve_preferences) == 1:
            context.set_ecdh_curve(CURVES[self.curve_preferences[0]])
        self._verify_clients(context, CLIENT_AUTH_TYPES[self.client_auth_type])
        self._context = context
        return self

    def _verify_clients(self, context: ssl.SSLContext, mode: ssl.VerifyMode) -> None:
        if mode is ssl.CERT_NONE:
            return
        try:
            tls.ask_for_certificates(context, mode, self._pem("client_ca"))
        except tls.RefusedError as error:
            raise _refusal(self._given_as("client_ca"), str(error)) from None

    def _given_as(self, key: str) -> str:
        return f"{key}_file" if getattr(self, f"{key}_file") else key

    def _pem(self, key: str) -> bytes:
        path: Path | None = getattr(self, f"{key}_file")
        if path is None:
            inline: SecretStr = getattr(self, key)
            return inline.get_secret_value().encode()
        try:
            return read_bounded(path, _LARGEST_PEM)
        except OSError as error:
            raise _refusal(f"{key}_file", f"the file cannot be read: {os_reason(error)}") from None

    def _contradictions(self) -> list[InitErrorDetails]:
        verifies = CLIENT_AUTH_TYPES[self.client_auth_type] is not ssl.CERT_NONE
        has_authorities = bool(self.client_ca or self.client_ca_file)
        rules = (
            (not (self.cert or self.cert_file), "cert_file", "is missing: give cert_file or cert"),
            (not (self.key or self.key_file), "key_file", "is missing: give key_file or key"),
            (bool(self.cert and self.cert_file), "cert", "cannot be given together with cert_file; keep one"),
            (bool(self.key and self.key_file), "key", "cannot be given together with key_file; keep one"),
            (
                bool(self.client_ca and self.client_ca_file),
                "client_ca",
                "cannot be given together with client_ca_file; keep one",
            ),
            (
                verifies and not has_authorities,
                "client_auth_type",
                f"{self.client_auth_type} needs client_ca_file or client_ca",
            ),
            (
                has_authorities and self.client_auth_type == NO_CLIENT_CERT,
                "client_ca_file" if self.client_ca_file else "client_ca",
                "has no effect without client_auth_type; RequireAndVerifyClientCert is what protects",
            ),
            (
                _NAMES in self.model_fields_set and not any(map(str.strip, self.client_allowed_sans)),
                _NAMES,
                "names nobody, so no certificate would be accepted; name one, or leave the key out",
            ),
            (
                bool(self.client_allowed_sans) and self.client_auth_type != "RequireAndVerifyClientCert",
                "client_allowed_sans",
                "needs client_auth_type RequireAndVerifyClientCert",
            ),
            (
                VERSIONS[self.min_version] > VERSIONS[self.max_version],
                "max_version",
                f"{self.max_version} is older than min_version {self.min_version}",
            ),
            (
                bool(self.cipher_suites)
                and not set(self.cipher_suites) & SUITES.keys()
                and self.max_version != "TLS13",
                "cipher_suites",
                f"names no suite of {self.max_version}, which is max_version",
            ),
        )
        return [problem_at(problem(words), key) for is_wrong, key, words in rules if is_wrong]


def _refusal(key: str, text: str) -> ValidationError:
    return ValidationError.from_exception_data("tls", [problem_at(problem(text), key)], hide_input=True)
