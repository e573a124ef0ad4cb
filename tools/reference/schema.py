"""The JSON Schema of the configuration: pydantic's, put into the form of the file.

Pydantic tells what the models take. Here a default becomes what one would write, null is allowed wherever the
loader takes it for "left out", and what programmers wrote for programmers goes.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from exporter.config import Config, format_duration
from tools.reference.markdown import sentence

Schema = dict[str, Any]

ID: Final = (
    "https://raw.githubusercontent.com/codearts-build-exporter/codearts-build-exporter"
    "/main/docs/config.schema.json"
)
"""The published file as such, which an editor can fetch; the page around it on the site is no JSON."""

_NULL: Final = {"type": "null"}


def config_schema() -> Schema:
    """The whole schema, draft 2020-12."""
    made = Config.model_json_schema()
    sections = {name: _or_null(_section(model)) for name, model in made.pop("$defs").items()}
    top = _section(made)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": ID,
        "$comment": "Written by make reference from exporter/config.",
        "title": "Configuration of codearts-build-exporter",
        "description": "What config.yaml holds; docs/configuration.md explains it.",
        **top,
        "$defs": sections,
    }


def rendered() -> str:
    """The file."""
    return json.dumps(config_schema(), indent=2, ensure_ascii=False) + "\n"


def sections_in(schema: Mapping[str, Any], spec: Schema) -> Iterator[Schema]:
    """The section that a key holds, or that the items of its list may be."""
    for part in (spec, *spec.get("anyOf", ()), *spec.get("items", {}).get("anyOf", ())):
        if "$ref" in part:
            yield schema["$defs"][part["$ref"].rpartition("/")[2]]
        elif "properties" in part and part.get("type") == "object":
            yield part


def _section(model: Schema) -> Schema:
    """An object; its own title and description are for programmers."""
    required = model.get("required", [])
    keys = {key: _key(spec, required=key in required) for key, spec in model["properties"].items()}
    kept = {name: part for name, part in model.items() if name not in ("title", "description", "properties")}
    return {"type": kept.pop("type"), "properties": keys, **kept}


def _key(spec: Schema, *, required: bool) -> Schema:
    about: Schema = {name: spec[name] for name in ("description", "default", "examples") if name in spec}
    form = {name: part for name, part in spec.items() if name not in about}
    options = [option for option in form.get("anyOf", ()) if option != _NULL]
    if len(options) == 1:
        form = options[0]
    if "properties" in form:
        form = _section(form)
    if "$ref" in form or "properties" in form:
        form = {**form, "title": "section"}
    about["description"] = sentence(about["description"])
    default = _as_written(about.pop("default", None), form)
    if default is not None:
        about["default"] = default
    return {"title": form.pop("title"), **about, **(form if required else _or_null(form))}


def _or_null(form: Schema) -> Schema:
    """The same or null; what a reference leads to takes null itself."""
    if "type" not in form:
        return form
    types = form["type"] if isinstance(form["type"], list) else [form["type"]]
    return {**form, "type": [*types, "null"]}


def _as_written(default: Any, form: Schema) -> Any:
    """A default as it would stand in the file; None where nothing can stand for it."""
    if isinstance(default, list):
        return [_as_written(one, form.get("items", {})) for one in default]
    if isinstance(default, float):
        return format_duration(default) if form["title"].startswith("duration") else _number(default)
    return None if default == "" or isinstance(default, dict) else default


def _number(value: float) -> float | int:
    return int(value) if value.is_integer() else value
