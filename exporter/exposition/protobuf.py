"""Encode samples as delimited protocol buffers, with classic and native buckets in one message.

Sources: https://github.com/prometheus/client_model/blob/v0.6.2/io/prometheus/client/metrics.proto and
https://protobuf.dev/programming-guides/encoding/. A message ``MetricFamily`` is a header, made when the size
is known, and a sequence of fields ``metric``, so fragments are kept and joined as those of the text are.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import accumulate, groupby
from struct import Struct
from typing import Final

from prometheus_client import Metric
from prometheus_client.samples import Sample

from exporter.ledger.histogram import NATIVE_SCHEMA, Exemplar, Histogram, NativeBuckets
from exporter.metrics import Declared, Kind, Samples, Total, Value

_VARINT, _FIXED64, _BYTES = 0, 1, 2
"""Wire types."""

_TYPES: Final = {"counter": 0, "gauge": 1, "untyped": 3, "histogram": 4}

_ZERO_THRESHOLD: Final = 2.0**-128
"""client_golang's default. With 0, Prometheus 2.42 takes an empty histogram for a classic one."""

_double: Final = Struct("<d").pack


_SMALL: Final = tuple(bytes((value,)) for value in range(0x80))


def _varint(value: int) -> bytes:
    if value < 0x80:
        return _SMALL[value]
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _zigzag(value: int) -> bytes:
    return _varint(2 * value if value >= 0 else -2 * value - 1)


def _tag(number: int, wire_type: int) -> bytes:
    return _varint(number << 3 | wire_type)


def _of(tag: bytes, *parts: bytes) -> bytes:
    """Encode a field that holds a message or a string."""
    content = b"".join(parts)
    return tag + _varint(len(content)) + content


_METRIC: Final = _tag(4, _BYTES)
_LABEL: Final = _tag(1, _BYTES)
_NAME, _TEXT = _tag(1, _BYTES), _tag(2, _BYTES)
_GAUGE, _COUNTER, _UNTYPED, _HISTOGRAM = (_tag(number, _BYTES) for number in (2, 3, 5, 7))
_VALUE: Final = _tag(1, _FIXED64)
_OF_COUNTER, _OF_BUCKET, _OF_HISTOGRAM = (_tag(number, _BYTES) for number in (2, 3, 16))
"""Fields ``exemplar`` and ``exemplars``."""
_EXEMPLAR_VALUE, _EXEMPLAR_TIME = _tag(2, _FIXED64), _tag(3, _BYTES)
_COUNTER_CREATED, _HISTOGRAM_CREATED = _tag(3, _BYTES), _tag(15, _BYTES)
_SECONDS, _NANOS = _tag(1, _VARINT), _tag(2, _VARINT)
_COUNT, _SUM, _BUCKET = _tag(1, _VARINT), _tag(2, _FIXED64), _tag(3, _BYTES)
_CUMULATIVE, _UPPER_BOUND = _tag(1, _VARINT), _tag(2, _FIXED64)
_RESOLUTION: Final = _tag(5, _VARINT) + _zigzag(NATIVE_SCHEMA) + _tag(6, _FIXED64) + _double(_ZERO_THRESHOLD)
_ZERO_COUNT, _SPAN, _DELTAS = _tag(7, _VARINT), _tag(12, _BYTES), _tag(13, _BYTES)
_OFFSET, _LENGTH = _tag(1, _VARINT), _tag(2, _VARINT)
_TIME_SERIES, _SAMPLE, _SAMPLE_TIME = _tag(1, _BYTES), _tag(2, _BYTES), _tag(2, _VARINT)


