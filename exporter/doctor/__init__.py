"""``check-config --online``: what is right, what is not, and what to do about it.

A thin part asks (`asking`, `state`, `proxies`); the rest makes findings of the answers, and lines of the
findings. The rules of the poller decide what is asked and what it will cost, so that both cannot differ.
"""

from exporter.doctor.asking import REFUSALS
from exporter.doctor.examination import examine
from exporter.doctor.findings import Finding, Mark, Report, Section
from exporter.doctor.questions import announced, at_most
from exporter.doctor.text import lines_of, plural, wrapped

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
