"""Logging as logfmt or JSON on standard error, including the log lines of libraries."""

import logging
import sys
from contextlib import suppress
from typing import Any, TextIO, cast

import structlog

from exporter.redaction import clean


class _Unfailing:
    """A text stream that ignores a full disk or a closed pipe."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write, if possible."""
        with suppress(OSError, ValueError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush, if possible."""
        with suppress(OSError, ValueError):
            self._stream.flush()


def configure(level: str = "info", log_format: str = "logfmt") -> None:
    """Set up logging for the process, with ``level`` as the minimum, as logfmt or JSON."""
    stream = cast("TextIO", _Unfailing(sys.stderr))
    threshold = logging.getLevelNamesMapping()[level.upper()]
    render: structlog.typing.Processor = (
        structlog.processors.JSONRenderer(ensure_ascii=False)
        if log_format == "json"
        else structlog.processors.LogfmtRenderer(key_order=["ts", "level", "event"], bool_as_flag=False)
    )
    stamp = structlog.processors.TimeStamper(fmt="iso", utc=True, key="ts")
    printed: list[structlog.typing.Processor] = [structlog.processors.format_exc_info, _cleaned, render]
    structlog.configure(
        processors=[structlog.processors.add_log_level, stamp, *printed],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.PrintLoggerFactory(stream),
        cache_logger_on_first_use=False,
    )
    libraries = logging.StreamHandler(stream)
    libraries.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_log_level, structlog.stdlib.add_logger_name, stamp],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *printed],
        )
    )
    logging.basicConfig(level=threshold, handlers=[libraries], force=True)
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    if level != "debug":
        # Its warnings are about malformed requests, which no operator can act on.
        logging.getLogger("uvicorn").setLevel(logging.ERROR)


def _cleaned(_logger: object, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Redact secrets in every value; the renderers escape line breaks."""
    return {key: value if key in ("ts", "level") else _clean(value) for key, value in event.items()}


def _clean(value: object) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, dict):
        return {str(key): _clean(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_clean(item) for item in value]
    return clean(str(value), keep="\n")
