"""The few forms of Markdown that the pages need."""

import re
from collections.abc import Iterable, Sequence

WRITTEN = "<!-- Written by `make reference` from the code: change that, not this page. -->"

_CODE = re.compile(r"(?<![`\w/.])(?:codearts_build_\w+|[a-z]+(?:[_.][a-z]+)+|:memory:|\{\})(?![`\w/])")
"""Names of metrics, keys and flags' parts: words with an underscore or a dot within."""


def page(*blocks: str) -> str:
    """A whole page."""
    return "\n\n".join([WRITTEN, *blocks]) + "\n"


def code(text: object) -> str:
    """Something that is written just so."""
    return f"`{text}`"


def codes(texts: Iterable[object]) -> str:
    """Several of them: `a`, `b`."""
    return ", ".join(map(code, texts))


def fence(text: str, language: str = "text") -> str:
    """Lines that are shown as they are."""
    return f"```{language}\n{text.strip(chr(10))}\n```"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; a bar within a cell stays a bar."""
    lines = [header, ["---"] * len(header), *rows]
    cells = [[cell.replace("|", r"\|") for cell in line] for line in lines]
    return "\n".join(f"| {' | '.join(line)} |".replace("|  |", "| |") for line in cells)


def sentence(text: str) -> str:
    """A phrase with a capital letter and a full stop."""
    text = text[:1].upper() + text[1:]
    return text if text.endswith((".", "…")) else f"{text}."


def marked(text: str) -> str:
    """Prose in which names are shown as code."""
    return _CODE.sub(lambda name: code(name[0]), text)
