"""docs/metrics.md: every metric with a sample, and what the values of its labels mean."""

import re
from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from typing import Final, TypeVar

from exporter.config import DURATION_BUCKETS, QUEUE_BUCKETS
from exporter.ledger import AWAITED_KEPT, DETAIL_TRIES, OTHER, STAGE_NAMES_KEPT
from exporter.metrics import EXPORTER_METRICS, EXTRA_LABELS, FLEET_FAMILIES, JOB_LABELS, Declared, Kind
from exporter.metrics.exporter_metrics import OPERATIONS
from exporter.model import Result, State, Trigger
from exporter.poller.job_state import RECOVERY_BUCKETS
from exporter.poller.view import HELD_S
from tools.reference.fleet import families
from tools.reference.markdown import code, codes, fence, marked, page, table
from tools.reference.words import REASONS, RESULTS, STATES, TRIGGERS

Word = TypeVar("Word", bound=StrEnum)

_SUFFIXES: Final = {Kind.HISTOGRAM: ("_bucket", "_count", "_sum")}

_INTRO: Final = """\
# Metrics

Every metric of CodeArts Build and of the exporter, each with a sample from a scrape. The values are made up.
A histogram is shown by one line each of its buckets, its count and its sum. `process_*` and `python_*` come
from the Prometheus client library. [queries.md](queries.md) has queries to start from.

Prometheus requests OpenMetrics. In that format, counters and histograms of jobs also have `_created`, the
time since which a series counts, and exemplars: the number of the latest build in each bucket and each
counter. Prometheus stores exemplars if its feature `exemplar-storage` is enabled.

[Overview](#overview) · [Of jobs](#of-jobs) · [Stages](#stages) · [Of the recycle bin](#of-the-recycle-bin) ·
[Of the exporter](#of-the-exporter) · [Results](#results) · [States](#states) ·
[Extra labels](#extra-labels) · [Operations](#operations) · [Reasons](#reasons) · [Buckets](#buckets)"""

_OF_JOBS: Final = f"""\
All of these carry {" and ".join(map(code, JOB_LABELS))}: the names that the service tells, or those of your
configuration. A name that is not known yet shows the job's id, an unknown project `unknown`. The last build
is the finished one with the highest number."""

_STAGES: Final = f"""\
With `metrics.stages: true` the service is asked for the stages of each finished build, at one more request
each. `stage` is the name that people gave the stage; the second one of the same name in a build is
`name (2)`. The first {STAGE_NAMES_KEPT} names of a job are kept, and what comes later is added up under
{code(OTHER)}. `metrics.max_series` does not bound them.

Builds are counted without waiting for their stages. Those are asked for afterwards, when no poll is due, with
at most a quarter of `poll.concurrency` but always one; where that is 1, a request for stages that hangs holds
up polls until its time is over. A build whose stages do not come is asked for again, ever more rarely. Where
no build's stages come, all wait, and the log says `stages_failed`. A build goes without where an answer
refuses its stages, after {DETAIL_TRIES} failures while polls are answered (an API that is away, or wants
fewer requests, costs none), and where more than {AWAITED_KEPT} builds of its job wait: those with the
highest numbers go on waiting. A stage that did not run, since the build ended before it, is left out.

What had finished before the job was watched is not counted, as elsewhere; the stages of the last such build
show in the gauge, and in the histogram at 0. Switched off, both metrics go, and no build that finishes
meanwhile is measured later; switched on again, the histogram goes on from where it was."""

_LABELLED: Final = [
    one.name
    for one, more in zip(families(), families(EXTRA_LABELS), strict=True)
    if one.labels != more.labels
]

