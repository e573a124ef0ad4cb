"""What really happened, for a test to hold a caller's numbers against.

Only what is true as of the clock is told: a build that has not finished has no result yet. Order is by
build number throughout, whatever the order in which builds finished.
"""

from collections.abc import Container, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Literal

from exporter.simulator.builds import RESULTS, Build, Job, Plan, Result, Trigger, lengths, stages_of
from exporter.simulator.faults import Fault, Faults
from exporter.simulator.fleet import Fleet


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildTruth:
    """One build as of now; what has not happened yet is None.

    Attributes:
        result: how it ended; ``unknown`` where the fault ``unknown-result`` hides it.
        duration_observable: false where a backwards clock made the duration absurd.
        queue_observable: the same for the queue time, which ends at the start.
        recorded: false where a fault has lost the record everywhere.
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

    @property
    def observable(self) -> bool:
        """Whether its times can be measured at all."""
        return self.duration_observable and self.queue_observable


@dataclass(frozen=True, slots=True)
class Recovery:
    """A streak of failures and the success that ended it.

    There is none where the success had finished before the first failure did.
    """

    first_failure: int
    success: int
    duration_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StageTotal:
    """How often a stage ran in finished builds, and how long in all."""

    count: int
    sum_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """What a job's builds come to.

    Sums and counts are over builds with a number above the baseline; ``last_finished``,
    ``consecutive_failures`` and ``active`` are as of now over all of them. Lost records count only in
    ``lost``.

    Attributes:
        finished: builds by result, every result present.
        duration_ms: sums of durations by result.
        duration_count: how many durations are in them.
        queue_ms: sum of queue times of finished builds that were dispatched.
        recoveries: those whose success is above the baseline.
        consecutive_failures: finished since the last success and not one; an abort neither adds nor resets.
        lost: finished builds whose record nobody has.
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
    """A job, its builds and what they come to."""

    job_id: str
    job_name: str
    project: str
    project_id: str
    deleted_ms: int | None
    builds: list[BuildTruth]
    totals: Totals

    def to_json(self) -> dict[str, object]:
        """Plain values."""
        return asdict(self)


def fleet_truth(
    fleet: Fleet,
    faults: Faults,
    since_number: Mapping[str, int] | None = None,
    wanted: Container[str] | None = None,
) -> dict[str, JobTruth]:
    """Every job by its id; ``since_number`` holds baselines, ``wanted`` the ids of interest."""
    since = since_number or {}
    jobs = [job for job in fleet.jobs() if wanted is None or job.id in wanted]
    return {job.id: job_truth(fleet, faults, job, since.get(job.id, 0)) for job in jobs}


def job_truth(fleet: Fleet, faults: Faults, job: Job, since_number: int = 0) -> JobTruth:
    """One job; totals are over builds numbered above ``since_number``."""
    now_ms = fleet.clock.now_ms()
    builds = [build_truth(build, job.plan, now_ms, faults) for build in fleet.builds(job.id)]
    return JobTruth(
        job_id=job.id,
        job_name=job.name,
        project=fleet.projects[job.project_id],
        project_id=job.project_id,
        deleted_ms=job.deleted_ms,
        builds=builds,
        totals=totals(builds, since_number),
    )


def build_truth(build: Build, plan: Plan, now_ms: int, faults: Faults) -> BuildTruth:
    """One build as of ``now_ms``, with what the faults have made of it."""
    finished, started = build.finished(now_ms), build.started(now_ms)
    duration_false, queue_false = _misdated(build, faults)
    lost = faults.strikes("lost-records", None, build.job_id, build.number)
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
        result=_result(build, faults) if finished else None,
        duration_observable=not duration_false,
        queue_observable=not queue_false,
        recorded=lost is None or lost.text("detail") == "known",
        stages=tuple(lengths(stages_of(build, plan))) if finished else (),
    )


def totals(builds: Iterable[BuildTruth], since_number: int = 0) -> Totals:
    """What builds come to; counts and sums are over those numbered above ``since_number``."""
    known = sorted((b for b in builds if b.recorded or not b.finished), key=lambda b: b.number)
    ended = [build for build in known if build.finished]
    counted = [build for build in ended if build.number > since_number]
    timed = [b for b in counted if b.duration_ms is not None and b.duration_observable]
    queued = [b.queue_ms for b in counted if b.queue_ms is not None and b.queue_observable]
    streak, recoveries = _streaks(ended)
    return Totals(
        finished={result: sum(b.result == result for b in counted) for result in RESULTS},
        duration_ms={r: sum(b.duration_ms or 0 for b in timed if b.result == r) for r in RESULTS},
        duration_count={result: sum(b.result == result for b in timed) for result in RESULTS},
        queue_ms=sum(queued),
        queue_count=len(queued),
        recoveries=[each for each in recoveries if each.success > since_number],
        consecutive_failures=streak,
        last_finished=ended[-1] if ended else None,
        active={state: sum(b.state == state for b in known) for state in ("queued", "running")},
        lost=sum(b.finished and not b.recorded and b.number > since_number for b in builds),
        stages=_stage_totals(counted),
    )


def _stage_totals(counted: Iterable[BuildTruth]) -> dict[str, StageTotal]:
    found: dict[str, list[int]] = {}
    for build in counted:
        for name, length_ms in build.stages:
            found.setdefault(name, []).append(length_ms)
    return {name: StageTotal(count=len(each), sum_ms=sum(each)) for name, each in sorted(found.items())}


def _streaks(ended: list[BuildTruth]) -> tuple[int, list[Recovery]]:
    streak: list[BuildTruth] = []
    recoveries: list[Recovery] = []
    for build in ended:
        if build.result == "success":
            if streak:
                length_ms = (build.finish_ms or 0) - (streak[0].finish_ms or 0)
                if length_ms >= 0:
                    recoveries.append(Recovery(streak[0].number, build.number, length_ms))
            streak = []
        elif build.result != "aborted":
            streak.append(build)
    return len(streak), recoveries


def _result(build: Build, faults: Faults) -> Result:
    key = (build.job_id, build.number)
    if faults.strikes("unknown-result", None, *key) or faults.was_told("unknown-result", *key):
        return "unknown"
    return build.result


def _misdated(build: Build, faults: Faults) -> tuple[bool, bool]:
    key = (build.job_id, build.number)
    struck: Fault | None = faults.strikes("backwards-clock", None, *key)
    how = struck.text("how") if struck else ""
    duration = how in ("start-after-finish", "negative-duration") or faults.was_told("false-duration", *key)
    queue = how in ("queued-after-start", "start-after-finish") or faults.was_told("false-queue", *key)
    return duration, queue
