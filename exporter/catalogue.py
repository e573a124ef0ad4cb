"""The metrics, once, declaratively: name, type, help, labels, and where the values come from.

Families of jobs and of the fleet read a `Snapshot`; `exposition` turns them into bytes. The exporter's own
metrics are counted as things happen: their entries are only declared here and become instruments in
`telemetry`. Names, labels and meanings are a contract with dashboards and alerts.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Generic, TypeVar

from exporter.ledger import Histogram, JobLedger
from exporter.model import Job, RecycleBin, Result, State


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
    """

    job: Job
    ledger: JobLedger | None = None
    up: bool | None = None
    deleted: bool | None = None
    checked_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that is published, at one moment.

    Attributes:
        jobs: the watched jobs.
        recycle_bin: as last read; None before.
        projects: names of CodeArts projects by id, as far as they are known.
    """

    jobs: tuple[JobView, ...] = ()
    recycle_bin: RecycleBin | None = None
    projects: Mapping[str, str] = field(default_factory=dict)


Value = float | Histogram
Samples = Iterator[tuple[tuple[str, ...], Value]]
"""Label values, in the order of the family's labels, and a value."""

Subject = TypeVar("Subject")


@dataclass(frozen=True, slots=True)
class Declared:
    """A metric's name (a counter's with ``_total``), type, help and labels."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Family(Declared, Generic[Subject]):
    """A metric and how its samples are read off a subject."""

    samples: Callable[[Subject], Samples] = lambda _: iter(())


def _seconds(value_ms: int | None) -> Samples:
    if value_ms is not None:
        yield (), value_ms / 1000


def _known(value: float | None) -> Samples:
    if value is not None:
        yield (), value


def _of_ledger(samples: Callable[[JobLedger], Samples]) -> Callable[[JobView], Samples]:
    def read(view: JobView) -> Samples:
        return samples(view.ledger) if view.ledger else iter(())

    return read


def _builds(ledger: JobLedger) -> Samples:
    for result in Result:
        yield (result,), ledger.counts.get(result, 0)


def _durations(ledger: JobLedger) -> Samples:
    for result in Result:
        if result in ledger.durations:
            yield (result,), ledger.durations[result]


def _one(histogram: Histogram) -> Samples:
    yield (), histogram


def _active(ledger: JobLedger) -> Samples:
    for state in State:
        yield (state,), ledger.active(state)


def _last_result(ledger: JobLedger) -> Samples:
    if ledger.last:
        for result in Result:
            yield (result,), ledger.last.result is result


def _job_info(view: JobView) -> Samples:
    yield (view.job.id, view.job.project_id), 1


def _bin_size(snapshot: Snapshot) -> Samples:
    if snapshot.recycle_bin:
        yield (), len(snapshot.recycle_bin.jobs)


def _bin_projects(snapshot: Snapshot) -> Samples:
    if snapshot.recycle_bin:
        names = (
            snapshot.projects.get(job.project_id, job.project_id)
            for job in snapshot.recycle_bin.jobs.values()
        )
        for name, jobs in sorted(Counter(names).items()):
            yield (name,), jobs


def _bin_retention(snapshot: Snapshot) -> Samples:
    return _seconds(snapshot.recycle_bin.retention_ms if snapshot.recycle_bin else None)


def _bin_oldest(snapshot: Snapshot) -> Samples:
    jobs = snapshot.recycle_bin.jobs.values() if snapshot.recycle_bin else ()
    return _seconds(min((job.deleted_ms for job in jobs if job.deleted_ms is not None), default=None))


JOB_LABELS: Final = ("project", "job_name")

JOB_FAMILIES: Final[tuple[Family[JobView], ...]] = (
    Family(
        "codearts_build_builds_total",
        Kind.COUNTER,
        "Finished builds, each counted once, since the job was first watched.",
        (*JOB_LABELS, "result"),
        _of_ledger(_builds),
    ),
    Family(
        "codearts_build_duration_seconds",
        Kind.HISTOGRAM,
        "How long finished builds took from start to finish, without the queue.",
        (*JOB_LABELS, "result"),
        _of_ledger(_durations),
    ),
    Family(
        "codearts_build_queue_duration_seconds",
        Kind.HISTOGRAM,
        "How long finished builds waited in the queue before they started.",
        JOB_LABELS,
        _of_ledger(lambda ledger: _one(ledger.queue)),
    ),
    Family(
        "codearts_build_recovery_duration_seconds",
        Kind.HISTOGRAM,
        "From the finish of the first failure of a streak to the finish of the success that ended it.",
        JOB_LABELS,
        _of_ledger(lambda ledger: _one(ledger.recovery)),
    ),
    Family(
        "codearts_build_active_builds",
        Kind.GAUGE,
        "Builds queued or running at the last poll.",
        (*JOB_LABELS, "state"),
        _of_ledger(_active),
    ),
    Family(
        "codearts_build_oldest_active_build_timestamp_seconds",
        Kind.GAUGE,
        "Start, or first sight, of the oldest unfinished build; absent when there is none.",
        JOB_LABELS,
        _of_ledger(lambda ledger: _seconds(ledger.oldest_active_ms)),
    ),
    Family(
        "codearts_build_last_build_result",
        Kind.GAUGE,
        "1 for the result of the finished build with the highest number, 0 for the other results.",
        (*JOB_LABELS, "result"),
        _of_ledger(_last_result),
    ),
    Family(
        "codearts_build_last_build_number",
        Kind.GAUGE,
        "The highest number of a finished build.",
        JOB_LABELS,
        _of_ledger(lambda ledger: _known(ledger.last.number if ledger.last else None)),
    ),
    Family(
        "codearts_build_last_build_duration_seconds",
        Kind.GAUGE,
        "How long the last finished build took from start to finish.",
        JOB_LABELS,
        _of_ledger(lambda ledger: _seconds(ledger.last.duration_ms if ledger.last else None)),
    ),
    Family(
        "codearts_build_last_build_queue_duration_seconds",
        Kind.GAUGE,
        "How long the last finished build waited in the queue.",
        JOB_LABELS,
        _of_ledger(lambda ledger: _seconds(ledger.last.queue_ms if ledger.last else None)),
    ),
    Family(
        "codearts_build_last_build_finish_timestamp_seconds",
        Kind.GAUGE,
        "When the last finished build finished.",
        JOB_LABELS,
        _of_ledger(lambda ledger: _seconds(ledger.last.finish_ms if ledger.last else None)),
    ),
    Family(
        "codearts_build_last_success_timestamp_seconds",
        Kind.GAUGE,
        "When the latest successful build finished; absent when none is known.",
        JOB_LABELS,
        _of_ledger(lambda ledger: _seconds(ledger.last_success_ms)),
    ),
    Family(
        "codearts_build_consecutive_failures",
        Kind.GAUGE,
        "Finished builds since the last success that were not one; aborted ones neither add nor reset.",
        JOB_LABELS,
        _of_ledger(lambda ledger: _known(ledger.consecutive_failures)),
    ),
    Family(
        "codearts_build_recovered_builds_total",
        Kind.COUNTER,
        "Builds counted after a gap: downtime, API trouble, or after they had been given up on as lost.",
        JOB_LABELS,
        _of_ledger(lambda ledger: _known(ledger.recovered_builds)),
    ),
    Family(
        "codearts_build_lost_builds_total",
        Kind.COUNTER,
        "Build numbers that the API could not account for; one that turns up later stays counted here "
        "and is counted as recovered too, so that neither counter ever falls.",
        JOB_LABELS,
        _of_ledger(lambda ledger: _known(ledger.lost_builds)),
    ),
    Family(
        "codearts_build_job_info",
        Kind.GAUGE,
        "Names of a watched job to its ids; always 1.",
        (*JOB_LABELS, "job_id", "project_id"),
        _job_info,
    ),
    Family(
        "codearts_build_job_up",
        Kind.GAUGE,
        "1 if the last poll of this job succeeded.",
        JOB_LABELS,
        lambda view: _known(view.up),
    ),
    Family(
        "codearts_build_job_last_poll_timestamp_seconds",
        Kind.GAUGE,
        "When this job was last polled successfully, by itself or in a job list.",
        JOB_LABELS,
        lambda view: _seconds(view.checked_ms),
    ),
    Family(
        "codearts_build_job_deleted",
        Kind.GAUGE,
        "1 if the watched job lies in the recycle bin.",
        JOB_LABELS,
        lambda view: _known(view.deleted),
    ),
)

FLEET_FAMILIES: Final[tuple[Family[Snapshot], ...]] = (
    Family(
        "codearts_build_recycle_bin_jobs",
        Kind.GAUGE,
        "Jobs in the recycle bin.",
        (),
        _bin_size,
    ),
    Family(
        "codearts_build_recycle_bin_project_jobs",
        Kind.GAUGE,
        "Jobs in the recycle bin by project; a project whose name is not known shows its id.",
        ("project",),
        _bin_projects,
    ),
    Family(
        "codearts_build_recycle_bin_retention_seconds",
        Kind.GAUGE,
        "How long a deleted job is kept in the recycle bin.",
        (),
        _bin_retention,
    ),
    Family(
        "codearts_build_recycle_bin_oldest_deletion_timestamp_seconds",
        Kind.GAUGE,
        "Deletion time of the job that is purged next; absent when the recycle bin is empty.",
        (),
        _bin_oldest,
    ),
)

UP: Final = Declared(
    "codearts_build_up",
    Kind.GAUGE,
    "1 if the API answered the last request as it should; throttled answers leave it as it was.",
)
API_REQUESTS: Final = Declared(
    "codearts_build_exporter_api_requests_total",
    Kind.COUNTER,
    "Requests sent to the API; code is the HTTP status, or timeout, connection, invalid.",
    ("operation", "code"),
)
API_REQUEST_DURATION: Final = Declared(
    "codearts_build_exporter_api_request_duration_seconds",
    Kind.HISTOGRAM,
    "How long the API took to answer.",
    ("operation",),
)
API_THROTTLED: Final = Declared(
    "codearts_build_exporter_api_throttled_total",
    Kind.COUNTER,
    "Answers of the API that said too many requests.",
    ("operation",),
)
API_BUDGET: Final = Declared(
    "codearts_build_exporter_api_budget_requests_per_minute",
    Kind.GAUGE,
    "Requests a minute that the throttle allows at present.",
)
PAYLOAD_ERRORS: Final = Declared(
    "codearts_build_exporter_payload_errors_total",
    Kind.COUNTER,
    "Records or answers that could not be read, each time they were read; unknown words too.",
    ("operation", "reason"),
)
POLL_LAG: Final = Declared(
    "codearts_build_exporter_poll_lag_seconds",
    Kind.GAUGE,
    "How late the most overdue job is.",
)
LISTS_TRUSTED: Final = Declared(
    "codearts_build_exporter_job_lists_trusted",
    Kind.GAUGE,
    "1 while job lists tell which jobs to poll; 0 while every job is polled by itself.",
)
SERIES: Final = Declared(
    "codearts_build_exporter_series",
    Kind.GAUGE,
    "Series of jobs and of the fleet in the snapshot.",
)
STORE_ERRORS: Final = Declared(
    "codearts_build_exporter_store_errors_total",
    Kind.COUNTER,
    "Failures to read or write ledgers.",
    ("operation",),
)
CONFIG_RELOAD_SUCCESSFUL: Final = Declared(
    "codearts_build_exporter_config_last_reload_successful",
    Kind.GAUGE,
    "1 if the configuration was loaded the last time it was tried.",
)
CONFIG_RELOAD_TIMESTAMP: Final = Declared(
    "codearts_build_exporter_config_last_reload_success_timestamp_seconds",
    Kind.GAUGE,
    "When the configuration was last loaded.",
)
BUILD_INFO: Final = Declared(
    "codearts_build_exporter_build_info",
    Kind.GAUGE,
    "Version, revision and Python version of the exporter; always 1.",
    ("version", "revision", "pythonversion"),
)

EXPORTER_METRICS: Final = (
    UP,
    API_REQUESTS,
    API_REQUEST_DURATION,
    API_THROTTLED,
    API_BUDGET,
    PAYLOAD_ERRORS,
    POLL_LAG,
    LISTS_TRUSTED,
    SERIES,
    STORE_ERRORS,
    CONFIG_RELOAD_SUCCESSFUL,
    CONFIG_RELOAD_TIMESTAMP,
    BUILD_INFO,
)
