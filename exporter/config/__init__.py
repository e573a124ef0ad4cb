"""The configuration file: its schema, and how it is loaded."""

from exporter.config.auth import (
    AccessKeyAuth,
    Auth,
    AuthSection,
    EcsAgencyAuth,
    PasswordAuth,
    TokenAuth,
    TokenFileAuth,
)
from exporter.config.jobs import JobConfig, ProjectConfig
from exporter.config.loader import LARGEST_FILE, load, parse
from exporter.config.regions import KNOWN_REGIONS
from exporter.config.schema import (
    DEFAULT_STATE_PATH,
    DURATION_BUCKETS,
    QUEUE_BUCKETS,
    Config,
    MetricsConfig,
    PollConfig,
    RecycleBinConfig,
    StateConfig,
)
from exporter.config.secret_types import open_regular, read_bounded
from exporter.config.types import format_duration, parse_duration

__all__ = [
    "DEFAULT_STATE_PATH",
    "DURATION_BUCKETS",
    "KNOWN_REGIONS",
    "LARGEST_FILE",
    "QUEUE_BUCKETS",
    "AccessKeyAuth",
    "Auth",
    "AuthSection",
    "Config",
    "EcsAgencyAuth",
    "JobConfig",
    "MetricsConfig",
    "PasswordAuth",
    "PollConfig",
    "ProjectConfig",
    "RecycleBinConfig",
    "StateConfig",
    "TokenAuth",
    "TokenFileAuth",
    "format_duration",
    "load",
    "open_regular",
    "parse",
    "parse_duration",
    "read_bounded",
]
