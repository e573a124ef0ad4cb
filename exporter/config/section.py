"""The base class of sections, its errors, and what it adds to the JSON schema.

Rules raise one of two kinds of error, told apart by `ValidationError.errors()`'s ``type``: ``value``
says something about the value (``is not a job ID``) and is shown after it; ``problem`` stands alone.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Final, Self, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    JsonValue,
    ModelWrapValidatorHandler,
    ValidationError,
    ValidationInfo,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, InitErrorDetails, PydanticCustomError, core_schema

from exporter.config.problems import listing, nearest

T = TypeVar("T")


def about_value(text: str, *, meant: str | None = None) -> PydanticCustomError:
    """Make an error that is shown after the value as it stands in the file.

    Args:
        text: what is wrong and what would be right.
        meant: a part of the value that would be right, shown if the value stands in the file itself.
    """
    return PydanticCustomError("value", text, {"meant": meant} if meant else None)


def problem(text: str, *, first: tuple[str | int, ...] | None = None) -> PydanticCustomError:
    """Make an error that stands alone.

    Args:
        text: what is wrong and what would be right.
        first: the path of the earlier value that this one repeats; its line is added.
    """
    return PydanticCustomError("problem", text, {"first": first} if first else None)


def at(error: PydanticCustomError, *path: str | int) -> InitErrorDetails:
    """Give an error its place, without the value that stands there."""
    return InitErrorDetails(type=error, loc=path, input=None)


def gathered(
    title: str,
    problems: list[InitErrorDetails],
    validate: Callable[[], T],
    *,
    reword: Callable[[InitErrorDetails], InitErrorDetails | None] = lambda error: error,
) -> T:
    """Run a validation so that its errors, reworded or left out, and ``problems`` are reported together."""
    try:
        result = validate()
    except ValidationError as error:
        problems = [*problems, *filter(None, map(reword, _without_values(error)))]
    else:
        if not problems:
            return result
    raise ValidationError.from_exception_data(title, problems, hide_input=True)


def _without_values(error: ValidationError) -> list[InitErrorDetails]:
    return [
        at(PydanticCustomError(item["type"], item["msg"], item.get("ctx")), *item["loc"])
        for item in error.errors(include_url=False, include_input=False)
    ]


def base_dir(info: ValidationInfo) -> Path:
    """Tell the folder that relative paths start from: that of the configuration file."""
    folder = (info.context or {}).get("base_dir", Path())
    assert isinstance(folder, Path)  # noqa: S101 (put there by `parse`)
    return folder


class Section(BaseModel):
    """A mapping in the file: frozen, and strict about its keys; null means the default."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    keeps_secrets: ClassVar[bool] = False
    """Whether an unknown key could be a misplaced secret and is better not repeated."""

    @classmethod
    def unfold(cls, value: object) -> object:
        """Turn shorter ways of writing the section into the full one."""
        return value

    @model_validator(mode="wrap")
    @classmethod
    def _report_everything(cls, value: object, handler: ModelWrapValidatorHandler[Self]) -> Self:
        if isinstance(value, cls):
            return handler(value)
        misspelt = cls._misspelt(value)
        if isinstance(value, Mapping):
            value = {**value, **{meant: value[key] for meant, key in misspelt.items()}}
        value = cls.unfold(value)
        if not isinstance(value, Mapping):
            wrong = "is empty" if value is None else "must be a section"
            raise problem(f"{wrong}; the keys here are {listing(cls.model_fields)}")
        unknown = [cls._unknown(key) for key in value if key not in cls.model_fields]
        given = {key: item for key, item in value.items() if key in cls.model_fields and item is not None}

        def reword(error: InitErrorDetails) -> InitErrorDetails | None:
            return (
                None if error.get("loc", ())[:1] in [(meant,) for meant in misspelt] else cls._describe(error)
            )

        return gathered(cls.__name__, unknown, lambda: handler(given), reword=reword)

    @classmethod
    def _misspelt(cls, value: object) -> dict[str, str]:
        """Find known keys that are given under a name close to theirs.

        Such a key is read as if it were spelt right and reported once, for its name: neither is it missing,
        nor are other keys wrong because of it.
        """
        if not isinstance(value, Mapping):
            return {}
        close = {cls._nearest(key): key for key in value if key not in cls.model_fields}
        return {meant: key for meant, key in close.items() if meant and meant not in value}

    @classmethod
    def _nearest(cls, key: str) -> str | None:
        """Find what was probably meant; a full-width colon makes the value a part of the key."""
        return nearest(key.partition("：")[0].strip(), cls.model_fields)

    @classmethod
    def _describe(cls, error: InitErrorDetails) -> InitErrorDetails:
        key = error.get("loc", ())[-1:]
        if isinstance(error["type"], PydanticCustomError) and error["type"].type == "missing":
            description = str(cls.model_fields[str(*key)].description)
            meaning = description.partition(". ")[0].replace("`", "")
            return at(problem(f"is missing: {meaning}"), *key)
        return error

    @classmethod
    def _unknown(cls, key: str) -> InitErrorDetails:
        meant = cls._nearest(key)
        if meant is not None and not (cls.keeps_secrets and not key.isidentifier()):
            return at(problem(f'is not a known key; did you mean "{meant}"?'), key)
        known = f"the keys here are {listing(cls.model_fields)}"
        if cls.keeps_secrets:
            return at(PydanticCustomError("hidden_key", f"has a key that is not known; {known}"), key)
        return at(problem(f"is not a known key; {known}"), key)


