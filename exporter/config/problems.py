"""Problems of a configuration and their wording: one line for each problem.

No line repeats a value that could be a secret: a value appears only where a rule is about the value itself,
and then as written in the file, before ``${NAME}`` is replaced.
"""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

Path = tuple[str | int, ...]
"""Keys and indices from the top of the document to a value."""

CONTROL_CHARACTERS: Final = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
"""Characters that no value may have: controls such as line breaks, and bytes that are not Unicode."""

_PLAIN_KEY: Final = re.compile(r"[A-Za-z_][\w-]*", re.ASCII)
_LONGEST_QUOTE: Final = 60


@dataclass(frozen=True, slots=True)
class Problem:
    """One error; ``line`` counts from 1, and 0 is the file as a whole."""

    line: int
    path: Path
    text: str

    def render(self, source: str) -> str:
        """Format as ``config.yaml:12: jobs[1].id: is not …``."""
        place = f"{source}:{self.line}" if self.line else source
        return ": ".join([place, *([_format_path(self.path)] if self.path else []), self.text])


def render(problems: Iterable[Problem], source: str) -> str:
    """Format problems as lines, in the order of the file."""
    return "\n".join(problem.render(source) for problem in sorted(problems, key=lambda p: p.line))


def _format_path(path: Path) -> str:
    """Format as ``jobs[1].id``."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            text += f".{step if _PLAIN_KEY.fullmatch(step) else quote(step)}"
    return text.removeprefix(".")


def quote(text: str) -> str:
    """Quote a text on one line, shortened if it is long."""
    if len(text) > _LONGEST_QUOTE:
        text = text[: _LONGEST_QUOTE - 1] + "…"
    return f'"{text}"' if text.isprintable() else json.dumps(text)
