"""The colour of each result of a build, and its mapping from numbers to words."""

from typing import Any, Final

from grafana.generate.promql import BY_JOB, of_jobs

COLOURS: Final = {
    "success": "green",
    "failure": "red",
    "aborted": "#8e8e8e",
    "timeout": "orange",
    "schedule_failure": "purple",
    "unknown": "blue",
}


def last_is(result: str) -> str:
    """Return the selector that is 1 for jobs whose last build had this result, else 0."""
    matcher = f'result="{result}"'
    return of_jobs("last_build_result", matcher)


_NUMBERED: Final = " or ".join(
    f"{number} * ({last_is(result)} == 1)" for number, result in enumerate(COLOURS, 1)
)
LAST_RESULT: Final = f"max {BY_JOB} ({_NUMBERED})"
"""The result of each job's last build as a number; `result_mapping` maps it to a word."""


def result_mapping() -> list[dict[str, Any]]:
    """Map the numbers of `LAST_RESULT` to words and colours."""
    options = {
        str(number): {"index": number, "text": result, "color": colour}
        for number, (result, colour) in enumerate(COLOURS.items(), 1)
    }
    return [{"type": "value", "options": options}]


def result_colours() -> list[dict[str, Any]]:
    """Set the colour of each series whose name ends in a result."""
    return [
        {
            "matcher": {"id": "byRegexp", "options": f"/(^|: ){result}$/"},
            "properties": [{"id": "color", "value": {"mode": "fixed", "fixedColor": colour}}],
        }
        for result, colour in COLOURS.items()
    ]
