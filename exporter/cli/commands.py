"""Commands and flags. Exit codes: 0 fine, 1 ran and failed, 2 wrong usage or configuration."""

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
from exporter.cli.check_config import check_online, exposed, summary
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


def _config_flag(command: Command) -> Command:
    return click.option(
        "--config.file",
        "config_file",
        default="config.yaml",
        show_default=True,
        type=click.Path(),
        metavar="FILE",
        help="The configuration.",
    )(command)


def _log_flags(command: Command) -> Command:
    level = click.option(
        "--log.level",
        "log_level",
        type=click.Choice(log_setup.LEVELS),
        default="info",
        show_default=True,
        help="Only lines of this level and above.",
    )
    form = click.option(
        "--log.format",
        "log_format",
        type=click.Choice(log_setup.FORMATS),
        default="logfmt",
        show_default=True,
        help="How a line looks.",
    )
    return level(form(command))


def _web_flags(command: Command) -> Command:
    address = click.option(
        "--web.listen-address",
        "addresses",
        multiple=True,
        default=[":10088"],
        show_default=True,
        help="host:port to listen on; may be repeated. Port 0 takes a free one, which is logged.",
    )
    path = click.option(
        "--web.telemetry-path",
        "telemetry_path",
        default="/metrics",
        show_default=True,
        callback=_absolute_path,
        help="Where the metrics are.",
    )
    web_config = click.option(
        "--web.config.file",
        "web_config",
        type=click.Path(),
        metavar="FILE",
        callback=_web_config,
        help="TLS and passwords, in the format of Prometheus's exporter-toolkit; by default there are none.",
    )
    return address(path(web_config(command)))


def _web_config(_ctx: click.Context, _param: click.Parameter, value: str | None) -> Path | None:
    return Path(value) if value else None


def _absolute_path(_ctx: click.Context, _param: click.Parameter, value: str) -> str:
    if not value.startswith("/") or value == "/" or value.startswith("/-/"):
        raise click.BadParameter('must begin with "/", as in /metrics, and be neither "/" nor below "/-/"')
    # What a client would not send as it stands, or what the server would not see in a request's path.
    if re.search(r"[?#%\\\x00-\x20\x7f]|//", value) or {".", ".."} & set(value.split("/")):
        raise click.BadParameter(
            'must be a plain path, as /metrics: without "?", "#", "%", "\\", spaces, "//" and "/../"'
        )
    return value


def _ordinal(_ctx: click.Context, _param: click.Parameter, value: str) -> int:
    found = re.fullmatch(r"(?:[^-].*-)?(\d{1,4})", value)
    if not found:
        raise click.BadParameter("must be a number from 0, or a name that ends in -number, as exporter-0")
    return int(found[1])


@click.group(
    cls=ServeByDefault, context_settings={"max_content_width": 110, "help_option_names": ["-h", "--help"]}
)
@click.version_option(__version__, prog_name="codearts-build-exporter")
@click.pass_context
def cli(context: click.Context) -> None:
    """Prometheus exporter for Huawei Cloud CodeArts Build. Without a command, it serves."""
    if context.invoked_subcommand != "serve":
        startup.restore_hangup()


