"""The past, brought to Prometheus: what the API still tells of builds, as samples with their true times.

First everything is asked for and kept in a spool; then it happens once more, by the same ledger that counts
live builds, and what the ledger shows at each step is written as OpenMetrics or sent by remote write.
"""

from exporter.backfill.builds import PastBuild
from exporter.backfill.download import Collection
from exporter.backfill.files import streamed, write_files
from exporter.backfill.jobs import few, missing_names, watched_jobs
from exporter.backfill.openmetrics import PastFamily, Size, past_families, size
from exporter.backfill.plan import Counted, PastJob, Period, Plan, counted, earliest, moment_ms, planned
from exporter.backfill.replay import Replay
from exporter.backfill.retry import Notices
from exporter.backfill.spool import Spool

__all__ = [
    "Collection",
    "Counted",
    "Notices",
    "PastBuild",
    "PastFamily",
    "PastJob",
    "Period",
    "Plan",
    "Replay",
    "Size",
    "Spool",
    "counted",
    "earliest",
    "few",
    "missing_names",
    "moment_ms",
    "past_families",
    "planned",
    "size",
    "streamed",
    "watched_jobs",
    "write_files",
]
