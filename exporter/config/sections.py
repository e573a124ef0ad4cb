"""The sections that have a default for every key; lengths of time are seconds."""

from typing import Annotated, Final

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator

from exporter.config.described import Described, exactly_one_of, one_word_of
from exporter.config.durations import format_duration
from exporter.config.fields import (
    Buckets,
    Duration,
    Patterns,
    Switch,
    Text,
    Whole,
    between,
    duration,
    items,
    one_of,
    whole_number,
)
from exporter.config.patterns import Pattern
from exporter.config.problems import listing
from exporter.config.secret_fields import RedisUrl
from exporter.config.section import Section, problem
from exporter.config.watched import any_matches

DURATION_BUCKETS: Final = (10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1800.0, 3600.0, 7200.0, 14400.0)
QUEUE_BUCKETS: Final = (1.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0)
DEFAULT_STATE_PATH: Final = "codearts-build-exporter.db"

_EXTRA_LABELS: Final = ("trigger", "branch")
_MEANS_MORE: Final = frozenset(r".^$*+?{}[]\|()")
"""What does not mean itself in a regular expression."""

_PollInterval = Annotated[Duration, between("100ms", "1d", duration)]
_ExtraLabels = Annotated[
    tuple[
        Annotated[str, one_of(*_EXTRA_LABELS), Described("label", one_word_of(*_EXTRA_LABELS))],
        ...,
    ],
    BeforeValidator(items),
    AfterValidator(lambda labels: tuple(dict.fromkeys(labels))),
    Described(f"list of {listing(_EXTRA_LABELS)}"),
]


class PollConfig(Section):
    """How often, and how much at once, the API is asked; seconds."""

    interval: _PollInterval = Field(
        60.0, description="from one poll of a job to the next, while it is building", examples=["30s"]
    )
    max_interval: _PollInterval | None = Field(
        None,
        validate_default=True,
        description="the longest that a job goes without a poll of its own, never below poll.interval; by "
        "default 10m, and longer for large fleets whose changes the service's job lists show",
        examples=["10m"],
    )
    lookback: Annotated[Duration, between("1d", "365d", duration)] = Field(
        30 * 86_400.0,
        description="how far back builds are searched for at the first start. After the exporter was down, "
        "it goes back as far as it has to",
    )
    concurrency: Annotated[Whole, between("1", "64", whole_number)] = Field(
        8, description="requests at the same time"
    )
    max_requests_per_minute: Annotated[Whole, between("1", "100000", whole_number)] = Field(
        300,
        description="requests a minute, at most. The exporter asks for less by itself when the service wants "
        "that",
    )
    timeout: Annotated[Duration, between("100ms", "5m", duration)] = Field(
        10.0, description="how long to wait for an answer"
    )

    @field_validator("max_interval")
    @classmethod
    def _not_below_interval(cls, value: float | None, info: ValidationInfo) -> float | None:
        interval = info.data.get("interval", 0.0)
        if value is not None and value < interval:
            longest, shortest = format_duration(value), format_duration(interval)
            raise problem(f"must not be shorter than poll.interval: {longest} against {shortest}")
        return value


class RecycleBinConfig(Section):
    """Whether and how often the recycle bin is read; seconds."""

    enabled: Switch = Field(True, description="read the recycle bin")
    interval: _PollInterval = Field(600.0, description="from one reading of the recycle bin to the next")


class MetricsConfig(Section):
    """The shape of the metrics; buckets are upper bounds in seconds, without ``+Inf``."""

    duration_buckets: Buckets = Field(
        DURATION_BUCKETS,
        description="upper bounds of the buckets of durations, of builds and of stages. One for "
        "all the rest is added",
    )
    queue_buckets: Buckets = Field(
        QUEUE_BUCKETS,
        description="upper bounds of the buckets of codearts_build_queue_duration_seconds. "
        "One for all the rest is added",
    )
    extra_labels: _ExtraLabels = Field(
        (), description="more labels for finished builds and their duration", examples=[["trigger"]]
    )
    branches: Patterns = Field(
        (),
        validate_default=True,
        description="with the label `branch`, the branches to tell apart. Each expression has to match the "
        "whole name; all other branches become `other`. Plain names, as `main`, are there from the start",
        examples=[["main", "release/.*"]],
    )
    max_series: Annotated[Whole, between("1000", "100000000", whole_number)] = Field(
        1_000_000,
        description="series from which on branches that are new to a job count under `other`. Plain names in "
        "`branches` are never new",
    )
    stages: Switch = Field(False, description="measure the stages of each build, at a request each")

    @field_validator("branches")
    @classmethod
    def _given_for_the_label(cls, value: tuple[Pattern, ...], info: ValidationInfo) -> tuple[Pattern, ...]:
        if not value and "branch" in info.data.get("extra_labels", ()):
            raise problem('must list the branches to tell apart, since extra_labels has "branch"')
        return value

    def branch_label(self, branch: str) -> str:
        """Tell the value of the label ``branch``: the branch, or ``other`` if it is not allowed."""
        return branch if any_matches(self.branches, branch) else "other"

    @property
    def plain_branches(self) -> tuple[str, ...]:
        """The branches that stand in ``branches`` by their name: each character means itself."""
        names = (pattern.text for pattern in self.branches)
        return tuple(dict.fromkeys(name for name in names if not _MEANS_MORE.intersection(name)))


class StateConfig(Section):
    """Where the ledgers are kept: exactly one of ``path`` and ``redis_url`` is not None."""

    model_config = ConfigDict(
        json_schema_extra={"not": {"allOf": exactly_one_of("redis_url", "path")}},
    )

    redis_url: RedisUrl | None = Field(
        None,
        description="a Redis or Valkey server in place of `path`, for several exporters that share the work. "
        "It takes the extra `redis`",
        examples=["${CODEARTS_REDIS_URL}"],
    )
    path: Text | None = Field(
        None,
        validate_default=True,
        description="a file; a relative path starts from the working directory. `:memory:` remembers nothing",
        examples=["/var/lib/codearts-build-exporter/state.db"],
        json_schema_extra={"default": DEFAULT_STATE_PATH},
    )
    retention: Annotated[Duration, between("1h", "10y", duration)] = Field(
        30 * 86_400.0, description="how long a job that is no longer watched is remembered"
    )

    @field_validator("path", mode="before")
    @classmethod
    def _default(cls, value: object, info: ValidationInfo) -> object:
        if value is None and info.data.get("redis_url", "faulty") is None:
            return DEFAULT_STATE_PATH
        return value

    @field_validator("path")
    @classmethod
    def _either_or(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is not None and "://" in value:
            raise problem("must be the path of a file; the URL of a server belongs in redis_url")
        if value is not None and info.data.get("redis_url") is not None:
            raise problem("cannot be given together with redis_url; keep one")
        return value
