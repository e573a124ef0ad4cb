"""A service for the replay of the planner, made up from the answers of the real one. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import date
from itertools import count
from typing import Final

from exporter.api.adaptive_rate_limit import AdaptiveRateLimit
from exporter.api.endpoint_fallback import Sources
from exporter.api.pagination import pages_of
from exporter.config import Config
from exporter.doctor.probe_answers import Answers, ListAnswer
from exporter.doctor.watched_jobs import WatchedJobs
from exporter.errors import ApiError, NotVisibleError, RefusalError
from exporter.model import Build, BuildDetail, ListedJob, RecycleBin, Result, Stage, State, Trigger
from exporter.poller.tasks_and_results import ALL, Listing
from exporter.poller.watchlist import Watchlist

_START_MS: Final = 1_750_000_000_000
_GOLDEN_RATIO: Final = 0.618034
"""Its multiples modulo 1 are spread evenly, and in step with no interval."""

_FIRST_BUILD_S: Final = (-7200.0, -7180.0)


class Sample(Watchlist):
    """Some of the watched jobs, planned as if all were there."""

    def __init__(self, config: Config, watched: WatchedJobs) -> None:
        super().__init__(config)
        listed, self._size = watched.listed, len(watched.jobs)
        self._projects_of_all = frozenset(
            listed[job.id].names.project_id if job.id in listed else "" for job in watched.jobs
        )

    @property
    def size(self) -> int:
        """The number of all watched jobs."""
        return self._size

    @property
    def projects_of_jobs(self) -> frozenset[str]:
        """The projects of all watched jobs, as the lists of the real service show them."""
        return self._projects_of_all


class MadeUpService:
    """Job lists, refusals and recycle bin are those of the answers; each job has built once.

    Args:
        answers: of the examined service.
        job_ids: the jobs that are replayed.
        weight: how many watched jobs each of them stands for.
        limit: requests a minute, which then take time; None for no limit.

    Attributes:
        now: the fake clock, in seconds.
        requests: the requests so far, by operation.
        builds: start and finish of each build by job, oldest first; the first one has number 1.
    """

    def __init__(self, answers: Answers, job_ids: Iterable[str], weight: float, limit: float | None) -> None:
        self.now = 0.0
        self.sources = Sources()
        self.weight = weight
        self.requests: defaultdict[str, float] = defaultdict(float)
        self.builds = {job_id: [_FIRST_BUILD_S] for job_id in job_ids}
        self._answers = answers
        self._lists = dict(answers.lists)
        self._rate_limit = AdaptiveRateLimit(limit, 0.0) if limit else None

    def add_builds(self, begin: float, build_s: float, number: int, *, every_s: float) -> None:
        """Let each job run builds of that duration, spread evenly over the first half of each period."""
        places = count()
        for builds in self.builds.values():
            starts = [begin + every_s * (n + next(places) * _GOLDEN_RATIO % 1 / 2) for n in range(number)]
            builds.extend((start, start + build_s) for start in starts)

    def now_ms(self) -> int:
        """The fake clock as the service dates builds."""
        return _START_MS + round(self.now * 1000)

    def wait_s(self, operation: str) -> float:
        """Nothing has to wait."""
        return 0.0

    def period_history(
        self, job_id: str, start: date, end: date, is_enough: object = None
    ) -> tuple[Build, ...]:
        """All builds of a job that have started."""
        self._count("period-history", self.weight)
        answer = self._answers.histories.get(job_id)
        if isinstance(answer, RefusalError):
            raise answer
        if job_id in self._answers.deleted:
            raise NotVisibleError("the job is deleted")
        return tuple(self._builds(job_id))

    def record_info(self, job_id: str, number: int) -> BuildDetail:
        """A build in detail."""
        self._count("record-info", self.weight)
        builds = self._builds(job_id)
        if number > len(builds):
            raise NotVisibleError("no such build")
        build = builds[number - 1]
        start_ms, finish_ms = build.start_ms, build.finish_ms
        duration_ms = finish_ms - start_ms if finish_ms and start_ms else None
        return BuildDetail(
            number,
            build.result,
            build.state,
            start_ms,
            start_ms,
            finish_ms,
            duration_ms,
            branch="main",
            trigger=Trigger.MANUAL,
            record_id=str(number),
        )

    def records(
        self,
        build_project_id: str,
        start_ms: int | None = None,
        end_ms: int | None = None,
        is_enough: object = None,
    ) -> tuple[BuildDetail, ...]:
        """Nothing: no answer has shown a build project."""
        return ()

    def records_compared(self, *, agreed: bool) -> None:
        """Not called, since there are no records."""

    def full_stages(self, record_id: str) -> tuple[Stage, ...]:
        """No stages; they cost a request all the same."""
        self._count("full-stages", self.weight)
        return ()

    def job_list(
        self, project_id: str, *, max_jobs: int | None, expected: int
    ) -> tuple[Mapping[str, ListedJob], int, bool]:
        """The replayed jobs of a list, at the cost and with the size of the real one."""
        answer = self._list_answer(project_id)
        is_whole = isinstance(answer, ListAnswer) and answer.listing.is_whole
        pages = pages_of(answer.size) if isinstance(answer, ListAnswer) and is_whole else 1
        self._count("project-job-list" if project_id else "job-list", pages)
        if not isinstance(answer, ListAnswer):
            raise answer
        listed = answer.listing.jobs
        jobs = {
            job_id: self._listed(listed[job_id], project_id) for job_id in self.builds if job_id in listed
        }
        return jobs, answer.size, is_whole

    def list_size(self, project_id: str) -> int:
        """Return the number of jobs in the real list."""
        answer = self._list_answer(project_id)
        return answer.size if isinstance(answer, ListAnswer) else 0

    def project_names(self) -> Mapping[str, str]:
        """The names that the real service gave."""
        self._count("projects", 1)
        return self._answers.names if isinstance(self._answers.names, Mapping) else {}

    def recycle_bin(self) -> RecycleBin:
        """The real recycle bin."""
        self._count("recycling-jobs", pages_of(len(self._answers.deleted)))
        return RecycleBin(None, self._answers.deleted)

    def _count(self, operation: str, requests: float) -> None:
        self.requests[operation] += requests
        if self._rate_limit:
            for _ in range(round(requests)):
                self.now = self._rate_limit.next_send_at(self.now)
                self._rate_limit.sent(self.now)

    def _list_answer(self, project_id: str) -> ListAnswer | ApiError:
        """The real list; of a project that was not asked about, its part of the list of all jobs."""
        if project_id not in self._lists:
            everything = self._lists.get(ALL)
            listed = everything.listing.jobs if isinstance(everything, ListAnswer) else {}
            jobs = {job.id: job for job in listed.values() if job.names.project_id == project_id}
            refusal = NotVisibleError("the list was not read")
            self._lists[project_id] = ListAnswer(Listing(project_id, jobs), len(jobs)) if jobs else refusal
        return self._lists[project_id]

    def _listed(self, job: ListedJob, project_id: str) -> ListedJob:
        build = self._builds(job.id)[-1]
        return replace(
            job,
            last_build_ms=build.start_ms,
            is_finished=build.result is not None,
            status="success" if build.result else "running",
            number=build.number if project_id == ALL else None,
            state=build.state,
        )

    def _builds(self, job_id: str) -> list[Build]:
        builds: list[Build] = []
        for number, (start, finish) in enumerate(self.builds[job_id], 1):
            start_ms, finish_ms = (_START_MS + round(moment * 1000) for moment in (start, finish))
            if finish <= self.now:
                builds.append(Build(number, Result.SUCCESS, start_ms=start_ms, finish_ms=finish_ms))
            elif start <= self.now:
                builds.append(Build(number, state=State.RUNNING, start_ms=start_ms))
        return builds
