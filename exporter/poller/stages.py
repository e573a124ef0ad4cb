"""Stages of builds, a step of their own behind the polls: whose turn it is, and what to ask.

A poll counts, and is committed and published. Builds that then wait for their stages are asked about when
nothing else is due, by some of the threads only. A step takes nothing from its job: that is polled meanwhile
as if there were no step.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from exporter.errors import ApiError, ThrottledError
from exporter.ledger import Failed, JobLedger, KnownStages, StageAnswer, Stages
from exporter.poller.asking import ask_each
from exporter.poller.intervals import JITTER, sooner
from exporter.poller.poll import Api
from exporter.poller.schedule import Schedule

STAGES_AT_ONCE: Final = 10
"""So many builds are asked about in one step: a thread is soon free for a poll, what was learnt soon kept."""

LONGEST_PAUSE_S: Final = 600.0
"""The longest that anybody waits because stages do not come."""

BROKEN_AFTER: Final = 3
"""After so many steps in a row that brought nothing, one at a time tries whether they come again."""

_OF_STAGES: Final = "stages:"
_SHARE: Final = 4


def stages_of(job_id: str) -> str:
    """The task of asking for the stages of a job's builds."""
    return _OF_STAGES + job_id


def is_of_stages(task: str) -> bool:
    """Whether a task asks for stages."""
    return task.startswith(_OF_STAGES)


def job_of(task: str) -> str:
    """The job of a task that polls it or asks for its stages; any other task as it is."""
    return task.removeprefix(_OF_STAGES)


@dataclass(frozen=True, slots=True)
class Told:
    """What a step brought.

    Attributes:
        answers: of the builds that were asked about; a failure is here only if it counts as a try.
        failure: what failed last; None where nothing did.
        refusal: what was refused last; None where nothing was.
    """

    answers: tuple[StageAnswer, ...]
    failure: ApiError | None = None
    refusal: ApiError | None = None

    @property
    def is_well(self) -> bool:
        """Nothing failed; the next builds can be asked about at once."""
        return self.failure is None

    @property
    def is_empty(self) -> bool:
        """Nothing was asked."""
        return not self.answers and self.failure is None

    @property
    def helps(self) -> bool:
        """It brought something, be it a refusal."""
        return any(not isinstance(answer, Failed) for answer in self.answers)

    @property
    def has_stages(self) -> bool:
        """It brought the stages of a build."""
        return any(isinstance(answer, KnownStages) for answer in self.answers)


def ask_stages(ledger: JobLedger | None, api: Api, *, failures_count: bool) -> Told:
    """Ask for the stages of the builds that wait, as many as one step takes.

    Args:
        ledger: of the job, as committed.
        api: is asked.
        failures_count: whatever fails is a try of its build. Otherwise it is one only if the API answered
            about another build afterwards: the API as a whole may be in trouble.
    """
    stages = ledger.stages if ledger else Stages()

    def ask(number: int) -> KnownStages:
        return KnownStages(number, api.full_stages(stages.awaited[number].record_id))

    asked = ask_each(stages.wanted()[:STAGES_AT_ONCE], ask, ApiError)
    answers = list(asked.answers)
    while answers and isinstance(answers[-1], Failed) and not failures_count:
        answers.pop()
    return Told(tuple(answers), asked.failure, asked.refusal)


class StageSteps:
    """Which jobs wait for a step, and since when; each waits or is under way, once.

    Args:
        interval: seconds from a step that brought nothing to the next of its job; then ever more.
        concurrency: tasks of all kinds under way at once; a quarter of them may be steps, and always one.
    """

    def __init__(self, interval: float, concurrency: int) -> None:
        self._interval = interval
        self._at_once = max(1, concurrency // _SHARE)
        self._schedule = Schedule()
        self._failures: dict[str, int] = {}
        self._doubtful: set[str] = set()
        self._proven: set[str] = set()
        self._in_a_row = 0
        self._resume = float("-inf")

    def want(self, job_id: str, now: float) -> None:
        """Builds of that job wait for their stages; where the last step failed, they wait a while."""
        task = stages_of(job_id)
        if task not in self._schedule:
            self._schedule.put(task, now + self._pause(self._failures.get(job_id, 0)))

    def take(self, now: float, limit: int) -> list[str]:
        """Up to ``limit`` tasks whose turn it is, those that wait longest first."""
        return self._schedule.take(now, min(limit, self._room())) if now >= self._resume else []

    def wait(self, now: float) -> float:
        """Seconds until a task can be taken; an hour where none can until another has ended."""
        return max(self._schedule.wait(now), self._resume - now) if self._room() else 3600.0

    def polls_answer(self) -> None:
        """A poll was answered, if only by a refusal: what failed for stages was not all of the API."""
        self._proven |= self._doubtful
        self._doubtful.clear()

    def failures_count(self, job_id: str) -> bool:
        """Whether failures of the job's next step do: its last one failed, and a poll was answered since."""
        return job_id in self._proven

    def ended(self, job_id: str, now: float, told: Told | None) -> None:
        """A step ended; builds that still wait are to be told by `want`.

        Args:
            job_id: of which job.
            now: the present.
            told: what it brought; None where nothing of that was kept.
        """
        if told and told.is_empty:
            self._schedule.done(stages_of(job_id))
            return
        helps = told is not None and told.helps
        failures = 0 if helps else self._failures.get(job_id, 0)
        self._failures.pop(job_id, None)
        if self._schedule.done(stages_of(job_id)):
            if not (told and told.is_well):
                self._failures[job_id] = failures + 1
            if told and not isinstance(told.failure, ThrottledError):
                self._doubt(job_id, failed=not told.is_well)
        self._in_a_row = 0 if helps else self._in_a_row + 1
        self._resume = now + self._pause(self._in_a_row + 1 - BROKEN_AFTER)

    def call_back(self) -> None:
        """The steps under way come to nothing; their turn comes again."""
        self._schedule.call_back()

    def drop(self, job_ids: Collection[str]) -> None:
        """Those jobs are not watched any more."""
        for job_id in job_ids:
            self._schedule.remove(stages_of(job_id))
            self._failures.pop(job_id, None)
            self._doubtful.discard(job_id)
            self._proven.discard(job_id)

    def _doubt(self, job_id: str, *, failed: bool) -> None:
        """Whether the API as a whole or only its stages failed is not known before a poll is answered."""
        self._proven.discard(job_id)
        self._doubtful.discard(job_id)
        if failed:
            self._doubtful.add(job_id)

    def _room(self) -> int:
        most = self._at_once if self._in_a_row < BROKEN_AFTER else 1
        return max(0, most - self._schedule.under_way)

    def _pause(self, failures: int) -> float:
        if failures <= 0:
            return 0.0
        longest = max(self._interval, LONGEST_PAUSE_S)
        return sooner(min(longest, self._interval * (1 << min(failures - 1, 20))), JITTER)
