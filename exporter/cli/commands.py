"""Commands and flags. Exit codes: 0 success, 1 failure, 2 wrong usage or configuration."""

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from exporter import __version__, startup
from exporter.app import ConfigFile, Shard, read
from exporter.backfill import Destination, Selection
from exporter.cli import log_setup
from exporter.cli.backfill import Options
from exporter.cli.backfill import backfill as run_backfill
from exporter.cli.check_config import check_online, credential_warnings, summary
from exporter.cli.demo import demo as run_demo
from exporter.cli.group import Serve, ServeByDefault
from exporter.cli.serve import Site
from exporter.cli.serve import serve as run_server
from exporter.cli.terminal import echo, exit_code, filter_tracebacks, warn, warn_lines
from exporter.config import parse_duration
from exporter.errors import NO_THREADS, ConfigError, ExporterError
from exporter.simulator import run as run_simulator
from exporter.web import WatchedConfig

Command = Callable[..., None]


_config_flag = click.option(
    "--config.file",
    "config_file",
    default="config.yaml",
    show_default=True,
    type=click.Path(),
    metavar="FILE",
    help="Configuration file.",
)


def _log_flags(command: Command) -> Command:
    level_flag = click.option(
        "--log.level",
        "log_level",
        type=click.Choice(log_setup.LEVELS),
        default="info",
        show_default=True,
        help="Minimum log level.",
    )
    format_flag = click.option(
        "--log.format",
        "log_format",
        type=click.Choice(log_setup.FORMATS),
        default="logfmt",
        show_default=True,
        help="Log format.",
    )
    return level_flag(format_flag(command))


