"""The words of the status page, in English and Chinese.

English is in the code and the templates; ``translations/`` beside them has everything else, part by part.
Names of jobs, and errors in the service's own words, stay as they are.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from types import MappingProxyType
from typing import Final

from exporter import humanize
from exporter.exposition.formats import choices

_SPACE: Final = "\N{NO-BREAK SPACE}"

CHINESE: Final[Mapping[str, str]] = MappingProxyType(
    {
        english: chinese
        for part in json.loads((files("exporter.web") / "translations/zh-CN.json").read_bytes()).values()
        for english, chinese in part.items()
    }
)


@dataclass(frozen=True, slots=True)
class Words:
    """The words of a language: calling it translates an English text and fills in its values.

    Attributes:
        tag: names the language in HTML.
        table: translates from English; empty for English itself.
    """

    tag: str
    table: Mapping[str, str]

    def __call__(self, english: str, **values: object) -> str:
        """Translate a text; one that the table lacks stays English."""
        words = self.table.get(english, english)
        return words.format(**values) if values else words

    def length(self, value_ms: int | None) -> str:
        """Format a duration in its two largest units; a line may break between them."""
        return self._of_units(humanize.length(value_ms))

    def age(self, value_ms: int | None) -> str:
        """Format an age in its largest unit."""
        return self._of_units(humanize.age(value_ms))

    def ago(self, value_ms: int) -> str:
        """Format how long ago something was."""
        return self("{age} ago", age=self.age(value_ms))

    def jobs(self, number: int) -> str:
        """Format a number of jobs."""
        return f"{number:,} {self('job')}" if self.table else humanize.plural(number, "job")

    def joined(self, parts: Iterable[str]) -> str:
        """Join the parts of a list with commas."""
        return self(", ").join(parts)

    def api_trouble(self, brief: str) -> str:
        """Translate the kind of an error that may have a code in parentheses."""
        kind, bracket, code = brief.partition(" (")
        return f"{self(kind)}{bracket}{code}"

    def _of_units(self, formatted: str) -> str:
        parts = [self(part) for part in formatted.split(_SPACE)]
        pairs = [_SPACE.join(parts[start : start + 2]) for start in range(0, len(parts), 2)]
        return " ".join(pairs)


ENGLISH: Final = Words("en", {})
SIMPLIFIED_CHINESE: Final = Words("zh-CN", CHINESE)


def words_for(accept_language: str) -> Words:
    """Choose the language that an ``Accept-Language`` header ranks highest; English if that is neither."""
    known = [
        (quality, language)
        for tag, _, quality in choices(accept_language)
        if quality and (language := tag.partition("-")[0]) in ("en", "zh")
    ]
    _, best = max(known, key=lambda choice: choice[0], default=(0.0, "en"))
    return SIMPLIFIED_CHINESE if best == "zh" else ENGLISH
