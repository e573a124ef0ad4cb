"""Metric families of a job and of the stages of its builds: from a `JobView` to samples. Pure."""

from collections.abc import Callable, Sequence
from itertools import product
from operator import attrgetter
from typing import Final

from exporter.ledger.build_labels import COMMON_RESULTS, OTHER, BuildLabels
from exporter.ledger.job_ledger import JobLedger
from exporter.ledger.tallies import Tally
from exporter.metrics.family_types import (
    JOB_LABELS,
    Family,
    Kind,
    Samples,
    Total,
    counter,
    gauge,
    histogram,
    seconds,
    single,
)
from exporter.metrics.lean_detail import lean_families
from exporter.metrics.views import JobView
from exporter.model import ConsoleLinks, Result, State, Trigger

NO_LINKS: Final = ConsoleLinks()

EXTRA_LABELS: Final = ("trigger", "branch")
"""Optional labels of finished builds."""


def job_families(
    extra: tuple[str, ...] = (),
    branches: Sequence[str] = (),
    *,
    stages: bool = False,
    links: ConsoleLinks = NO_LINKS,
    lean: bool = False,
) -> tuple[Family[JobView], ...]:
    """List the metrics of watched jobs, and of their projects.

    Args:
        extra: optional labels of finished builds, some of `EXTRA_LABELS`.
        branches: branches that are exposed from the start, beside ``other``.
        stages: whether stages are measured.
        links: with a template for jobs, their information has the label ``url``.
        lean: few series for each job; histograms are those of projects, without the label ``job_name``.
    """
    results = COMMON_RESULTS if lean else tuple(Result)
    families = (
        Family(
            "codearts_build_builds_total",
            Kind.COUNTER,
            "Finished builds, each counted once, since the job was first watched.",
            (*JOB_LABELS, "result", *extra),
            _builds(results, extra, branches),
            _counted,
            note="Every result is exposed at 0 from the first poll on: its first build is an increase. "
            "[Extra labels](#extra-labels) explains the same for branches.",
        ),
        Family(
            "codearts_build_duration_seconds",
            Kind.HISTOGRAM,
            "Duration of finished builds from start to finish, without queue time.",
            (*JOB_LABELS, "result", *extra),
            _durations(extra, branches),
            _counted,
            note="`success` and `failure` are exposed from the first poll on, others from their first build.",
        ),
        *_WITHOUT_EXTRA_LABELS,
        _job_info(links),
        *(STAGE_FAMILIES if stages else ()),
    )
    return lean_families(families) if lean else families


def _builds(
    results: Sequence[Result], extra: tuple[str, ...], branches: Sequence[str]
) -> Callable[[JobView], Samples]:
    """Expose these results, and with extra labels every trigger, at 0 from the start."""
    triggers = Trigger if "trigger" in extra else ("",)
    names = dict.fromkeys((OTHER, *branches)) if "branch" in extra else ("",)
    from_the_start = tuple(BuildLabels(*labels) for labels in product(results, triggers, names))

    def samples(view: JobView) -> Samples:
        if view.ledger:
            tallies = _exposed_tallies(view.ledger, view.held, extra)
            for labels in dict.fromkeys((*from_the_start, *tallies)):
                tally = tallies.get(labels)
                yield _values(labels, extra), Total(tally.builds, tally.latest) if tally else Total(0)

    return samples


def _durations(extra: tuple[str, ...], branches: Sequence[str]) -> Callable[[JobView], Samples]:
    """Expose success and failure from the start, also for each branch, but not for every trigger."""
    names = branches if extra == ("branch",) else ()
    from_the_start = [BuildLabels(r, branch=name) for r in (Result.SUCCESS, Result.FAILURE) for name in names]

    def samples(view: JobView) -> Samples:
        if view.ledger:
            histograms = dict.fromkeys(from_the_start, view.ledger.no_durations)
            for labels, tally in _exposed_tallies(view.ledger, view.held, extra).items():
                if tally.durations:
                    histograms[labels] = tally.durations
            for labels, durations in histograms.items():
                yield _values(labels, extra), durations

    return samples


def _exposed_tallies(
    ledger: JobLedger, held: frozenset[BuildLabels], extra: tuple[str, ...]
) -> dict[BuildLabels, Tally]:
    """Add up tallies with the same exposed labels; those of held labels become empty."""
    tallies: dict[BuildLabels, Tally] = {}
    for tally in ledger.tallies:
        labels = tally.labels.exposed(trigger="trigger" in extra, branch="branch" in extra)
        tallies[labels] = tallies[labels].plus(tally) if labels in tallies else tally
    return {labels: tally.emptied() if labels in held else tally for labels, tally in tallies.items()}


def _counted(view: JobView) -> object:
    """Return what the samples of finished builds depend on; a new object each time while labels are held."""
    return (view.ledger, view.held) if view.held else view.ledger


def _values(labels: BuildLabels, extra: tuple[str, ...]) -> tuple[str, ...]:
    return (labels.result, *(labels.trigger if label == "trigger" else labels.branch for label in extra))


def _active(ledger: JobLedger) -> Samples:
    for state in State:
        yield (state,), ledger.active(state)


def _last_result(ledger: JobLedger) -> Samples:
    if ledger.last:
        for result in Result:
            yield (result,), ledger.last.result is result


def _job_info(links: ConsoleLinks) -> Family[JobView]:
    def samples(view: JobView) -> Samples:
        url = (links.job(view.job),) if links.job_url else ()
        yield (view.job.id, view.job.project_id, *url), 1

    return Family(
        "codearts_build_job_info",
        Kind.GAUGE,
        "Maps the names of a watched job to its ids; always 1.",
        (*JOB_LABELS, "job_id", "project_id", *(("url",) if links.job_url else ())),
        samples,
        attrgetter("job"),
        note="With `console.job_url`, `url` is the job's page in the console.",
    )


