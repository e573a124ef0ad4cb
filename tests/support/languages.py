"""Comparison of a document in two languages."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence

from tests.support.markdown import (
    FENCE,
    Section,
    anchors,
    blocks,
    cells,
    coded,
    images,
    links,
    prose,
    sections,
    unlinked,
)

_COMMENTED = ("sh", "yaml")
"""The languages whose comments may be translated."""
_TWIN = re.compile(r"README(\.[\w-]+)?\.md")
_CJK = "[\u4e00-\u9fff]"
_FULL = "，。；：、？！（）“”…"

_BADLY_SET = {
    "no space between Chinese and other text": rf"{_CJK}[A-Za-z0-9`]|[A-Za-z0-9`]{_CJK}",
    "half-width punctuation in Chinese": rf"{_CJK} ?[,.;:?!()\"]|[,;:?!()\"] ?{_CJK}",
    "a space at full-width punctuation": rf"[^\s|*-] [{_FULL}]",
    "a line that ends within a sentence, which GitHub shows as a space": rf"{_CJK}\n *{_CJK}",
}


def differences(first: str, second: str) -> list[str]:
    """Return what must be equal in both documents but is not, with the section."""
    ours, theirs = sections(first), sections(second)
    if [section.level for section in ours] != [section.level for section in theirs]:
        return list(_headings(ours, theirs))
    anchors_in_first = dict(zip(anchors(second), anchors(first), strict=True))
    found: list[str] = []
    for here, there in zip(ours, theirs, strict=True):
        expected, actual = _held(here, {}), _held(there, anchors_in_first)
        for kind, wanted in expected.items():
            if difference := _difference(wanted, actual[kind]):
                found.append(f"{here.title} / {there.title}: {kind}: {difference}")
    return found


def badly_set(document: str) -> list[str]:
    """Return violations of Chinese typography rules."""
    shown = unlinked(re.sub(r"<!--.*?-->", "", prose(document)))
    text = re.sub(r"`[^`]+`", "`", shown).replace("*", "")
    found = [
        f"{rule}: {text[max(0, match.start() - 12) : match.end() + 12]!r}"
        for rule, pattern in _BADLY_SET.items()
        for match in re.finditer(pattern, text)
    ]
    for bold in re.finditer(r"(?s)(\w?)\*\*(.+?)\*\*(\w?)", shown):
        if (bold[1] and not bold[2][0].isalnum()) or (bold[3] and not bold[2][-1].isalnum()):
            found.append(f"GitHub does not take this as bold: {bold[0]!r}")
    return found


def _headings(ours: Sequence[Section], theirs: Sequence[Section]) -> Iterator[str]:
    first, second = _parts(ours), _parts(theirs)
    if len(first) != len(second):
        yield f"parts: {[part[0].title for part in first]} / {[part[0].title for part in second]}"
        return
    for here, there in zip(first, second, strict=True):
        if [section.level for section in here] != [section.level for section in there]:
            yield (
                f"{here[0].title} / {there[0].title}: headings: "
                f"{[section.title for section in here[1:]]} / {[section.title for section in there[1:]]}"
            )


def _parts(document: Sequence[Section]) -> list[list[Section]]:
    """Return each section of the second level with its subsections."""
    parts: list[list[Section]] = []
    for section in document:
        if section.level <= 2 or not parts:
            parts.append([])
        parts[-1].append(section)
    return parts


def _held(section: Section, own: dict[str, str]) -> dict[str, list[str]]:
    """Return the parts of a section that do not depend on the language, by kind.

    Args:
        section: the section.
        own: maps the document's anchors to those of the first document.
    """
    text = prose(section.body)
    plain = re.sub(r"`[^`]+`|<!--.*?-->", "", unlinked(text))
    return {
        "blocks": list(blocks(section.body)),
        "code blocks": list(_code(section.body)),
        "tables": [" | ".join(map(str, map(coded, row))) for row in map(cells, text.splitlines()) if row],
        "links": [_TWIN.sub("the twin", _target(link, own)) for link in links(section.body)],
        "pictures": images(section.body),
        "code": sorted(coded(f"{section.title}\n{text}")),
        "numbers": sorted(re.findall(r"\d+(?:[.,]\d+)*", plain)),
        "comments": re.findall(r"<!--.*?-->", text),
    }


def _target(link: str, own: dict[str, str]) -> str:
    page, mark, anchor = link.partition("#")
    return link if page else f"{mark}{own.get(anchor, anchor)}"


def _code(body: str) -> Iterator[str]:
    """Yield the lines of the code blocks, without comments and blank lines."""
    for language, content in FENCE.findall(body):
        yield f"```{language}"
        for line in content.splitlines():
            code = re.sub(r"(^|\s)#.*", "", line) if language in _COMMENTED else line
            if code.strip():
                yield code.rstrip()


def _difference(wanted: Sequence[str], actual: Sequence[str]) -> str:
    if wanted == actual:
        return ""
    missing, extra = Counter(wanted) - Counter(actual), Counter(actual) - Counter(wanted)
    if not missing and not extra:
        return f"in another order: {wanted} / {actual}"
    return f"{[*missing.elements()]} / {[*extra.elements()]}"
