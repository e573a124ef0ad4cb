"""The content of the status pages as plain values: a fleet and a `PageContext` → `Status` or `JobPage`.

Pure. `exporter.web.status_page` serves them; the HTML templates only print.
"""

from exporter.web.status.job_page import job_page
from exporter.web.status.page_context import PageContext
from exporter.web.status.query import PageQuery
from exporter.web.status.view import status
from exporter.web.status.words import ENGLISH, Words, words_for

__all__ = [
    "ENGLISH",
    "PageContext",
    "PageQuery",
    "Words",
    "job_page",
    "status",
    "words_for",
]
