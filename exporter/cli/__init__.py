"""The command line: the only place where everything meets."""

from exporter.cli.commands import main

__all__ = ["main"]
