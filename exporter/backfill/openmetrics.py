"""Ledgers over time → lines with timestamps, and how much that will be. Pure.

Source: https://github.com/prometheus/OpenMetrics/blob/v1.0.0/specification/OpenMetrics.md. Families do not
interleave, nor do the metrics of a family; the points of a metric ascend in time.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from exporter.backfill.builds import PastBuild, begin, grow
from exporter.backfill.plan import PastJob, Period
from exporter.exposition import Encoder, Format
from exporter.exposition.encoder import escaped
from exporter.ledger import JobLedger
from exporter.ledger.builder import join
from exporter.metrics import Declared, Family, JobView
from exporter.model import Build
from exporter.poller import Rules

EOF: Final = "# EOF\n"
"""Ends a file."""

OF_THE_PRESENT: Final = frozenset(
    (
        "codearts_build_active_builds",
        "codearts_build_oldest_active_build_timestamp_seconds",
        "codearts_build_recovered_builds_total",
        "codearts_build_lost_builds_total",
    )
)
"""What only those can know who were there."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """A job as it was at some moments in a row, in milliseconds since the epoch."""

    moments: tuple[int, ...]
    view: JobView


@dataclass(frozen=True, slots=True)
class Points:
    """The same lines of one metric at some moments in a row."""

    moments: tuple[int, ...]
    lines: str

    def stamped(self) -> str:
        """The lines once for each moment."""
        lines = self.lines.split("\n")[:-1]  # names may hold what splitlines takes for the end of a line
        return "".join([f" {stamp}\n".join(lines) + f" {stamp}\n" for stamp in map(_seconds, self.moments)])


class PastFamily:
    """Writes one family.

    Args:
        family: of jobs.
        labels: further labels that every line gets.
    """

    def __init__(self, family: Family[JobView], labels: Mapping[str, str]) -> None:
        self._family = family
        self._labels = tuple(map(escaped, labels.values()))
        declared = Declared(family.name, family.kind, family.help, (*family.labels, *labels))
        self.header = Encoder(declared, Format.OPENMETRICS).header.decode()
        self._encoder = Encoder(declared, Format.TEXT)

    def metrics(self, stretches: Iterable[Stretch]) -> Iterator[list[Points]]:
        """The points of each metric of one job; stretches follow one another."""
        metrics: dict[tuple[str, ...], list[Points]] = {}
        for stretch in stretches:
            job = stretch.view.job
            names = escaped(job.project), escaped(job.name)
            for values, value in self._family.samples(stretch.view):
                text = self._encoder.text((*names, *map(escaped, values), *self._labels), value, None)
                points = metrics.setdefault(values, [])
                if points and points[-1].lines == text:
                    points[-1] = replace(points[-1], moments=points[-1].moments + stretch.moments)
                else:
                    points.append(Points(stretch.moments, text))
        yield from metrics.values()

    def text(self, jobs: Iterable[Sequence[Stretch]]) -> Iterator[str]:
        """The family's lines, job by job; nothing if no job has any."""
        header = self.header
        for stretches in jobs:
            lines = "".join([points.stamped() for metric in self.metrics(stretches) for points in metric])
            if lines:
                yield header + lines
                header = ""


def past_families(families: Iterable[Family[JobView]], labels: Mapping[str, str]) -> list[PastFamily]:
    """Those families that tell of the past."""
    return [PastFamily(family, labels) for family in families if family.name not in OF_THE_PRESENT]


def _seconds(moment_ms: int) -> str:
    """Samples lie on whole seconds."""
    return str(moment_ms // 1000)


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
    labels = told.result and rules.policy.labels(told.result, told.trigger, told.branch)
    return {labels, *(stage.name for stage in past.stages or ())}


def _numbered(past: PastBuild, number: int) -> PastBuild:
    detail = replace(past.detail, number=number) if past.detail else None
    return replace(past, build=replace(past.build, number=number), detail=detail)
