"""Exposition formats, and content negotiation by request headers. Pure."""

from collections.abc import Iterator
from enum import Enum
from functools import lru_cache
from typing import Final


class Format(Enum):
    """An exposition format; the value is its name in labels."""

    TEXT = "text"
    OPENMETRICS = "openmetrics"
    PROTOBUF = "protobuf"

    @property
    def content_type(self) -> str:
        """Value of the response header ``Content-Type``."""
        return _CONTENT_TYPES[self]


_CONTENT_TYPES: Final = {
    Format.TEXT: "text/plain; version=0.0.4; charset=utf-8",
    Format.OPENMETRICS: "application/openmetrics-text; version=1.0.0; charset=utf-8",
    Format.PROTOBUF: "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; "
    "encoding=delimited",
}

_PROTOBUF_PARAMETERS: Final = ("io.prometheus.client.metricfamily", "delimited")

_OPENMETRICS_VERSIONS: Final = ("", "0.0.1", "1.0.0")

_TEXT_TYPES: Final = ("text/plain", "text/*", "*/*")


@lru_cache(maxsize=64)
def format_for(accept: str) -> Format:
    """Choose the format that an ``Accept`` header ranks highest; of equals, protobuf, then OpenMetrics.

    Unreadable parts are ignored, so a scraper with an invalid header gets the text format.
    """
    ranks = {Format.PROTOBUF: 0.0, Format.OPENMETRICS: 0.0, Format.TEXT: 0.0}
    for kind, parameters, quality in choices(accept):
        if form := _format_of(kind, parameters):
            ranks[form] = max(ranks[form], quality)
    best = max(ranks, key=ranks.__getitem__)
    return best if ranks[best] else Format.TEXT


def _format_of(kind: str, parameters: dict[str, str]) -> Format | None:
    if kind == "application/vnd.google.protobuf":
        given = parameters.get("proto"), parameters.get("encoding")
        return Format.PROTOBUF if given == _PROTOBUF_PARAMETERS else None
    if kind == "application/openmetrics-text":
        return Format.OPENMETRICS if parameters.get("version", "") in _OPENMETRICS_VERSIONS else None
    return Format.TEXT if kind in _TEXT_TYPES else None


@lru_cache(maxsize=64)
def wants_gzip(accept_encoding: str) -> bool:
    """Return whether an ``Accept-Encoding`` header allows gzip."""
    qualities = {coding: quality for coding, _, quality in choices(accept_encoding)}
    return qualities.get("gzip", qualities.get("x-gzip", qualities.get("*", 0.0))) > 0


def choices(header: str) -> Iterator[tuple[str, dict[str, str], float]]:
    """Yield each choice of a header with its parameters and its quality, 0 if unreadable."""
    for choice in header.lower().split(","):
        name, *parts = (part.strip() for part in choice.split(";"))
        pairs = (part.partition("=") for part in parts)
        parameters = {key.strip(): value.strip().strip('"') for key, _, value in pairs}
        try:
            quality = float(parameters.get("q", "1"))
        except ValueError:
            quality = 0.0
        yield name, parameters, quality if 0 <= quality <= 1 else 0.0
