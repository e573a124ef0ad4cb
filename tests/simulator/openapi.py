"""A checker for the small part of Swagger 2.0 that the provider's definitions use.

Null is allowed everywhere, since the documents' own examples are full of it, and a field the definition
leaves out is allowed where an example has it.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1] / "fixtures/openapi"
TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
}


def complaints(name: str, body: object) -> list[str]:
    """What is wrong with a 200 answer of the operation that the file ``name`` defines."""
    document = json.loads((FOLDER / f"{name}.json").read_text())
    [path] = document["paths"].values()
    [operation] = path.values()
    answer = operation["responses"]["200"]
    examples = answer["examples"]
    example = examples.get("application/json") or examples
    return list(_check(document, answer["schema"], body, example, "$"))


def _check(document: Any, schema: Any, value: Any, example: Any, where: str) -> Iterator[str]:
    if "$ref" in schema:
        schema = document["definitions"][schema["$ref"].rpartition("/")[2]]
    if value is None:
        return
    kind = schema.get("type", "object")
    fits = isinstance(value, TYPES[kind]) and (kind == "boolean" or not isinstance(value, bool))
    if not fits:
        yield f"{where} is {value!r}, not {kind}"
    elif kind == "array":
        sample = example[0] if isinstance(example, list) else example
        for index, item in enumerate(value):
            yield from _check(document, schema["items"], item, sample, f"{where}[{index}]")
    elif kind == "object":
        yield from _check_fields(document, schema, value, example, where)


def _check_fields(
    document: Any, schema: Any, value: dict[str, Any], example: Any, where: str
) -> Iterator[str]:
    shown = example if isinstance(example, dict) else {}
    properties = schema.get("properties", {})
    for name, item in value.items():
        known = properties.get(name, schema.get("additionalProperties"))
        if known is not None:
            yield from _check(document, known, item, shown.get(name), f"{where}.{name}")
        elif name not in shown:
            yield f"{where}.{name} is not defined"
