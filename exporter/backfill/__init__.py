"""Backfill: build history as samples with their original times.

First the API's replies are downloaded into a spool. Then the ledger that counts live builds replays them, and
its state at each step is written as OpenMetrics or sent by remote write.
"""

from exporter.backfill.download import Download, gaps
from exporter.backfill.fetch_with_retries import Notices
from exporter.backfill.openmetrics import past_families
from exporter.backfill.output import Destination, Output, prepare
from exporter.backfill.plan_builder import Selection, load_or_make_plan
from exporter.backfill.spool import Spool

__all__ = [
    "Destination",
    "Download",
    "Notices",
    "Output",
    "Selection",
    "Spool",
    "gaps",
    "load_or_make_plan",
    "past_families",
    "prepare",
]
