"""What the status page tells, as plain values: a fleet, the time and what was asked for → `Status`.

Pure, like everything in here. `exporter.web.page` puts it into HTML, which only prints.
"""

from exporter.web.status.asked import Asked
from exporter.web.status.facts import Fact, facts
from exporter.web.status.rows import JobRow, Tag
from exporter.web.status.status import PAGE_SIZE, Choice, Paging, Status, status
from exporter.web.status.strip import Bar, Strip, strip
from exporter.web.status.troubles import Trouble, troubles

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