class ProtobufEncoder:
    """Encodes the samples of one family; creation times and exemplars are always included."""

    def __init__(self, declared: Declared) -> None:
        self._declared = declared
        self._is_counter = declared.kind is Kind.COUNTER
        self._labels = sorted((label, place) for place, label in enumerate(declared.labels))

    def header(self, size: int) -> bytes:
        """Return the message's length and its fields before the metrics, which take ``size`` bytes."""
        return _header(self._declared.name, self._declared.help, self._declared.kind, size)

    def fragment(self, names: tuple[str, ...], samples: Samples, since_ms: int | None) -> bytes:
        """Encode all samples of a subject, whose own label values precede those of the samples."""
        metrics = []
        for labels, value in samples:
            values = (*names, *labels)
            pairs = [_label(label, values[place]) for label, place in self._labels]
            metrics.append(_of(_METRIC, *pairs, self._value(value, since_ms)))
        return b"".join(metrics)

    @staticmethod
    def series(fragment: bytes) -> int:
        """Count the series in a fragment: a histogram is one, as Prometheus stores native histograms."""
        count = at = 0
        while at < len(fragment):
            count += 1
            at += len(_METRIC)
            size = shift = 0
            while fragment[at] >= 0x80:
                size |= (fragment[at] & 0x7F) << shift
                shift += 7
                at += 1
            at += 1 + (size | fragment[at] << shift)
        return count

    def _value(self, value: Value, since_ms: int | None) -> bytes:
        if isinstance(value, Histogram):
            return _histogram(value, since_ms)
        if isinstance(value, Total):
            exemplar = _of(_OF_COUNTER, _exemplar(value.latest, 1)) if value.latest else b""
            return _counter(value.builds, exemplar, _time(_COUNTER_CREATED, since_ms))
        if self._is_counter:
            return _counter(value, created=_time(_COUNTER_CREATED, since_ms))
        return _of(_GAUGE, _VALUE, _double(value))


def collected(families: Iterable[Metric]) -> bytes:
    """Encode metrics of prometheus-client, without creation times; histograms have classic buckets only."""
    return b"".join([message for family in families for message in _messages(family)])


def time_series(labels: Mapping[str, str], value: float, times_ms: Iterable[int]) -> bytes:
    """Encode a field ``timeseries`` of remote write: labels that are not empty, and a value at some times."""
    encoded = _VALUE + _double(value) if value else b""
    samples = [_of(_SAMPLE, encoded, _SAMPLE_TIME, _varint(time_ms)) for time_ms in times_ms]
    return _of(_TIME_SERIES, _sorted(labels), *samples)


def _header(name: str, text: str, kind: str, size: int) -> bytes:
    fields = _of(_NAME, name.encode()) + _of(_TEXT, text.encode()) + _tag(3, _VARINT) + _varint(_TYPES[kind])
    return _varint(len(fields) + size) + fields


@lru_cache(maxsize=1024)
def _label(name: str, value: str) -> bytes:
    return _of(_LABEL, _of(_NAME, name.encode()), _of(_TEXT, value.encode()))


@lru_cache(maxsize=1024)
def _time(tag: bytes, at_ms: int | None) -> bytes:
    """Encode a field of type ``google.protobuf.Timestamp``; none is empty."""
    if at_ms is None:
        return b""
    seconds, rest_ms = divmod(at_ms, 1000)
    return _of(tag, _SECONDS, _varint(seconds & 2**64 - 1), _NANOS, _varint(rest_ms * 1_000_000))


def _counter(value: float, exemplar: bytes = b"", created: bytes = b"") -> bytes:
    return _of(_COUNTER, _VALUE, _double(value), exemplar, created)


def _exemplar(build: Exemplar, per_unit: int) -> bytes:
    """Encode the content of a message ``Exemplar``."""
    number = _of(_LABEL, _of(_NAME, b"build_number"), _of(_TEXT, str(build.number).encode()))
    value = _double(build.value_ms / per_unit)
    return b"".join((number, _EXEMPLAR_VALUE, value, _time(_EXEMPLAR_TIME, build.at_ms)))


def _histogram(histogram: Histogram, since_ms: int | None) -> bytes:
    in_buckets, exemplars = [b""] * len(histogram.counts), []
    for build in histogram.exemplars:
        exemplar = _exemplar(build, 1000)
        in_buckets[histogram.bucket_of(build.value_ms)] = _of(_OF_BUCKET, exemplar)
        exemplars.append(_of(_OF_HISTOGRAM, exemplar))
    return _of(
        _HISTOGRAM,
        *(_COUNT, _varint(histogram.count)),
        *(_SUM, _double(histogram.sum_ms / 1000)),
        *_classic(histogram, in_buckets),
        *_native(histogram.native),
        _time(_HISTOGRAM_CREATED, since_ms),
        *exemplars,
    )


