"""Streaks of failures and recoveries: runs of settled builds, summarised so that they can be joined.

A `Run` is an element of a monoid: joining neighbours is associative, so builds may be settled in any order
and still give the same streaks and recoveries. A recovery is reported by the join that makes it certain, once
both the success and the first failure of the streak are known.
"""

from dataclasses import dataclass, replace

from exporter.model import Result


@dataclass(frozen=True, slots=True)
class Recovery:
    """Time from the first failure of a streak to the success that ended it.

    Attributes:
        number: of the success; None if a row of an old version did not keep it.
        at_ms: when the success finished.
    """

    length_ms: int
    number: int | None
    at_ms: int


@dataclass(frozen=True, slots=True)
class Run:
    """Settled builds ``first`` to ``last``, without a gap.

    Attributes:
        succeeded: it contains a success (or everything before the ledger, which no streak crosses).
        lead_failure_ms: when the first failure before the first success finished.
        lead_success_ms: when the first success finished; None if it makes no recovery.
        lead_success: number of the first success.
        tail_failures: failures after the last success; of the whole run if there is none.
        tail_failure_ms: when the first of them finished.
    """

    first: int
    last: int
    succeeded: bool = False
    lead_failure_ms: int | None = None
    lead_success_ms: int | None = None
    tail_failures: int = 0
    tail_failure_ms: int | None = None
    lead_success: int | None = None

    @classmethod
    def baseline(cls, last: int) -> "Run":
        """Create the run of all numbers that are older than the ledger."""
        return cls(0, last, succeeded=True)

    @classmethod
    def neutral(cls, first: int, last: int) -> "Run":
        """Create a run of lost or unknown builds, which neither add to a streak nor end one."""
        return cls(first, last)

    @classmethod
    def single(cls, number: int, result: Result, finish_ms: int | None) -> "Run":
        """Create the run of one settled build; ``aborted`` neither adds to a streak nor ends it."""
        if result is Result.SUCCESS:
            return cls(number, number, succeeded=True, lead_success_ms=finish_ms, lead_success=number)
        if result is Result.ABORTED:
            return cls.neutral(number, number)
        return cls(number, number, lead_failure_ms=finish_ms, tail_failures=1, tail_failure_ms=finish_ms)

    def joined(self, after: "Run") -> tuple["Run", "Recovery | None"]:
        """Join this run with the next, and return the recovery that becomes certain."""
        if not after.succeeded:
            failure_ms = _first(self.tail_failure_ms, after.tail_failure_ms)
            both = replace(
                self,
                last=after.last,
                lead_failure_ms=self.lead_failure_ms if self.succeeded else failure_ms,
                tail_failures=self.tail_failures + after.tail_failures,
                tail_failure_ms=failure_ms,
            )
            return both, None
        failure_ms = _first(self.tail_failure_ms, after.lead_failure_ms)
        if not self.succeeded:
            return replace(after, first=self.first, lead_failure_ms=failure_ms), None
        both = replace(
            self, last=after.last, tail_failures=after.tail_failures, tail_failure_ms=after.tail_failure_ms
        )
        if failure_ms is None or after.lead_success_ms is None:
            return both, None
        length_ms = after.lead_success_ms - failure_ms
        return both, Recovery(length_ms, number=after.lead_success, at_ms=after.lead_success_ms)


def _first(earlier: int | None, later: int | None) -> int | None:
    return later if earlier is None else earlier
