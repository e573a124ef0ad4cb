"""docs/metrics.md: every metric with a sample, and the meaning of its label values."""

import re
from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from typing import Final, TypeVar

from exporter.config.schema import DURATION_BUCKETS, QUEUE_BUCKETS
from exporter.ledger.build_labels import OTHER
from exporter.ledger.fold_observations import DETAIL_TRIES
from exporter.ledger.stages import AWAITED_KEPT, STAGE_NAMES_KEPT
from exporter.metrics import FLEET_FAMILIES, Declared, Kind, job_families
from exporter.metrics.exporter_metrics import EXPORTER_METRICS, OPERATIONS
from exporter.metrics.family_types import JOB_LABELS
from exporter.metrics.job_metrics import EXTRA_LABELS
from exporter.metrics.lean_detail import LEAN_FAMILIES
from exporter.model import Result, State, Trigger
from exporter.poller.job_state import RECOVERY_BUCKETS
from exporter.poller.zero_hold import HELD_S
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

Prometheus requests OpenMetrics. In that format, counters and histograms of jobs also have exemplars: the
number of the latest build in each bucket and each counter. Prometheus stores exemplars if its feature
`exemplar-storage` is enabled. With `metrics.created_series: true` they also have `_created`, the time since
which a series counts. Prometheus stores those as series of their own.

With `prometheus --enable-feature=native-histograms` (2.40 to 3.8) or `scrape_native_histograms: true` (from
3.9 on), Prometheus requests protobuf. In that format, counters and histograms of jobs always have their
creation times, and histograms also have native buckets, sixteen for each power of two, whatever buckets are
configured. Prometheus then stores a histogram as one series, instead of one for each bucket, its count and
its sum, and `histogram_quantile()` takes it without `_bucket` and `le`: its result is in the same bucket as
the exact one, and buckets are 4.4 % wide.