_WITHOUT_EXTRA_LABELS: Final[tuple[Family[JobView], ...]] = (
    histogram(
        "codearts_build_queue_duration_seconds",
        "Time that finished builds waited in the queue before they started.",
        lambda ledger: single(ledger.queue),
        note="Builds whose details the service refuses are not included.",
    ),
    histogram(
        "codearts_build_recovery_duration_seconds",
        "Time from the finish of the first failure of a streak to the finish of the success that ended it.",
        lambda ledger: single(ledger.recovery),
    ),
    gauge("codearts_build_active_builds", "Builds queued or running at the last poll.", _active, "state"),
    gauge(
        "codearts_build_oldest_active_build_timestamp_seconds",
        "Start of the oldest unfinished build, or when it was first seen; absent if there is none.",
        lambda ledger: seconds(ledger.oldest_active_ms),
    ),
    gauge(
        "codearts_build_last_build_result",
        "1 for the result of the finished build with the highest number, 0 for the other results.",
        _last_result,
        "result",
        note="In [lean detail](#lean-detail), only the series of that result exists.",
    ),
    gauge(
        "codearts_build_last_build_number",
        "Highest number of a finished build.",
        lambda ledger: single(ledger.last.number if ledger.last else None),
    ),
    gauge(
        "codearts_build_last_build_duration_seconds",
        "Duration of the last finished build from start to finish.",
        lambda ledger: seconds(ledger.last.duration_ms if ledger.last else None),
        note="Absent if unknown.",
    ),
    gauge(
        "codearts_build_last_build_queue_duration_seconds",
        "Time that the last finished build waited in the queue.",
        lambda ledger: seconds(ledger.last.queue_ms if ledger.last else None),
        note="Absent if unknown.",
    ),
    gauge(
        "codearts_build_last_build_finish_timestamp_seconds",
        "When the last finished build finished.",
        lambda ledger: seconds(ledger.last.finish_ms if ledger.last else None),
        note="Absent if unknown.",
    ),
    gauge(
        "codearts_build_last_success_timestamp_seconds",
        "When the latest successful build finished; absent if none is known.",
        lambda ledger: seconds(ledger.last_success_ms),
    ),
    gauge(
        "codearts_build_consecutive_failures",
        "Finished builds since the last success; aborted builds neither add to it nor reset it.",
        lambda ledger: single(ledger.consecutive_failures),
        note="Unfinished builds have no effect.",
    ),
    counter(
        "codearts_build_recovered_builds_total",
        "Builds counted late: after downtime, after API trouble, or after they had been counted as lost.",
        lambda ledger: single(ledger.recovered_builds),
    ),
    counter(
        "codearts_build_lost_builds_total",
        "Build numbers that the API could not account for; one that turns up later stays counted here "
        "and is also counted as recovered, so that neither counter decreases.",
        lambda ledger: single(ledger.lost_builds),
    ),
    gauge(
        "codearts_build_baseline_build_number",
        "Highest number of a build that had finished when counting began; absent if none was known.",
        lambda ledger: single(ledger.baseline),
        note="Builds above it are counted; builds below it are counted if they finished later.",
    ),
    Family(
        "codearts_build_job_up",
        Kind.GAUGE,
        "1 if the last poll of this job succeeded.",
        JOB_LABELS,
        lambda view: single(view.up),
        attrgetter("up"),
        note="A job list that shows nothing new counts as a poll. Absent before the first poll has ended.",
    ),
    Family(
        "codearts_build_job_last_poll_timestamp_seconds",
        Kind.GAUGE,
        "When this job was last polled successfully, individually or in a job list.",
        JOB_LABELS,
        lambda view: seconds(view.checked_ms),
        attrgetter("checked_ms"),
    ),
    Family(
        "codearts_build_job_deleted",
        Kind.GAUGE,
        "1 if the watched job is in the recycle bin.",
        JOB_LABELS,
        lambda view: single(view.deleted),
        attrgetter("deleted"),
        note="Absent until the recycle bin has been read.",
    ),
    Family(
        "codearts_build_job_disabled",
        Kind.GAUGE,
        "1 if the job is disabled, so that it cannot be built.",
        JOB_LABELS,
        lambda view: single(view.disabled),
        attrgetter("disabled"),
        note="Absent where no job list says so.",
    ),
)


def _stage_durations(ledger: JobLedger) -> Samples:
    for name, durations in ledger.stages.durations.items():
        yield (name,), durations


def _last_stage_durations(ledger: JobLedger) -> Samples:
    if ledger.stages.last:
        for name, length_ms in ledger.stages.last.lengths.items():
            yield (name,), length_ms / 1000


def _stages(view: JobView) -> object:
    return view.ledger and view.ledger.stages


STAGE_FAMILIES: Final[tuple[Family[JobView], ...]] = (
    histogram(
        "codearts_build_stage_duration_seconds",
        "Duration of the stages of finished builds, including waiting time.",
        _stage_durations,
        "stage",
        reads=_stages,
    ),
    gauge(
        "codearts_build_last_build_stage_duration_seconds",
        "Duration of the stages of the last finished build whose stages are known.",
        _last_stage_durations,
        "stage",
        reads=_stages,
    ),
)

JOB_FAMILIES: Final = job_families()
"""The metrics of watched jobs, without extra labels."""
