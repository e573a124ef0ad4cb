"""Replays builds from the spool: the ledger of each job as it was, one stretch of time after another.

Memory holds a ledger for each job and the builds of one stretch.
"""

from collections import Counter, deque
from collections.abc import Iterable, Sequence

from exporter.backfill.openmetrics import Segment
from exporter.backfill.past_build import KnownBuild, PastBuild, missing_builds
from exporter.backfill.past_ledger import apply_finished, initial_ledger, with_new_series_at_zero
from exporter.backfill.plan import PastJob, Period
from exporter.backfill.spool import Spool
from exporter.ledger.job_ledger import JobLedger
from exporter.metrics import JobView
from exporter.poller import Rules

DatedBuild = tuple[int, PastBuild]
"""The finish time of a build in milliseconds since the epoch, and the build."""


class Replay:
    """Replays one or all of the jobs in a spool, from the start of a period."""

    def __init__(self, jobs: Sequence[PastJob], period: Period, rules: Rules, spool: Spool) -> None:
        self._period = period
        self._spool = spool
        self._only = jobs[0].job.id if len(jobs) == 1 else None
        self._through_ms = self._fetched_ms = period.start_ms
        self._replays = {job.job.id: _JobReplay(job, period, rules, spool) for job in jobs}

    @property
    def faults(self) -> Counter[str]:
        """Implausible values in API data, by reason."""
        return sum((replay.faults for replay in self._replays.values()), Counter())

    def advance(self, before_ms: int) -> list[list[Segment]]:
        """Replay until before ``before_ms``; return the segments of each job since the last call."""
        first_ms, self._through_ms = self._through_ms, before_ms - 1
        fetched_ms, self._fetched_ms = self._fetched_ms, before_ms - 1 + self._period.step_ms
        found = self._spool.finished(fetched_ms, self._fetched_ms, self._only)
        begin_ms = first_ms if first_ms == self._period.start_ms else first_ms + 1
        return [
            replay.segments(found.get(job_id, ()), begin_ms, before_ms)
            for job_id, replay in self._replays.items()
        ]


class _JobReplay:
    def __init__(self, job: PastJob, period: Period, rules: Rules, spool: Spool) -> None:
        self._job = job.job
        self._end_ms = job.end_ms
        self._period = period
        self._rules = rules
        known = spool.known(job.job.id)
        self._highest = known[-1].number if known else 0
        self._cutoff = job.cutoff(known)
        # Builds that finished after the end by the service's clock, but below the baseline.
        late = spool.finished(job.end_ms, self._cutoff.end_ms, job.job.id).get(job.job.id, ())
        self._late = [past for finish_ms, past in late if self._is_included(finish_ms, past)]
        before = spool.finished(0, period.start_ms, job.job.id).get(job.job.id, ())
        self._ledger = self._initial_ledger(before, known)
        self._pending: deque[DatedBuild] = deque()
        self.faults: Counter[str] = Counter()

    def segments(self, finished: Iterable[DatedBuild], first_ms: int, before_ms: int) -> list[Segment]:
        """Split the samples from ``first_ms`` until before ``before_ms`` where the ledger changes.

        ``finished`` has the builds since the last call, up to a step after ``before_ms``.
        """
        self._pending += [
            (finish_ms, past)
            for finish_ms, past in finished
            if finish_ms <= self._end_ms and self._is_included(finish_ms, past)
        ]
        segments: list[tuple[list[int], JobLedger]] = []
        for time_ms in self._period.sample_times(first_ms, before_ms, self._end_ms):
            ledger = self._sampled_ledger(time_ms)
            if segments and segments[-1][1] is ledger:
                segments[-1][0].append(time_ms)
            else:
                segments.append(([time_ms], ledger))
        return [Segment(tuple(times_ms), JobView(self._job, ledger)) for times_ms, ledger in segments]

    def _initial_ledger(self, finished: Iterable[DatedBuild], known: Sequence[KnownBuild]) -> JobLedger:
        start_ms = self._period.start_ms
        before = [past.merged for _, past in finished if past.build.number <= self._highest]
        counted: list[int] = []
        # A build still running at the cutoff may have finished since, but is not part of the backfill.
        uncounted: list[tuple[int, int]] = []
        for number, dated_ms, *_ in known:
            if dated_ms is None or not (dated_ms <= start_ms or self._cutoff.includes(number, dated_ms)):
                uncounted.append((number, number))
            elif start_ms < dated_ms:
                counted.append(number)
        return initial_ledger(before, counted, uncounted + missing_builds(known), start_ms, self._rules)

    def _is_included(self, finish_ms: int, past: PastBuild) -> bool:
        number = past.build.number
        return number <= self._highest and self._cutoff.includes(number, finish_ms)

    def _sampled_ledger(self, time_ms: int) -> JobLedger:
        """Return the ledger at a sample, with the new series of the next sample at 0."""
        ledger = self._advance(time_ms)
        following = self._period.sample_times(time_ms + 1, time_ms + self._period.step_ms + 1, self._end_ms)
        after = self._advance(following[0]) if following else ledger
        return ledger if after is ledger else with_new_series_at_zero(ledger, after)

    def _advance(self, time_ms: int) -> JobLedger:
        """Apply the builds that finished by then; the ledger stays the same object if there are none."""
        is_last = time_ms == self._end_ms // 1000 * 1000
        through_ms = self._end_ms if is_last else time_ms
        builds: list[PastBuild] = []
        while self._pending and self._pending[0][0] <= through_ms:
            builds.append(self._pending.popleft()[1])
        if is_last:
            builds += self._late
            self._late = []
        if builds:
            folded = apply_finished(self._ledger, builds, through_ms, self._rules)
            self.faults.update(folded.faults)
            self._ledger = folded.ledger
        return self._ledger
