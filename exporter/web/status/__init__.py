"""The content of the status pages as plain values: a fleet and a `Frame` → `Status` or `JobPage`.

Pure. `exporter.web.status_page` serves them; the HTML templates only print.
"""

from exporter.web.status.frame import Frame
from exporter.web.status.job_page import JobPage, job_page
from exporter.web.status.problems import Problem, find_problems
from exporter.web.status.query import Column, PageQuery
from exporter.web.status.rows import Tag
from exporter.web.status.sparkline import sparkline
from exporter.web.status.view import Status, facts, status
from exporter.web.status.words import ENGLISH, Words, words_for

__all__ = [
    "ENGLISH",
    "Column",
    "Frame",
    "JobPage",
    "PageQuery",
    "Problem",
    "Status",
    "Tag",
    "Words",
    "facts",
    "find_problems",
    "job_page",
    "sparkline",
    "status",
    "words_for",
]
