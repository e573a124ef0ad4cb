"""The past of all jobs once more, from the spool: ledgers as they were, one stretch of time after another.

What is held in memory is a ledger for each job, and the builds of one stretch.
"""

from collections import Counter, deque
from collections.abc import Iterable, Sequence

from exporter.backfill.builds import Known, PastBuild, begin, grow, heralded, missing
from exporter.backfill.openmetrics import Stretch
from exporter.backfill.plan import PastJob, Period
from exporter.backfill.spool import Spool
from exporter.ledger import JobLedger
from exporter.metrics import JobView
from exporter.poller import Rules

Dated = tuple[int, PastBuild]
"""A build after the moment when it finished, in milliseconds since the epoch."""


class Replay:
    """Lets some jobs happen again, from the start of a period on.

    Args:
        jobs: one or all of those in the spool.
        period: their samples.
        rules: from the configuration.
        spool: has their builds.
    """

    def __init__(self, jobs: Sequence[PastJob], period: Period, rules: Rules, spool: Spool) -> None:
        self._period = period
        self._spool = spool
        self._only = jobs[0].job.id if len(jobs) == 1 else None
        self._through_ms = self._fetched_ms = period.start_ms
        self._replays = {one.job.id: _JobReplay(one, period, rules, spool) for one in jobs}

    @property
    def faults(self) -> Counter[str]:
        """What was told but cannot be right."""
        return sum((replay.faults for replay in self._replays.values()), Counter())

    def until(self, before_ms: int) -> list[list[Stretch]]:
        """Go on to some moment; the stretches of each job up to it, split where its ledger changes."""
        first_ms, self._through_ms = self._through_ms, before_ms - 1
        fetched_ms, self._fetched_ms = self._fetched_ms, before_ms - 1 + self._period.step_ms
        found = self._spool.finished(fetched_ms, self._fetched_ms, self._only)
        begun_ms = first_ms if first_ms == self._period.start_ms else first_ms + 1
        return [
            replay.stretches(found.get(job_id, ()), begun_ms, before_ms)
            for job_id, replay in self._replays.items()
        ]


class _JobReplay:
    """Lets one job happen again.

    Attributes:
        faults: what was told but cannot be right.
    """

    def __init__(self, one: PastJob, period: Period, rules: Rules, spool: Spool) -> None:
        self._job = one.job
        self._end_ms = one.end_ms
        self._period = period
        self._rules = rules
        known = spool.known(one.job.id)
        self._highest = known[-1].number if known else 0
        self._border = one.border(known)
        late = spool.finished(one.end_ms, self._border.end_ms, one.job.id).get(one.job.id, ())
        self._late = [past for at_ms, past in late if self._is_past(at_ms, past)]
        before = spool.finished(0, period.start_ms, one.job.id).get(one.job.id, ())
        self._ledger = self._begin(before, known)
        self._waiting: deque[Dated] = deque()
        self.faults: Counter[str] = Counter()

    def stretches(self, finished: Iterable[Dated], first_ms: int, before_ms: int) -> list[Stretch]:
        """Those up to a moment, split where what is shown changes.

        Args:
            finished: the builds since the last call, up to a step after that moment.
            first_ms: the first sample is not before it.
            before_ms: that moment; the last sample is before it.
        """
        self._waiting += [
            (at_ms, past) for at_ms, past in finished if at_ms <= self._end_ms and self._is_past(at_ms, past)
        ]
        stretches: list[Stretch] = []
        moments: list[int] = []
        shown = self._ledger
        for at_ms in self._period.moments(first_ms, before_ms, self._end_ms):
            ledger = self._shown(at_ms)
            if ledger is not shown:
                if moments:
                    stretches.append(self._stretch(moments, shown))
                moments = []
                shown = ledger
            moments.append(at_ms)
        if moments:
            stretches.append(self._stretch(moments, shown))
        return stretches

    def _begin(self, finished: Iterable[Dated], known: Sequence[Known]) -> JobLedger:
        start_ms = self._period.start_ms
        before = [past.told for _, past in finished if past.build.number <= self._highest]
        later: list[int] = []
        # A build that still ran when the past ended may have finished since, but must show as if it ran.
        never: list[tuple[int, int]] = []
        for number, ms, *_ in known:
            if ms is None or not (ms <= start_ms or self._border.includes(number, ms)):
                never.append((number, number))
            elif start_ms < ms:
                later.append(number)
        return begin(before, later, never + missing(known), start_ms, self._rules)

    def _is_past(self, at_ms: int, past: PastBuild) -> bool:
        number = past.build.number
        return number <= self._highest and self._border.includes(number, at_ms)

    def _stretch(self, moments: Sequence[int], ledger: JobLedger) -> Stretch:
        return Stretch(tuple(moments), JobView(self._job, ledger))

    def _shown(self, at_ms: int) -> JobLedger:
        """What a sample shows: the ledger as of its moment, and at 0 what is new in the next sample."""
        ledger = self._grown(at_ms)
        following = self._period.moments(at_ms + 1, at_ms + self._period.step_ms + 1, self._end_ms)
        after = self._grown(following[0]) if following else ledger
        return ledger if after is ledger else heralded(ledger, after)

    def _grown(self, at_ms: int) -> JobLedger:
        """The ledger as of a moment, from now on; the same object where nothing finished since."""
        is_last = at_ms == self._end_ms // 1000 * 1000
        through_ms = self._end_ms if is_last else at_ms
        builds: list[PastBuild] = []
        while self._waiting and self._waiting[0][0] <= through_ms:
            builds.append(self._waiting.popleft()[1])
        if is_last:
            builds += self._late
            self._late = []
        if builds:
            folded = grow(self._ledger, builds, through_ms, self._rules)
            self.faults.update(folded.faults)
            self._ledger = folded.ledger
        return self._ledger
