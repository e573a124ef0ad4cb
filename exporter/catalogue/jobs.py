"""The metrics of watched jobs."""

from collections.abc import Callable
from typing import Final

from exporter.catalogue.families import Family, JobView, Kind, Samples, known, seconds
from exporter.ledger import Histogram, JobLedger
from exporter.model import Result, State


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
        _of_ledger(lambda ledger: seconds(ledger.oldest_active_ms)),
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
        _of_ledger(lambda ledger: known(ledger.last.number if ledger.last else None)),
    ),
    Family(
        "codearts_build_last_build_duration_seconds",
        Kind.GAUGE,
        "How long the last finished build took from start to finish.",
        JOB_LABELS,
        _of_ledger(lambda ledger: seconds(ledger.last.duration_ms if ledger.last else None)),
    ),
    Family(
        "codearts_build_last_build_queue_duration_seconds",
        Kind.GAUGE,
        "How long the last finished build waited in the queue.",
        JOB_LABELS,
        _of_ledger(lambda ledger: seconds(ledger.last.queue_ms if ledger.last else None)),
    ),
    Family(
        "codearts_build_last_build_finish_timestamp_seconds",
        Kind.GAUGE,
        "When the last finished build finished.",
        JOB_LABELS,
        _of_ledger(lambda ledger: seconds(ledger.last.finish_ms if ledger.last else None)),
    ),
    Family(
        "codearts_build_last_success_timestamp_seconds",
        Kind.GAUGE,
        "When the latest successful build finished; absent when none is known.",
        JOB_LABELS,
        _of_ledger(lambda ledger: seconds(ledger.last_success_ms)),
    ),
    Family(
        "codearts_build_consecutive_failures",
        Kind.GAUGE,
        "Finished builds since the last success that were not one; aborted ones neither add nor reset.",
        JOB_LABELS,
        _of_ledger(lambda ledger: known(ledger.consecutive_failures)),
    ),
    Family(
        "codearts_build_recovered_builds_total",
        Kind.COUNTER,
        "Builds counted after a gap: downtime, API trouble, or after they had been given up on as lost.",
        JOB_LABELS,
        _of_ledger(lambda ledger: known(ledger.recovered_builds)),
    ),
    Family(
        "codearts_build_lost_builds_total",
        Kind.COUNTER,
        "Build numbers that the API could not account for; one that turns up later stays counted here "
        "and is counted as recovered too, so that neither counter ever falls.",
        JOB_LABELS,
        _of_ledger(lambda ledger: known(ledger.lost_builds)),
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
        lambda view: known(view.up),
    ),
    Family(
        "codearts_build_job_last_poll_timestamp_seconds",
        Kind.GAUGE,
        "When this job was last polled successfully, by itself or in a job list.",
        JOB_LABELS,
        lambda view: seconds(view.checked_ms),
    ),
    Family(
        "codearts_build_job_deleted",
        Kind.GAUGE,
        "1 if the watched job lies in the recycle bin.",
        JOB_LABELS,
        lambda view: known(view.deleted),
    ),
)