def _classic(histogram: Histogram, exemplars: Sequence[bytes]) -> list[bytes]:
    """Encode the classic buckets; that of +Inf is the count, and only needed for its exemplar."""
    buckets = [
        _of(_BUCKET, _CUMULATIVE, _varint(count), bound, exemplar)
        for bound, count, exemplar in zip(
            _bounds(histogram.bounds), accumulate(histogram.counts), exemplars, strict=True
        )
    ]
    return buckets if exemplars[-1] else buckets[:-1]


@lru_cache(maxsize=64)
def _bounds(bounds_ms: tuple[int, ...]) -> tuple[bytes, ...]:
    """Return the fields ``upper_bound``, that of +Inf last."""
    bounds = (*(bound / 1000 for bound in bounds_ms), math.inf)
    return tuple(_UPPER_BOUND + _double(bound) for bound in bounds)


def _native(native: NativeBuckets) -> Iterator[bytes]:
    """Encode the native buckets: a span without length if there are none, as client_golang does."""
    yield _RESOLUTION
    yield _ZERO_COUNT + _varint(native.zeros)
    end = 0
    for start, length in _runs(native.indices) if native.indices else [(0, 0)]:
        yield _of(_SPAN, _OFFSET, _zigzag(start - end), _LENGTH, _varint(length))
        end = start + length
    if native.counts:
        before = (0, *native.counts)
        yield _of(_DELTAS, *(_zigzag(count - old) for old, count in zip(before, native.counts, strict=False)))


def _runs(indices: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yield start and length of each run of consecutive indices."""
    for _, run in groupby(enumerate(indices), lambda placed: placed[1] - placed[0]):
        run_indices = [index for _, index in run]
        yield run_indices[0], len(run_indices)


def _messages(family: Metric) -> Iterator[bytes]:
    """Yield a message for a histogram, and for any other metric one for each name of its samples."""
    if family.type == "histogram":
        yield _message(family.name, family, _classic_histograms(family.samples))
        return
    by_name: dict[str, list[bytes]] = {}
    for sample in family.samples:
        if family.type != "counter":
            value = _of(_GAUGE if family.type == "gauge" else _UNTYPED, _VALUE, _double(sample.value))
        elif sample.name.endswith("_created"):
            continue
        else:
            value = _counter(sample.value)
        by_name.setdefault(sample.name, []).append(_of(_METRIC, _sorted(sample.labels), value))
    for name, metrics in by_name.items():
        yield _message(name, family, metrics)


def _message(name: str, family: Metric, metrics: Iterable[bytes]) -> bytes:
    content = b"".join(metrics)
    kind = family.type if family.type in _TYPES else "untyped"
    return _header(name, family.documentation, kind, len(content)) + content if content else b""


def _sorted(labels: Mapping[str, str]) -> bytes:
    return b"".join([_label(name, value) for name, value in sorted(labels.items())])


def _classic_histograms(samples: Iterable[Sample]) -> Iterator[bytes]:
    by_labels: dict[bytes, dict[str, float]] = {}
    for sample in samples:
        bound = sample.labels.get("le")
        labels = _sorted({name: value for name, value in sample.labels.items() if name != "le"})
        part = sample.name.rpartition("_")[2] if bound is None else bound
        by_labels.setdefault(labels, {})[part] = sample.value
    for labels, parts in by_labels.items():
        count, total = parts.pop("count"), parts.pop("sum")
        parts.pop("created", None)
        buckets = [
            _of(_BUCKET, _CUMULATIVE, _varint(int(count)), _UPPER_BOUND, _double(float(bound)))
            for bound, count in parts.items()
        ]
        histogram = _of(_HISTOGRAM, _COUNT, _varint(int(count)), _SUM, _double(total), *buckets)
        yield _of(_METRIC, labels, histogram)
