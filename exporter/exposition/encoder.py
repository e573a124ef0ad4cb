"""Samples of one family → lines, the same bytes as prometheus-client writes, in a twentieth of the time.

Formats: https://prometheus.io/docs/instrumenting/exposition_formats/ and OpenMetrics 1.0,
https://github.com/prometheus/OpenMetrics/blob/v1.0.0/specification/OpenMetrics.md
"""

from collections.abc import Iterable
from functools import lru_cache
from itertools import accumulate
from typing import Final

from prometheus_client.utils import floatToGoString

from exporter.exposition.formats import Format
from exporter.ledger import Exemplar, Histogram
from exporter.metrics import Declared, Kind, Total, Value

_LARGE: Final = 1_000_000
"""From here on Go writes exponents."""

_ESCAPES: Final = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})


@lru_cache(maxsize=1024)
def escaped(value: str) -> str:
    """A label's value as it stands between quotes."""
    return value.translate(_ESCAPES)


class Encoder:
    """Writes the samples of one family.

    Args:
        declared: the family.
        form: OpenMetrics shows when each counter began and exemplars beside the samples.
    """

    def __init__(self, declared: Declared, form: Format) -> None:
        self._is_open = form is Format.OPENMETRICS
        self._is_gauge = declared.kind is Kind.GAUGE
        family = declared.name.removesuffix("_total") if declared.kind is Kind.COUNTER else declared.name
        title = family if self._is_open else declared.name
        self.header = (
            f"# HELP {title} {_help(declared.help, form)}\n# TYPE {title} {declared.kind}\n".encode()
        )
        self._name = declared.name
        self._family = family
        self._labels = _template(declared.labels)
        bucket = _template((*declared.labels, "le"))
        self._before_bound, _, self._after_bound = bucket.partition(f"{{{len(declared.labels)}}}")

    def text(self, labels: tuple[str, ...], value: Value, since_ms: int | None) -> str:
        """The lines of one sample or histogram.

        Args:
            labels: escaped values, in the order of the family's labels.
            value: what to show.
            since_ms: when a counter or a histogram began to count.
        """
        shown = self._labels.format(*labels)
        if isinstance(value, Histogram):
            text = self._histogram(labels, shown, value)
        elif isinstance(value, Total):
            exemplar = _exemplar(value.latest, 1) if value.latest and self._is_open else ""
            text = f"{self._name}{shown} {_number(value.builds)}{exemplar}\n"
        else:
            text = f"{self._name}{shown} {_number(value)}\n"
        if self._is_open and not self._is_gauge and since_ms is not None:
            text += f"{self._family}_created{shown} {_moment(since_ms)}\n"
        return text

    def _histogram(self, labels: tuple[str, ...], shown: str, histogram: Histogram) -> str:
        exemplars = [""] * len(histogram.counts)
        if self._is_open:
            for one in histogram.exemplars:
                exemplars[histogram.bucket_of(one.value_ms)] = _exemplar(one, 1000)
        before = f"{self._family}_bucket{self._before_bound.format(*labels)}"
        after = self._after_bound.format(*labels)
        total = histogram.count
        counts: Iterable[object] = accumulate(histogram.counts)
        fraction = ".0"
        if total >= _LARGE:
            counts, fraction = map(_number, accumulate(histogram.counts)), ""
        lines = [
            f"{before}{bound}{after} {count}{fraction}{exemplar}\n"
            for bound, count, exemplar in zip(_bounds(histogram.bounds), counts, exemplars, strict=True)
        ]
        sum_s = _number(histogram.sum_ms / 1000)
        lines.append(f"{self._family}_count{shown} {_number(total)}\n{self._family}_sum{shown} {sum_s}\n")
        return "".join(lines)


@lru_cache(maxsize=64)
def _bounds(bounds_ms: tuple[int, ...]) -> tuple[str, ...]:
    """Upper bounds as the label ``le`` shows them."""
    return (*(floatToGoString(bound / 1000) for bound in bounds_ms), "+Inf")


def _exemplar(build: Exemplar, per_unit: int) -> str:
    value = _number(build.value_ms / per_unit)
    return f' # {{build_number="{build.number}"}} {value} {build.at_ms / 1000}'


@lru_cache(maxsize=1024)
def _moment(at_ms: int) -> str:
    """A time in seconds; all counters of a job began at the same."""
    return _number(at_ms / 1000)


def _template(labels: Iterable[str]) -> str:
    """Labels with places for their values: sorted, as they are shown; numbered, as they are given."""
    places = {label: place for place, label in enumerate(labels)}
    shown = ",".join(f'{label}="{{{places[label]}}}"' for label in sorted(places))
    return f"{{{{{shown}}}}}" if shown else ""


def _help(text: str, form: Format) -> str:
    text = text.replace("\\", r"\\").replace("\n", r"\n")
    return text.replace('"', r"\"") if form is Format.OPENMETRICS else text


def _number(value: float) -> str:
    """A value as Go writes it; up to a million, Python writes it the same way."""
    return repr(float(value)) if -_LARGE < value < _LARGE else str(floatToGoString(value))
