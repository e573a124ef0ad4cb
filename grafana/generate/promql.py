"""Pieces of PromQL that several panels share.

Each selector has the matchers of the dashboard's variables. A job belongs to one shard at a time, and moves
when the number of shards changes. So only values of a process are grouped by ``instance``; those of a job are
grouped ``by (project, job_name)``, which also aggregates over the optional labels ``trigger`` and ``branch``.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

BY_JOB: Final = "by (project, job_name)"
ON_JOB: Final = "on (project, job_name)"

_TARGET: Final = 'job=~"$job", instance=~"$instance"'
_OF_PROJECT: Final = f'{_TARGET}, project=~"$project"'
_WATCHED: Final = f'{_OF_PROJECT}, job_name=~"$job_name"'
_OR_OF_PROJECT: Final = f'{_OF_PROJECT}, job_name=~"$job_name|"'
"""In lean detail, some metrics are those of projects, and have no job name."""


def of_jobs(metric: str, *matchers: str) -> str:
    """Return the selector of a job metric, given without the prefix ``codearts_build_``."""
    return f"codearts_build_{metric}{{{', '.join((_WATCHED, *matchers))}}}"


def of_builds(metric: str, *matchers: str) -> str:
    """Return the selector of a metric of jobs that is one of their projects in lean detail."""
    return f"codearts_build_{metric}{{{', '.join((_OR_OF_PROJECT, *matchers))}}}"


def of_exporters(metric: str, *matchers: str) -> str:
    """Return the selector of a metric of no single job, given without the prefix ``codearts_build_``."""
    return f"codearts_build_{metric}{{{', '.join((_TARGET, *matchers))}}}"


def of_rules(series: str, *matchers: str) -> str:
    """Return the selector of a series of the rules, such as ``ALERTS``; each has only some of the labels."""
    selected = [f'{label}=~"${label}|"' for label in ("job", "instance", "project", "job_name")]
    return f"{series}{{{', '.join((*selected, *matchers))}}}"


def of_processes(metric: str, rate_over: str = "") -> str:
    """Return a metric that every scraped process has, or its rate, restricted to exporters.

    With *All* selected, the variables alone would match all targets of this Prometheus. The range includes
    exporters that have just gone down.
    """
    selector = f"{metric}{{{_TARGET}}}"
    values = f"rate({selector}[{rate_over}])" if rate_over else selector
    exporters = f"last_over_time({of_exporters('exporter_build_info')}[$__range])"
    return f"({values} and on (job, instance) {exporters})"


def per_second(selector: str, labels: str = "") -> str:
    """Return events per second, at the resolution of the graph."""
    return f"sum{_by(labels)}(rate({selector}[$__rate_interval]))"


def counted(selector: str, labels: str = "", over: str = "$__range") -> str:
    """Return the number of events in the time range of the dashboard, or another range."""
    return f"sum{_by(labels)}(increase({selector}[{over}]))"


def success_ratio(labels: str = "", over: str = "$__range") -> str:
    """Return the share of successful builds, ignoring aborted ones; no data without builds."""
    successful = counted(of_jobs("builds_total", 'result="success"'), labels, over)
    total = counted(of_jobs("builds_total", 'result!="aborted"'), labels, over)
    return f"{successful} / ({total} > 0)"


class Histogram(NamedTuple):
    """A histogram of builds, in the forms that Prometheus may have: native, classic, and by project.

    Attributes:
        name: without the prefix ``codearts_build_``.
        matchers: further ones.
        of: makes its selectors.
    """

    name: str
    matchers: tuple[str, ...] = ()
    of: Callable[..., str] = of_builds

    def part(self, suffix: str = "") -> str:
        """Return the selector of the native histogram, or of a part of the classic one."""
        return self.of(f"{self.name}{suffix}", *self.matchers)


def quantile(
    share: float, histogram: Histogram, labels: str = "", over: str = "$__rate_interval", ago: str = ""
) -> str:
    """Return a quantile; no data without observations.

    The comparison drops NaN, the result without observations, so that lines span the gap.
    """
    shift = f" offset {ago}" if ago else ""
    native = f"sum{_by(labels)}(increase({histogram.part()}[{over}]{shift}))"
    return (
        f"histogram_quantile({share}, {native}) >= 0 "
        f"or {_of_buckets(share, histogram.part('_bucket'), labels, over, shift)} >= 0"
    )


def quantile_of_buckets(share: float, buckets: str, labels: str) -> str:
    """Return a quantile of a histogram that is always classic, given the selector of its buckets."""
    return f"{_of_buckets(share, buckets, labels, '$__rate_interval')} >= 0"


def _of_buckets(share: float, buckets: str, labels: str, over: str, shift: str = "") -> str:
    grouping = f"{labels}, le" if labels else "le"
    return f"histogram_quantile({share}, sum by ({grouping}) (increase({buckets}[{over}]{shift})))"


def mean(histogram: Histogram, labels: str = "", over: str = "$__range") -> str:
    """Return the mean of a histogram; no data without observations."""
    native = counted(histogram.part(), labels, over)
    total, count = (counted(histogram.part(part), labels, over) for part in ("_sum", "_count"))
    return f"histogram_sum({native}) / (histogram_count({native}) > 0) or {total} / ({count} > 0)"


def heat(histogram: Histogram) -> str:
    """Return the observations by bucket, at the resolution of the graph; native buckets come first."""
    native = counted(histogram.part(), "", "$__rate_interval")
    return f"{native} or on () {counted(histogram.part('_bucket'), 'le', '$__rate_interval')}"


def success_duration(share: float) -> str:
    """Return a quantile of the durations of each job's successful builds, or in lean detail their mean."""
    durations = Histogram("duration_seconds", ('result="success"',), of_jobs)
    total = counted(of_jobs("success_duration_seconds_total"), "project, job_name")
    count = counted(of_jobs("timed_successes_total"), "project, job_name")
    return f"({quantile(share, durations, 'project, job_name', '$__range')} or {total} / ({count} > 0))"


def by_job(aggregation: str, metric: str, *matchers: str) -> str:
    """Return a gauge of jobs, one value for each job."""
    return f"{aggregation} {BY_JOB} ({of_jobs(metric, *matchers)})"


def of_present_jobs(selector: str) -> str:
    """Return series of jobs, except jobs that were deleted or that polls have not found for an hour.

    The values of those are outdated. An outage of a few minutes excludes no job.
    """
    deleted = f"{by_job('max', 'job_deleted')} == 1"
    failing = f"{by_job('max', 'job_up')} == 0"
    outdated = f"time() - {by_job('max', 'job_last_poll_timestamp_seconds')} > 3600"
    return f"({selector} unless {ON_JOB} ({deleted} or {failing} and {outdated}))"


def _by(labels: str) -> str:
    return f" by ({labels}) " if labels else " "
