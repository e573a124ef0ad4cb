"""What the status page tells, as plain values: a fleet, the time and what was asked for → `Status`.

Pure, like everything in here. `exporter.web.status_page` puts it into HTML, which only prints.
"""

from exporter.web.status.problems import Trouble, troubles
from exporter.web.status.query import Asked
from exporter.web.status.sparkline import Bar, Strip, strip
from exporter.web.status.view import PAGE_SIZE, Choice, Fact, JobRow, Paging, Status, Tag, facts, status

__all__ = [
    "PAGE_SIZE",
    "Asked",
    "Bar",
    "Choice",
    "Fact",
    "JobRow",
    "Paging",
    "Status",
    "Strip",
    "Tag",
    "Trouble",
    "facts",
    "status",
    "strip",
    "troubles",
]
