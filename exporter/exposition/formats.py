"""The formats that scrapers ask for."""

from enum import Enum


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
