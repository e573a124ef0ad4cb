"""docs/configuration.md: every key as the JSON Schema describes it, environment variables and flags."""

import json
from collections.abc import Iterator
from typing import Any, Final

import click

from exporter.config.regions import KNOWN_REGIONS, default_endpoints
from tools.reference.markdown import code, codes, fence, marked, page, table
from tools.reference.schema import ID as SCHEMA_URL
from tools.reference.schema import Schema, sections_in

_EXAMPLE: Final = """\
# config.yaml
region: cn-north-4
auth:
  access_key:
    access_key: ${HUAWEICLOUD_SDK_AK}
    secret_key: ${HUAWEICLOUD_SDK_SK}
jobs:
  - f9d6c8466d614a9788e9a0acf6c15f46
  - id: 48c66c6002964721be537cdc6ce0297b
    name: checkout
    project: shop
projects:
  - id: b4d3971c3988463b865f6f920846149e
    include: ["release-.*"]
    exclude: [".*-experimental"]
poll:
  interval: 30s
"""

_INTRO: Final = f"""\
# Configuration

The configuration is a YAML file, given with `--config.file`. It needs `auth`, jobs or projects
to watch, and a `region` or an `endpoint`:

{fence(_EXAMPLE, "yaml")}

[config.example.yaml](../config.example.yaml) shows every key, and
[credentials.md](credentials.md) describes the kinds of credentials. `codearts-build-exporter check-config`
reports every error in a file with its line, its key and the expected value.

Editors with JSON Schema support validate the file while you type. Its first line names
[the schema](config.schema.json), by its URL or by a path relative to the file:

{fence(f"# yaml-language-server: $schema={SCHEMA_URL}", "yaml")}

`check-config` also checks what the schema cannot: other files, the environment, and rules that involve
two values."""

_TYPES: Final = (
    ("text", "Any single value, such as `abc`, `7` or `true`, on one line. It is never empty."),
    (
        "secret",
        "A text that never appears in a log, a metric, a page or an error. Take it from the environment or "
        "from a file.",
    ),
    (
        "duration",
        "Numbers and units as in Prometheus, the largest unit first: `100ms`, `30s`, `5m`, `1h30m`, `7d`, "
        "`2w`, `1y`.",
    ),
    ("integer", "Digits, without a fraction."),
    ("boolean", "`true` or `false`; `yes`, `no`, `on` and `off` are accepted too."),
    (
        "regular expression",
        "[RE2's syntax](https://github.com/google/re2/wiki/Syntax), as in Prometheus's relabelling. It must "
        "match the whole name. There are no lookarounds and no backreferences. Quote an expression that "
        "contains `*`, `[` or `{`.",
    ),
    (
        "file path",
        "An existing file. A relative path starts from the folder of the configuration.",
    ),
    ("URL", "`http://` or `https://` and a host, with an optional port and path."),
)

_ENVIRONMENT: Final = (
    (
        "any that the file names",
        "`${NAME}` in a value, alone or within a text, is replaced by the environment variable `NAME`, which "
        "must be set and not empty. `$${` stands for `${` itself. Keys are not expanded. Inside `{…}` a "
        "reference needs quotation marks.",
    ),
    (
        "`EXPORTER_REVISION`",
        "The value of the label `revision` of `codearts_build_exporter_build_info`, and what `--version` "
        "prints; the image sets it.",
    ),
    ("`HTTPS_PROXY`, `HTTP_PROXY`, `NO_PROXY`", "The proxy for requests to the API, as usual."),
)


def configuration_page(schema: Schema, serve: click.Command) -> str:
    """Render the page.

    Args:
        schema: the result of `config_schema`.
        serve: the command whose flags the page lists.
    """
    regions = [(code(region), *map(code, default_endpoints(region).values())) for region in KNOWN_REGIONS]
    return page(
        _INTRO,
        "## Types",
        table(("type", "format"), _TYPES),
        "## Keys",
        "A key that is missing or empty has its default. An unknown key is an error.",
        *_sections(schema, schema, ""),
        "## Environment variables",
        table(("variable", "meaning"), _ENVIRONMENT),
        "## Flags of `serve`",
        "Flags are read once, at the start; the file is read again at each reload. "
        "[command-line.md](command-line.md) describes the other commands.",
        table(("flag", "default", "meaning"), _flags(serve)),
        "## Regions",
        "A known region sets the defaults of `endpoint` and `iam_endpoint`. For any other region, give "
        "`endpoint`, and with `auth.password` also `iam_endpoint`: credentials are never sent to a URL "
        "derived from an arbitrary name.",
        table(("region", "`endpoint`", "`iam_endpoint`"), regions),
    )


def _sections(schema: Schema, section: Schema, path: str) -> Iterator[str]:
    """Render the table of a section, then those of the sections in it, each under its path."""
    required = section.get("required", ())
    keys = section["properties"].items()
    yield table(
        ("key", "type", "default", "meaning"),
        [_row(schema, path + key, spec, required=key in required) for key, spec in keys],
    )
    for key, spec in keys:
        for inner in sections_in(schema, spec):
            depth = "###" if not path else "####"
            name = path + key
            yield f"{depth} `{name}`"
            yield marked(spec["description"])
            yield from _sections(schema, inner, f"{name}[]." if "items" in spec else f"{name}.")


def _row(schema: Schema, path: str, spec: Schema, *, required: bool) -> tuple[str, ...]:
    type_name = spec.get("title", "section")
    if any(sections_in(schema, spec)):
        type_name = f"[{type_name}](#{path.replace('.', '')})"
    examples = "".join(f" For example {code(_flow(value))}." for value in spec.get("examples", ()))
    default = "required" if required else code(_flow(spec["default"])) if "default" in spec else ""
    return code(path), type_name, default, marked(spec["description"]) + examples


def _flow(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _flags(command: click.Command) -> Iterator[tuple[str, ...]]:
    for flag in command.params:
        if isinstance(flag, click.Option):
            default = flag.get_help_extra(click.Context(command, show_default=True)).get("default", "")
            choices = f" One of {codes(flag.type.choices)}." if isinstance(flag.type, click.Choice) else ""
            yield code(flag.opts[0]), code(default) if default else "", marked(flag.help or "") + choices
