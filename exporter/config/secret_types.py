"""The types of secrets and of the files that hold them; no error repeats what was given."""

import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BeforeValidator, SecretStr, ValidationInfo

from exporter.config.files import CONTROL_CHARACTERS, NOT_REGULAR, read_bounded, why
from exporter.config.section import TEXT, Described, base_dir, problem, shaped
from exporter.config.types import text
from exporter.redaction import register, register_url

_LONGEST_SECRET: Final = 65_536

_LARGEST_BUNDLE: Final = 16 * 2**20

_PORTS: Final = range(1, 65_536)

_LOGIN: Final = r"(?:(?:[^/?#@%\s]|%[0-9A-Fa-f]{2})*@)?"

_SERVER_URL: Final = re.compile(
    _LOGIN + r"(?:\[[^][/?#@\s]+\]|[^][:/?#@\s]*)(?::(?P<port>\d{1,5}))?(?:/\d*)?(?:\?[^#@\s]*)?"
)

_SOCKET_URL: Final = re.compile(_LOGIN + r"/[^?#]+(?:\?[^#@\s]*)?")

_FORMS: Final = ("[[user]:password@]host[:port][/database]", "[[user]:password@]/path/of/the/socket")


def secret(value: object) -> SecretStr:
    """Take a secret; it may come from ``${NAME}``."""
    hidden = value if isinstance(value, SecretStr) else SecretStr(text(value))
    register(hidden.get_secret_value())
    return hidden


def header_secret(value: object) -> SecretStr:
    """Take a secret that is sent in a header or signs one."""
    hidden = secret(value)
    if not re.fullmatch(r"[!-~]+", hidden.get_secret_value()):
        raise problem("contains a space or another character that no such key has")
    return hidden


def redis_url(value: object) -> SecretStr:
    """Take the address of a Redis or Valkey server, which may hold a password.

    A password that is not percent-encoded would be cut, and a piece of it taken for a host or a port.
    """
    hidden = value if isinstance(value, SecretStr) else SecretStr(text(value))
    register_url(hidden.get_secret_value())
    scheme, _, rest = hidden.get_secret_value().partition("://")
    if scheme not in ("redis", "rediss", "unix"):
        raise problem("must begin with redis://, rediss:// (TLS) or unix://")
    found = (_SOCKET_URL if scheme == "unix" else _SERVER_URL).fullmatch(rest)
    if not found or int(found.groupdict().get("port") or 1) not in _PORTS:
        raise problem(
            f"must have the form {_FORMS[scheme == 'unix']}; percent-encode # / ? @ % in the password"
        )
    return hidden


def file_path(value: object, info: ValidationInfo) -> Path:
    """Take the path of a regular file that exists; relative ones start from the configuration's folder.

    The path is not repeated in errors: a secret may stand where the path of its file should.
    """
    path = base_dir(info) / (value if isinstance(value, Path) else text(value))
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        reason = why(error)
    else:
        if stat.S_ISREG(mode):
            return path
        reason = "it is a directory" if stat.S_ISDIR(mode) else NOT_REGULAR
    raise problem(f"the file cannot be read: {reason} (relative paths start from the configuration's folder)")


def secret_from(path: Path) -> SecretStr:
    """Read a secret from a file; one line break at its end does not count."""
    try:
        content = read_bounded(path, _LONGEST_SECRET).decode()
    except OSError as error:
        reason = f"cannot be read: {why(error)}"
    except UnicodeDecodeError:
        reason = "is not UTF-8"
    else:
        content = content.removesuffix("\n").removesuffix("\r")
        register(content)
        if content and not CONTROL_CHARACTERS.search(content):
            return SecretStr(content)
        reason = "holds more than one line, or a control character" if content else "is empty"
    raise problem(f"the file {reason}")


def certificates(path: Path) -> Path:
    """Take a file of certificates in PEM form."""
    try:
        found = b"-----BEGIN " in read_bounded(path, _LARGEST_BUNDLE)
    except OSError as error:
        raise problem(f"the file cannot be read: {why(error)}") from None
    if not found:
        raise problem('holds no certificate in PEM form ("-----BEGIN CERTIFICATE-----")')
    return path


def _described(words: str, shape: Mapping[str, Any]) -> Described:
    """A secret, which editors and pages show no example of."""
    return Described(words, {**shape, "writeOnly": True})


Secret = Annotated[SecretStr, BeforeValidator(secret), _described("secret", TEXT)]

HeaderSecret = Annotated[
    SecretStr,
    BeforeValidator(header_secret),
    _described("secret", shaped("[!-~]+", "number", "boolean")),
]

RedisUrl = Annotated[
    SecretStr,
    BeforeValidator(redis_url),
    _described("secret URL", shaped("(?:redis|rediss|unix)://.*")),
]

FilePath = Annotated[Path, BeforeValidator(file_path), Described("path of a file", TEXT)]

Certificates = Annotated[FilePath, AfterValidator(certificates)]
