"""``check-config``: load a configuration, warn if others can read its secrets, test it against the API."""

import ipaddress
import os
import stat
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import click

from exporter import process_setup
from exporter.cli.safe_output import echo, echo_styled, warn
from exporter.config import AccessKeyAuth, Config, PasswordAuth, TokenAuth, load
from exporter.model import ALL
from exporter.text import join_words, plural


def check_config(path: Path, *, online: bool) -> bool:
    """Load a configuration and print what is to say about it; False if a test against the API fails.

    Raises:
        ConfigError: it is not valid.
    """
    config = load(path)
    echo(f"{path} is valid: {summary(config)}")
    for line in credential_warnings(config, path):
        warn(f"note: {line}")
    return not online or _check_online(config)


def _check_online(config: Config) -> bool:
    """Test the configuration against the API and print the report; True if there is no problem."""
    with process_setup.slow_imports():
        from exporter.app import connect
        from exporter.cli import log_setup
        from exporter.doctor.probe import REFUSALS
        from exporter.doctor.probe_plan import announced, at_most
        from exporter.doctor.report import Mark, lines_of, wrapped
        from exporter.doctor.run import examine

    def coloured(mark: Mark, word: str) -> str:
        colours = {Mark.OK: "green", Mark.NOTE: "yellow", Mark.PROBLEM: "red"}
        return click.style(word, fg=colours[mark], bold=mark is Mark.PROBLEM)

    log_setup.configure("error")
    for line in wrapped(announced(config)):
        echo(line)
    credentials, client = connect(config, max_refusals=REFUSALS)
    with click.progressbar(
        length=at_most(config), label="asking", file=sys.stderr, hidden=not sys.stderr.isatty()
    ) as bar:
        report = examine(config, client, credentials, now=time.time, done=lambda: bar.update(1))
    has_colours = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    for line in lines_of(report, coloured) if has_colours else lines_of(report):
        echo_styled(line)
    return not report.count(Mark.PROBLEM)


def summary(config: Config) -> str:
    """Summarize the configuration in a line."""
    watched = [plural(len(config.jobs), "job")] if config.jobs else []
    if any(project.id == ALL for project in config.projects):
        watched.append("all projects")
    elif config.projects:
        watched.append(plural(len(config.projects), "project"))
    return f"{', '.join(watched)}, {config.endpoint}, every {config.poll.interval:g} s"


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
    """List the keys of secrets that are in the file itself."""
    auth, secrets = config.auth, {"state.redis_url": config.state.redis_url}
    if isinstance(auth, TokenAuth):
        secrets["auth.token"] = auth.token
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