_EXTRA: Final = f"""\
`metrics.extra_labels` adds one or both of {codes(EXTRA_LABELS)} to {" and ".join(map(code, _LABELLED))}.
Of branches, those that match `metrics.branches` keep their names; all others are {code(OTHER)}, and so are
new ones beyond `metrics.max_series`.

{code(OTHER)} and the plain names in `metrics.branches`, as `main`, are there at 0 from the first poll on,
under every result and trigger, and always have room. So are durations of successes and failures, where the
label is `branch` alone. A branch that only an expression lets through, as `release/.*` does, is not known
before its first build: each result of it, under each trigger, shows 0 in both metrics for {HELD_S:g} seconds
first, and then all that was counted. So its first build is an increase too, if Prometheus scrapes at least
once a minute. Nothing else waits. What was counted shows at once after a restart within that time, or a
reload that changes the labels.

The number of series grows with each label: enable only those that you use.

`trigger` is one of:"""


def metrics_page(exposition: str) -> str:
    """The page.

    Args:
        exposition: has samples of every metric, in the text format.
    """
    lines = exposition.splitlines()
    return page(
        _INTRO,
        "## Overview",
        table(("metric", "type", "meaning"), _overview((*families(), *FLEET_FAMILIES, *EXPORTER_METRICS))),
        "## Of jobs",
        _OF_JOBS,
        *_entries(families(), lines),
        "### Stages",
        _STAGES,
        "## Of the recycle bin",
        "With several shards, shard 0 shows these.",
        *_entries(FLEET_FAMILIES, lines),
        "## Of the exporter",
        *_entries(EXPORTER_METRICS, lines),
        *_words(),
        "## Buckets",
        table(("histogram", "upper bounds in seconds"), _buckets()),
    )


def samples(one: Declared, lines: Iterable[str]) -> list[str]:
    """The most telling lines of a metric: the first that is not 0, or else the first.

    Raises:
        LookupError: there is none.
    """
    found = []
    for suffix in _SUFFIXES.get(one.kind, ("",)):
        own = [line for line in lines if re.match(rf"{one.name}{suffix}[ {{]", line)]
        if not own:
            raise LookupError(f"tools/reference/fleet.py shows no sample of {one.name}{suffix}")
        found.append(next((line for line in own if float(line.rpartition(" ")[2])), own[0]))
    return found


def _overview(declared: Iterable[Declared]) -> Iterator[tuple[str, str, str]]:
    """A row for each metric: its name as a link to its entry, and the first sentence of its help."""
    for one in declared:
        first, _, _ = marked(one.help).partition(". ")
        yield f"[{code(one.name)}](#{one.name})", str(one.kind), f"{first.removesuffix('.')}."


def _entries(declared: Iterable[Declared], lines: list[str]) -> Iterator[str]:
    for one in declared:
        yield f"### `{one.name}`"
        yield f"{marked(one.help)} {one.note}".strip()
        yield f"{str(one.kind).capitalize()}{f' by {codes(one.labels)}' if one.labels else ''}."
        yield fence("\n".join(samples(one, lines)))


def _words() -> Iterator[str]:
    yield "## Results"
    yield "`result` is how a build ended, one of:"
    yield table(("result", "meaning"), _meanings(Result, RESULTS))
    yield "## States"
    yield "`state` is where an unfinished build is, one of:"
    yield table(("state", "meaning"), _meanings(State, STATES))
    yield "## Extra labels"
    yield _EXTRA
    yield table(("trigger", "meaning"), _meanings(Trigger, TRIGGERS))
    yield "## Operations"
    yield f"`operation` is what the API was asked for: {codes(OPERATIONS)}."
    yield "## Reasons"
    yield "`reason` is what could not be read, or cannot be right. These are all:"
    yield table(("reason", "meaning"), ((codes(reasons), meaning) for reasons, meaning in REASONS.items()))


def _meanings(words: Iterable[Word], meanings: Mapping[Word, str]) -> Iterator[tuple[str, str]]:
    return ((code(word), meanings[word]) for word in words)


def _buckets() -> Iterator[tuple[str, str]]:
    for name, bounds, key in (
        ("duration", DURATION_BUCKETS, "metrics.duration_buckets"),
        ("queue time", QUEUE_BUCKETS, "metrics.queue_buckets"),
        ("recovery", RECOVERY_BUCKETS, ""),
    ):
        yield name, ", ".join(f"{bound:g}" for bound in bounds) + (f"; `{key}` changes them" if key else "")
