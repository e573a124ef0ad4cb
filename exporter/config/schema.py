"""The configuration: every section and key, with types, limits and defaults."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    field_validator,
)
from pydantic_core import InitErrorDetails

from exporter.config.auth import Auth, AuthSection, PasswordAuth
from exporter.config.durations import format_duration
from exporter.config.problems import listing, nearest
from exporter.config.regions import KNOWN_REGIONS, default_endpoints
from exporter.config.secret_types import Certificates, RedisUrl
from exporter.config.section import (
    AsWritten,
    Described,
    OrBare,
    Section,
    about_value,
    at,
    exactly_one_of,
    gathered,
    one_word_of,
    problem,
)
from exporter.config.types import (
    ID_SHAPE,
    Buckets,
    Duration,
    JobId,
    Pattern,
    Patterns,
    ProjectId,
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


class JobConfig(Section):
    """A job to watch; in the file its bare id will do."""

    id: JobId = Field(
        description="the job's ID. It is the 32 characters at the end of the job's URL in the console",
        examples=["48c66c6002964721be537cdc6ce0297b"],
    )
    name: Text | None = Field(
        None, description="the label `job_name`; by default the job's name", examples=["checkout"]
    )
    project: Text | None = Field(
        None, description="the label `project`; by default the project's name", examples=["shop"]
    )

    @classmethod
    def unfold(cls, value: object) -> object:
        """Read a bare id."""
        return value if value is None or isinstance(value, Mapping | list) else {"id": value}


class ProjectConfig(Section):
    """A CodeArts project whose jobs are watched, as far as their names fit."""

    id: ProjectId = Field(
        description="the CodeArts project's ID. It is the 32 characters after /project/ in the project's URL",
        examples=["b4d3971c3988463b865f6f920846149e"],
    )
    name: Text | None = Field(
        None, description="the label `project`; by default the project's name", examples=["shop"]
    )
    include: Patterns = Field(
        (),
        description="names of the jobs to watch. Each expression has to match the whole name; without any, "
        "every job is watched",
        examples=[["release-.*", "nightly"]],
    )
    exclude: Patterns = Field(
        (),
        description="names of the jobs to leave out. Each expression has to match the whole name, and wins "
        "over `include`",
        examples=[[".*-experimental"]],
    )

    @classmethod
    def unfold(cls, value: object) -> object:
        """Read a bare id."""
        return value if value is None or isinstance(value, Mapping | list) else {"id": value}

    def wants(self, job_name: str) -> bool:
        """Tell whether a job of the project is to be watched; expressions match whole names."""
        included = not self.include or any_matches(self.include, job_name)
        return included and not any_matches(self.exclude, job_name)


def any_matches(patterns: tuple[Pattern, ...], name: str) -> bool:
    """Tell whether one of the patterns matches the whole name."""
    return any(pattern.matches(name) for pattern in patterns)


def repetitions(listed: str, entries: list[object] | tuple[object, ...]) -> list[InitErrorDetails]:
    """Find entries with the id, or the project and name, of an earlier one, be they valid or not."""
    problems = []
    seen: dict[object, int] = {}
    for index, entry in enumerate(entries):
        for key, names in _identities(entry):
            first = seen.setdefault(names, index)
            if first != index:
                text = f"{listed}[{first}] has the same {key}"
                where = ("id",) if key == "id" else ()
                problems.append(at(problem(text, first=(listed, first)), index, *where))
                break
    return problems


def _identities(entry: object) -> list[tuple[str, tuple[str, ...]]]:
    if isinstance(entry, str):
        return [("id", (entry,))]
    if not isinstance(entry, Mapping):
        return []
    identities = []
    for label, keys in (("id", ("id",)), ("project and name", ("project", "name"))):
        values = tuple(entry[key] for key in keys if isinstance(entry.get(key), str))
        if len(values) == len(keys):
            identities.append((label, values))
    return identities


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
                        {
                            "required": ["region"],
                            "properties": {"region": one_word_of(*KNOWN_REGIONS)},
                        },
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

    endpoint: Url = Field(
        "",
        description="the address of CodeArts Build, for a private installation or a region that is not "
        "known; by default the region's",
        examples=["https://cloudbuild-ext.cn-north-4.myhuaweicloud.com"],
    )
    region: Text | None = Field(
        None,
        validate_default=True,
        description="the region of Huawei Cloud, which gives the addresses. Without `endpoint` it has to be "
        "a known one",
        examples=["cn-north-4"],
    )
    iam_endpoint: Url = Field(
        "",
        description="the address of IAM, where tokens are obtained; of use with auth.password only; by "
        "default the region's",
        examples=["https://iam.cn-north-4.myhuaweicloud.com"],
    )
    ca_file: Certificates | None = Field(
        None,
        description="certificates (PEM) to trust instead of the built-in ones, for an installation with a "
        "CA of its own",
        examples=["ca.pem"],
    )
    auth: Annotated[Auth, BeforeValidator(AuthSection.read), AsWritten(AuthSection)] = Field(
        description=f"give one of {listing([f'`{key}`' for key in AuthSection.model_fields], 'or')}"
    )
    projects: Annotated[
        tuple[Annotated[ProjectConfig, OrBare(ID_SHAPE)], ...],
        BeforeValidator(items),
        Described("list of IDs or sections"),
    ] = Field(
        (),
        description="CodeArts projects of which every job is watched, also those that are added later. A "
        "bare ID will do for one",
    )
    jobs: Annotated[
        tuple[Annotated[JobConfig, OrBare(ID_SHAPE)], ...],
        BeforeValidator(items),
        Described("list of IDs or sections"),
    ] = Field((), validate_default=True, description="the jobs to watch. A bare ID will do for one")
    poll: PollConfig = Field(PollConfig(), description="how the service is asked")
    recycle_bin: RecycleBinConfig = Field(
        RecycleBinConfig(), description="deleted jobs, which the service keeps for a while"
    )
    metrics: MetricsConfig = Field(
        MetricsConfig(),
        description="the shape of the metrics. More labels and buckets mean more series, for each job",
    )
    state: StateConfig = Field(
        StateConfig(),
        description="what the exporter remembers, so that a restart neither loses a build nor counts "
        "it again",
    )

    @property
    def files(self) -> tuple[Path, ...]:
        """Files that it names, save that of the state."""
        named = (getattr(self.auth, key, None) for key in ("path", "password_file", "secret_key_file"))
        return tuple(path for path in (self.ca_file, *named) if path)

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
