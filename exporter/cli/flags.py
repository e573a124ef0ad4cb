"""Flags that several commands share, and values of flags that have rules of their own."""

import functools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from exporter import startup

Command = Callable[..., None]


def _not_empty(_ctx: click.Context, _param: click.Parameter, value: str | None) -> str | None:
    if value == "":
        raise click.BadParameter("must name a file")
    return value


config_flag = click.option(
    "--config.file",
    "config_file",
    default="config.yaml",
    type=click.Path(),
    metavar="FILE",
    callback=_not_empty,
    help="Configuration file.",
)


def config_flag_or_argument(command: Command) -> Command:
    """Add the flag for the configuration, and accept the file as an argument in its place."""

    @functools.wraps(command)
    def with_one_file(config_file: str, file: str | None, **options: Any) -> None:
        source = click.get_current_context().get_parameter_source("config_file")
        if file is not None and source is not ParameterSource.DEFAULT:
            raise click.UsageError("give the configuration only once, as FILE or with --config.file")
        command(config_file=file or config_file, **options)

    argument = click.argument("file", required=False, type=click.Path(), callback=_not_empty)
    return config_flag(argument(with_one_file))


def log_flags(command: Command) -> Command:
    """Add the flags of the log."""
    level_flag = click.option(
        "--log.level",
        "log_level",
        type=click.Choice(("debug", "info", "warn", "error")),
        default="info",
        help="Minimum log level.",
    )
    format_flag = click.option(
        "--log.format",
        "log_format",
        type=click.Choice(("logfmt", "json")),
        default="logfmt",
        help="Log format.",
    )
    return level_flag(format_flag(command))


def web_flags(command: Command) -> Command:
    """Add the flags of the HTTP server."""
    address = click.option(
        "--web.listen-address",
        "addresses",
        multiple=True,
        default=[":10088"],
        help="host:port to listen on. May be repeated. Port 0 selects a free port, which is logged.",
    )
    path = click.option(
        "--web.telemetry-path",
        "telemetry_path",
        default="/metrics",
        callback=_absolute_path,
        help="Path under which to expose metrics.",
    )
    web_config = click.option(
        "--web.config.file",
        "web_config",
        type=click.Path(),
        metavar="FILE",
        callback=_web_config,
        help="File with TLS and basic auth settings, in the format of Prometheus's exporter-toolkit.",
    )
    return address(path(web_config(command)))


def _web_config(_ctx: click.Context, _param: click.Parameter, value: str | None) -> Path | None:
    return Path(value) if value else None


def _absolute_path(_ctx: click.Context, _param: click.Parameter, value: str) -> str:
    if not value.startswith("/") or value == "/" or value.startswith("/-/"):
        raise click.BadParameter('must begin with "/", as in /metrics, and be neither "/" nor below "/-/"')
    # Characters that clients would escape, or that do not reach the server as part of the path.
    if re.search(r"[?#%\\\x00-\x20\x7f]|//", value) or {".", ".."} & set(value.split("/")):
        raise click.BadParameter(
            'must be a plain path, such as /metrics: without "?", "#", "%", "\\", spaces, "//" and "/../"'
        )
    return value


def ordinal(_ctx: click.Context, _param: click.Parameter, value: str) -> int:
    """Return the number at the end of a name, or raise a usage error."""
    match = re.fullmatch(r"(?:[^-].*-)?(\d{1,4})", value)
    if not match:
        raise click.BadParameter("must be a number from 0, or a name that ends in one, such as exporter-0")
    return int(match[1])


def pairs(separator: str) -> Callable[[click.Context, click.Parameter, tuple[str, ...]], dict[str, str]]:
    """Make a callback that splits each value into a name and a value."""

    def parse(_ctx: click.Context, _param: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
        pairs = [value.partition(separator) for value in values]
        for name, has_separator, _ in pairs:
            if not has_separator or not name.strip():
                raise click.BadParameter(f"must be a name and a value with {separator!r} between them")
        given = {name.strip(): value.strip() for name, _, value in pairs}
        if len(given) < len(pairs):
            raise click.BadParameter("has the same name twice; keep one")
        return given

    return parse


def step(_ctx: click.Context, _param: click.Parameter, value: str) -> float:
    """Return the seconds of a duration, or raise a usage error."""
    with startup.slow_imports():
        from exporter.config import parse_duration
    try:
        seconds = parse_duration(value)
    except ValueError:
        raise click.BadParameter("must be a duration, such as 5m") from None
    if seconds % 1 or not 1 <= seconds <= 86_400:
        raise click.BadParameter("must be between 1s and 1d, in whole seconds")
    return seconds


def speed(_ctx: click.Context, _param: click.Parameter, value: float) -> float:
    """Return a speed of time, or raise a usage error; a range of click's would accept NaN."""
    if not 0 < value <= 10_000:
        raise click.BadParameter("must be above 0 and at most 10,000")
    return value
