"""Protobuf, decoded by the official definition, says what the text says, and has the native buckets."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Summary, generate_latest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from exporter.exposition import Format, Renderer
from exporter.exposition.protobuf import collected
from exporter.ledger.histogram import NATIVE_SCHEMA, NativeBuckets
from exporter.ledger.histogram import Histogram as Observed
from exporter.metrics import FLEET_FAMILIES, Declared, FleetView, JobView, Kind, job_families
from exporter.metrics.exporter_metrics import Telemetry
from tests.exposition.test_oracle import key
from tests.exposition.views import CHECKOUT, EXAMPLES, EXTRA, full, job_views, views
from tests.ledger.examples import idle
from tests.support.client_model import families, native_counts, samples
from tests.support.oracle import Oracle, rendered

PROTOBUF = Format.PROTOBUF


def of_text(view: FleetView, extra: tuple[str, ...] = (), *, stages: bool = False) -> set[object]:
    text = Oracle(view, extra, Format.OPENMETRICS, stages=stages, created_series=True).generated().decode()
    return {key(sample) for family in parse_openmetrics(text) for sample in family.samples}


@pytest.mark.parametrize("extra", EXTRA, ids=str)
def test_a_full_view_says_the_same_as_the_text(extra: tuple[str, ...]) -> None:
    read = list(samples(rendered(full(), PROTOBUF, extra, stages=True)))
    assert set(read) == of_text(full(), extra, stages=True)
    assert len(read) == len(set(read))


@settings(max_examples=EXAMPLES)
@given(views(job_views()), st.sampled_from(EXTRA))
def test_any_view_says_the_same_as_the_text(view: FleetView, extra: tuple[str, ...]) -> None:
    read = list(samples(rendered(view, PROTOBUF, extra)))
    assert set(read) == of_text(view, extra)
    assert len(read) == len(set(read))


def test_families_have_the_names_types_and_help_of_their_metrics() -> None:
    shown = {family.name: family for family in families(rendered(full(), PROTOBUF, stages=True))}
    declarations: tuple[Declared, ...] = (*job_families(stages=True), *FLEET_FAMILIES)
    declared = {family.name: family for family in declarations}
    assert shown.keys() == declared.keys()
    types = {Kind.COUNTER: 0, Kind.GAUGE: 1, Kind.HISTOGRAM: 4}
    for name, family in shown.items():
        assert (family.type, family.help) == (types[declared[name].kind], declared[name].help)


def histograms(view: FleetView) -> dict[tuple[str, ...], Observed]:
    return {
        (family.name, job.job.project, job.job.name, *labels): value
        for family in job_families(stages=True)
        for job in view.jobs
        for labels, value in family.samples(job)
        if isinstance(value, Observed)
    }


def shown_histograms(view: FleetView) -> dict[tuple[str, ...], Any]:
    places = {family.name: family.labels for family in job_families(stages=True)}
    return {
        (family.name, *(labels[name] for name in places[family.name])): metric.histogram
        for family in families(rendered(view, PROTOBUF, stages=True))
        for metric in family.metric
        for labels in [{pair.name: pair.value for pair in metric.label}]
        if metric.HasField("histogram")
    }


@settings(max_examples=EXAMPLES)
@given(views(job_views()))
def test_native_buckets_are_those_of_the_ledger(view: FleetView) -> None:
    shown, known = shown_histograms(view), histograms(view)
    assert shown.keys() == known.keys()
    for labels, histogram in known.items():
        assert_same_native(shown[labels], histogram)


def assert_same_native(shown: Any, known: Observed) -> None:
    native = known.native
    assert native_counts(shown) == dict(zip(native.indices, native.counts, strict=True))
    assert (shown.zero_count, shown.schema) == (native.zeros, NATIVE_SCHEMA)
    assert 0 < shown.zero_threshold < 1e-30
    assert shown.zero_count + sum(native_counts(shown).values()) == shown.sample_count
    in_buckets = [bucket.exemplar for bucket in shown.bucket if bucket.HasField("exemplar")]
    assert list(shown.exemplars) == in_buckets


def test_a_histogram_without_observations_has_a_span_without_length() -> None:
    view = FleetView((JobView(CHECKOUT, idle(), up=True),))
    empty = shown_histograms(view)
    assert len(empty) >= 4
    for histogram in empty.values():
        assert [(span.offset, span.length) for span in histogram.positive_span] == [(0, 0)]


@given(st.dictionaries(st.integers(-80, 200), st.integers(1, 10**12), max_size=30), st.integers(0, 10**9))
def test_any_native_buckets_are_kept(counts: dict[int, int], zeros: int) -> None:
    indices = tuple(sorted(counts))
    native = NativeBuckets(zeros, indices, tuple(counts[index] for index in indices))
    histogram = replace(Observed.empty((1000,)), counts=(0, native.count), native=native)
    ledger = replace(idle(), recovery=histogram)
    shown = shown_histograms(FleetView((JobView(CHECKOUT, ledger, up=True),)))
    name = "codearts_build_recovery_duration_seconds"
    assert_same_native(shown[name, CHECKOUT.project, CHECKOUT.name], histogram)


@pytest.mark.parametrize("extra", EXTRA, ids=str)
def test_a_series_is_counted_for_each_metric(extra: tuple[str, ...]) -> None:
    snapshot = Renderer(job_families(extra, stages=True), PROTOBUF).render(full(), compress=True)
    shown = list(families(b"".join(snapshot.identity(b""))))
    assert snapshot.series == sum(len(family.metric) for family in shown) > 20


def test_own_metrics_say_the_same_as_the_text() -> None:
    registry = CollectorRegistry()
    telemetry = Telemetry(registry)
    telemetry.request_duration.labels("records").observe(0.3)
    telemetry.requests.labels("records", "200").inc()
    kept = list(registry.collect())
    wanted = {key(sample) for family in kept for sample in family.samples}
    assert set(map(no_nan, samples(collected(kept)))) == set(map(no_nan, wanted))
    assert len(wanted) > 60


def no_nan(sample: tuple[object, ...]) -> tuple[object, ...]:
    """Make a sample comparable."""
    return tuple("NaN" if part != part else part for part in sample)


def test_any_metric_of_prometheus_client_is_encoded() -> None:
    registry = CollectorRegistry()
    Gauge("gauge", "Odd: 构建\n\\.", ["b", "a"], registry=registry).labels("x", "一\n").set(-0.5)
    counter = Counter("counter", "With creation times.", ["a"], registry=registry)
    for value in "xy":
        counter.labels(value).inc(2)
    Histogram("histogram", "In two buckets.", ["a"], registry=registry, buckets=(1, 2.5)).labels("x").observe(
        2
    )
    Histogram("unused", "Without samples.", ["a"], registry=registry)
    Summary("summary", "Not typed.", registry=registry).observe(3)
    text = generate_latest(registry).decode()
    wanted = {key(sample) for family in parse_text(text) for sample in family.samples}
    assert set(samples(collected(registry.collect()))) == {
        sample for sample in wanted if not str(sample[0]).endswith("_created") or "summary" in str(sample[0])
    }
    shown = {family.name: family for family in families(collected(registry.collect()))}
    assert {name: family.type for name, family in shown.items() if "created" not in name} == {
        "gauge": 1,
        "counter_total": 0,
        "histogram": 4,
        "summary_count": 3,
        "summary_sum": 3,
    }
    assert shown["gauge"].help == "Odd: 构建\n\\."
