"""Value types of secrets and of files; no error repeats a secret."""

import os
import re
import stat
from pathlib import Path
from typing import Annotated, Final

from pydantic import AfterValidator, SecretStr, ValidationInfo

from exporter.config.problems import CONTROL_CHARACTERS
from exporter.config.section_base import TEXT, parsed, problem, text_matching
from exporter.config.types import text
from exporter.redaction import register, register_url
from exporter.regular_files import NOT_REGULAR, os_reason, read_bounded

_LONGEST_SECRET: Final = 65_536

_LARGEST_BUNDLE: Final = 16 * 2**20

_PORTS: Final = range(1, 65_536)

_LOGIN: Final = r"(?:(?:[^/?#@%\s]|%[0-9A-Fa-f]{2})*@)?"

_SERVER_URL: Final = re.compile(
    _LOGIN + r"(?:\[[^][/?#@\s]+\]|[^][:/?#@\s]*)(?::(?P<port>\d{1,5}))?(?:/\d*)?(?:\?[^#@\s]*)?"
)

_SOCKET_URL: Final = re.compile(_LOGIN + r"/[^?#]+(?:\?[^#@\s]*)?")


def _secret(value: object) -> SecretStr:
    hidden = value if isinstance(value, SecretStr) else SecretStr(text(value))
    register(hidden.get_secret_value())
    return hidden


def header_secret(value: object) -> SecretStr:
    """Accept a secret that is sent in a header or signs one."""
    hidden = _secret(value)
    if not re.fullmatch(r"[!-~]+", hidden.get_secret_value()):
        raise problem("contains a space or another character that no such key has")
    return hidden


def _redis_url(value: object) -> SecretStr:
    """Accept the URL of a Redis or Valkey server, which may contain a password.

    A password that is not percent-encoded would be cut, and a part of it taken for a host or a port.
    """
    hidden = value if isinstance(value, SecretStr) else SecretStr(text(value))
    register_url(hidden.get_secret_value())
    scheme, _, rest = hidden.get_secret_value().partition("://")
    if scheme not in ("redis", "rediss", "unix"):
        raise problem("must begin with redis://, rediss:// (TLS) or unix://")
    address = "/path/of/the/socket" if scheme == "unix" else "host[:port][/database]"
    match = (_SOCKET_URL if scheme == "unix" else _SERVER_URL).fullmatch(rest)
    if not match or int(match.groupdict().get("port") or 1) not in _PORTS:
        form = f"[[user]:password@]{address}"
        raise problem(f"must have the form {form}; percent-encode # / ? @ % in the password")
    return hidden


def _file_path(value: object, info: ValidationInfo) -> Path:
    """Accept the path of a regular file that exists, relative to the configuration's folder.

    Errors do not repeat the path: a secret may have been given in its place.
    """
    folder: Path = (info.context or {}).get("base_dir", Path())
    path = folder / (value if isinstance(value, Path) else text(value))
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        reason = os_reason(error)
    else:
        if stat.S_ISREG(mode):
            return path
        reason = "it is a directory" if stat.S_ISDIR(mode) else NOT_REGULAR
    raise problem(f"the file cannot be read: {reason} (relative paths start from this YAML file's folder)")


def secret_from(path: Path) -> SecretStr:
    """Read a secret from a file, without the line break at its end."""
    try:
        content = read_bounded(path, _LONGEST_SECRET).decode()
    except OSError as error:
        reason = f"cannot be read: {os_reason(error)}"
    except UnicodeDecodeError:
        reason = "is not UTF-8"
    else:
        content = content.removesuffix("\n").removesuffix("\r")
        register(content)
        if content and not CONTROL_CHARACTERS.search(content):
            return SecretStr(content)
        reason = "contains more than one line, or a control character" if content else "is empty"
    raise problem(f"the file {reason}")


def _certificates(path: Path) -> Path:
    try:
        has_one = b"-----BEGIN " in read_bounded(path, _LARGEST_BUNDLE)
    except OSError as error:
        raise problem(f"the file cannot be read: {os_reason(error)}") from None
    if not has_one:
        raise problem('contains no certificate in PEM form ("-----BEGIN CERTIFICATE-----")')
    return path


# "writeOnly" keeps editors and pages from showing an example of a secret.
Secret = Annotated[SecretStr, parsed(_secret, title="secret", writeOnly=True, **TEXT)]

HeaderSecret = Annotated[
    SecretStr,
    parsed(header_secret, title="secret", writeOnly=True, **text_matching("[!-~]+", "number", "boolean")),
]

RedisUrl = Annotated[
    SecretStr,
    parsed(_redis_url, title="secret URL", writeOnly=True, **text_matching("(?:redis|rediss|unix)://.*")),
]

FilePath = Annotated[Path, parsed(_file_path, title="file path", **TEXT)]

Certificates = Annotated[FilePath, AfterValidator(_certificates)]
