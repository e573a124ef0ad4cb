"""Builds as the API reports them, and the pages of its lists.

Words rest on the documents (results, triggers) and the provider's examples (localised triggers, colours);
how an unfinished build appears in history is a guess, and can be changed by the fault ``running-builds``.
"""

import random
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache
from typing import Final

from exporter.simulator.builds import LOCAL, RESULTS, TRIGGERS, Build, hex_id
from exporter.simulator.faults import Faults
from exporter.simulator.fleet import Fleet

RESULT_WORDS: Final = {result: result.upper() for result in RESULTS} | {"unknown": "UNSTABLE"}

COLOURS: Final = dict(zip(RESULTS, ("blue", "red", "aborted", "timeout", "red", "yellow"), strict=True))

TRIGGER_WORDS: Final = {
    "": ("MANUAL", "TIMED_EXECUTION", "CODEHUB_TRIGGER", "PIPELINE_TRIGGER", "WEBHOOK_TRIGGER"),
    "zh": ("手工触发", "定时触发", "代码更新触发", "流水线触发", "外部触发"),
    "en": ("Manual", "Scheduled", "Code change", "Pipeline", "Webhook"),
}
"""Words for `TRIGGERS`: the documented ones, and localised ones by language."""

STARTING_MS: Final = 1000

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

BuildAsOf = tuple[Build, int]
"""A build, and the time as of which a list reports it."""


@dataclass(frozen=True, slots=True)
class ReportedBuild:
    """The times and result that a response reports; None for what it leaves out."""

    queued_ms: int
    start_ms: int | None
    finish_ms: int | None
    duration_ms: int | None
    result: str | None


def reported_build(faults: Faults, operation: str, build: Build, as_of_ms: int) -> ReportedBuild:
    """A build at some time as this operation reports it; remembers finishes and falsehoods.

    A ``disagreement`` is not remembered as a falsehood: the truth stays what it is.
    """
    key = (build.job_id, build.number)
    start_ms = build.start_ms if build.started(as_of_ms) else None
    if not build.finished(as_of_ms):
        fault = faults.for_build("unknown-phase", operation, *key)
        return ReportedBuild(build.queued_ms, start_ms, None, None, fault.text("value") if fault else None)
    faults.mark_reported("finish", *key)
    result = RESULT_WORDS[build.result]
    if fault := faults.for_build("unknown-result", operation, *key):
        faults.mark_reported("unknown-result", *key)
        result = fault.text("value")
    reported = ReportedBuild(build.queued_ms, start_ms, build.finish_ms, build.duration_ms, result)
    return _misdated(faults, operation, key, _disagreeing(faults, operation, key, reported))


def _disagreeing(
    faults: Faults, operation: str, key: tuple[str, int], reported: ReportedBuild
) -> ReportedBuild:
    fault = faults.for_build("disagreement", operation, *key)
    if fault is None:
        return reported
    field, by_ms = fault.text("field"), round(fault.number("seconds") * 1000)
    if field == "result":
        word = RESULT_WORDS["failure" if reported.result == RESULT_WORDS["success"] else "success"]
        return replace(reported, result=word)
    if field == "queue":
        return replace(reported, queued_ms=reported.queued_ms - by_ms)
    finish_ms, duration_ms = reported.finish_ms, reported.duration_ms
    return replace(
        reported,
        finish_ms=None if finish_ms is None else finish_ms + by_ms,
        duration_ms=None if duration_ms is None else duration_ms + by_ms,
    )


def _misdated(faults: Faults, operation: str, key: tuple[str, int], reported: ReportedBuild) -> ReportedBuild:
    fault = faults.for_build("backwards-clock", operation, *key)
    start_ms, finish_ms = reported.start_ms, reported.finish_ms
    if fault is None or start_ms is None or finish_ms is None:
        return reported
    how = fault.text("how")
    if how in ("queued-after-start", "start-after-finish"):
        faults.mark_reported("false-queue", *key)
    if how == "queued-after-start":
        return replace(reported, queued_ms=start_ms + 60_000)
    faults.mark_reported("false-duration", *key)
    duration_ms = -abs(finish_ms - start_ms) - 1
    start_ms = finish_ms - duration_ms if how == "start-after-finish" else start_ms
    return replace(reported, start_ms=start_ms, duration_ms=duration_ms)


