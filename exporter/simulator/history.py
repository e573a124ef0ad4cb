"""period-history: which builds a page holds, and what a record says.

Rests on its document: paging by page number, days, whole seconds, the daily number as ``record_id``. That
days are UTC+8 and inclusive, and that the newest come first, is a guess; faults change the last two.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final

from exporter.simulator.builds import LOCAL, Build
from exporter.simulator.faults import Faults
from exporter.simulator.fleet import Fleet
from exporter.simulator.identity import hex_id
from exporter.simulator.telling import local_stamp, phase, tell, trigger_word

OPERATION: Final = "period-history"


@dataclass(frozen=True, slots=True)
class Period:
    """What is asked for: a page number, a page size and days."""

    offset: int
    limit: int
    start: date
    end: date


def history_answer(fleet: Fleet, faults: Faults, job_id: str, period: Period) -> dict[str, object]:
    """The body of a period-history answer."""
    now_ms = fleet.clock.now_ms()
    shown = [(b, at) for b in fleet.builds(job_id) if (at := _as_of(faults, b, now_ms)) is not None]
    end = period.end - timedelta(days=1 if faults.fire("exclusive-end", OPERATION, job_id) else 0)
    first_ms, last_ms = _midnight_ms(period.start), _midnight_ms(end + timedelta(days=1))
    matching = [(build, at) for build, at in shown if first_ms <= build.filed_ms(at) < last_ms]
    ordered = _ordered(fleet, faults, job_id, matching)
    page = _page(faults, job_id, ordered, period)
    records: list[object] = [_record(fleet, faults, build, at) for build, at in page]
    return {"total": len(ordered), "history_records": records}


def ids_of_commit(fleet: Fleet, build: Build) -> str:
    """40 characters, as a commit id is."""
    return (hex_id(fleet.seed, build.job_id, build.number) + hex_id(fleet.seed, "commit", build.number))[:40]


def _as_of(faults: Faults, build: Build, now_ms: int) -> int | None:
    """The moment as of which history tells a build: now, before its end, or None for not at all."""
    if faults.strikes("lost-records", OPERATION, build.job_id, build.number):
        return None
    if not build.finished(now_ms):
        show = faults.fire("running-builds", OPERATION, build.job_id)
        return None if show and show.text("show") == "absent" else now_ms
    late = faults.strikes("late-records", OPERATION, build.job_id, build.number)
    finish_ms = build.finish_ms or 0
    if late is None or finish_ms + late.number("seconds") * 1000 <= now_ms:
        return now_ms
    return finish_ms - 1 if late.text("meanwhile") == "running" else None


def _ordered(
    fleet: Fleet, faults: Faults, job_id: str, builds: list[tuple[Build, int]]
) -> list[tuple[Build, int]]:
    struck = faults.fire("order", OPERATION, job_id)
    if struck and struck.text("by") == "random":
        shuffled = list(builds)
        random.Random(f"{fleet.seed}/{struck.fired}").shuffle(shuffled)
        return shuffled
    ascending = struck is not None and struck.text("by") == "ascending"
    return sorted(builds, key=lambda pair: pair[0].number, reverse=not ascending)


def _page(
    faults: Faults, job_id: str, builds: Sequence[tuple[Build, int]], period: Period
) -> Sequence[tuple[Build, int]]:
    first = period.offset * period.limit
    if faults.fire("record-offset", OPERATION, job_id):
        first = period.offset
    if period.offset > 0 and (struck := faults.fire("shifting-pages", OPERATION, job_id)):
        first = max(0, first - int(struck.number("by")))
    return builds[first : first + period.limit]


def _record(fleet: Fleet, faults: Faults, build: Build, as_of_ms: int) -> dict[str, object]:
    told = tell(fleet, faults, OPERATION, build, as_of_ms)
    style = faults.fire("time-style", OPERATION, build.job_id)
    zone_style = style.text("style") if style else "colon"
    end_time, result = local_stamp(told.finish_ms, zone_style), told.result
    if told.finish_ms is None and (show := faults.fire("running-builds", OPERATION, build.job_id)):
        if show.text("show") == "phase":
            result = phase(build, as_of_ms)
        elif show.text("show") == "empty":
            end_time, result = "", ""
    return {
        "record_id": build.daily_number,
        "job_id": build.job_id,
        "build_number": build.number,
        "start_time": local_stamp(told.start_ms, zone_style),
        "end_time": end_time,
        "result": result,
        "branch": build.branch,
        "commit_id": ids_of_commit(fleet, build),
        "commit_message": f"Change {build.number}",
        "executor": "exporter",
        "trigger_type": trigger_word(faults, OPERATION, build),
    }


def _midnight_ms(day: date) -> int:
    return round(datetime(day.year, day.month, day.day, tzinfo=LOCAL).timestamp() * 1000)
