"""Commands and flags. Exit codes: 0 success, 1 failure, 2 wrong usage or configuration.

Each command imports what it needs when it runs, so that the others start fast.
"""

import platform
import sys
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from exporter import __version__, revision, startup
from exporter.cli.command_group import Serve, ServeByDefault
from exporter.cli.flags import (
    config_flag,
    config_flag_or_argument,
    log_flags,
    ordinal,
    pairs,
    speed,
    step,
    web_flags,
)
from exporter.cli.safe_output import echo, exit_code, filter_tracebacks, warn_lines
from exporter.errors import NO_THREADS, ApiError, ConfigError, ExporterError


def _show_version(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        echo(f"codearts-build-exporter, version {__version__} (revision: {revision()})")
        echo(f"  python version: {platform.python_version()}")
        echo(f"  platform: {sys.platform}/{platform.machine()}")
        ctx.exit()


@click.group(
    cls=ServeByDefault,
    context_settings={"max_content_width": 110, "help_option_names": ["-h", "--help"], "show_default": True},
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_version,
    help="Show the version and exit.",
)
@click.pass_context
def cli(context: click.Context) -> None:
    """Prometheus exporter for Huawei Cloud CodeArts Build. The default command is serve."""
    if context.invoked_subcommand != "serve":
        startup.restore_hangup()


@cli.command(cls=Serve)
@config_flag
@web_flags
@click.option(
    "--web.enable-lifecycle",
    "enable_lifecycle",
    is_flag=True,
    help="Enable POST /-/reload, which reloads the configuration as SIGHUP does, and POST /-/poll, which "
    "polls the named jobs at once.",
)
@log_flags
@click.option(
    "--shard",
    default="0",
    callback=ordinal,
    help="Shard index, starting at 0. A StatefulSet pod name works too.",
)
@click.option(
    "--total-shards",
    type=click.IntRange(1, 1000),
    default=1,
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
    with startup.slow_imports():
        from exporter.app import ConfigFile, Shard
        from exporter.cli import log_setup
        from exporter.cli.serve import Site
        from exporter.cli.serve import serve as run
        from exporter.web import WatchedConfig
    log_setup.configure(log_level, log_format)
    site = Site(addresses, telemetry_path, WatchedConfig(web_config), enable_lifecycle=enable_lifecycle)
    run(ConfigFile(config_file).load, site, Shard(shard, total_shards))


@cli.command("check-config")
@config_flag_or_argument
@click.option("--online", is_flag=True, help="Query the API and report errors, request rate and advice.")
def check_config(config_file: str, online: bool) -> None:
    """Validate the configuration; with --online, also test it against the API.

    FILE may be given instead of --config.file=FILE.
    """
    with startup.slow_imports():
        from exporter.cli.check_config import check_config as run
    if not run(Path(config_file), online=online):
        sys.exit(1)


@cli.command("list-jobs")
@config_flag_or_argument
@click.option(
    "--format",
    "output",
    type=click.Choice(("yaml", "table", "json")),
    default="yaml",
    help="yaml is ready to paste into a configuration; table and json also show the last build.",
)
def list_jobs(config_file: str, output: str) -> None:
    """List the jobs that the user sees, as the section jobs of a configuration.

    The configuration needs no jobs and no projects for this. FILE may be given instead of --config.file=FILE.
    """
    with startup.slow_imports():
        from exporter.cli.list_jobs import list_jobs as run
        from exporter.config import AccountConfig, load
    run(load(Path(config_file), schema=AccountConfig), output)


@cli.command()
@config_flag
@click.option("--start", default="30d", help="Start of the period: a time, or how long ago.")
@click.option("--end", default="0s", help="End of the period: a time, or how long ago.")
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
@click.option("--step", default="5m", callback=step, help="Time between samples.")
@click.option(
    "--output",
    default="",
    show_default=False,
    type=click.Path(),
    help="Directory for OpenMetrics files, or - for standard output.",
)
@click.option(
    "--remote-write",
    default="",
    show_default=False,
    help="Remote write URL to send to, instead of writing files.",
)
@click.option(
    "--remote-write-header",
    "headers",
    multiple=True,
    callback=pairs(":"),
    help="Remote write header, such as 'X-Scope-OrgID: builds'. May be repeated.",
)
@click.option(
    "--label",
    "labels",
    multiple=True,
    callback=pairs("="),
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
    """Export build history to Prometheus (OpenMetrics files or remote write).

    Either --output or --remote-write is required.
    """
    if bool(to["output"]) == bool(to["remote_write"]):
        raise click.UsageError("give either --output or --remote-write")
    given_end = click.get_current_context().get_parameter_source("end") is not ParameterSource.DEFAULT
    with startup.slow_imports():
        from exporter.backfill import Destination, Selection
        from exporter.cli import log_setup
        from exporter.cli.backfill import Options
        from exporter.cli.backfill import backfill as run
        from exporter.config import load
    log_setup.configure("error")
    selection = Selection(start, end, exporters, include_uncounted or given_end)
    options = Options(selection, step, Destination(**to), not no_details, max_requests_per_minute, spool)
    run(load(Path(config_file)), options)


@cli.command()
@web_flags
@log_flags
@click.option("--seed", default=0, help="Seed that selects the fleet.")
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
    with startup.slow_imports():
        from exporter.cli import log_setup
        from exporter.cli.demo import demo as run
        from exporter.cli.serve import Site
        from exporter.web import WatchedConfig
    log_setup.configure(log_level, log_format)
    is_default = ctx.get_parameter_source("addresses") is click.core.ParameterSource.DEFAULT
    site = Site(addresses, telemetry_path, WatchedConfig(web_config))
    run(site, seed, any_port=is_default)


@cli.command()
@click.option("--host", default="127.0.0.1", help="Address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65_535),
    default=0,
    help="Port to listen on. 0 selects a free port, which is printed.",
)
@click.option("--jobs", type=click.IntRange(0), help="Number of jobs. Default: those of the demo.")
@click.option("--seed", default=0, help="Seed that selects the fleet.")
@click.option(
    "--speed", default=1.0, callback=speed, help="Speed of simulated time, above 0 and at most 10,000."
)
def simulate(**settings: Any) -> None:
    """Simulate the CodeArts Build API, for experiments."""
    with startup.slow_imports():
        from exporter.simulator import run
    try:
        run(**settings)
    except OSError as error:
        raise ExporterError(
            f"cannot listen on {settings['host']}:{settings['port']}: {error.strerror}"
        ) from None


def main() -> None:
    """Run a command. Errors become a line on standard error and an exit code."""
    startup.prepare()
    filter_tracebacks()
    sys.exit(exit_code(_run))


def _run() -> None:
    try:
        cli.main(prog_name="codearts-build-exporter", standalone_mode=True)
    except ConfigError as error:
        _fail(error, 2)
    except ApiError as error:
        _fail(ExporterError(f"{error.cause or error}; check-config --online says what to do"), 1)
    except ExporterError as error:
        _fail(error, 1)
    except RuntimeError as error:
        if "can't start new thread" not in str(error):
            raise
        _fail(ExporterError(NO_THREADS), 1)


def _fail(error: ExporterError, code: int) -> None:
    warn_lines(str(error))
    sys.exit(code)