def _web_flags(command: Command) -> Command:
    address = click.option(
        "--web.listen-address",
        "addresses",
        multiple=True,
        default=[":10088"],
        show_default=True,
        help="host:port to listen on. May be repeated. Port 0 selects a free port, which is logged.",
    )
    path = click.option(
        "--web.telemetry-path",
        "telemetry_path",
        default="/metrics",
        show_default=True,
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


def _ordinal(_ctx: click.Context, _param: click.Parameter, value: str) -> int:
    match = re.fullmatch(r"(?:[^-].*-)?(\d{1,4})", value)
    if not match:
        raise click.BadParameter("must be a number from 0, or a name that ends in one, such as exporter-0")
    return int(match[1])


@click.group(
    cls=ServeByDefault, context_settings={"max_content_width": 110, "help_option_names": ["-h", "--help"]}
)
@click.version_option(__version__, prog_name="codearts-build-exporter")
@click.pass_context
def cli(context: click.Context) -> None:
    """Prometheus exporter for Huawei Cloud CodeArts Build. The default command is serve."""
    if context.invoked_subcommand != "serve":
        startup.restore_hangup()


@cli.command(cls=Serve)
@_config_flag
@_web_flags
@click.option(
    "--web.enable-lifecycle",
    "enable_lifecycle",
    is_flag=True,
    help="Enable POST /-/reload, which reloads the configuration as SIGHUP does, and POST /-/poll, which "
    "polls the named jobs at once.",
)
@_log_flags
@click.option(
    "--shard",
    default="0",
    show_default=True,
    callback=_ordinal,
    help="Shard index, starting at 0. A StatefulSet pod name works too.",
)
@click.option(
    "--total-shards",
    type=click.IntRange(1, 1000),
    default=1,
    show_default=True,
    help="Number of exporters that share the jobs.",
)
def serve(
    config_file: str,
    addresses: tuple[str, ...],
    telemetry_path: str,
    enable_lifecycle: bool,
    web_config: Path | None,
    log_level: str,
    log_format: str,
    shard: int,
    total_shards: int,
) -> None:
    """Poll the API and serve metrics (the default command)."""
    if shard >= total_shards:
        raise click.UsageError(
            f"--shard={shard} must be below --total-shards={total_shards}; the first shard is 0"
        )
    log_setup.configure(log_level, log_format)
    site = Site(addresses, telemetry_path, WatchedConfig(web_config), enable_lifecycle=enable_lifecycle)
    run_server(ConfigFile(config_file).load, site, Shard(shard, total_shards))


@cli.command("check-config")
@_config_flag
@click.option("--online", is_flag=True, help="Query the API and report errors, request rate and advice.")
@click.argument("file", required=False, type=click.Path())
@click.pass_context
def check_config(ctx: click.Context, config_file: str, file: str | None, online: bool) -> None:
    """Validate the configuration; with --online, also test it against the API.

    FILE may be given instead of --config.file=FILE.
    """
    if file is not None:
        if ctx.get_parameter_source("config_file") is not ParameterSource.DEFAULT:
            raise click.UsageError("give the configuration only once, as FILE or with --config.file")
        config_file = file
    log_setup.configure("error")
    config = read(config_file)
    echo(f"{config_file} is valid: {summary(config)}")
    for line in credential_warnings(config, Path(config_file)):
        warn(f"note: {line}")
    if online and not check_online(config):
        sys.exit(1)


def _pairs(separator: str) -> Callable[[click.Context, click.Parameter, tuple[str, ...]], dict[str, str]]:
    def parse(_ctx: click.Context, _param: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
        pairs = [value.partition(separator) for value in values]
        for name, has_separator, _ in pairs:
            if not has_separator or not name.strip():
                raise click.BadParameter(f"must be a name and a value with {separator!r} between them")
        return {name.strip(): value.strip() for name, _, value in pairs}

    return parse


def _step(_ctx: click.Context, _param: click.Parameter, value: str) -> float:
    try:
        seconds = parse_duration(value)
    except ValueError:
        raise click.BadParameter("must be a duration, such as 5m") from None
    if seconds % 1 or not 1 <= seconds <= 86_400:
        raise click.BadParameter("must be between 1s and 1d, in whole seconds")
    return seconds


@cli.command()
@_config_flag
@click.option(
    "--start", default="30d", show_default=True, help="Start of the period: a time, or how long ago."
)
@click.option("--end", default="0s", show_default=True, help="End of the period: a time, or how long ago.")
@click.option(
    "--exporter",
    "exporters",
    multiple=True,
    help="Metrics URL of a running exporter: a job's backfill ends where it began to count. May be repeated.",
)
@click.option(
    "--include-uncounted",
    is_flag=True,
    help="With --exporter: include jobs that no exporter counts; their backfill ends now.",
)
@click.option("--step", default="5m", show_default=True, callback=_step, help="Time between samples.")
@click.option(
    "--output",
    default="",
    type=click.Path(),
    help="Directory for OpenMetrics files, or - for standard output.",
)
@click.option("--remote-write", default="", help="Remote write URL to send to, instead of writing files.")
@click.option(
    "--remote-write-header",
    "headers",
    multiple=True,
    callback=_pairs(":"),
    help="Remote write header, such as 'X-Scope-OrgID: builds'. May be repeated.",
)
@click.option(
    "--label",
    "labels",
    multiple=True,
    callback=_pairs("="),
    help="name=value to add to each series, such as job=codearts-build. May be repeated.",
)
@click.option(
    "--no-details", is_flag=True, help="Do not request build details: faster, but without queue times."
)
@click.option(
    "--max-requests-per-minute",
    type=click.IntRange(1, 100_000),
    help="Request rate limit. Default: that of the configuration.",
)
@click.option(
    "--spool",
    type=click.Path(path_type=Path),
    help="File that keeps responses, so that the command can be resumed.",
)
def backfill(
    config_file: str,
    start: str,
    end: str,
    exporters: tuple[str, ...],
    include_uncounted: bool,
    step: float,
    no_details: bool,
    max_requests_per_minute: int | None,
    spool: Path | None,
    **to: Any,
) -> None:
    """Export build history to Prometheus (OpenMetrics files or remote write)."""
    log_setup.configure("error")
    if bool(to["output"]) == bool(to["remote_write"]):
        raise click.UsageError("give either --output or --remote-write")
    given_end = click.get_current_context().get_parameter_source("end") is not ParameterSource.DEFAULT
    selection = Selection(start, end, exporters, include_uncounted or given_end)
    options = Options(selection, step, Destination(**to), not no_details, max_requests_per_minute, spool)
    run_backfill(read(config_file), options)


@cli.command()
@_web_flags
@_log_flags
@click.option("--seed", default=0, show_default=True, help="Seed that selects the fleet.")
@click.pass_context
def demo(
    ctx: click.Context,
    addresses: tuple[str, ...],
    telemetry_path: str,
    web_config: Path | None,
    log_level: str,
    log_format: str,
    seed: int,
) -> None:
    """Serve metrics of a simulated fleet; no account needed."""
    log_setup.configure(log_level, log_format)
    is_default = ctx.get_parameter_source("addresses") is click.core.ParameterSource.DEFAULT
    site = Site(addresses, telemetry_path, WatchedConfig(web_config))
    run_demo(site, seed, any_port=is_default)


@cli.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", default=0, show_default=True, help="Port to listen on. 0 selects a free port, which is printed."
)
@click.option("--jobs", type=int, help="Number of jobs. Default: those of the demo.")
@click.option("--seed", default=0, show_default=True, help="Seed that selects the fleet.")
@click.option("--speed", default=1.0, show_default=True, help="Speed of simulated time.")
def simulate(**settings: Any) -> None:
    """Simulate the CodeArts Build API, for experiments."""
    try:
        run_simulator(**settings)
    except OSError as error:
        raise ExporterError(
            f"cannot listen on {settings['host']}:{settings['port']}: {error.strerror}"
        ) from None


def main() -> None:
    """Run a command. Errors become a line on standard error and an exit code."""
    startup.prepare()
    filter_tracebacks()
    startup.restore_interrupt()
    sys.exit(exit_code(_run))


def _run() -> None:
    try:
        cli.main(prog_name="codearts-build-exporter", standalone_mode=True)
    except ConfigError as error:
        _fail(error, 2)
    except ExporterError as error:
        _fail(error, 1)
    except RuntimeError as error:
        if "can't start new thread" not in str(error):
            raise
        _fail(ExporterError(NO_THREADS), 1)


def _fail(error: ExporterError, code: int) -> None:
    warn_lines(str(error))
    sys.exit(code)
