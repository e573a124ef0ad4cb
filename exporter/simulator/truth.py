"""The truth about builds, for tests to compare a caller's numbers with.

Only what is true at the time of the clock is included: a build that has not finished has no result yet.
Builds are ordered by number throughout, whatever the order in which they finished.
"""

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Literal

from exporter.simulator.builds import RESULTS, Build, Plan, Result, Trigger, stage_durations, stages_of
from exporter.simulator.faults import Faults
from exporter.simulator.fleet import Fleet


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildTruth:
    """One build as of now; what has not happened yet is None.

    Attributes:
        result: ``unknown`` if the fault ``unknown-result`` hides it.
        duration_observable: false if a backwards clock falsified the duration.
        queue_observable: the same for the queue time, which ends at the start.
        recorded: false if a fault has lost the record everywhere, and no response had reported the finish.
        stages: names and durations of those that ran, in order, once the build has finished.
    """

    number: int
    trigger: Trigger
    branch: str
    created_ms: int
    queued_ms: int
    start_ms: int | None
    finish_ms: int | None
    duration_ms: int | None
    queue_ms: int | None
    finished: bool
    state: Literal["queued", "running"] | None
    result: Result | None
    duration_observable: bool = True
    queue_observable: bool = True
    recorded: bool = True
    stages: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Recovery:
    """A streak of failures and the success that ended it.

    There is none if the success had finished before the first failure did.
    """

    first_failure: int
    success: int
    duration_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StageTotal:
    """Number and total duration of a stage's runs in finished builds."""

    count: int
    sum_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """Totals of a job's builds.

    Sums and counts are over builds with a number above the baseline; ``last_finished``,
    ``consecutive_failures`` and ``active`` are as of now over all of them. Lost records count only in
    ``lost``.

    Attributes:
        finished: builds by result, every result present.
        duration_ms: sums of durations by result.
        duration_count: number of durations in these sums.
        queue_ms: sum of queue times of finished builds that were dispatched.
        recoveries: those whose success is above the baseline.
        consecutive_failures: finished since the last success and not one; an abort neither adds nor resets.
        lost: finished builds without a record.
        stages: those that ran, by name.
    """

    finished: dict[Result, int]
    duration_ms: dict[Result, int]
    duration_count: dict[Result, int]
    queue_ms: int
    queue_count: int
    recoveries: list[Recovery]
    consecutive_failures: int
    last_finished: BuildTruth | None
    active: dict[str, int]
    lost: int
    stages: dict[str, StageTotal]


@dataclass(frozen=True, slots=True, kw_only=True)
class JobTruth:
    """A job, its builds and their totals."""

    job_id: str
    job_name: str
    project: str
    project_id: str
    deleted_ms: int | None
    builds: list[BuildTruth]
    totals: Totals

    def to_json(self) -> dict[str, object]:
        """Convert to plain values."""
        return {each.name: _plain(getattr(self, each.name)) for each in fields(self)}


