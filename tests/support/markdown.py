"""Parsing of Markdown: sections, blocks, tables, links, code and anchors."""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^(#{1,6}) +(.+?)\s*$", re.MULTILINE)
_LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")
_CELLS = re.compile(r"(?<!\\)\|")
_ITEM = re.compile(r"^(?:-|\d+\.) ", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Section:
    """A heading with its text up to the next heading of any level."""

    level: int
    title: str
    body: str


def sections(document: str) -> list[Section]:
    """Return the sections of a document; lines with ``#`` in code blocks are not headings."""
    # Code blocks are replaced by spaces, so that positions do not change.
    blank = FENCE.sub(lambda block: re.sub(r"[^\n]", " ", block[0]), document)
    found = list(HEADING.finditer(blank))
    ends = [*(heading.start() for heading in found[1:]), len(document)]
    return [
        Section(len(heading[1]), heading[2], document[heading.end() : end])
        for heading, end in zip(found, ends, strict=True)
    ]


def prose(document: str) -> str:
    """Return a document without its code blocks."""
    return FENCE.sub("", document)


def fences(document: str, language: str) -> list[str]:
    """Return the code blocks in one language."""
    return [body for kind, body in FENCE.findall(document) if kind == language]


def coded(text: str) -> list[str]:
    """Return the texts in backticks."""
    return re.findall(r"`([^`]+)`", text)


def cells(line: str) -> list[str]:
    """Return the cells of a line of a table, or none for other lines."""
    return [cell.strip() for cell in _CELLS.split(line)[1:-1]]


def links(document: str) -> list[str]:
    """Return the targets of links, in order."""
    return [target for image, _, target in _LINK.findall(prose(document)) if not image]


def images(document: str) -> list[str]:
    """Return the targets of images, in order."""
    return [target for image, _, target in _LINK.findall(prose(document)) if image]


def unlinked(document: str) -> str:
    """Replace each link by its text."""
    return _LINK.sub(lambda link: link[2], document)


def anchors(document: str) -> list[str]:
    """Return the anchors that GitHub generates for the headings of a document, in order.

    Letters of any script are kept, including Chinese ones; punctuation is removed, full-width or not.
    """
    counts: Counter[str] = Counter()
    found: list[str] = []
    for section in sections(document):
        slug = re.sub(r"[^\w\- ]", "", unlinked(section.title).lower()).replace(" ", "-")
        found.append(f"{slug}-{counts[slug]}" if counts[slug] else slug)
        counts[slug] += 1
    return found


def blocks(document: str) -> Iterator[str]:
    """Yield the kind of each block: code, table, list, picture, comment or paragraph."""
    for block in re.split(r"\n\s*\n", FENCE.sub(lambda code: f"```{code[1]}", document).strip()):
        if block.startswith("```"):
            yield f"code block ({block[3:]})"
        elif block.startswith("|"):
            yield f"table of {len(block.splitlines())} lines"
        elif items := _ITEM.findall(block):
            yield f"list of {len(items)}"
        elif block.startswith(("![", "<!--")):
            yield "picture" if block.startswith("!") else "comment"
        elif block:
            yield "paragraph"
