"""How builds are reported, and the pages of the history.

Words rest on the documents (results, triggers) and the provider's examples (localised triggers, colours);
how an unfinished build shows in history is a guess, and can be changed by the fault ``running-builds``.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Final

from exporter.simulator.builds import LOCAL, Build, Result, Trigger, hex_id
from exporter.simulator.faults import Faults
from exporter.simulator.fleet import Fleet

RESULT_WORDS: Final[dict[Result, str]] = {
    "success": "SUCCESS",
    "failure": "FAILURE",
    "aborted": "ABORTED",
    "timeout": "TIMEOUT",
    "schedule_failure": "SCHEDULE_FAILURE",
    "unknown": "UNSTABLE",
}

COLOURS: Final[dict[Result, str]] = {
    "success": "blue",
    "failure": "red",
    "aborted": "aborted",
    "timeout": "timeout",
    "schedule_failure": "red",
    "unknown": "yellow",
}

TRIGGER_WORDS: Final[dict[Trigger, str]] = {
    "manual": "MANUAL",
    "schedule": "TIMED_EXECUTION",
    "code_change": "CODEHUB_TRIGGER",
    "pipeline": "PIPELINE_TRIGGER",
    "unknown": "WEBHOOK_TRIGGER",
}

LOCALISED: Final[dict[str, dict[Trigger, str]]] = {
    "zh": {
        "manual": "手工触发",
        "schedule": "定时触发",
        "code_change": "代码更新触发",
        "pipeline": "流水线触发",
        "unknown": "外部触发",
    },
    "en": {
        "manual": "Manual",
        "schedule": "Scheduled",
        "code_change": "Code change",
        "pipeline": "Pipeline",
        "unknown": "Webhook",
    },
}

STARTING_MS: Final = 1000


@dataclass(frozen=True, slots=True)
class Told:
    """What a build's times and result are said to be; None for what is not said."""

    queued_ms: int
    start_ms: int | None
    finish_ms: int | None
    duration_ms: int | None
    result: str | None


def tell(fleet: Fleet, faults: Faults, operation: str, build: Build, as_of_ms: int) -> Told:
    """A build as of a moment, as this operation tells it; remembers what falsehood was told."""
    finished = build.finished(as_of_ms)
    told = Told(
        build.queued_ms,
        build.start_ms if build.started(as_of_ms) else None,
        build.finish_ms if finished else None,
        build.duration_ms if finished else None,
        RESULT_WORDS[build.result] if finished else None,
    )
    if not finished:
        if struck := faults.strikes("unknown-phase", operation, build.job_id, build.number):
            return Told(told.queued_ms, told.start_ms, None, None, struck.text("value"))
        return told
    if struck := faults.strikes("unknown-result", operation, build.job_id, build.number):
        faults.tell("unknown-result", build.job_id, build.number)
        told = Told(told.queued_ms, told.start_ms, told.finish_ms, told.duration_ms, struck.text("value"))
    return _misdate(faults, operation, build, told)


def phase(build: Build, as_of_ms: int) -> str:
    """Where an unfinished build is, in the service's words."""
    if not build.started(as_of_ms):
        return "InQueue"
    return "Running" if as_of_ms - (build.start_ms or 0) >= STARTING_MS else "Starting"


def colour(build: Build | None, as_of_ms: int) -> str:
    """The last build's result as job lists show it."""
    if build is None:
        return "none"
    return COLOURS[build.result] if build.finished(as_of_ms) else "building"


def trigger_word(faults: Faults, operation: str, build: Build) -> str:
    """The trigger, in the documented words unless a fault localises it."""
    struck = faults.fire("localised-triggers", operation, build.job_id)
    return (LOCALISED[struck.text("language")] if struck else TRIGGER_WORDS)[build.trigger]


def stamp(at_ms: int | None, zone: timezone = UTC, timespec: str = "milliseconds") -> str | None:
    """``2022-10-11T08:28:42.000+00:00``; None stays None."""
    if at_ms is None:
        return None
    whole, rest = divmod(at_ms, 1000)
    moment = datetime.fromtimestamp(whole, UTC).replace(microsecond=rest * 1000)
    return moment.astimezone(zone).isoformat(timespec=timespec)


def local_stamp(at_ms: int | None, style: str = "colon") -> str | None:
    """``2020-12-30T17:33:11+08:00``, ``…+0800`` (``compact``) or ``2020-12-30 17:33:11`` (``naive``)."""
    text = stamp(at_ms, LOCAL, "seconds")
    if text is None or style == "colon":
        return text
    return text[:-3] + text[-2:] if style == "compact" else text[:19].replace("T", " ")


def _misdate(faults: Faults, operation: str, build: Build, told: Told) -> Told:
    struck = faults.strikes("backwards-clock", operation, build.job_id, build.number)
    if struck is None or told.start_ms is None or told.finish_ms is None:
        return told
    how = struck.text("how")
    queued_ms, start_ms, finish_ms = told.queued_ms, told.start_ms, told.finish_ms
    duration_ms = told.duration_ms
    if how == "queued-after-start":
        faults.tell("false-queue", build.job_id, build.number)
        queued_ms = start_ms + 60_000
    else:
        faults.tell("false-duration", build.job_id, build.number)
        duration_ms = -abs(finish_ms - start_ms) - 1
        if how == "start-after-finish":
            faults.tell("false-queue", build.job_id, build.number)
            start_ms = finish_ms - duration_ms
    return Told(queued_ms, start_ms, finish_ms, duration_ms, told.result)


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
