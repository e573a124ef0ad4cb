"""Regular expressions for names that others choose, such as branches.

RE2 takes time in proportion to the name, whatever the expression; Python's ``re`` can take for ever.
"""

import re
from dataclasses import dataclass, field
from typing import Any, Final

import re2

_OPTIONS: Final = re2.Options()
_OPTIONS.log_errors = False  # to standard error, with the expression


@dataclass(frozen=True, slots=True)
class Pattern:
    """A regular expression in RE2's syntax.

    Args:
        text: the expression.

    Raises:
        ValueError: RE2 does not take it; the error says why, without any part of the expression.
    """

    text: str
    _compiled: Any = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        try:
            compiled = re2.compile(self.text, _OPTIONS)
        except re2.error as error:
            raise ValueError(_reason(error.args[0].decode(errors="replace"))) from None
        object.__setattr__(self, "_compiled", compiled)

    def matches(self, name: str) -> bool:
        """Tell whether it matches the whole name."""
        return self._compiled.fullmatch(name.encode(errors="replace")) is not None


def _reason(told: str) -> str:
    """What RE2 told, save for the part of the expression that stands after it."""
    words, _, part = told.partition(": ")
    if words == "invalid perl operator" or re.fullmatch(r"\\[1-9]", part):
        return f"{words}; RE2 has no lookarounds and no backreferences"
    return words
