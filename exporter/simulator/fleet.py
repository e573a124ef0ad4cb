"""Fleets of projects and jobs, their clock, and the fleet of the demo."""

import random
import threading
import time
from collections.abc import Iterable
from dataclasses import replace
from typing import Protocol

from exporter.simulator.builds import (
    Build,
    Job,
    Plan,
    Result,
    Trigger,
    hex_id,
    job_name,
    project_name,
    read_record_id,
    record_id,
    uuid_id,
)

_DEMO_JOBS = 24
_FAILING, _STUCK, _DELETED = 5, 9, 3  # ordinals of jobs of the demo, and a number


class Clock(Protocol):
    """A source of the current time."""

    def now_ms(self) -> int:
        """Milliseconds since the epoch, UTC."""


class RealClock:
    """The wall clock, or one that starts with it and runs faster.

    Callers cannot see the builds of a fleet that is more than a day ahead of them.
    """

    def __init__(self, speed: float = 1.0) -> None:
        self._speed = speed
        self._origin_ms = time.time() * 1000
        self._started = time.monotonic()

    def now_ms(self) -> int:
        """Milliseconds since the epoch, UTC."""
        if self._speed == 1.0:
            return int(time.time() * 1000)
        return int(self._origin_ms + (time.monotonic() - self._started) * 1000 * self._speed)


class ManualClock:
    """A clock that moves only in `advance`."""

    def __init__(self, start_ms: int) -> None:
        self._now_ms = start_ms
        self._lock = threading.Lock()

    def now_ms(self) -> int:
        """Milliseconds since the epoch, UTC."""
        return self._now_ms

    def advance(self, seconds: float) -> None:
        """Move the clock forward.

        Raises:
            ValueError: ``seconds`` is negative.
        """
        if seconds < 0:
            raise ValueError("a clock cannot go back")
        with self._lock:
            self._now_ms += round(seconds * 1000)


DAY_MS = 86_400_000


