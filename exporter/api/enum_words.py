"""The service's words → enums, in any letter case, with or without separators; pure."""

import re
from collections.abc import Mapping
from typing import Final

from exporter.model import Result, State, Trigger

_RESULTS: Final[Mapping[str, Result]] = {
    **dict.fromkeys(("success", "blue"), Result.SUCCESS),
    **dict.fromkeys(("failure", "failed", "red"), Result.FAILURE),
    "aborted": Result.ABORTED,
    "timeout": Result.TIMEOUT,
    "schedulefailure": Result.SCHEDULE_FAILURE,
}

_STATES: Final[Mapping[str, State]] = {
    **dict.fromkeys(("inqueue", "starting"), State.QUEUED),
    **dict.fromkeys(("running", "building"), State.RUNNING),
}

_TRIGGERS: Final[Mapping[str, Trigger]] = {
    **dict.fromkeys(("manual", "手工"), Trigger.MANUAL),
    **dict.fromkeys(("timedexecution", "scheduled", "定时"), Trigger.SCHEDULE),
    **dict.fromkeys(("codehub", "codechange", "代码更新"), Trigger.CODE_CHANGE),
    **dict.fromkeys(("pipeline", "流水线"), Trigger.PIPELINE),
}
"""As the documents spell them, without the word "trigger" that ends most of them."""


def result_or_state(value: object, faults: list[str]) -> tuple[Result | None, State | None]:
    """Return the result of a build, or its state if it is unfinished; neither if the value is empty.

    An unknown word is `Result.UNKNOWN`, and ``unknown_result`` is added to ``faults``.
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


def state(value: object) -> State | None:
    """Return the state of an unfinished build; None for any other word."""
    return _STATES.get(_word(value))


def trigger(value: object, faults: list[str]) -> Trigger:
    """Return what started a build; an unknown word adds ``unknown_trigger`` to ``faults``."""
    word = _word(value)
    found = _TRIGGERS.get(word.removesuffix("trigger").removesuffix("触发"), Trigger.UNKNOWN)
    if word and found is Trigger.UNKNOWN:
        faults.append("unknown_trigger")
    return found


def _word(value: object) -> str:
    return re.sub(r"[\W_]+", "", value.lower()) if isinstance(value, str) else ""
