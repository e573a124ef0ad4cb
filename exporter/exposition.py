"""Snapshot → prometheus-client's families, by the catalogue; pure."""

from collections.abc import Iterable, Iterator
from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.utils import floatToGoString

from exporter.catalogue import FLEET_FAMILIES, JOB_FAMILIES, Declared, Kind, Snapshot, Value
from exporter.ledger import Histogram


def families(snapshot: Snapshot) -> Iterator[Metric]:
    """Every family of jobs and of the fleet, with all its samples; a family without any is left out."""
    for job_family in JOB_FAMILIES:
        yield from _family(
            job_family,
            (
                ((view.job.project, view.job.name, *labels), value)
                for view in snapshot.jobs
                for labels, value in job_family.samples(view)
            ),
        )
    for fleet_family in FLEET_FAMILIES:
        yield from _family(fleet_family, fleet_family.samples(snapshot))


def series(metrics: Iterable[Metric]) -> int:
    """How many series the families hold."""
    return sum(len(metric.samples) for metric in metrics)


def _family(declared: Declared, samples: Iterable[tuple[tuple[str, ...], Value]]) -> Iterator[Metric]:
    kinds = {
        Kind.COUNTER: CounterMetricFamily,
        Kind.GAUGE: GaugeMetricFamily,
        Kind.HISTOGRAM: HistogramMetricFamily,
    }
    metric = kinds[declared.kind](declared.name, declared.help, labels=declared.labels)
    for labels, value in samples:
        if isinstance(value, Histogram):
            metric.add_metric(labels, buckets=_buckets(value), sum_value=value.sum_ms / 1000)
        else:
            metric.add_metric(labels, float(value))
    if metric.samples:
        yield metric


def _buckets(histogram: Histogram) -> list[tuple[str, float]]:
    bounds = (*(bound / 1000 for bound in histogram.bounds), float("inf"))
    return [
        (floatToGoString(bound), count)
        for bound, count in zip(bounds, accumulate(histogram.counts), strict=True)
    ]
