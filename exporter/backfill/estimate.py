"""How much a backfill writes; pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from exporter.backfill.border import PastJob
from exporter.backfill.lines import PastFamily, Stretch
from exporter.backfill.past import begin
from exporter.backfill.period import Period
from exporter.catalogue import JobView
from exporter.model import Build, Result
from exporter.poller import Rules


@dataclass(frozen=True, slots=True)
class Size:
    """What comes out; ``bytes`` as text."""

    series: int
    samples: int
    bytes: int


def size(jobs: Sequence[PastJob], families: Sequence[PastFamily], period: Period, rules: Rules) -> Size:
    """The size of what is written of jobs that have no labels but those of every job."""
    series = width = 0
    for one in jobs:
        build = Build(1, Result.SUCCESS, start_ms=period.start_ms, finish_ms=period.start_ms)
        ledger = begin([build], (), (), period.start_ms, rules)
        lines = "".join(
            points.stamped()
            for family in families
            for metric in family.metrics([Stretch((period.start_ms,), JobView(one.job, ledger))])
            for points in metric
        )
        series += lines.count("\n")
        width += len(lines)
    samples = period.samples
    return Size(series, series * samples, width * samples)
