"""docs/configuration.md: every key, as the JSON Schema describes it, and what stands around the file."""

import json
from collections.abc import Iterator
from typing import Any, Final

import click

from exporter.config import KNOWN_REGIONS
from exporter.config.regions import default_endpoints
from tools.reference.markdown import code, fence, marked, page, table
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

One YAML file, named by `--config.file`. It needs `auth`, something to watch, and a `region` or an `endpoint`:

{fence(_EXAMPLE, "yaml")}

[config.example.yaml](../config.example.yaml) shows every key, and
[credentials.md](credentials.md) describes the kinds of credentials. `codearts-build-exporter check-config`
reports every problem of a file with its line, its key and the expected value.

Editors that know JSON Schema check a file while you type. A line at its top names
[the schema](config.schema.json), by its URL or by a path from the file:

{fence(f"# yaml-language-server: $schema={SCHEMA_URL}", "yaml")}

`check-config` sees more than the schema: other files, the environment, and rules between two values."""

_TYPES: Final = (
    ("text", "Any single value; `7` and `true` are texts too. Neither empty nor of several lines."),
    (
        "secret",
        "The same. It never shows in a log, a metric, a page or an error. Take it from the environment or "
        "from a file.",
    ),
    (
        "duration",
        "Numbers and units as in Prometheus, the largest unit first: `100ms`, `30s`, `5m`, `1h30m`, `7d`, "
        "`2w`, `1y`.",
    ),
    ("whole number", "Digits, without a fraction."),
    ("true or false", "`yes`, `no`, `on` and `off` will do too."),
    (
        "regular expression",
        "In [RE2's syntax](https://github.com/google/re2/wiki/Syntax), as in Prometheus's relabelling, for "
        "the whole name. It has no lookarounds and no backreferences. Quote one that has a `*`, `[` or `{` "
        "in it.",
    ),
    (
        "path of a file",
        "A file that exists. A relative path starts from the folder of the configuration.",
    ),
    ("URL", "`http://` or `https://`, a host, and a port and a path if need be."),
)

_ENVIRONMENT: Final = (
    (
        "any that the file names",
        "`${NAME}` in a value, alone or within a text, is replaced by the environment variable `NAME`. One "
        "that is not set, or empty, is an error. `$${` stands for `${` itself. Keys are left alone. Inside "
        "`{…}` it needs quotation marks.",
    ),
    (
        "`EXPORTER_REVISION`",
        "What `codearts_build_exporter_build_info` shows as `revision`; the image sets it.",
    ),
    ("`HTTPS_PROXY`, `HTTP_PROXY`, `NO_PROXY`", "The way to the service, as usual."),
)


def configuration_page(schema: Schema, serve: click.Command) -> str:
    """The page.

    Args:
        schema: from `config_schema`.
        serve: the command whose flags stand beside the file.
    """
    regions = [(code(region), *map(code, default_endpoints(region).values())) for region in KNOWN_REGIONS]
    return page(
        _INTRO,
        "## Types",
        table(("type", "how it is written"), _TYPES),
        "## Keys",
        "A key that is left out, or has nothing after it, has its default. An unknown key is an error.",
        *_sections(schema, schema, ""),
        "## Environment variables",
        table(("variable", "meaning"), _ENVIRONMENT),
        "## Flags of `serve`",
        "They are read once, at the start; the file is read again at a reload. "
        "[command-line.md](command-line.md) has the other commands.",
        table(("flag", "default", "meaning"), _flags(serve)),
        "## Regions",
        "Known regions give `endpoint` and `iam_endpoint` their defaults. For any other give `endpoint`, and "
        "`iam_endpoint` with `auth.password`: credentials are never sent to an address made up from a name.",
        table(("region", "`endpoint`", "`iam_endpoint`"), regions),
    )


def _sections(schema: Schema, section: Schema, path: str) -> Iterator[str]:
    """The table of a section, then those of the sections in it, each under its path."""
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
    kind = spec["title"]
    if any(sections_in(schema, spec)):
        kind = f"[{kind}](#{path.replace('.', '')})"
    examples = "".join(f" For example {code(_flow(one))}." for one in spec.get("examples", ()))
    default = "required" if required else code(_flow(spec["default"])) if "default" in spec else ""
    return code(path), kind, default, marked(spec["description"]) + examples


def _flow(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _flags(command: click.Command) -> Iterator[tuple[str, ...]]:
    for flag in command.params:
        if isinstance(flag, click.Option):
            defaults = flag.default if isinstance(flag.default, list | tuple) else [flag.default]
            shown = [code(one) for one in defaults if flag.show_default]
            kind = flag.type
            words = f" One of {', '.join(map(code, kind.choices))}." if isinstance(kind, click.Choice) else ""
            yield code(flag.opts[0]), ", ".join(shown), marked(flag.help or "") + words
