"""What can be wrong, and where: one line for a person for each problem.

No line repeats a value that could be a secret: a value appears only where a rule names it as its
subject, and then as it stands in the file, before ``${NAME}`` is replaced.
"""

import difflib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

Path = tuple[str | int, ...]
"""Keys and indices from the top of the document to a value."""

_PLAIN_KEY: Final = re.compile(r"[A-Za-z_][\w-]*", re.ASCII)
_LONGEST_SUBJECT: Final = 60


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing to put right; ``line`` counts from 1, and 0 means the file as a whole."""

    line: int
    path: Path
    text: str

    def render(self, source: str) -> str:
        """Write ``config.yaml:12: jobs[1].id: is not …``."""
        place = f"{source}:{self.line}" if self.line else source
        return ": ".join([place, *([spell(self.path)] if self.path else []), self.text])


def render(problems: Iterable[Problem], source: str) -> str:
    """Write all problems in the order of their lines."""
    return "\n".join(problem.render(source) for problem in sorted(problems, key=lambda p: p.line))


def spell(path: Path) -> str:
    """Write a path as ``jobs[1].id``."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            text += f".{step if _PLAIN_KEY.fullmatch(step) else quote(step)}"
    return text.removeprefix(".")


def quote(text: str) -> str:
    """Put a text between quotation marks, on one line, shortened when it is long."""
    if len(text) > _LONGEST_SUBJECT:
        text = text[: _LONGEST_SUBJECT - 1] + "…"
    if not text.isprintable():
        return json.dumps(text)
    return f'"{text}"'


def listing(words: Iterable[str], last: str = "and") -> str:
    """Write ``a, b and c``."""
    *head, tail = words
    return f"{', '.join(head)} {last} {tail}" if head else tail


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Find what was probably meant."""
    return next(iter(difflib.get_close_matches(word, list(known), n=1)), None)
