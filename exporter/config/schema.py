"""The configuration, key by key; attribute names are those of the file.

Lengths of time are seconds. A later field may look at the earlier ones that are without fault, which
is why the order within a section matters where a rule speaks of two keys.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    field_validator,
)

from exporter.config.auth import Auth, AuthSection, PasswordAuth
from exporter.config.described import AsWritten, Described, OrBare, one_word_of
from exporter.config.fields import ID_SHAPE, Text, Url, items
from exporter.config.problems import listing, nearest
from exporter.config.regions import KNOWN_REGIONS, default_endpoints
from exporter.config.secret_fields import Certificates
from exporter.config.section import Section, about_value, at, gathered, problem
from exporter.config.sections import MetricsConfig, PollConfig, RecycleBinConfig, StateConfig
from exporter.config.watched import JobConfig, ProjectConfig, repetitions


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
