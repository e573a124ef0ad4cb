"""The same metrics with prometheus-client; the exporter's output must be byte-equal."""

import re
from collections.abc import Collection, Iterable, Iterator
from itertools import accumulate
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    Exemplar,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from exporter.exposition import Format, Renderer
from exporter.ledger.histogram import Exemplar as Build
from exporter.ledger.histogram import Histogram
from exporter.metrics import FLEET_FAMILIES, Declared, FleetView, Kind, Total, Value, job_families

Sample = tuple[tuple[str, ...], Value, int | None]
"""Label values, value, and creation time in milliseconds."""

KINDS: Final = {
    Kind.COUNTER: CounterMetricFamily,
    Kind.GAUGE: GaugeMetricFamily,
    Kind.HISTOGRAM: HistogramMetricFamily,
}


class Oracle(Collector):
    """A collector of one view."""

    def __init__(
        self,
        view: FleetView,
        extra: tuple[str, ...] = (),
        fmt: Format = Format.TEXT,
        branches: tuple[str, ...] = (),
        *,
        stages: bool = False,
        created_series: bool = False,
        lean: bool = False,
    ) -> None:
        self._view = view
        self._shows_creation = created_series and fmt is Format.OPENMETRICS
        self._families = job_families(extra, branches, stages=stages, lean=lean)
        self._fmt = fmt

    def collect(self, names: Collection[str] = ()) -> Iterator[Metric]:
        """Yield every family with samples, or only those with samples of some names."""
        families = {*names, *(re.sub("_(sum|count|bucket)$", "", name) for name in names)}

        def wanted(family: Declared) -> bool:
            return not names or family.name in families

        for job_family in filter(wanted, self._families):
            is_of_jobs = "job_name" in job_family.labels
            samples = (
                (
                    (view.job.project, *((view.job.name,) if is_of_jobs else ()), *labels),
                    value,
                    view.ledger.since_ms if view.ledger else None,
                )
                for view in (self._view.jobs if is_of_jobs else self._view.totals)
                for labels, value in job_family.samples(view)
            )
            yield from self._family(job_family, samples)
        for family in filter(wanted, FLEET_FAMILIES):
            yield from self._family(
                family, ((labels, value, None) for labels, value in family.samples(self._view))
            )

    def generated(self) -> bytes:
        """Return the exposition by prometheus-client."""
        registry = CollectorRegistry()
        registry.register(self)
        text = (
            openmetrics.generate_latest(registry)
            if self._fmt is Format.OPENMETRICS
            else generate_latest(registry)
        )
        return bytes(text)

    def _family(self, declared: Declared, samples: Iterable[Sample]) -> Iterator[Metric]:
        metric = KINDS[declared.kind](declared.name, declared.help, labels=declared.labels)
        for labels, value, since_ms in samples:
            if isinstance(value, Histogram):
                metric.add_metric(labels, buckets=list(self._buckets(value)), sum_value=value.sum_ms / 1000)
            elif isinstance(value, Total):
                metric.add_metric(labels, value.builds, exemplar=self._exemplar(value.latest, 1))
            else:
                metric.add_metric(labels, float(value))
            if self._shows_creation and since_ms is not None and declared.kind is not Kind.GAUGE:
                named = dict(zip(declared.labels, labels, strict=True))
                metric.add_sample(f"{metric.name}_created", named, since_ms / 1000)
        if metric.samples:
            yield metric

    def _buckets(self, histogram: Histogram) -> Iterator[tuple[str, float, Exemplar | None]]:
        bounds = (*(bound / 1000 for bound in histogram.bounds), float("inf"))
        lower = -1
        for bound, count in zip(bounds, accumulate(histogram.counts), strict=True):
            inside = [
                exemplar for exemplar in histogram.exemplars if lower < exemplar.value_ms <= bound * 1000
            ]
            yield floatToGoString(bound), count, self._exemplar(inside[0] if inside else None, 1000)
            lower = round(bound * 1000) if bound != float("inf") else lower

    def _exemplar(self, build: Build | None, per_unit: int) -> Exemplar | None:
        if build is None or self._fmt is Format.TEXT:
            return None
        return Exemplar({"build_number": str(build.number)}, build.value_ms / per_unit, build.at_ms / 1000)


def rendered(
    view: FleetView,
    fmt: Format = Format.TEXT,
    extra: tuple[str, ...] = (),
    branches: tuple[str, ...] = (),
    *,
    stages: bool = False,
    created_series: bool = False,
    lean: bool = False,
) -> bytes:
    """Return the exposition by the exporter, without its own metrics."""
    end = b"# EOF\n" if fmt is Format.OPENMETRICS else b""
    renderer = Renderer(
        job_families(extra, branches, stages=stages, lean=lean), fmt, created_series=created_series
    )
    return b"".join(renderer.render(view, compress=False).identity(end))
