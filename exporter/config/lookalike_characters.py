"""Characters that look like YAML syntax and are not, such as full-width punctuation.

YAML takes them for text, so its error is about a later line or about something else. These patterns find the
place. They are used only after another error, since such characters are valid in any value.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Final

from exporter.config.problems import quote

_LINES_BEFORE: Final = 20  # a plain text rarely goes on for longer before YAML reports an error
_LINE_LENGTH: Final = 1000
_SPACE: Final = "a space"
_SPACES: Final = "\u00a0\u2002\u2003\u2007\u2009\u202f\u3000\u200b\ufeff"
_REPLACEMENTS: Final = {
    **dict.fromkeys("：﹕", ":"),
    **dict.fromkeys("，﹐、", ","),
    **dict.fromkeys("－–—−", "-"),
    **dict.fromkeys("“”„＂", '"'),
    **dict.fromkeys("‘’‚＇", "'"),
    **dict.fromkeys("＃", "#"),
    **dict(zip("［］｛｝", "[]{}", strict=True)),
    **dict.fromkeys(_SPACES, _SPACE),
}
_BLANK: Final = f"[{_SPACES}]"
_KEY: Final = r"[\"'“”]?[A-Za-z_][\w.-]*[\"'“”]?"
_STRUCTURE: Final = (
    rf"^[ -]*({_BLANK})",  # indentation, or after "-"
    r"^\s*([－–—−])\s*[\w\"'{\[]",  # an item of a list
    rf"^\s*(?:-\s+)?{_KEY}\s*([：﹕])",
    rf"^\s*(?:-\s+)?{_KEY}:({_BLANK})",
)
_WITHIN_VALUE: Final = (
    r"\{[^}]*?\b[a-z_]+\s*([：﹕])",
    r"[\[{［｛](?:[^#\"']|\"[^\"]*\"|'[^']*')*?([，﹐、])",
    r"(?:^|[:\[{,]|\s-)\s*([“”„＂‘’‚＇［｛])",  # the beginning of a value
    r"\s([＃])",
    r"[\"']\s*([，﹐、])\s*$",  # after a value
)
_NO_SPACE: Final = ((r"^\s*-[0-9A-Za-z\"'{\[$]", '"-"'), (r"^\s*(?:- +)?[A-Za-z_]+:(?!//)[^\s\d]", '":"'))
_KEY_AND_COLON: Final = r"^\s*(?:-\s+)?[a-z][a-z_]+\s*[：﹕]"


def hint_within(lines: Sequence[str], first: int, last: int) -> tuple[int, str] | None:
    """Find the first lookalike in a place where YAML needs the real character.

    Lines ``first`` to ``last`` of the file are searched, counted from 1.

    Returns:
        The line's number, and the correction.
    """
    for number in range(first, min(last, len(lines)) + 1):
        line = lines[number - 1][:_LINE_LENGTH]
        if hint := _hint_about_structure(line) or _correction(_WITHIN_VALUE, line):
            return number, hint
    return None


def hint_before(lines: Sequence[str], line: int) -> tuple[int, str] | None:
    """Find a lookalike in a line that is not YAML, or in one shortly before, which it turned into text."""
    for number in range(min(line, len(lines)), max(line - _LINES_BEFORE, 0), -1):
        text = lines[number - 1][:_LINE_LENGTH]
        if hint := _hint_about_structure(text) or (
            _correction(_WITHIN_VALUE, text) if number == line else None
        ):
            return number, hint
    return None


def looks_like_key(line: str) -> bool:
    """Return whether a line looks like ``key: value``, but with another colon than YAML's."""
    return re.match(_KEY_AND_COLON, line) is not None


def _hint_about_structure(line: str) -> str | None:
    missing_space = (f"write a space after {sign}" for pattern, sign in _NO_SPACE if re.search(pattern, line))
    return _correction(_STRUCTURE, line) or next(missing_space, None)


def _correction(patterns: Iterable[str], line: str) -> str | None:
    match = next(filter(None, (re.search(pattern, line) for pattern in patterns)), None)
    if match is None:
        return None
    character = match[1]
    name = f"U+{ord(character):04X} {unicodedata.name(character, '')}".rstrip()
    replacement = _REPLACEMENTS[character]
    if replacement == _SPACE:
        return f"write a space in place of {name}"
    quoted = "'\"'" if replacement == '"' else quote(replacement)
    return f"write {quoted} in place of {quote(character)} ({name})"
