"""The command line, which imports all other packages."""

from exporter.cli.commands import main

__all__ = ["main"]
