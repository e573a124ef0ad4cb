"""What can be wrong with a job."""

from enum import StrEnum
from typing import Final

from exporter.ledger import JobLedger
from exporter.metrics import JobView

STUCK_FACTOR: Final = 3
"""A build is stuck after so many times the longest of the builds before it."""

STUCK_KNOWN: Final = 5
"""As long as fewer durations are known, the longest of them says little."""

STUCK_MS: Final = 2 * 3_600_000
"""Where durations say little, a build is stuck after this; the alert for stuck builds takes it too."""

SHORTEST_STUCK_MS: Final = 120_000
"""However short the builds of a job are, waiting this long is nothing to worry about."""


class Trouble(StrEnum):
    """What is wrong with a job, the worst first."""

    FAILING = "failing"
    STUCK = "stuck"
    DELETED = "deleted"
    NOT_VISIBLE = "not visible"
    STALE = "stale"


SEVERITY: Final = {trouble: place for place, trouble in enumerate(Trouble)}

EXPLAINED: Final = {
    Trouble.FAILING: "no success since the last failure",
    Trouble.STUCK: "a build waits or runs for far longer than usual",
    Trouble.DELETED: "the job lies in the recycle bin",
    Trouble.NOT_VISIBLE: "the last poll of the job failed: refused, not found, or the API is down",
    Trouble.STALE: "not polled for long",
}


def troubles(view: JobView, now_ms: int, stale_after_ms: int) -> tuple[Trouble, ...]:
    """All that is wrong with a job, the worst first."""
    ledger = view.ledger
    found: list[Trouble] = []
    if ledger:
        if ledger.consecutive_failures:
            found.append(Trouble.FAILING)
        if ledger.open and _is_stuck(ledger, now_ms if view.checked_ms is None else view.checked_ms):
            found.append(Trouble.STUCK)
    if view.deleted:
        found.append(Trouble.DELETED)
    if view.up is False:
        found.append(Trouble.NOT_VISIBLE)
    if view.checked_ms is not None and now_ms - view.checked_ms > stale_after_ms:
        found.append(Trouble.STALE)
    return tuple(found)


def _is_stuck(ledger: JobLedger, checked_ms: int) -> bool:
    """As of the last poll: nobody knows what has ended since."""
    since_ms = ledger.oldest_active_ms
    if since_ms is None:
        return False
    durations = [build.duration_ms for build in ledger.recent if build.duration_ms is not None]
    usual_ms = max(durations) * STUCK_FACTOR if len(durations) >= STUCK_KNOWN else STUCK_MS
    return checked_ms - since_ms > max(usual_ms, SHORTEST_STUCK_MS)
