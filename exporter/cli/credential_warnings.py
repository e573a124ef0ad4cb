"""Warnings of ``check-config`` about credentials that others can read: in a file, or on the network."""

import ipaddress
import stat
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from exporter.config import AccessKeyAuth, Config, PasswordAuth, TokenAuth
from exporter.humanize import join_words


def credential_warnings(config: Config, path: Path) -> Iterator[str]:
    """Yield how others can read the credentials: in a world-readable file, or in HTTP without TLS."""
    secrets = _secrets_in(config, path)
    if secrets and _is_readable_by_all(path):
        yield (
            f"{path} contains {join_words(secrets)} and is readable by every user of this machine: chmod o-r "
            "it, or take secrets from ${NAME} or a file"
        )
    urls = {"endpoint": config.endpoint}
    if config.auth.uses_iam:
        urls["iam_endpoint"] = config.iam_endpoint
    for key, url in urls.items():
        parts = urlsplit(url)
        if parts.scheme == "http" and not _is_loopback(parts.hostname or ""):
            yield f"{key} is {url}: credentials travel unencrypted; use https:// if the service offers it"


def _is_readable_by_all(path: Path) -> bool:
    try:
        folders = path.resolve().parents
        return bool(path.stat().st_mode & stat.S_IROTH) and all(
            folder.stat().st_mode & stat.S_IXOTH for folder in folders
        )
    except OSError:  # a folder above the working directory is closed to this user too
        return False


def _secrets_in(config: Config, path: Path) -> list[str]:
    """List the keys of secrets that are in the file itself.

    A token for a service on this machine, such as that of the simulator, is none.
    """
    auth, secrets = config.auth, {"state.redis_url": config.state.redis_url}
    is_local = _is_loopback(urlsplit(config.endpoint).hostname or "")
    if isinstance(auth, TokenAuth):
        secrets["auth.token"] = None if is_local else auth.token
    elif isinstance(auth, PasswordAuth):
        secrets["auth.password.password"] = auth.password
    elif isinstance(auth, AccessKeyAuth):
        secrets["auth.access_key.secret_key"] = auth.secret_key
        secrets["auth.access_key.security_token"] = auth.security_token
    text = path.read_text(encoding="utf-8-sig")
    values = {key: secret.get_secret_value() for key, secret in secrets.items() if secret}
    if not urlsplit(values.get("state.redis_url", "")).password:
        values.pop("state.redis_url", None)
    return [key for key, value in values.items() if value in text]


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
