"""The configuration file: what may stand in it, and what is wrong with it."""

from exporter.config.auth import (
    AccessKeyAuth,
    Auth,
    AuthSection,
    EcsAgencyAuth,
    PasswordAuth,
    TokenAuth,
    TokenFileAuth,
)
from exporter.config.durations import format_duration, parse_duration
from exporter.config.files import read_bounded
from exporter.config.loader import LARGEST_FILE, load, parse
from exporter.config.regions import KNOWN_REGIONS
from exporter.config.schema import (
    DEFAULT_STATE_PATH,
    DURATION_BUCKETS,
    QUEUE_BUCKETS,
    Config,
    JobConfig,
    MetricsConfig,
    PollConfig,
    ProjectConfig,
    RecycleBinConfig,
    StateConfig,
)

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
    "parse",
    "parse_duration",
    "read_bounded",
]
