"""Ledgers over time → lines with timestamps, and an estimate of their size. Pure.

Source: https://github.com/prometheus/OpenMetrics/blob/v1.0.0/specification/OpenMetrics.md. Families do not
interleave, nor do the metrics of a family; the points of a metric ascend in time.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from exporter.backfill.past_build import PastBuild
from exporter.backfill.past_ledger import apply_finished, initial_ledger
from exporter.backfill.plan import PastJob, Period
from exporter.exposition import Encoder, Format
from exporter.exposition.encoder import escaped
from exporter.ledger.job_ledger import JobLedger
from exporter.ledger.record_merge import join
from exporter.metrics import Declared, Family, JobView
from exporter.model import Build
from exporter.poller import Rules

EOF: Final = "# EOF\n"

ONLY_LIVE: Final = frozenset(
    (
        "codearts_build_active_builds",
        "codearts_build_oldest_active_build_timestamp_seconds",
        "codearts_build_recovered_builds_total",
        "codearts_build_lost_builds_total",
    )
)
"""Families whose values would be wrong for the past. Others, such as `job_up`, are absent anyway."""


@dataclass(frozen=True, slots=True)
class Segment:
    """Consecutive sample times at which a job looks the same."""

    times_ms: tuple[int, ...]
    view: JobView


@dataclass(frozen=True, slots=True)
class Points:
    """Lines of one metric that are the same at consecutive sample times."""

    times_ms: list[int]
    lines: str

    def with_timestamps(self) -> str:
        """The lines once for each sample time, in whole seconds."""
        lines = self.lines.split("\n")[:-1]  # names may hold what splitlines takes for the end of a line
        stamps = [f" {time_ms // 1000}\n" for time_ms in self.times_ms]
        return "".join([stamp.join(lines) + stamp for stamp in stamps])


class PastFamily:
    """Writes one metric family, with additional labels on every series."""

    def __init__(self, family: Family[JobView], labels: Mapping[str, str]) -> None:
        self._family = family
        self._labels = tuple(map(escaped, labels.values()))
        declared = Declared(family.name, family.kind, family.help, (*family.labels, *labels))
        self._header = Encoder(declared, Format.OPENMETRICS).header().decode()
        self._encoder = Encoder(declared, Format.TEXT)

    def metrics(self, segments: Iterable[Segment]) -> Iterator[list[Points]]:
        """The points of each metric of one job; segments ascend in time."""
        metrics: dict[tuple[str, ...], list[Points]] = {}
        for segment in segments:
            job = segment.view.job
            names = escaped(job.project), escaped(job.name)
            for labels, value in self._family.samples(segment.view):
                text = self._encoder.text((*names, *map(escaped, labels), *self._labels), value, None)
                points = metrics.setdefault(labels, [])
                if points and points[-1].lines == text:
                    points[-1].times_ms.extend(segment.times_ms)
                else:
                    points.append(Points(list(segment.times_ms), text))
        yield from metrics.values()

    def lines(self, segments: Iterable[Segment]) -> str:
        """The lines of one job."""
        return "".join([points.with_timestamps() for metric in self.metrics(segments) for points in metric])

    def text(self, jobs: Iterable[Sequence[Segment]]) -> Iterator[str]:
        """The family's lines, job by job; empty if no job has any."""
        header = self._header
        for segments in jobs:
            if lines := self.lines(segments):
                yield header + lines
                header = ""


def past_families(families: Iterable[Family[JobView]], labels: Mapping[str, str]) -> list[PastFamily]:
    """Writers for the families of jobs that can be reconstructed."""
    past = (f for f in families if f.name not in ONLY_LIVE and "job_name" in f.labels)
    return [PastFamily(family, labels) for family in past]


@dataclass(frozen=True, slots=True)
class Size:
    """Size of the output; ``bytes`` as text."""

    series: int
    samples: int
    bytes: int


def estimate_size(
    jobs: Sequence[PastJob],
    families: Sequence[PastFamily],
    period: Period,
    rules: Rules,
    finished: Callable[[PastJob], Iterable[tuple[int, PastBuild]]],
) -> Size:
    """Estimate the size of the output, as if all series of a job existed from the start.

    ``finished`` returns finish times and builds of a job, in order.
    """
    series = samples = width = 0
    for job in jobs:
        ledger = _representative_ledger(job, period, rules, finished(job))
        segment = Segment((period.start_ms,), JobView(job.job, ledger))
        lines = "".join(family.lines([segment]) for family in families)
        times = len(period.sample_times(period.start_ms, period.end_ms + 1, job.end_ms))
        series += lines.count("\n")
        samples += lines.count("\n") * times
        width += len(lines.encode()) * times
    return Size(series, samples, width)


def _representative_ledger(
    job: PastJob, period: Period, rules: Rules, finished: Iterable[tuple[int, PastBuild]]
) -> JobLedger:
    """Return a ledger with only those builds of the job that add labels or stages."""
    before: PastBuild | None = None
    selected: list[PastBuild] = []
    known: set[object] = set()
    for finish_ms, past in finished:
        if finish_ms <= period.start_ms:
            before = past
        elif not known.issuperset(keys := _series_keys(past, rules)):
            known |= keys
            selected.append(past)
    first = [_renumbered(before, 1).merged] if before else []
    builds = [_renumbered(past, number) for number, past in enumerate(selected, start=2)]
    ledger = initial_ledger(first, [past.build.number for past in builds], (), period.start_ms, rules)
    return apply_finished(ledger, builds, max(job.end_ms, period.start_ms), rules).ledger


def _series_keys(past: PastBuild, rules: Rules) -> set[object]:
    build, detail = past.merged, past.detail
    if detail:
        build = join(build, Build(build.number, trigger=detail.trigger, branch=detail.branch))
    labels = build.result and rules.policy.labels(build.result, build.trigger, build.branch)
    return {labels, *(stage.name for stage in past.stages or ())}


def _renumbered(past: PastBuild, number: int) -> PastBuild:
    detail = replace(past.detail, number=number) if past.detail else None
    return replace(past, build=replace(past.build, number=number), detail=detail)
