"""The jobs and projects to watch, as sections of the configuration file."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import (
    BeforeValidator,
    Field,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    field_validator,
)

from exporter.config.section_base import Section, collect_errors, problem, problem_at
from exporter.config.types import JobId, Pattern, Patterns, ProjectId, Text, as_list
from exporter.model import ALL


class JobConfig(Section):
    """A job to watch."""

    id: JobId = Field(
        description="The job's ID. It is the 32 characters after the project's in its URL in the console; "
        "`list-jobs` prints it.",
        examples=["48c66c6002964721be537cdc6ce0297b"],
    )
    name: Text | None = Field(
        None, description="Value of the label `job_name`. Default: the job's name.", examples=["checkout"]
    )
    project: Text | None = Field(
        None, description="Value of the label `project`. Default: the project's name.", examples=["shop"]
    )


class ProjectConfig(Section):
    """A CodeArts project whose jobs are watched, selected by name; with the id `ALL`, every job."""

    id: ProjectId = Field(
        description="The CodeArts project's ID. It is the 32 characters after /project/ in its URL. `all` is "
        "every job that the user sees, except those of projects with an entry of their own.",
        examples=["b4d3971c3988463b865f6f920846149e"],
    )
    name: Text | None = Field(
        None, description="Value of the label `project`. Default: the project's name.", examples=["shop"]
    )
    include: Patterns = Field(
        (),
        description="Jobs to watch, by name. Each expression must match the whole name. Default: every job.",
        examples=[["release-.*", "nightly"]],
    )
    exclude: Patterns = Field(
        (),
        description="Jobs to leave out, by whole name, even if `include` matches.",
        examples=[[".*-experimental"]],
    )

    @field_validator("name")
    @classmethod
    def _of_one_project(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is not None and info.data.get("id") == ALL:
            raise problem("cannot be given for all projects; give it in an entry of one project")
        return value

    def wants(self, job_name: str) -> bool:
        """Return whether to watch a job of the project."""
        included = not self.include or any_matches(self.include, job_name)
        return included and not any_matches(self.exclude, job_name)


def any_matches(patterns: tuple[Pattern, ...], name: str) -> bool:
    """Return whether one of the patterns matches the whole name."""
    return any(pattern.matches(name) for pattern in patterns)


def _expand_id(value: object) -> object:
    return {"id": value} if isinstance(value, str) else value


def _each_once(
    value: object, handler: ValidatorFunctionWrapHandler, info: ValidationInfo
) -> tuple[Section, ...]:
    """Refuse an entry, valid or not, with the id or the project and name of an earlier one."""
    key = str(info.field_name)
    problems = []
    first_index: dict[object, int] = {}
    for index, entry in enumerate(as_list(value)):
        for label, identity in _identities(entry):
            first = first_index.setdefault(identity, index)
            if first != index:
                error = problem(f"{key}[{first}] has the same {label}", first=(key, first))
                problems.append(problem_at(error, index, *(["id"] if label == "id" else [])))
                break
    return collect_errors(key, problems, lambda: handler(value))


def _identities(entry: object) -> list[tuple[str, tuple[str, ...]]]:
    entry = _expand_id(entry)
    if not isinstance(entry, Mapping):
        return []
    identities = []
    for label, keys in (("id", ("id",)), ("project and name", ("project", "name"))):
        values = tuple(entry[key] for key in keys if isinstance(entry.get(key), str))
        if len(values) == len(keys):
            identities.append((label, values))
    return identities


Jobs = Annotated[
    tuple[Annotated[JobConfig, BeforeValidator(_expand_id, json_schema_input_type=JobId | JobConfig)], ...],
    WrapValidator(_each_once),
    Field(title="list of IDs or sections"),
]

_Project = Annotated[
    ProjectConfig, BeforeValidator(_expand_id, json_schema_input_type=ProjectId | ProjectConfig)
]

Projects = Annotated[tuple[_Project, ...], WrapValidator(_each_once), Field(title="list of IDs or sections")]
