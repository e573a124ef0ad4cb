"""Jobs, builds and stages as they really are, and their ids.

Times are integer milliseconds since the epoch, UTC. A build is drawn whole when it is created: its
start, finish and result are fixed then, and the clock decides how much of it has happened.
"""

import hashlib
import heapq
import random
import uuid
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache
from typing import Final, Literal, get_args

Result = Literal["success", "failure", "aborted", "timeout", "schedule_failure", "unknown"]
Trigger = Literal["manual", "schedule", "code_change", "pipeline", "unknown"]

RESULTS: Final[tuple[Result, ...]] = get_args(Result)
TRIGGERS: Final[tuple[Trigger, ...]] = get_args(Trigger)

LOCAL: Final = timezone(timedelta(hours=8))

EXPECTED_MS: Final = 600_000
"""Planned duration of a build without an end."""

PROJECTS: Final = ("shop", "payments", "mobile", "数据平台", "search", "基础设施")
COMPONENTS: Final = (
    "checkout",
    "cart",
    "ledger",
    "gateway",
    "android",
    "结算",
    "index",
    "billing",
    "login",
    "报表",
    "catalogue",
    "courier",
)
PURPOSES: Final = ("release", "nightly", "review", "发布", "image", "lint")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Behaviour of a job.

    Attributes:
        gap_s: mean time between two builds; None for a job without builds of its own.
        duration_s: median of a log-normal distribution, whose sigma is ``spread``.
        queue_s: mean wait before the start.
        failure_ratio: share of failures after a build that did not fail.
        streak: share of failures after a build that failed.
        concurrency: builds that run at once; with more than one they may finish out of order.
        first_number: the oldest build that is still kept; earlier ones are deleted.
        stages: display name of each stage, and its share of the time.
    """

    gap_s: float | None = 3600.0
    duration_s: float = 180.0
    spread: float = 0.4
    queue_s: float = 4.0
    failure_ratio: float = 0.12
    streak: float = 0.4
    aborted_ratio: float = 0.03
    timeout_ratio: float = 0.01
    schedule_failure_ratio: float = 0.01
    concurrency: int = 1
    first_number: int = 1
    branches: tuple[str, ...] = ("main",)
    triggers: tuple[int, int, int, int] = (2, 2, 5, 1)
    stages: tuple[tuple[str, int], ...] = (
        ("initial", 5),
        ("Cache Check", 3),
        ("Code CheckOut", 12),
        ("Maven", 75),
        ("final", 5),
    )


@dataclass(frozen=True, slots=True)
class Build:
    """One execution of a job; without a start if it was never dispatched, without a finish if stuck."""

    job_id: str
    number: int
    created_ms: int
    queued_ms: int
    start_ms: int | None
    finish_ms: int | None
    result: Result
    trigger: Trigger
    branch: str
    daily_number: str

    def filed_ms(self, now_ms: int) -> int:
        """The time under which history files the build: its start, else its creation."""
        return self.start_ms if self.start_ms is not None and self.start_ms <= now_ms else self.created_ms

    def started(self, now_ms: int) -> bool:
        """Return whether it has been dispatched."""
        return self.start_ms is not None and self.start_ms <= now_ms

    def finished(self, now_ms: int) -> bool:
        """Return whether it has ended."""
        return self.finish_ms is not None and self.finish_ms <= now_ms

    @property
    def duration_ms(self) -> int | None:
        """Start to finish, without the queue."""
        return None if self.start_ms is None or self.finish_ms is None else self.finish_ms - self.start_ms

    @property
    def queue_ms(self) -> int | None:
        """Queued to start."""
        return None if self.start_ms is None else self.start_ms - self.queued_ms


@dataclass(slots=True)
class Job:
    """A build definition and its builds."""

    id: str
    ordinal: int
    name: str
    project_id: str
    plan: Plan
    created_ms: int
    seed: str
    deleted_ms: int | None = None
    disabled: bool = False
    stop_ms: int | None = None
    builds: list[Build] = field(default_factory=list)
    _next_ms: int | None = None
    _random: random.Random | None = None
    _slots: list[int] = field(default_factory=list)
    _failing: bool = False

    def advance(self, now_ms: int) -> None:
        """Draw every build that has been created by now."""
        if self.plan.gap_s is None:
            return
        rng = self._rng()
        if self._next_ms is None:
            self._next_ms = self.created_ms + self._gap(rng)
        end_ms = now_ms if self.stop_ms is None else min(now_ms, self.stop_ms)
        while self._next_ms <= end_ms:
            self._draw_build(self._next_ms, rng)
            self._next_ms += self._gap(rng)

    def resume(self, now_ms: int) -> None:
        """Create builds again, from now on."""
        self.stop_ms = None
        if self.plan.gap_s is not None:
            self._next_ms = now_ms + self._gap(self._rng())

    def append(
        self,
        created_ms: int,
        start_ms: int | None,
        finish_ms: int | None,
        result: Result,
        trigger: Trigger,
        branch: str,
    ) -> Build:
        """Add a build with the next number."""
        number = self.builds[-1].number + 1 if self.builds else self.plan.first_number
        day = datetime.fromtimestamp(created_ms / 1000, UTC).astimezone(LOCAL).strftime("%Y%m%d")
        count = 1
        if self.builds and self.builds[-1].daily_number.startswith(day + "."):
            count = int(self.builds[-1].daily_number.partition(".")[2]) + 1
        times = (created_ms, created_ms, start_ms, finish_ms)
        build = Build(self.id, number, *times, result, trigger, branch, f"{day}.{count}")
        self.builds.append(build)
        return build

    def _rng(self) -> random.Random:
        if self._random is None:
            self._random = random.Random(f"{self.seed}/{self.id}")
            self._slots = [0] * self.plan.concurrency
        return self._random

    def _gap(self, rng: random.Random) -> int:
        return max(1, round(rng.expovariate(1.0) * 1000 * (self.plan.gap_s or 0)))

    def _draw_build(self, created_ms: int, rng: random.Random) -> None:
        result = self._draw_result(rng)
        duration_ms = max(1, round(1000 * self.plan.duration_s * rng.lognormvariate(0, self.plan.spread)))
        queue_ms = round(1000 * self.plan.queue_s * rng.expovariate(1.0))
        trigger = rng.choices(TRIGGERS[:4], self.plan.triggers)[0]
        branch = rng.choice(self.plan.branches)
        if result == "schedule_failure":
            self.append(created_ms, None, created_ms + queue_ms + 1, result, trigger, branch)
            return
        if result == "aborted":
            duration_ms = max(1, duration_ms // 3)
        elif result == "timeout":
            duration_ms *= 4
        start_ms = max(created_ms + queue_ms, heapq.heappop(self._slots))
        heapq.heappush(self._slots, start_ms + duration_ms)
        self.append(created_ms, start_ms, start_ms + duration_ms, result, trigger, branch)

    def _draw_result(self, rng: random.Random) -> Result:
        plan = self.plan
        if rng.random() < (plan.streak if self._failing else plan.failure_ratio):
            self._failing = True
            return "failure"
        draw = rng.random()
        others: tuple[tuple[Result, float], ...] = (
            ("aborted", plan.aborted_ratio),
            ("timeout", plan.timeout_ratio),
            ("schedule_failure", plan.schedule_failure_ratio),
        )
        for result, ratio in others:
            if draw < ratio:
                return result
            draw -= ratio
        self._failing = False
        return "success"


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage of a build.

    Attributes:
        key: the service's identifier.
        name: the display name.
        result: how it ends, or ended.
    """

    key: str
    name: str
    start_ms: int
    finish_ms: int
    result: Result

    @property
    def duration_ms(self) -> int:
        """Duration, including its wait."""
        return self.finish_ms - self.start_ms

    @property
    def ran(self) -> bool:
        """Return whether it did anything; a build may end before it."""
        return self.result == "success" or self.duration_ms > 0


