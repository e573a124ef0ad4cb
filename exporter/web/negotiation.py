"""Which exposition a scraper gets; pure."""

from typing import Final

TEXT: Final = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS: Final = "application/openmetrics-text; version=1.0.0; charset=utf-8"

_OPENMETRICS_VERSIONS: Final = ("", "0.0.1", "1.0.0")
_TEXT_TYPES: Final = ("text/plain", "text/*", "*/*")


def wants_openmetrics(accept: str) -> bool:
    """Whether an ``Accept`` header likes OpenMetrics at least as much as the text format.

    Whatever cannot be read is passed over: a scraper with a strange header gets the text format.
    """
    text = openmetrics = 0.0
    for choice in accept.lower().split(","):
        kind, *parameters = (part.strip() for part in choice.split(";"))
        given = {name.strip(): value.strip() for name, _, value in (p.partition("=") for p in parameters)}
        quality = _quality(given.get("q", "1"))
        if kind == "application/openmetrics-text" and given.get("version", "") in _OPENMETRICS_VERSIONS:
            openmetrics = max(openmetrics, quality)
        elif kind in _TEXT_TYPES:
            text = max(text, quality)
    return 0 < openmetrics >= text


def _quality(text: str) -> float:
    try:
        quality = float(text)
    except ValueError:
        return 0.0
    return quality if 0 <= quality <= 1 else 0.0
