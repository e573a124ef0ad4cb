"""The encoder writes the same bytes as prometheus-client, whose strict parsers accept them."""

import math
from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text
from prometheus_client.utils import floatToGoString

from exporter.exposition import Encoder, Format
from exporter.ledger.build_labels import BuildLabels
from exporter.metrics import FLEET_FAMILIES, Declared, FleetView, JobView, Kind, job_families
from exporter.model import Job, Result
from tests.exposition.views import CHECKOUT, EXAMPLES, EXTRA, NASTY, busy, full, job_views, views
from tests.ledger.examples import counted, idle
from tests.support.oracle import Oracle, rendered

TEXT, OPENMETRICS = LINES = Format.TEXT, Format.OPENMETRICS


@pytest.mark.parametrize("created", [False, True])
@pytest.mark.parametrize(("fmt", "extra"), list(product(LINES, EXTRA)), ids=str)
def test_a_full_view_gives_the_same_bytes(fmt: Format, extra: tuple[str, ...], created: bool) -> None:
    wanted = Oracle(full(), extra, fmt, created_series=created).generated()
    assert rendered(full(), fmt, extra, created_series=created) == wanted


@settings(max_examples=EXAMPLES)
@given(views(job_views()), st.sampled_from(LINES), st.sampled_from(EXTRA), st.booleans())
def test_any_view_gives_the_same_bytes(
    view: FleetView, fmt: Format, extra: tuple[str, ...], created: bool
) -> None:
    wanted = Oracle(view, extra, fmt, created_series=created).generated()
    assert rendered(view, fmt, extra, created_series=created) == wanted
    names = ("main", "x")
    assert rendered(view, fmt, extra, names) == Oracle(view, extra, fmt, names).generated()


@settings(max_examples=EXAMPLES)
@given(views(job_views()), st.sampled_from(EXTRA))
def test_strict_parsers_read_what_was_exposed(view: FleetView, extra: tuple[str, ...]) -> None:
    for fmt, parse in ((TEXT, parse_text), (OPENMETRICS, parse_openmetrics)):
        read = {s for family in parse(rendered(view, fmt, extra).decode()) for s in map(key, family.samples)}
        assert read == {s for f in Oracle(view, extra, fmt).collect() for s in map(key, f.samples)}


def key(sample: object) -> tuple[object, ...]:
    name, labels, value, _, exemplar = sample[:5]  # type: ignore[index]
    shown_exemplar = exemplar and (tuple(exemplar.labels.items()), exemplar.value, float(exemplar.timestamp))
    return name, tuple(sorted(labels.items())), float(value), shown_exemplar


@given(st.floats(allow_nan=True, allow_infinity=True) | st.integers(-(10**20), 10**20))
def test_any_number_is_written_as_prometheus_client_writes_it(value: float) -> None:
    encoder = Encoder(Declared("odd", Kind.GAUGE, "Odd."), TEXT)
    assert encoder.text((), value, None) == f"odd {floatToGoString(value)}\n"
    assert math.isnan(value) or float(floatToGoString(value)) == float(value)


@pytest.mark.parametrize("fmt", LINES)
def test_help_is_escaped_as_each_format_requires(fmt: Format) -> None:
    text = 'a "quoted" \\ thing\nin two lines'
    expected = {
        TEXT: b'# HELP x a "quoted" \\\\ thing\\nin two lines\n# TYPE x gauge\n',
        OPENMETRICS: b'# HELP x a \\"quoted\\" \\\\ thing\\nin two lines\n# TYPE x gauge\n',
    }
    assert Encoder(Declared("x", Kind.GAUGE, text), fmt).header() == expected[fmt]


@pytest.mark.parametrize("text", NASTY)
@pytest.mark.parametrize("fmt", LINES)
def test_any_text_survives_as_a_label(text: str, fmt: Format) -> None:
    job = Job(CHECKOUT.id, text, text, text)
    exposition = rendered(FleetView((JobView(job, counted(idle(), 2), up=True),)), fmt).decode()
    families = parse_text(exposition) if fmt is TEXT else parse_openmetrics(exposition)
    labels = {(s.labels["project"], s.labels["job_name"]) for family in families for s in family.samples}
    assert labels == {(text, text)}


@pytest.mark.parametrize("stages", [False, True])
@pytest.mark.parametrize("extra", EXTRA)
def test_a_full_view_has_every_family_under_its_name_type_and_labels(
    extra: tuple[str, ...], stages: bool
) -> None:
    text = rendered(full(), TEXT, extra, stages=stages).decode()
    families = {family.name: family for family in parse_text(text)}
    declarations: tuple[Declared, ...] = (*job_families(extra, stages=stages), *FLEET_FAMILIES)
    for declared in declarations:
        family = families.pop(declared.name.removesuffix("_total"))
        assert family.type == declared.kind
        assert {tuple(sorted(set(s.labels) - {"le"})) for s in family.samples} == {
            tuple(sorted(declared.labels))
        }
    assert families == {}


@pytest.mark.parametrize(("fmt", "extra"), list(product(LINES, EXTRA)), ids=str)
def test_no_series_is_repeated(fmt: Format, extra: tuple[str, ...]) -> None:
    text = rendered(FleetView(tuple(map(busy, range(100)))), fmt, extra).decode()
    series = [line.split("} ")[0] for line in text.splitlines() if not line.startswith("#")]
    assert len(series) == len(set(series))


def test_openmetrics_has_creation_times_only_if_configured() -> None:
    assert b"_created" not in rendered(full(), OPENMETRICS, stages=True)
    assert b"_created" not in rendered(full(), TEXT, created_series=True)
    with_times, without = (rendered(full(), OPENMETRICS, created_series=shown) for shown in (True, False))
    lines = with_times.splitlines()
    assert [line for line in lines if b"_created" not in line] == without.splitlines()


def test_openmetrics_has_creation_times_and_exemplars() -> None:
    lines = rendered(full(), OPENMETRICS, created_series=True).decode().splitlines()
    labels = 'job_name="checkout",project="shop",result="failure"'
    assert f"codearts_build_builds_created{{{labels}}} 1.7e+09" in lines
    assert (f'codearts_build_builds_total{{{labels}}} 1.0 # {{build_number="2"}} 1.0 1700000120.0') in lines
    assert (
        'codearts_build_duration_seconds_bucket{job_name="checkout",le="60.0",project="shop",'
        'result="success"} 1.0 # {build_number="3"} 60.0 1700000120.0'
    ) in lines


def test_held_labels_show_0_and_no_exemplar() -> None:
    view = full()
    before = rendered(view, OPENMETRICS)
    held = frozenset({BuildLabels(Result.FAILURE), BuildLabels(Result.ABORTED)})
    lines = rendered(FleetView((replace(view.jobs[0], held=held),)), OPENMETRICS).decode().splitlines()
    for result in ("failure", "aborted"):
        of_result = [line for line in lines if f'result="{result}"' in line and "last_build" not in line]
        values = [line.partition("} ")[2] for line in of_result if "_created{" not in line]
        assert set(values) == {"0.0"}
        assert sum(line.startswith("codearts_build_duration_seconds") for line in of_result) == 6
    assert before.count(b"\n") - len(lines) == rendered(replace(view, jobs=()), OPENMETRICS).count(b"\n") - 1
    assert (
        'codearts_build_last_build_result{job_name="checkout",project="shop",result="aborted"} 1.0' in lines
    )


def test_the_text_format_has_no_creation_times_and_no_exemplars() -> None:
    text = rendered(full(), TEXT)
    assert b"_created" not in text
    assert b'build_number="' not in text