def _plain(value: object) -> object:
    """Convert to plain values, in a fraction of the time of `dataclasses.asdict`."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    names = getattr(value, "__dataclass_fields__", None)
    return {name: _plain(getattr(value, name)) for name in names} if names else value


def fleet_truth(
    fleet: Fleet,
    faults: Faults,
    since_number: Mapping[str, int] | None = None,
    job_ids: Container[str] | None = None,
) -> dict[str, JobTruth]:
    """Every job by its id, or those in ``job_ids``; ``since_number`` holds baselines by job id."""
    since = since_number or {}
    truth: dict[str, JobTruth] = {}
    for job in fleet.jobs():
        if job_ids is None or job.id in job_ids:
            now_ms = fleet.clock.now_ms()
            builds = [build_truth(build, job.plan, now_ms, faults) for build in fleet.builds(job.id)]
            truth[job.id] = JobTruth(
                job_id=job.id,
                job_name=job.name,
                project=fleet.projects[job.project_id],
                project_id=job.project_id,
                deleted_ms=job.deleted_ms,
                builds=builds,
                totals=totals(builds, since.get(job.id, 0)),
            )
    return truth


def build_truth(build: Build, plan: Plan, now_ms: int, faults: Faults) -> BuildTruth:
    """One build at some time, with the effects of faults."""
    finished, started = build.finished(now_ms), build.started(now_ms)
    key = (build.job_id, build.number)
    misdated = faults.for_build("backwards-clock", None, *key)
    how = misdated.text("how") if misdated else ""
    lost = faults.for_build("lost-records", None, *key)
    hidden = faults.for_build("unknown-result", None, *key) or faults.was_reported("unknown-result", *key)
    return BuildTruth(
        number=build.number,
        trigger=build.trigger,
        branch=build.branch,
        created_ms=build.created_ms,
        queued_ms=build.queued_ms,
        start_ms=build.start_ms if started else None,
        finish_ms=build.finish_ms if finished else None,
        duration_ms=build.duration_ms if finished else None,
        queue_ms=build.queue_ms if started else None,
        finished=finished,
        state=None if finished else "running" if started else "queued",
        result=("unknown" if hidden else build.result) if finished else None,
        duration_observable=how not in ("start-after-finish", "negative-duration")
        and not faults.was_reported("false-duration", *key),
        queue_observable=how not in ("queued-after-start", "start-after-finish")
        and not faults.was_reported("false-queue", *key),
        recorded=lost is None or lost.text("detail") == "known" or faults.was_reported("finish", *key),
        stages=tuple(stage_durations(stages_of(build, plan))) if finished else (),
    )


def totals(builds: Iterable[BuildTruth], since_number: int = 0) -> Totals:
    """Totals of builds; counts and sums are over those numbered above ``since_number``."""
    known = sorted((b for b in builds if b.recorded or not b.finished), key=lambda b: b.number)
    finished = [build for build in known if build.finished]
    counted = [build for build in finished if build.number > since_number]
    timed = [b for b in counted if b.duration_ms is not None and b.duration_observable]
    queued = [b.queue_ms for b in counted if b.queue_ms is not None and b.queue_observable]
    streak, recoveries = _streaks(finished)
    return Totals(
        finished={result: sum(b.result == result for b in counted) for result in RESULTS},
        duration_ms={r: sum(b.duration_ms or 0 for b in timed if b.result == r) for r in RESULTS},
        duration_count={result: sum(b.result == result for b in timed) for result in RESULTS},
        queue_ms=sum(queued),
        queue_count=len(queued),
        recoveries=[recovery for recovery in recoveries if recovery.success > since_number],
        consecutive_failures=streak,
        last_finished=finished[-1] if finished else None,
        active={state: sum(b.state == state for b in known) for state in ("queued", "running")},
        lost=sum(b.finished and not b.recorded and b.number > since_number for b in builds),
        stages=_stage_totals(counted),
    )


def _stage_totals(counted: Iterable[BuildTruth]) -> dict[str, StageTotal]:
    durations: dict[str, list[int]] = {}
    for build in counted:
        for name, duration_ms in build.stages:
            durations.setdefault(name, []).append(duration_ms)
    return {name: StageTotal(count=len(ms), sum_ms=sum(ms)) for name, ms in sorted(durations.items())}


def _streaks(finished: list[BuildTruth]) -> tuple[int, list[Recovery]]:
    streak: list[BuildTruth] = []
    recoveries: list[Recovery] = []
    for build in finished:
        if build.result == "success":
            if streak:
                duration_ms = (build.finish_ms or 0) - (streak[0].finish_ms or 0)
                if duration_ms >= 0:
                    recoveries.append(Recovery(streak[0].number, build.number, duration_ms))
            streak = []
        elif build.result != "aborted":
            streak.append(build)
    return len(streak), recoveries
