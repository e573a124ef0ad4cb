"""Decodes protobuf expositions by the official definition, which is read from its .proto file."""

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, timestamp_pb2
from google.protobuf.proto import parse_length_prefixed, serialize_length_prefixed
from prometheus_client.utils import floatToGoString

PROTO: Final = Path(__file__).parents[1] / "fixtures" / "prometheus" / "metrics.proto"

_PACKAGE: Final = "io.prometheus.client"
_FIELD: Final = descriptor_pb2.FieldDescriptorProto
_TYPES: Final = {
    "string": _FIELD.TYPE_STRING,
    "double": _FIELD.TYPE_DOUBLE,
    "uint64": _FIELD.TYPE_UINT64,
    "int64": _FIELD.TYPE_INT64,
    "sint64": _FIELD.TYPE_SINT64,
    "sint32": _FIELD.TYPE_SINT32,
    "uint32": _FIELD.TYPE_UINT32,
}


def _definition() -> descriptor_pb2.FileDescriptorProto:
    text = re.sub(r"//.*", "", PROTO.read_text(encoding="utf-8"))
    file = descriptor_pb2.FileDescriptorProto(
        name="metrics.proto", package=_PACKAGE, dependency=["google/protobuf/timestamp.proto"]
    )
    for name, body in re.findall(r"enum (\w+) \{(.*?)\}", text, re.DOTALL):
        enum = file.enum_type.add(name=name)
        for value, number in re.findall(r"(\w+) *= *(\d+);", body):
            enum.value.add(name=value, number=int(number))
    enums = {enum.name for enum in file.enum_type}
    for name, body in re.findall(r"message (\w+) \{(.*?)\}", text, re.DOTALL):
        message = file.message_type.add(name=name)
        for label, kind, field_name, number in re.findall(r"(\w+) +([\w.]+) +(\w+) *= *(\d+);", body):
            field = message.field.add(name=field_name, number=int(number))
            field.label = {"optional": _FIELD.LABEL_OPTIONAL, "repeated": _FIELD.LABEL_REPEATED}[label]
            field.type = _TYPES.get(kind, _FIELD.TYPE_ENUM if kind in enums else _FIELD.TYPE_MESSAGE)
            if kind not in _TYPES:
                field.type_name = f".{kind}" if "." in kind else f".{_PACKAGE}.{kind}"
    return file


def _message_class() -> Any:
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(timestamp_pb2.DESCRIPTOR.serialized_pb)
    pool.Add(_definition())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.MetricFamily"))


MetricFamily: Final = _message_class()


def families(body: bytes) -> Iterator[Any]:
    """Decode delimited messages ``MetricFamily``."""
    stream = io.BytesIO(body)
    while (family := parse_length_prefixed(MetricFamily, stream)) is not None:
        yield family


def exposition(*shown: Any) -> bytes:
    """Encode messages ``MetricFamily``."""
    stream = io.BytesIO()
    for family in shown:
        serialize_length_prefixed(family, stream)
    return stream.getvalue()


Sample = tuple[Any, ...]
"""Name, sorted labels, value, and exemplar (labels, value, time in seconds) or None."""


def samples(body: bytes) -> Iterator[Sample]:
    """Yield the samples that OpenMetrics would have."""
    for family in families(body):
        for metric in family.metric:
            labels = {pair.name: pair.value for pair in metric.label}
            yield from _of_metric(family.name, labels, metric)


def _of_metric(name: str, labels: dict[str, str], metric: Any) -> Iterator[Sample]:
    def sample(suffix: str, value: float, exemplar: Any = None, **more: str) -> Sample:
        shown = exemplar and (
            tuple((pair.name, pair.value) for pair in exemplar.label),
            exemplar.value,
            seconds(exemplar.timestamp),
        )
        return f"{name}{suffix}", tuple(sorted((labels | more).items())), float(value), shown

    for kind in ("gauge", "untyped"):
        if metric.HasField(kind):
            yield sample("", getattr(metric, kind).value)
    if metric.HasField("counter"):
        counter = metric.counter
        yield sample("", counter.value, counter.exemplar if counter.HasField("exemplar") else None)
        if counter.HasField("created_timestamp"):
            created = f"{name.removesuffix('_total')}_created"
            yield created, *sample("", seconds(counter.created_timestamp))[1:]
    if metric.HasField("histogram"):
        histogram = metric.histogram
        buckets = {bucket.upper_bound: bucket for bucket in histogram.bucket}
        for bound, bucket in buckets.items():
            exemplar = bucket.exemplar if bucket.HasField("exemplar") else None
            yield sample("_bucket", bucket.cumulative_count, exemplar, le=floatToGoString(bound))
        if float("inf") not in buckets:
            yield sample("_bucket", histogram.sample_count, le="+Inf")
        yield sample("_count", histogram.sample_count)
        yield sample("_sum", histogram.sample_sum)
        if histogram.HasField("created_timestamp"):
            yield sample("_created", seconds(histogram.created_timestamp))


def seconds(timestamp: Any) -> float:
    """Return a timestamp of whole milliseconds in seconds."""
    assert timestamp.nanos % 1_000_000 == 0
    return float((timestamp.seconds * 1000 + timestamp.nanos // 1_000_000) / 1000)


def native_counts(histogram: Any) -> dict[int, int]:
    """Return the observations of each native bucket by its index."""
    counts: dict[int, int] = {}
    index = count = 0
    deltas = iter(histogram.positive_delta)
    for span in histogram.positive_span:
        index += span.offset
        for _ in range(span.length):
            count += next(deltas)
            counts[index] = count
            index += 1
    assert list(deltas) == []
    return counts
