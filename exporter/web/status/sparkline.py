"""A job's last builds as bars: the height is the duration, colour and shape are the result.

Every shape can be told from every other without its colour. Whatever counts as a failure has a foot below the
line that the bars stand on; what neither failed nor succeeded is hollow.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from exporter import text
from exporter.ledger import RECENT_KEPT, JobLedger, RecentBuild
from exporter.model import Result

STEP: Final = 8
"""From one bar to the next, in units of the drawing; a bar is 6 wide."""

BASE: Final = 26
"""How high the tallest bar is, and where the line is that all stand on."""

LOWEST: Final = 4
"""How high a bar is at least, so that its shape shows."""

RESULT_WORDS: Final = {result: result.value.replace("_", " ") for result in Result}


@dataclass(frozen=True, slots=True)
class Bar:
    """One build.

    Attributes:
        result: the colour's name.
        path: the shape, as SVG draws it.
        title: what a pointer on it is told.
    """

    result: Result
    path: str
    title: str


@dataclass(frozen=True, slots=True)
class Strip:
    """The bars, oldest first, the newest always at the right end; ``text`` says the same in words."""

    bars: tuple[Bar, ...]
    text: str

    width: int = STEP * RECENT_KEPT - 2
    height: int = BASE + 6


def strip(ledger: JobLedger | None, now_ms: int) -> Strip:
    """The bars of a job's last builds."""
    builds = recent(ledger)
    longest_ms = max((build.duration_ms or 0 for build in builds), default=0)
    first = STEP * (RECENT_KEPT - len(builds))
    bars = tuple(
        Bar(
            build.result,
            shape(build.result, first + at * STEP, _height(build.duration_ms, longest_ms)),
            _title(build, now_ms),
        )
        for at, build in enumerate(builds)
    )
    return Strip(bars, _text(builds))


def recent(ledger: JobLedger | None) -> tuple[RecentBuild, ...]:
    """The builds that are remembered; of a ledger that an older version kept, at least the last."""
    if ledger is None or ledger.last is None:
        return ()
    last = ledger.last
    if ledger.recent and ledger.recent[-1].number == last.number:
        return ledger.recent
    newest = RecentBuild(last.number, last.result, last.duration_ms, last.finish_ms)
    return (*ledger.recent, newest)[-RECENT_KEPT:]


def shape(result: Result, x: int, height: int) -> str:
    """A bar's outline, from its left edge and its height."""
    top, foot = BASE - height, f"M{x} {BASE + 1}h6l-3 5z"
    whole = f"M{x} {top}h6V{BASE}h-6z"
    match result:
        case Result.SUCCESS:
            return whole
        case Result.FAILURE:
            return whole + foot
        case Result.TIMEOUT:
            return f"M{x} {top}h6v2h-2V{BASE}h-2V{top + 2}h-2z{foot}"
        case Result.SCHEDULE_FAILURE:
            cross = f"M{x} {BASE - 7}l1-1 2 2 2-2 1 1-2 2 2 2-1 1-2-2-2 2-1-1 2-2z"
            return cross + foot
        case Result.ABORTED:
            return f"{whole}M{x + 1.5} {top + 1.5}V{BASE - 1.5}h3V{top + 1.5}z"
        case Result.UNKNOWN:
            return "".join(f"M{x + 1} {y}h4v2h-4z" for y in range(BASE - 2, top - 1, -4))


def _height(duration_ms: int | None, longest_ms: int) -> int:
    if not duration_ms:
        return LOWEST
    return max(LOWEST, round(BASE * duration_ms / longest_ms))


def _title(build: RecentBuild, now_ms: int) -> str:
    parts = [f"#{build.number} {RESULT_WORDS[build.result]}"]
    if build.duration_ms is not None:
        parts.append(text.length(build.duration_ms))
    if build.finish_ms is not None:
        parts.append(f"{text.age(now_ms - build.finish_ms)} ago")
    return ", ".join(parts)


def _text(builds: Sequence[RecentBuild]) -> str:
    if not builds:
        return "No finished build"
    found = Counter(build.result for build in builds)
    told = ", ".join(f"{found[result]} {RESULT_WORDS[result]}" for result in Result if found[result])
    if len(builds) == 1:
        return f"Last build: #{builds[0].number} {RESULT_WORDS[builds[0].result]}"
    newest = builds[-1]
    return f"Last {len(builds)} builds: {told}; newest #{newest.number} {RESULT_WORDS[newest.result]}"
