"""The formats of an exposition, and the choice between them by the headers of a request. Pure."""

from collections.abc import Iterator
from enum import Enum
from functools import lru_cache
from typing import Final


class Format(Enum):
    """An exposition format; the value is how it is called in labels."""

    TEXT = "text"
    OPENMETRICS = "openmetrics"

    @property
    def content_type(self) -> str:
        """The media type, as an answer declares it."""
        if self is Format.TEXT:
            return "text/plain; version=0.0.4; charset=utf-8"
        return "application/openmetrics-text; version=1.0.0; charset=utf-8"


_OPENMETRICS_VERSIONS: Final = ("", "0.0.1", "1.0.0")

_TEXT_TYPES: Final = ("text/plain", "text/*", "*/*")


@lru_cache(maxsize=64)
def format_for(accept: str) -> Format:
    """OpenMetrics if an ``Accept`` header likes it at least as much as the text format.

    Whatever cannot be read is passed over: a scraper with a strange header gets the text format.
    """
    text = openmetrics = 0.0
    for kind, given, quality in _choices(accept):
        if kind == "application/openmetrics-text" and given.get("version", "") in _OPENMETRICS_VERSIONS:
            openmetrics = max(openmetrics, quality)
        elif kind in _TEXT_TYPES:
            text = max(text, quality)
    return Format.OPENMETRICS if 0 < openmetrics >= text else Format.TEXT


@lru_cache(maxsize=64)
def wants_gzip(accept_encoding: str) -> bool:
    """Whether an ``Accept-Encoding`` header allows gzip."""
    named = {coding: quality for coding, _, quality in _choices(accept_encoding)}
    return named.get("gzip", named.get("x-gzip", named.get("*", 0.0))) > 0


def _choices(header: str) -> Iterator[tuple[str, dict[str, str], float]]:
    """The choices of a header in its order, each with its parameters and its quality, 0 if unreadable."""
    for choice in header.lower().split(","):
        name, *parameters = (part.strip() for part in choice.split(";"))
        given = {key.strip(): value.strip() for key, _, value in (part.partition("=") for part in parameters)}
        yield name, given, _quality(given.get("q", "1"))


def _quality(text: str) -> float:
    try:
        quality = float(text)
    except ValueError:
        return 0.0
    return quality if 0 <= quality <= 1 else 0.0
