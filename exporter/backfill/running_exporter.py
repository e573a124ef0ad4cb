"""The jobs that a running exporter counts, read from its exposition as protobuf. Pure."""

import math
from collections.abc import Iterable, Iterator, Mapping
from struct import unpack
from typing import Final, NamedTuple

from exporter.errors import BackfillError
from exporter.model import Job

_COUNTER: Final = "codearts_build_builds_total"
_BASELINE: Final = "codearts_build_baseline_build_number"
_INFO: Final = "codearts_build_job_info"

_MAX_FIELD_BYTES: Final = 1 << 20
_LATEST_S: Final = 1 << 40


class CountedJob(NamedTuple):
    """A job that a running exporter counts, under the names it exposes.

    Counting began at ``since_ms`` by the exporter's clock; ``baseline`` is the highest number that had
    finished then, if any.
    """

    job: Job
    since_ms: int
    baseline: int | None


def running_exporter(chunks: Iterable[bytes]) -> dict[str, CountedJob]:
    """Parse the exposition of a running exporter into the jobs it counts, by id.

    Raises:
        BackfillError: it is not an exposition of this exporter.
    """
    since: dict[tuple[str, str], int] = {}
    baselines: dict[tuple[str, str], int] = {}
    jobs: list[Job] = []
    try:
        for family, metric in _metrics(_Fields(chunks)):
            labels, gauge, created_ms = _read(metric)
            names = labels.get("project", ""), labels.get("job_name", "")
            if family == _INFO:
                job_id, project_id = labels.get("job_id", ""), labels.get("project_id", "")
                jobs.append(Job(job_id, names[1], names[0], project_id))
            elif family == _BASELINE:
                baselines[names] = round(gauge)
            elif created_ms is not None:
                since[names] = created_ms
    except (ValueError, OverflowError) as error:
        raise BackfillError(f"the exporter's metrics cannot be read: {error}") from None
    if not jobs:
        raise BackfillError(f"the exporter's metrics have no {_INFO}; does it watch any job?")
    named = ((job, (job.project, job.name)) for job in jobs)
    return {
        job.id: CountedJob(job, since[names], baselines.get(names)) for job, names in named if names in since
    }


def earliest(exporters: Iterable[Mapping[str, CountedJob]]) -> dict[str, CountedJob]:
    """Merge the jobs of several exporters; the one that has counted a job the longest wins."""
    merged: dict[str, CountedJob] = {}
    for counted_jobs in exporters:
        for job_id, counted in counted_jobs.items():
            if job_id not in merged or counted.since_ms < merged[job_id].since_ms:
                merged[job_id] = counted
    return merged


class _Fields:
    """Reads the fields of protobuf messages from bytes that arrive in chunks; the rest stays where it is."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._chunk = b""
        self._at = 0
        self.position = 0

    @property
    def is_at_end(self) -> bool:
        """Everything has been read."""
        while self._at == len(self._chunk):
            chunk = next(self._chunks, None)
            if chunk is None:
                return True
            self._chunk, self._at = chunk, 0
        return False

    def take(self, size: int) -> bytes:
        """Read so many bytes."""
        if size > _MAX_FIELD_BYTES:
            raise ValueError(f"a field of more than {_MAX_FIELD_BYTES:,} bytes")
        return b"".join(self._parts(size))

    def skip(self, size: int) -> None:
        """Leave out so many bytes."""
        for _ in self._parts(size):
            pass

    def varint(self) -> int:
        """Read an integer."""
        value = 0
        for shift in range(0, 70, 7):
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
        raise ValueError("a number of more than ten bytes")

    def field(self) -> tuple[int, int | float | bytes]:
        """Read a field: its number and its value."""
        key = self.varint()
        wire_type = key & 7
        if wire_type == 0:
            return key >> 3, self.varint()
        if wire_type == 1:
            value: float = unpack("<d", self.take(8))[0]
            return key >> 3, value
        if wire_type == 2:
            return key >> 3, self.take(self.varint())
        raise ValueError(f"wire type {wire_type}")

    def _parts(self, size: int) -> Iterator[bytes]:
        self.position += size
        while size:
            if self.is_at_end:
                raise ValueError("it is incomplete")
            part = self._chunk[self._at : self._at + size]
            self._at += len(part)
            size -= len(part)
            yield part


def _metrics(fields: _Fields) -> Iterator[tuple[str, bytes]]:
    """Yield the metrics of the families that matter, with the name of the family, which comes first."""
    while not fields.is_at_end:
        size = fields.varint()
        end = fields.position + size
        name = ""
        while fields.position < end:
            number, value = fields.field()
            if number == 1 and isinstance(value, bytes):
                name = value.decode()
                if name not in (_COUNTER, _BASELINE, _INFO):
                    fields.skip(max(0, end - fields.position))
            elif number == 4 and isinstance(value, bytes):
                yield name, value
        if fields.position != end:
            raise ValueError("a field is longer than its message")


def _message(value: int | float | bytes) -> Iterator[tuple[int, int | float | bytes]]:
    if not isinstance(value, bytes):
        raise ValueError(f"{value} is not a message")
    fields = _Fields((value,))
    while not fields.is_at_end:
        yield fields.field()


def _read(metric: bytes) -> tuple[dict[str, str], float, int | None]:
    """Return the labels of a metric, the value of a gauge, and the creation time of a counter."""
    labels: dict[str, str] = {}
    gauge, created_ms = 0.0, None
    for number, value in _message(metric):
        if number == 1:
            pair = {part: text.decode() for part, text in _message(value) if isinstance(text, bytes)}
            labels[pair.get(1, "")] = pair.get(2, "")
        elif number == 2:
            gauge = next((float(v) for part, v in _message(value) if part == 1), 0.0)
            if not math.isfinite(gauge):
                raise ValueError(f"{gauge} is not a number")
        elif number == 3:
            created_ms = next((_milliseconds(time) for part, time in _message(value) if part == 3), None)
    return labels, gauge, created_ms


def _milliseconds(timestamp: int | float | bytes) -> int:
    parts = dict(_message(timestamp))
    seconds, nanos = parts.get(1, 0), parts.get(2, 0)
    if not (isinstance(seconds, int) and isinstance(nanos, int) and seconds < _LATEST_S):
        raise ValueError("a creation time is not a time")
    return seconds * 1000 + nanos // 1_000_000
