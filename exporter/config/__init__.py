"""The configuration file: its schema, and how it is loaded."""

from exporter.config.auth import AccessKeyAuth, Auth, EcsAgencyAuth, PasswordAuth, TokenAuth, TokenFileAuth
from exporter.config.jobs import JobConfig, ProjectConfig
from exporter.config.loader import LARGEST_FILE, load, parse
from exporter.config.schema import AccountConfig, Config
from exporter.config.types import format_duration, parse_duration

__all__ = [
    "LARGEST_FILE",
    "AccessKeyAuth",
    "AccountConfig",
    "Auth",
    "Config",
    "EcsAgencyAuth",
    "JobConfig",
    "PasswordAuth",
    "ProjectConfig",
    "TokenAuth",
    "TokenFileAuth",
    "format_duration",
    "load",
    "parse",
    "parse_duration",
]
