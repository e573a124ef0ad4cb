"""The configuration file: every section and key, with types, limits and defaults."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, ClassVar, Final

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator

from exporter.config.auth import Auth, AuthSection, PasswordAuth
from exporter.config.console import ConsoleConfig
from exporter.config.jobs import Jobs, Projects, any_matches
from exporter.config.regions import KNOWN_REGIONS, default_endpoints
from exporter.config.secret_and_path_types import Certificates, RedisUrl
from exporter.config.section_base import (
    Section,
    collect_errors,
    exactly_one_of,
    one_word_of,
    problem,
    problem_at,
    value_problem,
)
from exporter.config.types import (
    Boolean,
    Buckets,
    Pattern,
    Patterns,
    Text,
    Url,
    as_list,
    duration_between,
    format_duration,
    integer_between,
    one_of,
)
from exporter.humanize import join_words, nearest
from exporter.model import ConsoleLinks

DURATION_BUCKETS: Final = (10, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400)
QUEUE_BUCKETS: Final = (1, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)
DEFAULT_STATE_PATH: Final = "codearts-build-exporter.db"
_EXTRA_LABELS: Final = ("trigger", "branch")
_REGEX_SYNTAX: Final = frozenset(r".^$*+?{}[]\|()")

_Interval = Annotated[float, duration_between("100ms", "1d")]
_ExtraLabels = Annotated[
    tuple[Annotated[str, one_of(*_EXTRA_LABELS, title="label")], ...],
    BeforeValidator(as_list),
    AfterValidator(lambda labels: tuple(dict.fromkeys(labels))),
    Field(title=f"list of {join_words(_EXTRA_LABELS)}"),
]


class PollConfig(Section):
    """Settings of the API queries; times are in seconds."""

    interval: _Interval = Field(
        "1m", validate_default=True, description="Time between polls of a building job.", examples=["30s"]
    )
    max_interval: _Interval | None = Field(
        None,
        description="Longest time between two polls of a job, never below poll.interval. Default: 10m, and "
        "more for large fleets where the service's job lists show changes.",
        examples=["10m"],
    )
    lookback: Annotated[float, duration_between("1d", "365d")] = Field(
        "30d",
        validate_default=True,
        description="How far back to read builds at the first start. After downtime: as far as needed.",
    )
    concurrency: Annotated[int, integer_between(1, 64)] = Field(
        8, description="Maximum parallel requests, besides one for job lists and one for the recycle bin."
    )
    max_requests_per_minute: Annotated[int, integer_between(1, 100_000)] = Field(
        300,
        description="Maximum request rate of all operations together. When it is throttled, the exporter "
        "learns lower limits by itself, for each operation or for several together.",
    )
    timeout: Annotated[float, duration_between("100ms", "5m")] = Field(
        "10s", validate_default=True, description="How long to wait for a response."
    )

    @field_validator("max_interval")
    @classmethod
    def _not_below_interval(cls, value: float | None, info: ValidationInfo) -> float | None:
        interval = info.data.get("interval", 0.0)
        if value is not None and value < interval:
            longest, shortest = format_duration(value), format_duration(interval)
            raise problem(f"must not be shorter than poll.interval: {longest} is below {shortest}")
        return value


class RecycleBinConfig(Section):
    """Reading of the recycle bin; times are in seconds."""

    enabled: Boolean = Field(True, description="Read the recycle bin.")
    interval: _Interval = Field(
        "10m", validate_default=True, description="Time between two reads of the recycle bin."
    )


class MetricsConfig(Section):
    """The shape of the metrics; buckets are upper bounds in seconds, without ``+Inf``."""

    duration_buckets: Buckets = Field(
        DURATION_BUCKETS,
        description="Upper bounds of the buckets of build and stage durations, without `+Inf`.",
    )
    queue_buckets: Buckets = Field(
        QUEUE_BUCKETS,
        description="Upper bounds of the buckets of codearts_build_queue_duration_seconds, without `+Inf`.",
    )
    extra_labels: _ExtraLabels = Field(
        (), description="Additional labels of finished builds and their duration.", examples=[["trigger"]]
    )
    branches: Patterns = Field(
        (),
        validate_default=True,
        description="Branches to distinguish in the label `branch`. Each expression must match the whole "
        "name; all other branches become `other`. Plain names, such as `main`, have series from the start.",
        examples=[["main", "release/.*"]],
    )
    max_series: Annotated[int, integer_between(1000, 100_000_000)] = Field(
        1_000_000,
        description="Series limit; beyond it, branches new to a job are counted as `other`. Plain names in "
        "`branches` are exempt.",
    )
    stages: Boolean = Field(False, description="Measure the stages of builds, at one more request per build.")
    created_series: Boolean = Field(
        False,
        description="Expose creation times of counters and histograms as series `_created` in OpenMetrics, "
        "12 or more a job. Protobuf always has creation times, without series.",
    )
    detail: Annotated[str, one_of("full", "lean", title="word")] = Field(
        "full",
        title="full or lean",
        description="`lean` publishes at most 25 series per job: histograms are those of projects, and some "
        "metrics are left out.",
    )

    @field_validator("branches")
    @classmethod
    def _required_for_the_label(cls, value: tuple[Pattern, ...], info: ValidationInfo) -> tuple[Pattern, ...]:
        if not value and "branch" in info.data.get("extra_labels", ()):
            raise problem('must list the branches to distinguish, because extra_labels has "branch"')
        return value

    @property
    def is_lean(self) -> bool:
        """Only the series of jobs are published that alerts need."""
        return self.detail == "lean"

    def branch_label(self, branch: str) -> str:
        """Return the value of the label ``branch``: the branch, or ``other`` if it is not listed."""
        return branch if any_matches(self.branches, branch) else "other"

    @property
    def plain_branches(self) -> tuple[str, ...]:
        """The entries of ``branches`` that are names, without any regular expression syntax."""
        names = (pattern.text for pattern in self.branches)
        return tuple(dict.fromkeys(name for name in names if not _REGEX_SYNTAX.intersection(name)))


class StateConfig(Section):
    """The store of the ledgers: exactly one of ``path`` and ``redis_url`` is not None."""

    model_config = ConfigDict(json_schema_extra={"not": {"allOf": exactly_one_of("redis_url", "path")}})

    redis_url: RedisUrl | None = Field(
        None,
        description="Redis or Valkey server instead of `path`, for shards. It requires the extra `redis`.",
        examples=["${CODEARTS_REDIS_URL}"],
    )
    path: Text | None = Field(
        None,
        validate_default=True,
        description="SQLite file; a relative path starts from the working directory. With `:memory:`, "
        "nothing survives a restart.",
        examples=["/var/lib/codearts-build-exporter/state.db"],
        json_schema_extra={"default": DEFAULT_STATE_PATH},
    )
    retention: Annotated[float, duration_between("1h", "10y")] = Field(
        "30d", validate_default=True, description="How long to keep the state of a job no longer watched."
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

    model_config = ConfigDict(
        json_schema_extra={
            "allOf": [
                {
                    "anyOf": [
                        {"required": ["endpoint"]},
                        {"required": ["region"], "properties": {"region": one_word_of(*KNOWN_REGIONS)}},
                    ]
                },
                {
                    "anyOf": [
                        {"required": [key], "properties": {key: {"minItems": 1}}}
                        for key in ("jobs", "projects")
                    ]
                },
            ]
        }
    )

    belongs_under: ClassVar[Mapping[str, str]] = dict.fromkeys(AuthSection.model_fields, "auth")

    endpoint: Url = Field(
        "",
        description="Base URL of CodeArts Build. Default: the region's. Private installations need it.",
        examples=["https://cloudbuild-ext.cn-north-4.myhuaweicloud.com"],
    )
    region: Text | None = Field(
        None,
        validate_default=True,
        description="Huawei Cloud region, which sets the endpoints. Any name is accepted with `endpoint`.",
        examples=["cn-north-4"],
    )
    iam_endpoint: Url = Field(
        "",
        description="Base URL of IAM, which issues tokens for auth.password. Default: the region's.",
        examples=["https://iam.cn-north-4.myhuaweicloud.com"],
    )
    ca_file: Certificates | None = Field(
        None,
        description="File with CA certificates (PEM) to trust instead of the built-in ones.",
        examples=["ca.pem"],
    )
    auth: Annotated[Auth, BeforeValidator(AuthSection.parse, json_schema_input_type=AuthSection)] = Field(
        description=f"Give one of {join_words([f'`{key}`' for key in AuthSection.model_fields], 'or')}."
    )
    projects: Projects = Field(
        (), description="CodeArts projects to watch, including jobs added later. An entry may be a bare ID."
    )
    jobs: Jobs = Field((), validate_default=True, description="The jobs to watch. An entry may be a bare ID.")
    poll: PollConfig = Field(PollConfig(), description="How the API is queried.")
    recycle_bin: RecycleBinConfig = Field(
        RecycleBinConfig(), description="Deleted jobs, which the service keeps for some time."
    )
    metrics: MetricsConfig = Field(
        MetricsConfig(),
        description="The shape of the metrics. More labels and buckets mean more series per job.",
    )
    state: StateConfig = Field(
        StateConfig(),
        description="What the exporter remembers, so that restarts neither lose nor repeat a build.",
    )

    console: ConsoleConfig = Field(
        ConsoleConfig(), description="Links to the pages of jobs and builds in the console."
    )

    @property
    def links(self) -> ConsoleLinks:
        """The links to the console, with the region filled in."""
        return self.console.links(self.region)

    @property
    def files(self) -> tuple[Path, ...]:
        """The files it names, except that of the state."""
        return (*([self.ca_file] if self.ca_file else []), *self.auth.files)

    @classmethod
    def expand_shorthand(cls, given: Mapping[str, object]) -> Mapping[str, object]:
        """Fill in the endpoints of a known region."""
        region = given.get("region")
        if not isinstance(region, str):
            return given
        return {**default_endpoints(region), **{key: item for key, item in given.items() if item is not None}}

    @field_validator("region")
    @classmethod
    def _is_known_or_not_needed(cls, value: str | None, info: ValidationInfo) -> str | None:
        if info.data.get("endpoint", "faulty"):
            return value
        known = f"the known regions are {join_words(KNOWN_REGIONS)}; anywhere else, give endpoint"
        if value is None:
            raise problem(f"is missing; {known}")
        similar = nearest(value, KNOWN_REGIONS)
        hint = f'did you mean "{similar}"? ' if similar else ""
        raise value_problem(f"is not a known region; {hint}{known}")

    @field_validator("console")
    @classmethod
    def _has_its_region(cls, value: ConsoleConfig, info: ValidationInfo) -> ConsoleConfig:
        if value.needs_region and info.data.get("region", "faulty") is None:
            raise problem("has a URL with {region}, but there is no key region")
        return value

    @field_validator("auth")
    @classmethod
    def _complete(cls, value: Auth, info: ValidationInfo) -> Auth:
        """Fill in what password authentication takes from the region."""
        if not isinstance(value, PasswordAuth):
            return value
        problems = []
        if not info.data.get("iam_endpoint", "faulty") and "region" in info.data:
            error = problem("needs iam_endpoint, which has a default only in a known region")
            problems.append(problem_at(error, "password"))
        project = value.project or info.data.get("region")
        if not project and "region" in info.data:
            error = problem("is missing; without region it has no default")
            problems.append(problem_at(error, "password", "project"))
        return collect_errors("auth", problems, lambda: value.model_copy(update={"project": project}))

    @field_validator("jobs")
    @classmethod
    def _something_to_watch(cls, value: Jobs, info: ValidationInfo) -> Jobs:
        if not value and not info.data.get("projects", "faulty"):
            raise problem("there is nothing to watch; give jobs, projects or both (list-jobs shows the jobs)")
        return value


class AccountConfig(Config):
    """The file of a command that watches nothing: jobs and projects may be missing."""

    @field_validator("jobs")
    @classmethod
    def _something_to_watch(cls, value: Jobs, info: ValidationInfo) -> Jobs:
        return value
