"""``check-config --online``: what is right, what is not, and what to do about it.

A thin part asks (`asking`, `state`, `proxies`); the rest makes findings of the answers, and lines of the
findings. The rules of the poller decide what is asked and what it will cost, so that both cannot differ.
"""

from exporter.doctor.probe import REFUSALS
from exporter.doctor.report import lines_of, wrapped
from exporter.doctor.results import Finding, Mark, Report, Section
from exporter.doctor.run import examine
from exporter.doctor.watched import announced, at_most
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
    "lines_of",
    "plural",
    "wrapped",
]
