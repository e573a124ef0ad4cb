"""What is watched: jobs one by one, and whole CodeArts projects."""

from collections.abc import Mapping

from pydantic import Field
from pydantic_core import InitErrorDetails

from exporter.config.fields import JobId, Patterns, ProjectId, Text
from exporter.config.patterns import Pattern
from exporter.config.section import Section, at, problem


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
