"""The metrics of a job and of the stages of its builds: families from a view to samples. Pure."""

from collections.abc import Callable, Sequence
from itertools import product
from operator import attrgetter
from typing import Final

from exporter.ledger import OTHER, BuildLabels, Histogram, JobLedger, Tally
from exporter.metrics.families import JOB_LABELS, Family, JobView, Kind, Samples, Total, known, seconds
from exporter.model import Result, State, Trigger


def _stage_durations(view: JobView) -> Samples:
    if view.ledger:
        for name, durations in view.ledger.stages.durations.items():
            yield (name,), durations


def _last(view: JobView) -> Samples:
    if view.ledger and view.ledger.stages.last:
        for name, length_ms in view.ledger.stages.last.lengths.items():
            yield (name,), length_ms / 1000


def _read(view: JobView) -> object:
    return view.ledger and view.ledger.stages


STAGE_FAMILIES: Final[tuple[Family[JobView], ...]] = (
    Family(
        "codearts_build_stage_duration_seconds",
        Kind.HISTOGRAM,
        "How long the stages of finished builds took, waiting included.",
        (*JOB_LABELS, "stage"),
        _stage_durations,
        _read,
    ),
    Family(
        "codearts_build_last_build_stage_duration_seconds",
        Kind.GAUGE,
        "How long the stages took of the finished build with the highest number whose stages are known.",
        (*JOB_LABELS, "stage"),
        _last,
        _read,
    ),
)


def _of_ledger(
    name: str,
    kind: Kind,
    text: str,
    labels: tuple[str, ...],
    samples: Callable[[JobLedger], Samples],
    *,
    note: str = "",
) -> Family[JobView]:
    """A family that shows nothing before the first successful poll."""

    def read(view: JobView) -> Samples:
        return samples(view.ledger) if view.ledger else iter(())

    return Family(name, kind, text, labels, read, attrgetter("ledger"), note=note)


def _builds(extra: tuple[str, ...], branches: Sequence[str]) -> Callable[[JobView], Samples]:
    """Every result from the start, and under extra labels every trigger, so that the first build shows."""
    triggers = Trigger if "trigger" in extra else ("",)
    names = dict.fromkeys((OTHER, *branches)) if "branch" in extra else ("",)
    from_the_start = tuple(BuildLabels(*labels) for labels in product(Result, triggers, names))

    def read(view: JobView) -> Samples:
        if view.ledger:
            shown = _tallied(view.ledger, view.held, extra)
            for labels in dict.fromkeys((*from_the_start, *shown)):
                tally = shown.get(labels)
                yield _values(labels, extra), Total(tally.builds, tally.latest) if tally else Total(0)

    return read


def _durations(extra: tuple[str, ...], branches: Sequence[str]) -> Callable[[JobView], Samples]:
    """Success and failure from the start, of each branch too, but not under every trigger."""
    names = branches if extra == ("branch",) else ()
    from_the_start = [
        BuildLabels(result, branch=name) for result in (Result.SUCCESS, Result.FAILURE) for name in names
    ]

    def read(view: JobView) -> Samples:
        if view.ledger:
            shown = dict.fromkeys(from_the_start, view.ledger.no_durations)
            for labels, tally in _tallied(view.ledger, view.held, extra).items():
                if tally.durations:
                    shown[labels] = tally.durations
            for labels, durations in shown.items():
                yield _values(labels, extra), durations

    return read


def _tallied(
    ledger: JobLedger, held: frozenset[BuildLabels], extra: tuple[str, ...]
) -> dict[BuildLabels, Tally]:
    """The tallies as they are shown: what labels do not tell apart is added up, what is held is empty."""
    shown: dict[BuildLabels, Tally] = {}
    for tally in ledger.tallies:
        labels = tally.labels.shown(trigger="trigger" in extra, branch="branch" in extra)
        shown[labels] = shown[labels].plus(tally) if labels in shown else tally
    return {labels: tally.emptied() if labels in held else tally for labels, tally in shown.items()}


def _counted(view: JobView) -> object:
    """What finished builds are shown by; never the same twice as long as something is held."""
    return (view.ledger, view.held) if view.held else view.ledger


def _values(labels: BuildLabels, extra: tuple[str, ...]) -> tuple[str, ...]:
    return (labels.result, *(labels.trigger if label == "trigger" else labels.branch for label in extra))


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


EXTRA_LABELS: Final = ("trigger", "branch")
"""What finished builds can be told apart by, if it is asked for."""


def job_families(
    extra: tuple[str, ...] = (), branches: Sequence[str] = (), *, stages: bool = False
) -> tuple[Family[JobView], ...]:
    """The metrics of watched jobs.

    Args:
        extra: labels that finished builds have too, some of `EXTRA_LABELS`.
        branches: those that are shown from the start, beside ``other``.
        stages: whether stages are measured.
    """
    return (
        Family(
            "codearts_build_builds_total",
            Kind.COUNTER,
            "Finished builds, each counted once, since the job was first watched.",
            (*JOB_LABELS, "result", *extra),
            _builds(extra, branches),
            _counted,
            note="Every result is there at 0 from the first poll on: its first build is an increase. "
            "[Extra labels](#extra-labels) tells how that is with branches.",
        ),
        Family(
            "codearts_build_duration_seconds",
            Kind.HISTOGRAM,
            "How long finished builds took from start to finish, without the queue.",
            (*JOB_LABELS, "result", *extra),
            _durations(extra, branches),
            _counted,
            note="`success` and `failure` are there from the first poll on, others from their first build.",
        ),
        *_UNVARYING,
        *(STAGE_FAMILIES if stages else ()),
    )


