"""The configuration, key by key; attribute names are those of the file.

Lengths of time are seconds. A later field may look at the earlier ones that are without fault, which
is why the order within a section matters where a rule speaks of two keys.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    field_validator,
)

from exporter.config.auth import Auth, AuthSection, PasswordAuth
from exporter.config.durations import format_duration
from exporter.config.fields import (
    Buckets,
    Duration,
    Patterns,
    Switch,
    Text,
    Url,
    Whole,
    between,
    duration,
    items,
    one_of,
    whole_number,
)
from exporter.config.problems import listing, nearest
from exporter.config.regions import KNOWN_REGIONS, default_endpoints
from exporter.config.secret_fields import Certificates, RedisUrl
from exporter.config.section import Section, about_value, at, gathered, problem
from exporter.config.watched import JobConfig, ProjectConfig, any_matches, repetitions

DURATION_BUCKETS: Final = (10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1800.0, 3600.0, 7200.0, 14400.0)
QUEUE_BUCKETS: Final = (1.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0)
DEFAULT_STATE_PATH: Final = "codearts-build-exporter.db"

_PollInterval = Annotated[Duration, between("100ms", "1d", duration)]
_ExtraLabels = Annotated[
    tuple[Annotated[str, one_of("trigger", "branch")], ...],
    BeforeValidator(items),
    AfterValidator(lambda labels: tuple(dict.fromkeys(labels))),
]


class PollConfig(Section):
    """How often, and how much at once, the API is asked; seconds."""

    interval: _PollInterval = Field(60.0, description="from one poll of a busy job to the next")
    max_interval: _PollInterval | None = Field(
        None,
        validate_default=True,
        description="the longest a job goes without a poll of its own; by default 10m, and longer for "
        "large fleets whose changes job lists show",
    )
    lookback: Annotated[Duration, between("1d", "365d", duration)] = Field(
        30 * 86_400.0, description="how far back builds are searched for"
    )
    concurrency: Annotated[Whole, between("1", "64", whole_number)] = Field(
        8, description="requests at the same time"
    )
    max_requests_per_minute: Annotated[Whole, between("1", "100000", whole_number)] = Field(
        300, description="requests a minute; less when the service says so"
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
        DURATION_BUCKETS, description="the buckets of codearts_build_duration_seconds"
    )
    queue_buckets: Buckets = Field(
        QUEUE_BUCKETS, description="the buckets of codearts_build_queue_duration_seconds"
    )
    extra_labels: _ExtraLabels = Field((), description="trigger, branch: labels of finished builds")
    branches: Patterns = Field(
        (), validate_default=True, description="branches that keep their name; all others are other"
    )
    max_series: Annotated[Whole, between("1000", "100000000", whole_number)] = Field(
        1_000_000, description="series from which on branches that are new to a job count under other"
    )
    stages: Switch = Field(False, description="measure the stages of each build, at a request each")

    @field_validator("branches")
    @classmethod
    def _given_for_the_label(
        cls, value: tuple[re.Pattern[str], ...], info: ValidationInfo
    ) -> tuple[re.Pattern[str], ...]:
        if not value and "branch" in info.data.get("extra_labels", ()):
            raise problem('must list the branches to tell apart, since extra_labels has "branch"')
        return value

    def branch_label(self, branch: str) -> str:
        """Tell the value of the label ``branch``: the branch, or ``other`` if it is not allowed."""
        return branch if any_matches(self.branches, branch) else "other"


class StateConfig(Section):
    """Where the ledgers are kept: exactly one of ``path`` and ``redis_url`` is not None."""

    redis_url: RedisUrl | None = Field(None, description="a Redis or Valkey server instead of a file")
    path: Text | None = Field(
        None, validate_default=True, description="a file, or :memory: to start anew each time"
    )
    retention: Annotated[Duration, between("1h", "10y", duration)] = Field(
        30 * 86_400.0, description="how long the ledger of a job outlives the last poll of it"
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


class Config(Section):
    """The whole file.

    ``endpoint`` is never empty; ``iam_endpoint`` is never empty where `PasswordAuth` needs it.
    """

    endpoint: Url = Field("", description="the address of CodeArts Build; by default the region's")
    region: Text | None = Field(None, validate_default=True, description="the region, as cn-north-4")
    iam_endpoint: Url = Field("", description="the address of IAM; by default the region's")
    ca_file: Certificates | None = Field(
        None, description="certificates to trust instead of the built-in ones"
    )
    auth: Annotated[Auth, BeforeValidator(AuthSection.read)] = Field(
        description=f"give one of {listing(AuthSection.model_fields, 'or')}"
    )
    projects: Annotated[tuple[ProjectConfig, ...], BeforeValidator(items)] = Field(
        (), description="projects to watch all jobs of"
    )
    jobs: Annotated[tuple[JobConfig, ...], BeforeValidator(items)] = Field(
        (), validate_default=True, description="jobs to watch"
    )
    poll: PollConfig = Field(PollConfig(), description="how the API is asked")
    recycle_bin: RecycleBinConfig = Field(RecycleBinConfig(), description="deleted jobs")
    metrics: MetricsConfig = Field(MetricsConfig(), description="the shape of the metrics")
    state: StateConfig = Field(StateConfig(), description="what outlives the process")

    @classmethod
    def unfold(cls, value: object) -> object:
        """Fill in the endpoints of a known region."""
        if not isinstance(value, Mapping) or not isinstance(value.get("region"), str):
            return value
        given = {key: item for key, item in value.items() if item is not None}
        return {**default_endpoints(value["region"]), **given}

    @field_validator("region")
    @classmethod
    def _known_or_not_needed(cls, value: str | None, info: ValidationInfo) -> str | None:
        if info.data.get("endpoint", "faulty"):
            return value
        known = f"the known regions are {listing(KNOWN_REGIONS)}; anywhere else, give endpoint"
        if value is None:
            raise problem(f"is missing; {known}")
        meant = nearest(value, KNOWN_REGIONS)
        hint = f'did you mean "{meant}"? ' if meant else ""
        raise about_value(f"is not a known region; {hint}{known}")

    @field_validator("auth")
    @classmethod
    def _complete(cls, value: Auth, info: ValidationInfo) -> Auth:
        """Give password authentication what it takes from the region."""
        if not isinstance(value, PasswordAuth):
            return value
        problems = []
        if not info.data.get("iam_endpoint", "faulty"):
            text = "needs iam_endpoint, which only a known region gives a default"
            problems.append(at(problem(text), "password"))
        if not value.project and not info.data.get("region", "faulty"):
            problems.append(
                at(problem("is missing; without region it has no default"), "password", "project")
            )
        project = value.project or info.data.get("region")
        return gathered("auth", problems, lambda: value.model_copy(update={"project": project}))

    @field_validator("projects", "jobs", mode="wrap")
    @classmethod
    def _each_once(
        cls, value: Any, handler: ValidatorFunctionWrapHandler, info: ValidationInfo
    ) -> tuple[Section, ...]:
        listed = str(info.field_name)
        problems = repetitions(listed, value) if isinstance(value, list | tuple) else []
        return gathered(listed, problems, lambda: handler(value))

    @field_validator("jobs")
    @classmethod
    def _something_to_watch(cls, value: tuple[JobConfig, ...], info: ValidationInfo) -> tuple[JobConfig, ...]:
        if not value and not info.data.get("projects", "faulty"):
            raise problem("there is nothing to watch; give jobs, projects or both")
        return value