class Fleet:
    """Projects, jobs and builds; the seed determines all ids, plans and builds.

    ``jobs`` of them, spread over ``projects``, are drawn at the start, and have been running for
    ``history_days``; more can be added.
    """

    def __init__(
        self, clock: Clock, *, seed: int = 0, jobs: int = 0, projects: int = 4, history_days: float = 7.0
    ) -> None:
        self.clock = clock
        self.seed = seed
        self.keep_days = 29
        self.history_days = history_days
        self._lock = threading.RLock()
        self._stopped = False
        self._jobs: dict[str, Job] = {}
        self._by_ordinal: list[Job] = []
        self._by_build_project: dict[str, Job] = {}
        self.projects: dict[str, str] = {}  # names by id, replaced when there is one more
        rng = random.Random(f"{seed}/plans")
        for ordinal in range(jobs):
            self.add_job(job_name(ordinal), project_name(ordinal % projects), plan=_draw_plan(rng))

    def job(self, job_id: str) -> Job | None:
        """The job with this id, deleted or not."""
        return self._jobs.get(job_id)

    def jobs(self) -> list[Job]:
        """Every job, deleted ones too, in the order they were added."""
        with self._lock:
            return list(self._by_ordinal)

    def builds(self, job_id: str, as_of_ms: int | None = None) -> list[Build]:
        """The builds that a job has created by now, or by an earlier time, by number."""
        now_ms = self.clock.now_ms()
        with self._lock:
            job = self._jobs[job_id]
            job.advance(now_ms)
            created_by_ms = now_ms if as_of_ms is None else as_of_ms
            return [build for build in job.builds if build.created_ms <= created_by_ms]

    def find_build(self, job_id: str, number: int) -> Build | None:
        """The build with this number."""
        return next((build for build in reversed(self.builds(job_id)) if build.number == number), None)

    def record_id(self, build: Build) -> str:
        """The 36-character id of a build."""
        return record_id(self.seed, self._jobs[build.job_id].ordinal, build.number)

    def find_record(self, text: str) -> Build | None:
        """The build with this 36-character id."""
        found = read_record_id(self.seed, text)
        if found is None or found[0] >= len(self._by_ordinal):
            return None
        return self.find_build(self._by_ordinal[found[0]].id, found[1])

    def build_project_id(self, job_id: str) -> str:
        """The second id of a job, of 36 characters."""
        return uuid_id(self.seed, "build-project", job_id)

    def find_build_project(self, text: str) -> Job | None:
        """The job with this 36-character id, deleted or not."""
        return self._by_build_project.get(text)

    def project_id(self, name: str) -> str:
        """The id of a project, which is created if there is none of that name."""
        with self._lock:
            identifier = hex_id(self.seed, "project", name)
            if identifier not in self.projects:
                self.projects = {**self.projects, identifier: name}
            return identifier

    def add_job(
        self, name: str, project: str = "shop", *, plan: Plan | None = None, job_id: str | None = None
    ) -> Job:
        """Add a job to the project of that name; ``job_id`` has 32 characters ``[0-9a-z]``.

        It has behaved by its plan for ``history_days``. Without one it is new, and its only builds are those
        of `add_build`.
        """
        with self._lock:
            ordinal = len(self._by_ordinal)
            identifier = job_id or hex_id(self.seed, "job", ordinal)
            now_ms = self.clock.now_ms()
            since_ms = now_ms if plan is None else now_ms - round(self.history_days * DAY_MS)
            project_id = self.project_id(project)
            job = Job(
                identifier, ordinal, name, project_id, plan or Plan(gap_s=None), since_ms, str(self.seed)
            )
            self._jobs[identifier] = job
            self._by_ordinal.append(job)
            self._by_build_project[self.build_project_id(identifier)] = job
            return job

    def add_build(
        self,
        job_id: str,
        *,
        result: Result = "success",
        queue_s: float = 1.0,
        duration_s: float | None = 10.0,
        at_ms: int | None = None,
        branch: str = "main",
        trigger: Trigger = "manual",
    ) -> Build:
        """Create a build with the next number, by default now.

        ``queue_s`` is from its creation to its start (or to the end of a ``schedule_failure``). With a
        ``duration_s`` of None it never ends by itself.

        Raises:
            KeyError: there is no such job.
        """
        with self._lock:
            job = self._jobs[job_id]
            job.advance(self.clock.now_ms())
            created_ms = self.clock.now_ms() if at_ms is None else at_ms
            start_ms = created_ms + round(queue_s * 1000)
            if result == "schedule_failure":
                return job.append(created_ms, None, start_ms, result, trigger, branch)
            finish_ms = None if duration_s is None else start_ms + round(duration_s * 1000)
            return job.append(created_ms, start_ms, finish_ms, result, trigger, branch)

    def finish_build(self, job_id: str, number: int, result: Result = "success") -> Build:
        """End a build now.

        Raises:
            KeyError: there is no such job or build.
        """
        with self._lock:
            job = self._jobs[job_id]
            now_ms = self.clock.now_ms()
            for index, build in enumerate(job.builds):
                if build.number == number:
                    start_ms = build.start_ms if build.started(now_ms) else None
                    job.builds[index] = replace(build, start_ms=start_ms, finish_ms=now_ms, result=result)
                    return job.builds[index]
            raise KeyError(number)

    def stop_arrivals(self, job_ids: Iterable[str] | None = None) -> None:
        """Create no new builds, of some jobs or of all; running ones continue."""
        with self._lock:
            now_ms = self.clock.now_ms()
            self._stopped = self._stopped or job_ids is None
            for job in self._by_ordinal if job_ids is None else map(self._jobs.__getitem__, job_ids):
                if job.stop_ms is None:
                    job.stop_ms = now_ms

    def resume_arrivals(self) -> None:
        """Create builds again, from now on."""
        with self._lock:
            now_ms = self.clock.now_ms()
            self._stopped = False
            for job in self._by_ordinal:
                if job.stop_ms is not None and job.deleted_ms is None and not job.disabled:
                    job.advance(now_ms)
                    job.resume(now_ms)

    def delete_job(self, job_id: str, at_ms: int | None = None) -> None:
        """Move a job to the recycle bin, by default now."""
        with self._lock:
            self.stop_arrivals([job_id])
            self._jobs[job_id].deleted_ms = self.clock.now_ms() if at_ms is None else at_ms

    def restore_job(self, job_id: str) -> None:
        """Restore a job from the recycle bin."""
        with self._lock:
            job = self._jobs[job_id]
            job.advance(self.clock.now_ms())
            job.deleted_ms = None
            if not self._stopped and not job.disabled:
                job.resume(self.clock.now_ms())

    def disable_job(self, job_id: str) -> None:
        """Disable a job: no build is created until it is enabled."""
        with self._lock:
            self.stop_arrivals([job_id])
            self._jobs[job_id].disabled = True

    def enable_job(self, job_id: str) -> None:
        """Enable a job that was disabled."""
        with self._lock:
            job = self._jobs[job_id]
            job.advance(self.clock.now_ms())
            job.disabled = False
            if not self._stopped and job.deleted_ms is None:
                job.resume(self.clock.now_ms())

    def recreate_job(self, job_id: str, first_number: int = 1) -> None:
        """Delete a job's builds and keep its id; its next build has this number."""
        with self._lock:
            job = self._jobs[job_id]
            job.builds.clear()
            job.plan = replace(job.plan, first_number=first_number)

    def rename_job(self, job_id: str, name: str) -> None:
        """Rename a job; its id stays."""
        with self._lock:
            self._jobs[job_id].name = name


