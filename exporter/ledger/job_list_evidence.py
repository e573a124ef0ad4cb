"""Job lists compared with ledgers: lists hint at builds, they prove none."""

from collections.abc import Set
from dataclasses import replace
from typing import Final

from exporter.ledger.job_ledger import SAME_START_MS, JobLedger
from exporter.ledger.record_merge import join
from exporter.ledger.unsettled import OpenBuild
from exporter.model import Build, BuildDetail, ListedJob, State

MOST_ASKED: Final = 3
"""Builds of a job that one poll requests without reading history; several at once are history's."""


def next_running(ledger: JobLedger, listed: ListedJob) -> Build | None:
    """Return the unfinished build in a job list, if all others are settled or stuck.

    Where the list does not tell its number, it is taken as the one above the highest. It may be a later one,
    if another build ran so briefly that no list showed it.
    """
    if listed.is_finished is not False or ledger.gaps or not ledger.highest:
        return None
    running = ledger.open.keys() - ledger.stuck
    number = _likely_number(ledger, listed, running) if listed.number is None else listed.number
    is_known = number in ledger.open
    if number is None or running - {number} or number != ledger.highest + (not is_known):
        return None
    start_ms = listed.last_build_ms if listed.state is State.RUNNING else None
    return Build(number, state=listed.state or State.QUEUED, start_ms=start_ms)


def _likely_number(ledger: JobLedger, listed: ListedJob, running: Set[int]) -> int | None:
    listed_ms, last = listed.last_build_ms, ledger.last
    if listed_ms is None or len(running) > 1:
        return None
    for number in running:
        start_ms = ledger.open[number].build.start_ms
        return number if start_ms is None or abs(start_ms - listed_ms) <= SAME_START_MS else None
    if last is None:
        return None
    began_ms = last.finish_ms if last.began_ms is None else last.began_ms
    is_later = began_ms is not None and listed_ms > began_ms + SAME_START_MS
    return ledger.highest + 1 if is_later else None


def shows_running(ledger: JobLedger, listed: ListedJob) -> bool:
    """Return whether a list shows exactly the builds that are unfinished, apart from stuck ones."""
    if listed.is_finished is not False:
        return False
    running = ledger.open.keys() - ledger.stuck
    number = _likely_number(ledger, listed, running) if listed.number is None else listed.number
    return running == {number}


def is_guessed(ledger: JobLedger, listed: ListedJob) -> bool:
    """Return whether only a list without numbers has shown an unfinished build."""
    return listed.number is None and any(build.only_listed for build in ledger.open.values())


def apply_listed(ledger: JobLedger, build: Build, *, at_ms: int) -> JobLedger:
    """Open the unfinished build that a job list shows at that time, as weak evidence."""
    known = ledger.open.get(build.number)
    if known is None:
        opened = OpenBuild(build, at_ms, only_listed=True)
    elif known.only_listed:
        opened = replace(known, build=build)
    else:
        opened = replace(known, build=join(known.build, replace(build, start_ms=None)))
    polled_ms = max(ledger.polled_ms, at_ms)
    return replace(ledger, polled_ms=polled_ms, open={**ledger.open, build.number: opened})


def numbers_to_ask(ledger: JobLedger, listed: ListedJob, at_ms: int) -> tuple[int, ...]:
    """List the builds to request from record-info without history, since a list shows a change.

    These are the unfinished ones and those that follow, up to the one in the list. Empty where only history
    can tell: something is missing or unclear, several builds are new, or the list shows nothing new.
    """
    running = ledger.open.keys() - ledger.stuck
    unfinished = [ledger.open[number] for number in sorted(running)]
    unclear = any(not build.is_active or build.tries or build.unseen_since_ms for build in unfinished)
    if unclear or not ledger.highest or ledger.gaps or ledger.other or ledger.is_due_for_lost_builds(at_ms):
        return ()
    highest, last = ledger.highest, ledger.last
    if listed.number is None:
        if listed.last_build_ms is None or (not running and last and begins_as(last.began_ms, listed)):
            return ()
        return (*sorted(running), *range(highest + 1, highest + 1 + MOST_ASKED))[:MOST_ASKED]
    if listed.number <= highest and listed.number not in running:
        return ()
    size = len(running) + max(0, listed.number - highest)
    return (*sorted(running), *range(highest + 1, listed.number + 1)) if size <= MOST_ASKED else ()


def is_reached(ledger: JobLedger, listed: ListedJob, detail: BuildDetail) -> bool:
    """Return whether the latest answer leads up to what a list shows."""
    if next_running(ledger, listed):
        return True
    if listed.number is not None:
        return detail.number == listed.number
    return begins_as(detail.start_ms, listed) or begins_as(detail.queued_ms, listed)


def may_show_the_next(listed: ListedJob, detail: BuildDetail) -> bool:
    """Return whether a list without numbers may show a build that began just after the one it leads to.

    Its time is then later than those of the answer, which may be rounded down to seconds.
    """
    listed_ms = listed.last_build_ms
    if listed.number is not None or listed_ms is None:
        return False
    began = [ms for ms in (detail.start_ms, detail.queued_ms) if ms is not None and begins_as(ms, listed)]
    return bool(began) and all(listed_ms >= ms + (1 if ms % 1000 else 1000) for ms in began)


def begins_as(began_ms: int | None, listed: ListedJob) -> bool:
    """Return whether a build that began then may be the one that a list shows, judging by the time."""
    listed_ms = listed.last_build_ms
    return began_ms is not None and listed_ms is not None and abs(began_ms - listed_ms) <= SAME_START_MS