def phase(build: Build, as_of_ms: int) -> str:
    """The phase of an unfinished build, in the service's words."""
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
    fault = faults.fire("localised-triggers", operation, build.job_id)
    return TRIGGER_WORDS[fault.text("language") if fault else ""][TRIGGERS.index(build.trigger)]


def commit_id(fleet: Fleet, build: Build) -> str:
    """The commit of a build, 40 characters."""
    return (hex_id(fleet.seed, build.job_id, build.number) + hex_id(fleet.seed, "commit", build.number))[:40]


@lru_cache(maxsize=16_384)
def timestamp(at_ms: int | None, zone: timezone = UTC, timespec: str = "milliseconds") -> str | None:
    """``2022-10-11T08:28:42.000+00:00``; None stays None."""
    if at_ms is None:
        return None
    time = _EPOCH + timedelta(milliseconds=at_ms)
    return time.astimezone(zone).isoformat(timespec=timespec)


def local_timestamp(at_ms: int | None, style: str = "colon") -> str | None:
    """``2020-12-30T17:33:11+08:00``; other styles are ``compact``, ``naive`` and ``java``."""
    text = timestamp(at_ms, LOCAL, "seconds")
    if text is None or style == "colon":
        return text
    if style == "java":
        return datetime.fromisoformat(text).strftime("%a %b %d %H:%M:%S CST %Y")
    return text[:-3] + text[-2:] if style == "compact" else text[:19].replace("T", " ")


def reported_builds(fleet: Fleet, faults: Faults, operation: str, job_id: str) -> list[BuildAsOf]:
    """The builds of a job that this operation lists, by number."""
    now_ms = fleet.clock.now_ms()
    builds = ((build, _as_of(faults, operation, build, now_ms)) for build in fleet.builds(job_id))
    return [(build, as_of_ms) for build, as_of_ms in builds if as_of_ms is not None]


def page_of(
    fleet: Fleet, faults: Faults, operation: str, builds: list[BuildAsOf], page: int, limit: int
) -> list[BuildAsOf]:
    """One page of a job's builds, counted from 0; the newest come first."""
    if not builds:
        return []
    job_id = builds[0][0].job_id
    ordered = _ordered(fleet, faults, operation, job_id, builds)
    first = page * limit
    if faults.fire("record-offset", operation, job_id):
        first = page
    if page > 0 and (fault := faults.fire("shifting-pages", operation, job_id)):
        first = max(0, first - int(fault.number("by")))
    return ordered[first : first + limit]


def _as_of(faults: Faults, operation: str, build: Build, now_ms: int) -> int | None:
    """Return the time as of which a list reports a build: now, before its end, or None if it does not."""
    if faults.for_build("lost-records", operation, build.job_id, build.number):
        return None
    if not build.finished(now_ms):
        show = faults.fire("running-builds", operation, build.job_id)
        return None if show and show.text("show") == "absent" else now_ms
    late = faults.for_build("late-records", operation, build.job_id, build.number)
    finish_ms = build.finish_ms or 0
    if late is None or finish_ms + late.number("seconds") * 1000 <= now_ms:
        return now_ms
    return finish_ms - 1 if late.text("meanwhile") == "running" else None


def _ordered(
    fleet: Fleet, faults: Faults, operation: str, job_id: str, builds: list[BuildAsOf]
) -> list[BuildAsOf]:
    fault = faults.fire("order", operation, job_id)
    if fault and fault.text("by") == "random":
        return random.Random(f"{fleet.seed}/{fault.fired}").sample(builds, len(builds))
    ascending = fault is not None and fault.text("by") == "ascending"
    return sorted(builds, key=lambda pair: pair[0].number, reverse=not ascending)
