"""The service's words for results, phases and triggers; pure.

Any letter case, with or without separators; the colours of the job lists; triggers as the service localises
them.
"""

import re
from collections.abc import Mapping
from typing import Final

from exporter.model import Result, State, Trigger

_RESULTS: Final[Mapping[str, Result]] = {
    "success": Result.SUCCESS,
    "blue": Result.SUCCESS,
    "failure": Result.FAILURE,
    "failed": Result.FAILURE,
    "red": Result.FAILURE,
    "aborted": Result.ABORTED,
    "timeout": Result.TIMEOUT,
    "schedulefailure": Result.SCHEDULE_FAILURE,
}
_STATES: Final[Mapping[str, State]] = {
    "inqueue": State.QUEUED,
    "starting": State.QUEUED,
    "running": State.RUNNING,
    "building": State.RUNNING,
}
_TRIGGERS: Final[Mapping[str, Trigger]] = {
    "manual": Trigger.MANUAL,
    "手工触发": Trigger.MANUAL,
    "timedexecution": Trigger.SCHEDULE,
    "定时触发": Trigger.SCHEDULE,
    "codehubtrigger": Trigger.CODE_CHANGE,
    "代码更新触发": Trigger.CODE_CHANGE,
    "pipelinetrigger": Trigger.PIPELINE,
    "流水线触发": Trigger.PIPELINE,
}


def outcome(value: object, faults: list[str]) -> tuple[Result | None, State | None]:
    """How a build ended, or where it is; neither where nothing is told.

    A word nobody knows is `Result.UNKNOWN`, and ``unknown_result`` is added to ``faults``.
    """
    word = _word(value)
    if word in _STATES:
        return None, _STATES[word]
    if word in _RESULTS:
        return _RESULTS[word], None
    if word in ("", "none", "null", "unknown"):
        return None, None
    faults.append("unknown_result")
    return Result.UNKNOWN, None


def trigger(value: object, faults: list[str]) -> Trigger:
    """What started a build; a word nobody knows adds ``unknown_trigger`` to ``faults``."""
    word = _word(value)
    if word and word not in _TRIGGERS:
        faults.append("unknown_trigger")
    return _TRIGGERS.get(word, Trigger.UNKNOWN)


def _word(value: object) -> str:
    return re.sub(r"[\W_]+", "", value.lower()) if isinstance(value, str) else ""