def _draw_plan(rng: random.Random) -> Plan:
    return Plan(
        gap_s=rng.choice((1800.0, 3600.0, 7200.0, 21600.0, 43200.0)),
        duration_s=rng.choice((20.0, 60.0, 180.0, 600.0, 1500.0)),
        queue_s=rng.choice((1.0, 3.0, 20.0)),
        failure_ratio=rng.choice((0.02, 0.1, 0.3)),
        streak=rng.choice((0.2, 0.5, 0.8)),
        concurrency=rng.choice((1, 1, 1, 3)),
        first_number=rng.choice((1, 1, 500, 3001)),
        branches=rng.choice((("main",), ("main", "develop"), ("master", "release/1.4", "feature/login"))),
    )


def demo_fleet(clock: Clock, seed: int = 0) -> Fleet:
    """24 busy jobs, one of which always fails and one hangs, and three in the recycle bin."""
    fleet = Fleet(clock, seed=seed, history_days=0.25)
    rng = random.Random(f"{seed}/demo")
    for ordinal in range(_DEMO_JOBS):
        failing = ordinal == _FAILING
        plan = Plan(
            gap_s=rng.uniform(30, 150),
            duration_s=rng.uniform(3, 20),
            spread=0.35,
            queue_s=rng.uniform(0.3, 4),
            failure_ratio=1.0 if failing else rng.choice((0.03, 0.1, 0.25)),
            streak=1.0 if failing else rng.choice((0.2, 0.5)),
            concurrency=3 if ordinal % 4 == 0 else 1,
            first_number=rng.choice((1, 500, 3001)),
            branches=("main", "develop", "release/1.4"),
        )
        fleet.add_job(job_name(ordinal), project_name(ordinal % 4), plan=plan)
    fleet.add_build(fleet.jobs()[_STUCK].id, duration_s=None, trigger="pipeline")
    for ordinal in range(_DEMO_JOBS, _DEMO_JOBS + _DELETED):
        job = fleet.add_job(job_name(ordinal), project_name(ordinal % 4), plan=Plan(gap_s=None))
        fleet.delete_job(job.id, clock.now_ms() - (ordinal - _DEMO_JOBS) * 3_600_000)
    return fleet
