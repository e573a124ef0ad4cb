"""How one build is told: times, words and the false things that faults make of them.

Words rest on the documents (results, triggers) and the provider's examples (localised triggers, colours);
how an unfinished build shows in history is a guess, and can be changed by the fault ``running-builds``.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timezone
from typing import Final

from exporter.simulator.builds import LOCAL, Build, Result, Trigger
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
