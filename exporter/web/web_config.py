"""The web configuration file in the exporter-toolkit's format: its schema, and how it is loaded."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field, SecretStr, ValidationInfo, field_validator

from exporter.config.loader import read_text, validated
from exporter.config.section import Section, problem
from exporter.config.types import Boolean, integer_between
from exporter.config.yaml_document import read_document
from exporter.web.tls_section import TlsServerConfig
from exporter.web.web_fields import BcryptHash, Headers, Interval, mapping


class HttpServerConfig(Section):
    """What all answers have in common."""

    http2: Boolean = Field(True, description="heeded by servers that speak HTTP/2; this one does not")
    headers: Headers = Field({}, description="headers of every answer")


class RateLimit(Section):
    """A bucket of requests for all clients together; an ``interval`` of 0 seconds sets no limit."""

    interval: Interval = Field(0.0, description="from one request to the next")
    burst: Annotated[int, integer_between(0, 1_000_000)] = Field(
        0, validate_default=True, description="requests at once"
    )

    @field_validator("burst")
    @classmethod
    def _lets_some_through(cls, value: int, info: ValidationInfo) -> int:
        if not value and info.data.get("interval"):
            raise problem("must be 1 at least, or no request would be answered")
        return value


class WebConfig(Section):
    """The whole file; an empty one is plain HTTP for everybody."""

    tls_server_config: TlsServerConfig | None = Field(None, description="TLS")
    http_server_config: HttpServerConfig = Field(HttpServerConfig(), description="HTTP")
    basic_auth_users: Annotated[dict[str, BcryptHash], BeforeValidator(mapping)] = Field(
        {}, description="names and bcrypt hashes of who may come in"
    )
    rate_limit: RateLimit = Field(RateLimit(), description="how many requests are answered")

    @classmethod
    def expand_shorthand(cls, given: Mapping[str, object]) -> Mapping[str, object]:
        """Take an empty TLS section for none, as the toolkit does."""
        return {**given, "tls_server_config": None} if given.get("tls_server_config") == {} else given

    @property
    def files(self) -> tuple[Path, ...]:
        """What was read beside the file itself."""
        return self.tls_server_config.files if self.tls_server_config else ()

    @property
    def scheme(self) -> str:
        """How URLs begin."""
        return "https" if self.tls_server_config else "http"

    @property
    def users(self) -> dict[bytes, SecretStr]:
        """The hashes by the names as they are sent."""
        return {name.encode(): hashed for name, hashed in self.basic_auth_users.items()}


_EXAMPLE = "docs/tls.md"


def load(path: Path) -> WebConfig:
    """Read the web configuration, and the certificates and keys that it names.

    Args:
        path: of the YAML file; relative paths in it start from its folder.

    Raises:
        ConfigError: a file cannot be read or its content is wrong; a line for each problem.
    """
    return parse(read_text(path), source=str(path), base_dir=path.parent)


def parse(text: str, *, source: str, base_dir: Path) -> WebConfig:
    """Read a web configuration; ``${NAME}`` has no meaning in this format.

    Args:
        text: YAML.
        source: what errors call it: the file's name.
        base_dir: where relative paths in it start from.

    Raises:
        ConfigError: a line for each problem, in the order of the text's lines.
    """
    document = read_document(text, None)
    if document.data is None:
        document.data = {}
    return validated(WebConfig, document, source=source, base_dir=base_dir, example=_EXAMPLE)
