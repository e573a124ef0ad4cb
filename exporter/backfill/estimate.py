"""How much a backfill writes; pure."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from exporter.backfill.border import PastJob
from exporter.backfill.lines import PastFamily, Stretch
from exporter.backfill.past import PastBuild, begin, grow
from exporter.backfill.period import Period
from exporter.catalogue import JobView
from exporter.ledger import JobLedger
from exporter.ledger.draft import join
from exporter.model import Build
from exporter.poller import Rules


@dataclass(frozen=True, slots=True)
class Size:
    """What comes out; ``bytes`` as text."""

    series: int
    samples: int
    bytes: int


def size(
    jobs: Sequence[PastJob],
    families: Sequence[PastFamily],
    period: Period,
    rules: Rules,
    told: Callable[[PastJob], Iterable[tuple[int, PastBuild]]],
) -> Size:
    """The size of what is written, as if all series of a job were there from the start on.

    Args:
        jobs: those that are written.
        families: of metrics.
        period: the samples.
        rules: from the configuration.
        told: the builds of a job by date, and when each finished.
    """
    series = samples = width = 0
    for one in jobs:
        ledger = _outlined(one, period, rules, told(one))
        lines = "".join(
            points.stamped()
            for family in families
            for metric in family.metrics([Stretch((period.start_ms,), JobView(one.job, ledger))])
            for points in metric
        )
        moments = len(period.moments(period.start_ms, period.end_ms + 1, one.end_ms))
        series += lines.count("\n")
        samples += lines.count("\n") * moments
        width += len(lines.encode()) * moments
    return Size(series, samples, width)


def _outlined(one: PastJob, period: Period, rules: Rules, told: Iterable[tuple[int, PastBuild]]) -> JobLedger:
    """The ledger of a job with only those builds that bring labels or stages which no earlier one has."""
    before: PastBuild | None = None
    kinds: list[PastBuild] = []
    seen: set[object] = set()
    for at_ms, past in told:
        if at_ms <= period.start_ms:
            before = past
        elif not seen.issuperset(shown := _shown(past, rules)):
            seen |= shown
            kinds.append(past)
    first = [_numbered(before, 1).told] if before else []
    builds = [_numbered(past, number) for number, past in enumerate(kinds, start=2)]
    numbers = [past.build.number for past in builds]
    ledger = begin(first, numbers, (), period.start_ms, rules)
    return grow(ledger, builds, max(one.end_ms, period.start_ms), rules).ledger


def _shown(past: PastBuild, rules: Rules) -> set[object]:
    """The labels that a build is counted under, and the names of its stages."""
    told, detail = past.told, past.detail
    if detail:
        told = join(told, Build(told.number, trigger=detail.trigger, branch=detail.branch))
    labels = told.result and rules.breakdown.labels(told.result, told.trigger, told.branch)
    return {labels, *(stage.name for stage in past.stages or ())}


def _numbered(past: PastBuild, number: int) -> PastBuild:
    detail = replace(past.detail, number=number) if past.detail else None
    return replace(past, build=replace(past.build, number=number), detail=detail)