def stages_of(build: Build, plan: Plan) -> list[Stage]:
    """All planned stages of a build; those of a finished build add up to its duration."""
    if build.start_ms is None:
        return []
    count = len(plan.stages)
    stops = build.finish_ms is not None and build.result in ("failure", "aborted", "timeout")
    last = build.number % count if stops else count - 1
    end_ms = build.start_ms + EXPECTED_MS if build.finish_ms is None else build.finish_ms
    total = sum(share for _, share in plan.stages[: last + 1])
    stages: list[Stage] = []
    spent, start_ms = 0, build.start_ms
    for index, (name, share) in enumerate(plan.stages):
        key = "initial" if index == 0 else "final" if index == count - 1 else f"stage{index}"
        spent = min(total, spent + share)
        finish_ms = build.start_ms + (end_ms - build.start_ms) * spent // total
        stages.append(Stage(key, name, start_ms, finish_ms, "success" if index < last else build.result))
        start_ms = finish_ms
    return stages


def stage_durations(stages: Iterable[Stage]) -> list[tuple[str, int]]:
    """Names and durations of the stages that ran; a repeated name gets a number."""
    durations: list[tuple[str, int]] = []
    occurrences: Counter[str] = Counter()
    for stage in stages:
        occurrences[stage.name] += 1
        if stage.ran:
            nth = occurrences[stage.name]
            durations.append((stage.name if nth == 1 else f"{stage.name} ({nth})", stage.duration_ms))
    return durations


@lru_cache(maxsize=16_384, typed=True)
def hex_id(seed: int, *parts: object) -> str:
    """32 characters ``[0-9a-f]``."""
    text = "/".join(str(part) for part in (seed, *parts))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


@lru_cache(maxsize=16_384, typed=True)
def uuid_id(seed: int, *parts: object) -> str:
    """36 characters, formatted as a UUID."""
    return str(uuid.UUID(hex_id(seed, "uuid", *parts)))


def job_name(ordinal: int) -> str:
    """``checkout-release``, ``cart-release``, …, then the same again with a number."""
    component = COMPONENTS[ordinal % len(COMPONENTS)]
    purpose = PURPOSES[ordinal // len(COMPONENTS) % len(PURPOSES)]
    lap = ordinal // (len(COMPONENTS) * len(PURPOSES))
    return f"{component}-{purpose}" + (f"-{lap + 1}" if lap else "")


def project_name(ordinal: int) -> str:
    """``shop``, ``payments``, …, then the same again with a number."""
    lap = ordinal // len(PROJECTS)
    return PROJECTS[ordinal % len(PROJECTS)] + (f"-{lap + 1}" if lap else "")


def record_id(seed: int, ordinal: int, number: int) -> str:
    """The 36-character id of a build, which encodes job and number."""
    right = _half(seed, "check", ordinal, number)
    left = (ordinal << 32 | number) ^ _half(seed, "mask", right)
    return str(uuid.UUID(int=left << 64 | right))


def read_record_id(seed: int, text: str) -> tuple[int, int] | None:
    """Job ordinal and build number of a `record_id`; None if it is not one."""
    try:
        value = uuid.UUID(text).int
    except ValueError:
        return None
    right = value & (1 << 64) - 1
    left = value >> 64 ^ _half(seed, "mask", right)
    ordinal, number = left >> 32, left & (1 << 32) - 1
    return (ordinal, number) if record_id(seed, ordinal, number) == text else None


def _half(seed: int, *parts: object) -> int:
    return int(hex_id(seed, *parts)[:16], 16)
