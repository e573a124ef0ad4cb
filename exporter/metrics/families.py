"""What a metric is, and what its samples are read from."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Generic, TypeVar

from exporter.ledger import BuildLabels, Exemplar, Histogram, JobLedger
from exporter.model import Job, RecycleBin

JOB_LABELS: Final = ("project", "job_name")
"""What every metric of a job has."""


class Kind(StrEnum):
    """Prometheus's type of a metric."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class JobView:
    """What is published of one watched job.

    Attributes:
        ledger: as committed; None before the first successful poll.
        up: whether the last poll succeeded; None before the first one ended.
        deleted: whether it lies in the recycle bin; None while that is not known.
        checked_ms: when it was last known to be up to date, by a poll or by a job list.
        held: the labels of finished builds, as they are shown, whose builds are not shown yet.
    """

    job: Job
    ledger: JobLedger | None = None
    up: bool | None = None
    deleted: bool | None = None
    checked_ms: int | None = None
    held: frozenset[BuildLabels] = frozenset()


@dataclass(frozen=True, slots=True)
class FleetView:
    """All that is published, at one moment.

    Attributes:
        jobs: the watched jobs.
        recycle_bin: as last read; None before.
        projects: names of CodeArts projects by id, as far as they are known.
        is_complete: every job has been polled, restored from the store, or refused by the API, and the jobs
            of watched projects are known as far as the API tells of them.
    """

    jobs: tuple[JobView, ...] = ()
    recycle_bin: RecycleBin | None = None
    projects: Mapping[str, str] = field(default_factory=dict)
    is_complete: bool = False


@dataclass(frozen=True, slots=True)
class Total:
    """Finished builds, and the one of them that finished last."""

    builds: int
    latest: Exemplar | None = None


Value = float | Total | Histogram

Samples = Iterator[tuple[tuple[str, ...], Value]]
"""Label values, in the order of the family's labels, and a value."""

Subject = TypeVar("Subject")


@dataclass(frozen=True, slots=True)
class Declared:
    """A metric as Prometheus is told of it.

    Attributes:
        name: a counter's with ``_total``.
        help: what it means; shown in the exposition and in docs/metrics.md.
        note: what a reader may want to know besides, in Markdown; follows ``help`` in docs/metrics.md.
    """

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    note: str = field(default="", kw_only=True)


@dataclass(frozen=True, slots=True)
class Family(Declared, Generic[Subject]):
    """A metric and how its samples are read off a subject.

    Attributes:
        samples: all of them, from a subject.
        reads: the part of a subject that they are made from; as long as it is the same, so are they.
    """

    samples: Callable[[Subject], Samples] = lambda _: iter(())
    reads: Callable[[Subject], object] = lambda subject: subject


def seconds(value_ms: int | None) -> Samples:
    """One sample in seconds, or none."""
    if value_ms is not None:
        yield (), value_ms / 1000


def known(value: float | None) -> Samples:
    """One sample, or none."""
    if value is not None:
        yield (), value