REFERENCE: Final = r"\$\{"
"""What a text has in it that is taken from the environment, as a pattern."""

TEXT: Final[Mapping[str, Any]] = {"type": ["string", "number", "boolean"], "minLength": 1}
"""Any single value: ``7`` and ``true`` are texts too."""


def shaped(pattern: str, *types: str) -> dict[str, Any]:
    """A text of a certain shape, or one from the environment.

    Args:
        pattern: a regular expression that both Python and ECMAScript know, for the whole text.
        types: JSON's types besides string that YAML may take such a text for.
    """
    return {"type": [*types, "string"] if types else "string", "pattern": f"^(?:{pattern})$|{REFERENCE}"}


def one_word_of(*words: str) -> dict[str, Any]:
    """One of a few words, which editors then offer, or one from the environment."""
    return {"anyOf": [{"enum": list(words)}, {"type": "string", "pattern": REFERENCE}]}


def exactly_one_of(*keys: str) -> list[JsonValue]:
    """For ``oneOf``: just one of the keys has a value; null is none."""
    given: JsonValue = {"not": {"type": "null"}}
    return [{"type": "object", "required": [key], "properties": {key: given}} for key in keys]


@dataclass(frozen=True, slots=True, eq=False)
class Described:
    """An annotation that says what a type is.

    Attributes:
        words: the type in words.
        schema: takes the place of pydantic's; without ``type``, ``anyOf`` and ``$ref`` it adds to it.
    """

    words: str
    schema: Mapping[str, Any] = field(default_factory=dict)

    def __get_pydantic_json_schema__(
        self, core: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """The JSON Schema of the type."""
        is_whole = self.schema.keys() & {"type", "anyOf", "$ref"}
        return {**({} if is_whole else handler(core)), **self.schema, "title": self.words}


@dataclass(frozen=True, slots=True, eq=False)
class OrBare:
    """An annotation of a section for which a single value of this shape will do too."""

    schema: Mapping[str, Any]

    def __get_pydantic_json_schema__(
        self, core: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Either of the two."""
        return {"anyOf": [dict(self.schema), handler(core)]}


@dataclass(frozen=True, slots=True)
class AsWritten:
    """An annotation of a value that stands in the file as another model than it becomes."""

    model: type[BaseModel]

    def __get_pydantic_json_schema__(
        self, core: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """The JSON Schema of that model."""
        return handler(self.model.__pydantic_core_schema__)


@dataclass(frozen=True, slots=True)
class Between:
    """An annotation that refuses what lies outside of two limits.

    Attributes:
        low: the lower limit as it would be written in the file, and ``lowest`` what is read from that.
        high: the upper limit, and ``highest``, likewise.
    """

    low: str
    high: str
    lowest: float
    highest: float

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        """What checks a value."""
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(
        self, core: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """The limits in words, and those of numbers for a machine too."""
        schema = handler(core)
        title = f"{schema['title']}, {self.low} to {self.high}"
        limits = {"minimum": self.lowest, "maximum": self.highest} if "integer" in schema["type"] else {}
        return {**schema, **limits, "title": title}

    def _check(self, value: float) -> float:
        if not self.lowest <= value <= self.highest:
            raise about_value(f"is not between {self.low} and {self.high}")
        return value
