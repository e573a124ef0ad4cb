"""What a value looks like in the file: JSON Schema, with the type in words as its title.

A scalar is text to the loader however YAML would type it, and ``${NAME}`` may stand in any. So a schema here
refuses only what the loader refuses whatever the environment holds.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic import BaseModel, GetCoreSchemaHandler, GetJsonSchemaHandler, JsonValue
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from exporter.config.section import about_value

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
