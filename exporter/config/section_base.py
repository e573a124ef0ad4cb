"""Base class of configuration sections, the errors of their rules, and JSON Schema helpers.

A rule raises one of two kinds of error, distinguished by ``type`` in `ValidationError.errors()`: a ``value``
error (``is not a job ID``) is shown after the value as written in the file, a ``problem`` is a whole message.
"""

from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar, Final, Self, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    JsonValue,
    ModelWrapValidatorHandler,
    ValidationError,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from exporter.humanize import join_words, nearest

T = TypeVar("T")


def value_problem(text: str, *, suggestion: str | None = None) -> PydanticCustomError:
    """Make an error that is shown after the value as written in the file.

    ``suggestion`` is the part of the value to use; it is shown if the file has the value itself.
    """
    return PydanticCustomError("value", text, {"suggestion": suggestion} if suggestion else None)


def problem(text: str, *, first: tuple[str | int, ...] | None = None) -> PydanticCustomError:
    """Make an error whose text is the whole message.

    ``first`` is the path of an earlier value that this one repeats; its line is added.
    """
    return PydanticCustomError("problem", text, {"first": first} if first else None)


def problem_at(error: PydanticCustomError, *path: str | int) -> InitErrorDetails:
    """Attach a path to an error, without the value there."""
    return InitErrorDetails(type=error, loc=path, input=None)


def collect_errors(
    title: str,
    problems: list[InitErrorDetails],
    validate: Callable[[], T],
    *,
    reword: Callable[[InitErrorDetails], InitErrorDetails | None] = lambda error: error,
) -> T:
    """Run ``validate``, and report its errors together with ``problems``.

    ``reword`` changes an error of ``validate``, or drops it with None; ``title`` is the `ValidationError`'s.
    """
    try:
        result = validate()
    except ValidationError as error:
        for item in error.errors(include_url=False, include_input=False):
            copy = PydanticCustomError(item["type"], item["msg"], item.get("ctx"))
            if reworded := reword(problem_at(copy, *item["loc"])):
                problems = [*problems, reworded]
    else:
        if not problems:
            return result
    raise ValidationError.from_exception_data(title, problems, hide_input=True)


class Section(BaseModel):
    """A mapping in the file. It is frozen, refuses unknown keys, and takes null for the default."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    belongs_under: ClassVar[Mapping[str, str]] = {}
    """Keys of sections within this one, and the section that each belongs under."""

    keeps_secrets: ClassVar[bool] = False
    """An unknown key could be a misplaced secret, so errors do not repeat it."""

    @classmethod
    def expand_shorthand(cls, given: Mapping[str, object]) -> Mapping[str, object]:
        """Replace shorter forms of the section by the full one."""
        return given

    @model_validator(mode="wrap")
    @classmethod
    def _report_every_error(cls, value: object, handler: ModelWrapValidatorHandler[Self]) -> Self:
        if isinstance(value, cls):
            return handler(value)
        if not isinstance(value, Mapping):
            wrong = "is empty" if value is None else "must be a section"
            raise problem(f"{wrong}; the keys here are {join_words(cls.model_fields)}")
        misspelt = cls._misspelt_keys(value)
        value = cls.expand_shorthand({**value, **{key: value[found] for key, found in misspelt.items()}})
        unknown = [cls._unknown_key(key) for key in value if key not in cls.model_fields]
        reported = {*misspelt, *(cls.belongs_under[key] for key in value if key in cls.belongs_under)}
        given = {key: item for key, item in value.items() if key in cls.model_fields and item is not None}

        def reword(error: InitErrorDetails) -> InitErrorDetails | None:
            path = error.get("loc", ())
            return None if path and path[0] in reported else cls._explain_missing_key(error)

        return collect_errors(cls.__name__, unknown, lambda: handler(given), reword=reword)

    @classmethod
    def _misspelt_keys(cls, value: Mapping[str, object]) -> dict[str, str]:
        """Map known keys that are not given to similar keys that are, and to keys that belong under them.

        Such a key is reported once, for its name. Its value is used, so that the known key does not count as
        missing, and keys that depend on it are not reported.
        """
        unknown = [key for key in value if key not in cls.model_fields]
        similar = {cls.belongs_under.get(key) or cls._nearest_key(key): key for key in unknown}
        return {known: key for known, key in similar.items() if known and known not in value}

    @classmethod
    def _nearest_key(cls, key: str) -> str | None:
        """Find the known key that is most similar; a full-width colon makes the value a part of the key."""
        return nearest(key.partition("：")[0].strip(), cls.model_fields)

    @classmethod
    def _explain_missing_key(cls, error: InitErrorDetails) -> InitErrorDetails:
        key = error.get("loc", ())[-1:]
        if isinstance(error["type"], PydanticCustomError) and error["type"].type == "missing":
            meaning = str(cls.model_fields[str(*key)].description).partition(". ")[0]
            meaning = meaning.replace("`", "").removesuffix(".")
            return problem_at(problem(f"is missing: {meaning[0].lower()}{meaning[1:]}"), *key)
        return error

    @classmethod
    def _unknown_key(cls, key: str) -> InitErrorDetails:
        if section := cls.belongs_under.get(key):
            return problem_at(problem(f"belongs in the section {section}"), key)
        outer, dot, inner = key.partition(".")
        if dot and outer in cls.model_fields and not cls.keeps_secrets:
            return problem_at(problem(f"is not a known key; write {outer}: {{{inner}: …}}"), key)
        known = cls._nearest_key(key)
        if known is not None and not (cls.keeps_secrets and not key.isidentifier()):
            return problem_at(problem(f'is not a known key; did you mean "{known}"?'), key)
        keys = f"the keys here are {join_words(cls.model_fields)}"
        if cls.keeps_secrets:
            return problem_at(PydanticCustomError("hidden_key", f"has an unknown key; {keys}"), key)
        return problem_at(problem(f"is not a known key; {keys}"), key)


REFERENCE: Final = r"\$\{"
"""A pattern that finds a reference to the environment in a text."""

TEXT: Final[Mapping[str, Any]] = {"type": ["string", "number", "boolean"], "minLength": 1}
"""The JSON Schema of any single value: ``7`` and ``true`` are texts too."""


def parsed(parse: Callable[..., object], **schema: Any) -> BeforeValidator:
    """Annotate a type that ``parse`` makes of a value in the file; ``schema`` describes that value."""
    return BeforeValidator(parse, json_schema_input_type=Annotated[Any, WithJsonSchema(schema)])


def text_matching(pattern: str, *types: str) -> dict[str, Any]:
    """Make the JSON Schema of a text that matches a pattern as a whole, or refers to the environment.

    ``types`` are the JSON types besides string that YAML may read such a text as.
    """
    return {"type": [*types, "string"] if types else "string", "pattern": f"^(?:{pattern})$|{REFERENCE}"}


def one_word_of(*words: str) -> dict[str, Any]:
    """Make the JSON Schema of a choice, which editors then offer; it may refer to the environment."""
    return {"anyOf": [{"enum": list(words)}, {"type": "string", "pattern": REFERENCE}]}


def exactly_one_of(*keys: str) -> list[JsonValue]:
    """Make the branches of a ``oneOf``: one of the keys has a value, which null is not."""
    given: JsonValue = {"not": {"type": "null"}}
    return [{"type": "object", "required": [key], "properties": {key: given}} for key in keys]
