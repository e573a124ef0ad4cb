"""The content of the status page as plain values: a fleet, the time and a query → `Status`.

Pure. `exporter.web.status_page` serves it; the HTML template only prints.
"""

from exporter.web.status.problems import Problem, find_problems
from exporter.web.status.query import PageQuery
from exporter.web.status.sparkline import sparkline
from exporter.web.status.view import Status, Tag, facts, status

__all__ = ["PageQuery", "Problem", "Status", "Tag", "facts", "find_problems", "sparkline", "status"]
