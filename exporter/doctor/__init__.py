"""``check-config --online``: tests a configuration against the API, and says what to do about problems.

`probe` asks the API, `state` looks at the store, `run` reads the proxy variables. Everything else is pure and
turns answers into findings, and findings into lines. Planner and job lists of the poller decide what is asked
and what polling costs.
"""

from exporter.doctor.format_report import lines_of, wrapped
from exporter.doctor.probe import REFUSALS
from exporter.doctor.probe_plan import announced, at_most
from exporter.doctor.results import Finding, Mark, Report, Section
from exporter.doctor.run import examine, explained
from exporter.text import plural

__all__ = [
    "REFUSALS",
    "Finding",
    "Mark",
    "Report",
    "Section",
    "announced",
    "at_most",
    "examine",
    "explained",
    "lines_of",
    "plural",
    "wrapped",
]
