"""What one backfill is about: which jobs, and from when to when; settled once, and kept in the spool."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from pydantic import TypeAdapter

from exporter.backfill.border import PastJob
from exporter.backfill.period import Period
from exporter.backfill.spool import Spool
from exporter.errors import BackfillError

_REQUEST: Final = "request"
_PLAN: Final = "plan"


@dataclass(frozen=True, slots=True)
class Plan:
    """The jobs, each with its end, and the period that all of them lie in; ms since the epoch.

    Attributes:
        begun_ms: when it was settled.
    """

    jobs: tuple[PastJob, ...]
    start_ms: int
    end_ms: int
    begun_ms: int

    def period(self, step_ms: int) -> Period:
        """With a sample every ``step_ms``; it begins on a multiple of that."""
        return Period(self.start_ms // step_ms * step_ms, self.end_ms, step_ms)


_JSON: Final = TypeAdapter(Plan)


def planned(spool: Spool, request: str, settle: Callable[[], Plan]) -> tuple[Plan, bool]:
    """The plan that the spool holds, or a new one; and whether it was there before.

    Args:
        spool: holds the answers of one request.
        request: what was asked for, in any form that is the same for the same request.
        settle: makes the plan; called once for each spool.

    Raises:
        BackfillError: the spool is of another request, or there is no job to plan for; nothing is kept then.
    """
    kept = spool.recall(_PLAN)
    if kept is None:
        plan = settle()
        if not plan.jobs:
            raise BackfillError("no job is left whose past could be brought back")
        spool.note(_REQUEST, request)
        spool.note(_PLAN, _JSON.dump_json(plan).decode())
        return plan, False
    if spool.recall(_REQUEST) != request:
        raise BackfillError(
            f"{spool.path}: holds a backfill of other jobs or another time; "
            "repeat that command, choose another --output or --spool, or remove the file"
        )
    return _JSON.validate_json(kept), True