_UNVARYING: Final[tuple[Family[JobView], ...]] = (
    _of_ledger(
        "codearts_build_queue_duration_seconds",
        Kind.HISTOGRAM,
        "How long finished builds waited in the queue before they started.",
        JOB_LABELS,
        lambda ledger: _one(ledger.queue),
        note="Builds whose details the service refuses are missing here.",
    ),
    _of_ledger(
        "codearts_build_recovery_duration_seconds",
        Kind.HISTOGRAM,
        "From the finish of the first failure of a streak to the finish of the success that ended it.",
        JOB_LABELS,
        lambda ledger: _one(ledger.recovery),
    ),
    _of_ledger(
        "codearts_build_active_builds",
        Kind.GAUGE,
        "Builds queued or running at the last poll.",
        (*JOB_LABELS, "state"),
        _active,
    ),
    _of_ledger(
        "codearts_build_oldest_active_build_timestamp_seconds",
        Kind.GAUGE,
        "Start, or first sight, of the oldest unfinished build; absent when there is none.",
        JOB_LABELS,
        lambda ledger: seconds(ledger.oldest_active_ms),
    ),
    _of_ledger(
        "codearts_build_last_build_result",
        Kind.GAUGE,
        "1 for the result of the finished build with the highest number, 0 for the other results.",
        (*JOB_LABELS, "result"),
        _last_result,
    ),
    _of_ledger(
        "codearts_build_last_build_number",
        Kind.GAUGE,
        "The highest number of a finished build.",
        JOB_LABELS,
        lambda ledger: known(ledger.last.number if ledger.last else None),
    ),
    _of_ledger(
        "codearts_build_last_build_duration_seconds",
        Kind.GAUGE,
        "How long the last finished build took from start to finish.",
        JOB_LABELS,
        lambda ledger: seconds(ledger.last.duration_ms if ledger.last else None),
        note="Absent when not known.",
    ),
    _of_ledger(
        "codearts_build_last_build_queue_duration_seconds",
        Kind.GAUGE,
        "How long the last finished build waited in the queue.",
        JOB_LABELS,
        lambda ledger: seconds(ledger.last.queue_ms if ledger.last else None),
        note="Absent when not known.",
    ),
    _of_ledger(
        "codearts_build_last_build_finish_timestamp_seconds",
        Kind.GAUGE,
        "When the last finished build finished.",
        JOB_LABELS,
        lambda ledger: seconds(ledger.last.finish_ms if ledger.last else None),
        note="Absent when not known.",
    ),
    _of_ledger(
        "codearts_build_last_success_timestamp_seconds",
        Kind.GAUGE,
        "When the latest successful build finished; absent when none is known.",
        JOB_LABELS,
        lambda ledger: seconds(ledger.last_success_ms),
    ),
    _of_ledger(
        "codearts_build_consecutive_failures",
        Kind.GAUGE,
        "Finished builds since the last success that were not one; aborted ones neither add nor reset.",
        JOB_LABELS,
        lambda ledger: known(ledger.consecutive_failures),
        note="Blind to unfinished builds.",
    ),
    _of_ledger(
        "codearts_build_recovered_builds_total",
        Kind.COUNTER,
        "Builds counted after a gap: downtime, API trouble, or after they had been given up on as lost.",
        JOB_LABELS,
        lambda ledger: known(ledger.recovered_builds),
    ),
    _of_ledger(
        "codearts_build_lost_builds_total",
        Kind.COUNTER,
        "Build numbers that the API could not account for; one that turns up later stays counted here "
        "and is counted as recovered too, so that neither counter ever falls.",
        JOB_LABELS,
        lambda ledger: known(ledger.lost_builds),
    ),
    _of_ledger(
        "codearts_build_baseline_build_number",
        Kind.GAUGE,
        "The highest number of a build that had finished when counting began; absent when none was known.",
        JOB_LABELS,
        lambda ledger: known(ledger.baseline),
        note="Every build above it is counted, and of those below it what finished later.",
    ),
    Family(
        "codearts_build_job_info",
        Kind.GAUGE,
        "Names of a watched job to its ids; always 1.",
        (*JOB_LABELS, "job_id", "project_id"),
        _job_info,
        attrgetter("job"),
    ),
    Family(
        "codearts_build_job_up",
        Kind.GAUGE,
        "1 if the last poll of this job succeeded.",
        JOB_LABELS,
        lambda view: known(view.up),
        attrgetter("up"),
        note="A job list that shows nothing new counts as a poll. Absent before the first one has ended.",
    ),
    Family(
        "codearts_build_job_last_poll_timestamp_seconds",
        Kind.GAUGE,
        "When this job was last polled successfully, by itself or in a job list.",
        JOB_LABELS,
        lambda view: seconds(view.checked_ms),
        attrgetter("checked_ms"),
    ),
    Family(
        "codearts_build_job_deleted",
        Kind.GAUGE,
        "1 if the watched job lies in the recycle bin.",
        JOB_LABELS,
        lambda view: known(view.deleted),
        attrgetter("deleted"),
        note="Absent while the recycle bin has not been read.",
    ),
)

JOB_FAMILIES: Final = job_families()
"""The metrics of watched jobs, without extra labels."""
