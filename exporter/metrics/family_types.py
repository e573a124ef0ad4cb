"""Types of metric families, and functions to declare them; pure."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from operator import attrgetter
from typing import Final, Generic, TypeVar

from exporter.ledger.histogram import Exemplar, Histogram
from exporter.ledger.job_ledger import JobLedger
from exporter.metrics.views import JobView

JOB_LABELS: Final = ("project", "job_name")
"""Labels of every metric of a job."""


class Kind(StrEnum):
    """Prometheus metric type."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Total:
    """Number of finished builds, and the one of them that finished last."""

    builds: int
    latest: Exemplar | None = None


Value = float | Total | Histogram

Samples = Iterator[tuple[tuple[str, ...], Value]]
"""Label values, in the order of the family's labels, and a value."""

Subject = TypeVar("Subject")


@dataclass(frozen=True, slots=True)
class Declared:
    """Definition of a metric.

    Attributes:
        name: for counters with ``_total``.
        help: shown in the exposition and in docs/metrics.md.
        note: further explanation in Markdown; follows ``help`` in docs/metrics.md.
    """

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    note: str = field(default="", kw_only=True)


@dataclass(frozen=True, slots=True)
class Family(Declared, Generic[Subject]):
    """A metric whose samples are read from a subject.

    Attributes:
        samples: yields all samples of a subject.
        reads: returns the part of a subject that the samples depend on; they are rendered again when it is
            another object.
    """

    samples: Callable[[Subject], Samples] = lambda _: iter(())
    reads: Callable[[Subject], object] = lambda subject: subject


def seconds(value_ms: int | None) -> Samples:
    """Yield one sample in seconds, or none."""
    if value_ms is not None:
        yield (), value_ms / 1000


def single(value: Value | None) -> Samples:
    """Yield one sample, or none."""
    if value is not None:
        yield (), value


def of_ledger(
    kind: Kind,
    name: str,
    text: str,
    ledger_samples: Callable[[JobLedger], Samples],
    *labels: str,
    reads: Callable[[JobView], object] = attrgetter("ledger"),
    note: str = "",
) -> Family[JobView]:
    """Declare a family without samples before the first successful poll."""

    def samples(view: JobView) -> Samples:
        return ledger_samples(view.ledger) if view.ledger else iter(())

    return Family(name, kind, text, (*JOB_LABELS, *labels), samples, reads, note=note)


counter = partial(of_ledger, Kind.COUNTER)

gauge = partial(of_ledger, Kind.GAUGE)

histogram = partial(of_ledger, Kind.HISTOGRAM)
