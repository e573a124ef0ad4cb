"""Characters that look like YAML's own and are not, such as full-width punctuation.

YAML takes them for text, so its complaint is about a later line or about something else. These patterns
find the place. They are asked only where something is wrong already, since such characters may stand in
any value.
"""

import re
import unicodedata
from collections.abc import Sequence
from typing import Final

from exporter.config.problems import quote

_REACH: Final = 20
"""Lines that a plain text goes over at the most before it meets something that stops it."""
_LONGEST: Final = 1000
"""Characters of a line that are looked at."""
_SPACE: Final = "a space"
_MEANT: Final = {
    **dict.fromkeys("：﹕", ":"),
    **dict.fromkeys("，﹐、", ","),
    **dict.fromkeys("－–—−", "-"),
    **dict.fromkeys("“”„＂", '"'),
    **dict.fromkeys("‘’‚＇", "'"),
    **dict.fromkeys("＃", "#"),
    **dict(zip("［］｛｝", "[]{}", strict=True)),
    **dict.fromkeys("\u00a0\u2002\u2003\u2007\u2009\u202f\u3000\u200b\ufeff", "a space"),
}
_BLANK: Final = "[" + "".join(found for found, meant in _MEANT.items() if meant == _SPACE) + "]"
_KEY: Final = r"[\"'“”]?[A-Za-z_][\w.-]*[\"'“”]?"
_STRUCTURE: Final = [
    re.compile(pattern)
    for pattern in (
        rf"^[ -]*({_BLANK})",  # indentation, or after "-"
        r"^\s*([－–—−])\s*[\w\"'{\[]",  # an item of a list
        rf"^\s*(?:-\s+)?{_KEY}\s*([：﹕])",
        rf"^\s*(?:-\s+)?{_KEY}:({_BLANK})",
    )
]
_WITHIN: Final = [
    re.compile(pattern)
    for pattern in (
        r"\{[^}]*?\b[a-z_]+\s*([：﹕])",
        r"[\[{［｛](?:[^#\"']|\"[^\"]*\"|'[^']*')*?([，﹐、])",
        r"(?:^|[:\[{,]|\s-)\s*([“”„＂‘’‚＇［｛])",  # the beginning of a value
        r"\s([＃])",
    )
]
_NO_SPACE: Final = (
    (re.compile(r"^\s*-[0-9A-Za-z\"'{\[$]"), '"-"'),
    (re.compile(r"^\s*(?:- +)?[A-Za-z_]+:(?!//)[^\s\d]"), '":"'),
)
_KEY_AND_COLON: Final = re.compile(r"^\s*(?:-\s+)?[a-z][a-z_]+\s*[：﹕]")


def hint_within(lines: Sequence[str], first: int, last: int) -> tuple[int, str] | None:
    """Find the first of some lines with such a character in a place where YAML needs its own.

    Args:
        lines: of the whole file.
        first: the number of the first to look at, counted from 1.
        last: that of the last.

    Returns:
        The line's number, and what to write there.
    """
    for number in range(first, min(last, len(lines)) + 1):
        line = lines[number - 1][:_LONGEST]
        if hint := _structural(line) or _within(line):
            return number, hint
    return None


def hint_before(lines: Sequence[str], line: int) -> tuple[int, str] | None:
    """Find such a character in a line that is not YAML, or in one shortly before that it turned into text."""
    for number in range(min(line, len(lines)), max(line - _REACH, 0), -1):
        text = lines[number - 1][:_LONGEST]
        if hint := _structural(text) or (_within(text) if number == line else None):
            return number, hint
    return None


def is_lost_key(line: str) -> bool:
    """Tell whether a line looks like ``key: value`` with a colon that YAML does not know."""
    return bool(_KEY_AND_COLON.match(line))


def _structural(line: str) -> str | None:
    found = next((match for place in _STRUCTURE if (match := place.search(line))), None)
    if found:
        return _instead(found[1])
    return next((f"write a space after {sign}" for place, sign in _NO_SPACE if place.search(line)), None)


def _within(line: str) -> str | None:
    return next((_instead(match[1]) for place in _WITHIN if (match := place.search(line))), None)


def _instead(character: str) -> str:
    name = f"U+{ord(character):04X} {unicodedata.name(character, '')}".rstrip()
    if _MEANT[character] == _SPACE:
        return f"write a space in place of {name}"
    meant = _MEANT[character]
    shown = "'\"'" if meant == '"' else quote(meant)
    return f"write {shown} in place of {quote(character)} ({name})"
