"""What is read from a page in Markdown: its sections and blocks, tables, links, code and anchors."""

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
    """A heading with what follows up to the next one, of whatever level."""

    level: int
    title: str
    body: str


def sections(document: str) -> list[Section]:
    """The sections of a document; a line of a code block that begins with ``#`` is no heading."""
    # The code blocks are blanked out, not taken out: what remains stands where it stood.
    blank = FENCE.sub(lambda block: re.sub(r"[^\n]", " ", block[0]), document)
    found = list(HEADING.finditer(blank))
    ends = [*(heading.start() for heading in found[1:]), len(document)]
    return [
        Section(len(heading[1]), heading[2], document[heading.end() : end])
        for heading, end in zip(found, ends, strict=True)
    ]


def prose(document: str) -> str:
    """A document without its code blocks."""
    return FENCE.sub("", document)


def fences(document: str, language: str) -> list[str]:
    """The code blocks in one language."""
    return [body for kind, body in FENCE.findall(document) if kind == language]


def coded(text: str) -> list[str]:
    """What stands between backticks."""
    return re.findall(r"`([^`]+)`", text)


def cells(line: str) -> list[str]:
    """The cells of a line of a table; none if it is no such line."""
    return [cell.strip() for cell in _CELLS.split(line)[1:-1]]


def links(document: str) -> list[str]:
    """Where the links lead, in order."""
    return [target for image, _, target in _LINK.findall(prose(document)) if not image]


def images(document: str) -> list[str]:
    """Which pictures are shown, in order."""
    return [target for image, _, target in _LINK.findall(prose(document)) if image]


def unlinked(document: str) -> str:
    """A document with the text of each link alone."""
    return _LINK.sub(lambda link: link[2], document)


def anchors(document: str) -> list[str]:
    """The anchors that GitHub gives to the headings of a document, in order.

    Letters of any script are kept, so Chinese ones are; punctuation goes, full-width or not.
    """
    seen: Counter[str] = Counter()
    found: list[str] = []
    for section in sections(document):
        slug = re.sub(r"[^\w\- ]", "", unlinked(section.title).lower()).replace(" ", "-")
        found.append(f"{slug}-{seen[slug]}" if seen[slug] else slug)
        seen[slug] += 1
    return found


def blocks(document: str) -> Iterator[str]:
    """Of which kind each block is: code, table, list, picture, comment or paragraph."""
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
