"""The past of all jobs once more, from the spool: ledgers as they were, one stretch of time after another.

What is held in memory is a ledger for each job, and the builds of one stretch.
"""

from collections import Counter, deque
from collections.abc import Sequence

from exporter.backfill.border import Border, PastJob
from exporter.backfill.lines import Stretch
from exporter.backfill.past import PastBuild, begin, grow
from exporter.backfill.period import Period
from exporter.backfill.spool import Spool
from exporter.backfill.wanted import missing
from exporter.catalogue import JobView
from exporter.ledger import JobLedger
from exporter.poller import Rules


class Replay:
    """Lets some jobs happen again, from the start of a period on.

    Args:
        jobs: one or all of those in the spool.
        period: their samples.
        rules: from the configuration.
        spool: has their builds.

    Attributes:
        faults: what was told but cannot be right.
    """

    def __init__(self, jobs: Sequence[PastJob], period: Period, rules: Rules, spool: Spool) -> None:
        self._jobs = jobs
        self._period = period
        self._rules = rules
        self._spool = spool
        self._only = jobs[0].job.id if len(jobs) == 1 else None
        self._through_ms = period.start_ms
        self._waiting: dict[str, deque[tuple[int, PastBuild]]] = {one.job.id: deque() for one in jobs}
        self._late: dict[str, list[PastBuild]] = {}
        self._highest: dict[str, int] = {}
        self._borders: dict[str, Border] = {}
        self._ledgers = {one.job.id: self._begin(one) for one in jobs}
        self.faults: Counter[str] = Counter()

    def until(self, before_ms: int) -> list[list[Stretch]]:
        """Go on to some moment; the stretches of each job up to it, split where its ledger changes."""
        first_ms, self._through_ms = self._through_ms, before_ms - 1
        found = self._spool.finished(first_ms, before_ms - 1, self._only)
        for one in self._jobs:
            finished = found.get(one.job.id, ())
            self._waiting[one.job.id] += [
                (at_ms, past)
                for at_ms, past in finished
                if at_ms <= one.end_ms and self._is_past(one, at_ms, past)
            ]
        begun_ms = first_ms if first_ms == self._period.start_ms else first_ms + 1
        return [self._stretches(one, begun_ms, before_ms) for one in self._jobs]

    def _begin(self, one: PastJob) -> JobLedger:
        start_ms = self._period.start_ms
        known = self._spool.known(one.job.id)
        self._highest[one.job.id] = highest = known[-1].number if known else 0
        self._borders[one.job.id] = border = one.border(known)
        late = self._spool.finished(one.end_ms, border.end_ms, one.job.id).get(one.job.id, ())
        self._late[one.job.id] = [past for at_ms, past in late if self._is_past(one, at_ms, past)]
        finished = self._spool.finished(0, start_ms, one.job.id).get(one.job.id, ())
        before = [past.told for _, past in finished if past.build.number <= highest]
        dates = [(each.number, each.dated_ms) for each in known]
        later = [
            number for number, ms in dates if ms is not None and start_ms < ms and border.includes(number, ms)
        ]
        # A build that still ran when the past ended may have finished since, but must show as if it ran.
        never = [
            (number, number)
            for number, ms in dates
            if ms is None or not (ms <= start_ms or border.includes(number, ms))
        ]
        return begin(before, later, never + missing(known), start_ms, self._rules)

    def _is_past(self, one: PastJob, at_ms: int, past: PastBuild) -> bool:
        number = past.build.number
        return number <= self._highest[one.job.id] and self._borders[one.job.id].includes(number, at_ms)

    def _stretches(self, one: PastJob, first_ms: int, before_ms: int) -> list[Stretch]:
        stretches: list[Stretch] = []
        moments: list[int] = []
        for at_ms in self._period.moments(first_ms, before_ms, one.end_ms):
            grown = self._grown(one, at_ms)
            if grown is not self._ledgers[one.job.id]:
                if moments:
                    stretches.append(self._stretch(one, moments))
                moments = []
                self._ledgers[one.job.id] = grown
            moments.append(at_ms)
        if moments:
            stretches.append(self._stretch(one, moments))
        return stretches

    def _stretch(self, one: PastJob, moments: Sequence[int]) -> Stretch:
        return Stretch(tuple(moments), JobView(one.job, self._ledgers[one.job.id]))

    def _grown(self, one: PastJob, at_ms: int) -> JobLedger:
        """The ledger as of a moment; the same object where nothing finished since."""
        ledger, waiting = self._ledgers[one.job.id], self._waiting[one.job.id]
        is_last = at_ms == one.end_ms // 1000 * 1000
        through_ms = one.end_ms if is_last else at_ms
        builds: list[PastBuild] = []
        while waiting and waiting[0][0] <= through_ms:
            builds.append(waiting.popleft()[1])
        if is_last:
            builds += self._late[one.job.id]
        if not builds:
            return ledger
        folded = grow(ledger, builds, through_ms, self._rules)
        self.faults.update(folded.faults)
        return folded.ledger
