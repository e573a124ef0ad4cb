"""The last builds of a job as a bar chart: height is the duration, colour and shape are the result.

Shapes differ without their colours too. A failed build extends below the baseline; a build that neither
failed nor succeeded is hollow.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Final

from exporter.ledger.job_ledger import RECENT_KEPT, JobLedger, RecentBuild
from exporter.model import Result
from exporter.web.status.words import ENGLISH, Words

STEP: Final = 8  # from bar to bar, in units of the drawing; a bar is 6 wide
BASELINE: Final = 26  # distance from the top, and so the height of the tallest bar
MIN_HEIGHT: Final = 4  # for shapes to remain distinguishable

RESULT_WORDS: Final = {result: result.value.replace("_", " ") for result in Result}


@dataclass(frozen=True, slots=True)
class Bar:
    """A build in the chart: ``result`` selects its colour, ``path`` is its SVG shape, ``title`` a tooltip."""

    result: Result
    path: str
    title: str


@dataclass(frozen=True, slots=True)
class Sparkline:
    """The bars, oldest first and aligned to the right; ``text`` describes them in words."""

    bars: tuple[Bar, ...]
    text: str

    width: int = STEP * RECENT_KEPT - 2
    height: int = BASELINE + 6


def sparkline(ledger: JobLedger | None, now_ms: int, words: Words = ENGLISH) -> Sparkline:
    """Draw the last builds of a job."""
    builds = recent_builds(ledger)
    longest_ms = max((build.duration_ms or 0 for build in builds), default=0)
    left = STEP * (RECENT_KEPT - len(builds))
    bars = tuple(
        Bar(
            build.result,
            shape(build.result, left + position * STEP, _height(build.duration_ms, longest_ms)),
            _title(build, now_ms, words),
        )
        for position, build in enumerate(builds)
    )
    return Sparkline(bars, _describe(builds, words))


def recent_builds(ledger: JobLedger | None) -> tuple[RecentBuild, ...]:
    """Return the recent builds; ledgers of older versions may have only the last one, or lack it."""
    if ledger is None or ledger.last is None:
        return ()
    last = ledger.last
    if ledger.recent and ledger.recent[-1].number == last.number:
        return ledger.recent
    newest = RecentBuild(last.number, last.result, last.duration_ms, last.finish_ms)
    return (*ledger.recent, newest)[-RECENT_KEPT:]


def shape(result: Result, x: int, height: int) -> str:
    """Draw the outline of a bar from its left edge ``x`` and its height."""
    top, foot = BASELINE - height, f"M{x} {BASELINE + 1}h6l-3 5z"
    filled = f"M{x} {top}h6V{BASELINE}h-6z"
    match result:
        case Result.SUCCESS:
            return filled
        case Result.FAILURE:
            return filled + foot
        case Result.TIMEOUT:
            return f"M{x} {top}h6v2h-2V{BASELINE}h-2V{top + 2}h-2z{foot}"
        case Result.SCHEDULE_FAILURE:
            return f"M{x} {BASELINE - 7}l1-1 2 2 2-2 1 1-2 2 2 2-1 1-2-2-2 2-1-1 2-2z{foot}"
        case Result.ABORTED:
            return f"{filled}M{x + 1.5} {top + 1.5}V{BASELINE - 1.5}h3V{top + 1.5}z"
        case Result.UNKNOWN:
            return "".join(f"M{x + 1} {y}h4v2h-4z" for y in range(BASELINE - 2, top - 1, -4))


def _height(duration_ms: int | None, longest_ms: int) -> int:
    return max(MIN_HEIGHT, round(BASELINE * duration_ms / longest_ms)) if duration_ms else MIN_HEIGHT


def _title(build: RecentBuild, now_ms: int, words: Words) -> str:
    parts = [_named(build, words)]
    if build.duration_ms is not None:
        parts.append(words.length(build.duration_ms))
    if build.finish_ms is not None:
        parts.append(words.ago(now_ms - build.finish_ms))
    return words.joined(parts)


def _named(build: RecentBuild, words: Words) -> str:
    return f"#{build.number} {words(RESULT_WORDS[build.result])}"


def _describe(builds: tuple[RecentBuild, ...], words: Words) -> str:
    if not builds:
        return words("No finished build")
    newest = _named(builds[-1], words)
    if len(builds) == 1:
        return words("Last build: {build}", build=newest)
    counts = Counter(build.result for build in builds)
    summary = words.joined(
        f"{counts[result]} {words(RESULT_WORDS[result])}" for result in Result if counts[result]
    )
    return words(
        "Last {count} builds: {summary}; newest {build}", count=len(builds), summary=summary, build=newest
    )