@cli.command(cls=Serve)
@_config_flag
@_web_flags
@click.option(
    "--web.enable-lifecycle",
    "enable_lifecycle",
    is_flag=True,
    help="Let POST /-/reload read the configuration again, as SIGHUP does.",
)
@_log_flags
@click.option(
    "--shard",
    default="0",
    show_default=True,
    callback=_ordinal,
    help="Which share of the jobs to take, from 0; a pod's name that ends in its ordinal will do.",
)
@click.option(
    "--total-shards",
    type=click.IntRange(1, 1000),
    default=1,
    show_default=True,
    help="Among how many exporters the jobs are shared.",
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
    """Poll the API and serve the metrics (the default command)."""
    if shard >= total_shards:
        raise click.UsageError(
            f"--shard={shard} must be below --total-shards={total_shards}; shards count from 0"
        )
    log_setup.configure(log_level, log_format)
    site = Site(addresses, telemetry_path, WatchedConfig(web_config), enable_lifecycle=enable_lifecycle)
    run_server(ConfigFile(config_file).load, site, Shard(shard, total_shards))


@cli.command("check-config")
@_config_flag
@click.option(
    "--online", is_flag=True, help="Log in, ask, and tell what is wrong, what it costs, what to change."
)
@click.argument("file", required=False, type=click.Path())
@click.pass_context
def check_config(ctx: click.Context, config_file: str, file: str | None, online: bool) -> None:
    """Tell whether the configuration is right, and with --online, whether it will do.

    FILE may be given in place of --config.file=FILE.
    """
    if file is not None:
        if ctx.get_parameter_source("config_file") is not ParameterSource.DEFAULT:
            raise click.UsageError("give the configuration once: as FILE or with --config.file")
        config_file = file
    log_setup.configure("error")
    config = read(config_file)
    echo(f"{config_file} is right: {summary(config)}")
    for line in exposed(config, Path(config_file)):
        warn(f"note: {line}")
    if online and not check_online(config):
        sys.exit(1)


def _pairs(separator: str) -> Callable[[click.Context, click.Parameter, tuple[str, ...]], dict[str, str]]:
    def read(_ctx: click.Context, _param: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
        pairs = [value.partition(separator) for value in values]
        for name, found, _ in pairs:
            if not found or not name.strip():
                raise click.BadParameter(f"must be a name and a value with {separator!r} between them")
        return {name.strip(): value.strip() for name, _, value in pairs}

    return read


def _length(_ctx: click.Context, _param: click.Parameter, value: str) -> float:
    try:
        length = parse_duration(value)
    except ValueError:
        raise click.BadParameter("must be a length of time, as 5m") from None
    if length % 1 or not 1 <= length <= 86_400:
        raise click.BadParameter("must be between 1s and 1d, in whole seconds")
    return length


@cli.command()
@_config_flag
@click.option("--start", default="30d", show_default=True, help="How long ago, or when, the past begins.")
@click.option("--end", default="0s", show_default=True, help="How long ago, or when, it ends.")
@click.option(
    "--exporter",
    "exporters",
    multiple=True,
    help="URL of a running exporter's metrics: a job's past ends where it began to count. May be repeated.",
)
@click.option(
    "--include-uncounted",
    is_flag=True,
    help="With --exporter: include jobs that none of the exporters counts; their past ends now.",
)
@click.option("--step", default="5m", show_default=True, callback=_length, help="From sample to sample.")
@click.option(
    "--output",
    default="",
    type=click.Path(),
    help="A folder for OpenMetrics files, or - for standard output.",
)
@click.option("--remote-write", default="", help="Send to this URL instead of writing files.")
@click.option(
    "--remote-write-header",
    "headers",
    multiple=True,
    callback=_pairs(":"),
    help="A header for it, as 'X-Scope-OrgID: builds'; may be repeated.",
)
@click.option(
    "--label",
    "labels",
    multiple=True,
    callback=_pairs("="),
    help="name=value for each series, as job=codearts-build; may be repeated.",
)
@click.option("--no-details", is_flag=True, help="Ask for no build one by one: quick, without queue times.")
@click.option(
    "--max-requests-per-minute",
    type=click.IntRange(1, 100_000),
    help="By default what the configuration says.",
)
@click.option("--spool", type=click.Path(path_type=Path), help="Where answers are kept until it is done.")
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
    """Bring the past to Prometheus: as OpenMetrics files, or by remote write."""
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
@click.option("--seed", default=0, show_default=True, help="Another seed is another fleet.")
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
    """Serve the metrics of a simulated fleet, without any account."""
    log_setup.configure(log_level, log_format)
    is_default = ctx.get_parameter_source("addresses") is click.core.ParameterSource.DEFAULT
    site = Site(addresses, telemetry_path, WatchedConfig(web_config))
    run_demo(site, seed, any_port=is_default)


@cli.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Where to listen.")
@click.option("--port", default=0, show_default=True, help="0 takes a free one, which is printed.")
@click.option("--jobs", type=int, help="How many jobs; without it, the fleet of the demo.")
@click.option("--seed", default=0, show_default=True, help="Another seed is another fleet.")
@click.option("--speed", default=1.0, show_default=True, help="How much faster than the clock it lives.")
def simulate(**settings: Any) -> None:
    """Simulate the CodeArts Build API alone, for trying things out."""
    try:
        run_simulator(**settings)
    except OSError as error:
        raise ExporterError(
            f"cannot listen on {settings['host']}:{settings['port']}: {error.strerror}"
        ) from None


def main() -> None:
    """Run a command; a person gets one line about what went wrong, a script an exit code."""
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
