"""One document in two languages: what has to be equal in both, and where it is not."""

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


def differences(one: str, other: str) -> list[str]:
    """What the other document has to have as the first has it and has not, each with its section."""
    ours, theirs = sections(one), sections(other)
    if [section.level for section in ours] != [section.level for section in theirs]:
        return list(_headings(ours, theirs))
    own = dict(zip(anchors(other), anchors(one), strict=True))
    found: list[str] = []
    for here, there in zip(ours, theirs, strict=True):
        expected, actual = _held(here, {}), _held(there, own)
        for what, wanted in expected.items():
            if odd := _difference(wanted, actual[what]):
                found.append(f"{here.title} / {there.title}: {what}: {odd}")
    return found


def badly_set(document: str) -> list[str]:
    """Where Chinese text is not set as it should be."""
    shown = unlinked(re.sub(r"<!--.*?-->", "", prose(document)))
    text = re.sub(r"`[^`]+`", "`", shown).replace("*", "")
    found = [
        f"{what}: {text[max(0, odd.start() - 12) : odd.end() + 12]!r}"
        for what, pattern in _BADLY_SET.items()
        for odd in re.finditer(pattern, text)
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
        if [one.level for one in here] != [one.level for one in there]:
            yield (
                f"{here[0].title} / {there[0].title}: headings: "
                f"{[one.title for one in here[1:]]} / {[one.title for one in there[1:]]}"
            )


def _parts(all_of_them: Sequence[Section]) -> list[list[Section]]:
    """Each section of the second level with those below it."""
    parts: list[list[Section]] = []
    for section in all_of_them:
        if section.level <= 2 or not parts:
            parts.append([])
        parts[-1].append(section)
    return parts


def _held(section: Section, own: dict[str, str]) -> dict[str, list[str]]:
    """All that is equal whatever the language, by what it is.

    Args:
        section: where to look.
        own: the anchors of the document itself, with those of the first one in their places.
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
    """The lines of the code blocks, without comments and blank lines."""
    for language, content in FENCE.findall(body):
        yield f"```{language}"
        for line in content.splitlines():
            code = re.sub(r"(^|\s)#.*", "", line) if language in _COMMENTED else line
            if code.strip():
                yield code.rstrip()


def _difference(wanted: Sequence[str], actual: Sequence[str]) -> str:
    if wanted == actual:
        return ""
    missing, beyond = Counter(wanted) - Counter(actual), Counter(actual) - Counter(wanted)
    if not missing and not beyond:
        return f"in another order: {wanted} / {actual}"
    return f"{[*missing.elements()]} / {[*beyond.elements()]}"