[Overview](#overview) · [Jobs](#jobs) · [Stages](#stages) · [Lean detail](#lean-detail) ·
[Recycle bin](#recycle-bin) · [Exporter](#exporter) · [Results](#results) · [States](#states) ·
[Extra labels](#extra-labels) · [Operations](#operations) · [Reasons](#reasons) · [Buckets](#buckets)"""

_OF_JOBS: Final = f"""\
All of these have the labels {" and ".join(map(code, JOB_LABELS))}: the names in the service, or those of your
configuration. While a job's name is unknown, its id is shown; an unknown project is `unknown`. The last build
is the finished one with the highest number."""

_STAGES: Final = f"""\
With `metrics.stages: true`, the exporter requests the stages of each finished build, at one more request per
build. `stage` is the name of the stage; the second one of the same name in a build is `name (2)`. The first
{STAGE_NAMES_KEPT} names of a job are kept; later ones are added up under {code(OTHER)}. `metrics.max_series`
does not limit them.

Builds are counted without waiting for their stages. Stages are requested when no poll is due and the rate
limits let them pass at once, with at most a quarter of `poll.concurrency` but at least one thread. If
`poll.concurrency` is 1, a request for stages that
hangs delays polls until it times out. Failed requests are retried at growing intervals. If no build's stages
can be read, all builds wait, and the log has `stages_failed`. A build is counted without stages if the API
refuses them, after {DETAIL_TRIES} failures while polls succeed (failures while the API is down or throttles
do not count), or if more than {AWAITED_KEPT} builds of its job wait: those with the highest numbers keep
waiting. A stage that did not run, because the build ended before it, is left out.

As elsewhere, builds that finished before the job was watched are not counted; the stages of the last such
build appear in the gauge, and in the histogram at 0. When the option is disabled, both metrics disappear, and
builds that finish meanwhile are never measured; when it is enabled again, the histogram continues from where
it was."""

_OF_PROJECTS: Final = [
    family.name for family in job_families(stages=True, lean=True) if "job_name" not in family.labels
]

_LEAN: Final = f"""\
With `metrics: {{detail: lean}}`, a job has at most 25 series, without extra labels and stages. It keeps what
alerts need; every alert works in both. This is what changes:

- These metrics are those of a project, without the label `job_name`, and without exemplars, so that there are
  no quantiles by job: {codes(_OF_PROJECTS)}.
- A job has three counters instead, below: for the mean duration of its successful builds, and for the number
  of its recoveries.
- {code("codearts_build_last_build_result")} has only the series of the current result, with the value 1. Do
  not use it with `last_over_time()`, which would also find the result before.
- {code("codearts_build_builds_total")} has the results `success` and `failure` from the start; each other one
  appears with its first build, is 0 for {HELD_S:g} seconds, and then has the actual count.
- {code("codearts_build_baseline_build_number")} is left out; a [backfill](backfill.md) that asks such an
  exporter ends at a time instead of a build number, and writes no histograms.

The histograms of a project count every build from the time when lean detail was first enabled, and never
fall: they keep what jobs have added that are gone, or are now in another project or shard. The store has a
row for each project. When a job returns, only its new builds are added.

These three exist only in lean detail:"""

_LABELLED: Final = [
    family.name
    for family, labelled in zip(families(), families(EXTRA_LABELS), strict=True)
    if family.labels != labelled.labels
]

_EXTRA: Final = f"""\
`metrics.extra_labels` adds one or both of {codes(EXTRA_LABELS)} to {" and ".join(map(code, _LABELLED))}.
Branches that match `metrics.branches` keep their names; all others become {code(OTHER)}, as do new ones
beyond `metrics.max_series`.

{code(OTHER)} and the plain names in `metrics.branches`, such as `main`, have series at 0 from the first poll
on, under every result and trigger, and are exempt from the limit. The same holds for durations of successes
and failures if `branch` is the only extra label. A branch that matches an expression, such as `release/.*`,
is unknown before its first build: each of its results, under each trigger, is 0 in both metrics for
{HELD_S:g} seconds, and then the actual count. So Prometheus sees its first build as an increase, if it
scrapes at least once a minute. Nothing else is delayed. After a restart within that time, or a reload that
changes the labels, the actual count is shown at once.

The number of series grows with each label: enable only those that you use.

`trigger` is one of:"""


def metrics_page(exposition: str) -> str:
    """Render the page; ``exposition`` has samples of every metric, in the text format."""
    lines = exposition.splitlines()
    return page(
        _INTRO,
        "## Overview",
        table(
            ("metric", "type", "meaning"),
            _overview((*families(), *LEAN_FAMILIES, *FLEET_FAMILIES, *EXPORTER_METRICS)),
        ),
        "## Jobs",
        _OF_JOBS,
        *_entries(families(), lines),
        "### Stages",
        _STAGES,
        "### Lean detail",
        _LEAN,
        *_entries(LEAN_FAMILIES, lines),
        "## Recycle bin",
        "With several shards, shard 0 shows these.",
        *_entries(FLEET_FAMILIES, lines),
        "## Exporter",
        *_entries(EXPORTER_METRICS, lines),
        *_words(),
        "## Buckets",
        table(("histogram", "upper bounds in seconds"), _buckets()),
    )


def samples(metric: Declared, lines: Iterable[str]) -> list[str]:
    """Select the sample lines of a metric: the first that is not 0, or else the first.

    Raises:
        LookupError: the exposition has no sample of it.
    """
    found = []
    for suffix in _SUFFIXES.get(metric.kind, ("",)):
        own = [line for line in lines if re.match(rf"{metric.name}{suffix}[ {{]", line)]
        if not own:
            raise LookupError(f"tools/reference/fleet.py shows no sample of {metric.name}{suffix}")
        found.append(next((line for line in own if float(line.rpartition(" ")[2])), own[0]))
    return found


def _overview(declared: Iterable[Declared]) -> Iterator[tuple[str, str, str]]:
    """Yield a row for each metric: its name, linked to its entry, and the first sentence of its help."""
    for metric in declared:
        first, _, _ = marked(metric.help).partition(". ")
        yield f"[{code(metric.name)}](#{metric.name})", str(metric.kind), f"{first.removesuffix('.')}."


def _entries(declared: Iterable[Declared], lines: list[str]) -> Iterator[str]:
    for metric in declared:
        yield f"### `{metric.name}`"
        yield f"{marked(metric.help)} {metric.note}".strip()
        yield f"{str(metric.kind).capitalize()}{f' by {codes(metric.labels)}' if metric.labels else ''}."
        yield fence("\n".join(samples(metric, lines)))


def _words() -> Iterator[str]:
    yield "## Results"
    yield "`result` is the outcome of a build, one of:"
    yield table(("result", "meaning"), _meanings(Result, RESULTS))
    yield "## States"
    yield "`state` is the progress of an unfinished build, one of:"
    yield table(("state", "meaning"), _meanings(State, STATES))
    yield "## Extra labels"
    yield _EXTRA
    yield table(("trigger", "meaning"), _meanings(Trigger, TRIGGERS))
    yield "## Operations"
    yield f"`operation` is the kind of request: {codes(OPERATIONS)}."
    yield "## Reasons"
    yield "`reason` is why a part of a response was not used. The values are:"
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
