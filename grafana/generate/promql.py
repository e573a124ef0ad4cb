"""Pieces of PromQL that several panels share.

Each selector carries the matchers of the dashboard's variables. A job belongs to one shard at a time, and
moves when their number changes. Therefore nothing is shown by ``instance`` unless it concerns one process,
and values of a job are taken ``by (project, job_name)``. Naming the labels also keeps out the optional ones,
``trigger`` and ``branch``.
"""

from typing import Final

BY_JOB: Final = "by (project, job_name)"
ON_JOB: Final = "on (project, job_name)"

_TARGET: Final = 'job=~"$job", instance=~"$instance"'
_WATCHED: Final = f'{_TARGET}, project=~"$project", job_name=~"$job_name"'


def of_jobs(metric: str, *matchers: str) -> str:
    """A selector of a metric of jobs, named without the prefix ``codearts_build_``."""
    return f"codearts_build_{metric}{{{', '.join((_WATCHED, *matchers))}}}"


def of_exporters(metric: str, *matchers: str) -> str:
    """A selector of a metric that concerns no single job, named without ``codearts_build_``."""
    return f"codearts_build_{metric}{{{', '.join((_TARGET, *matchers))}}}"


def of_processes(metric: str, rate_over: str = "") -> str:
    """A metric that every scraped process has, or its rate, narrowed down to exporters.

    With *All* chosen, the variables alone would let in whatever else this Prometheus scrapes. The range keeps
    an exporter that has just gone down.
    """
    selector = f"{metric}{{{_TARGET}}}"
    values = f"rate({selector}[{rate_over}])" if rate_over else selector
    exporters = f"last_over_time({of_exporters('exporter_build_info')}[$__range])"
    return f"({values} and on (job, instance) {exporters})"


def per_second(selector: str, labels: str = "") -> str:
    """Events a second, at the resolution of the graph."""
    return f"sum{_by(labels)}(rate({selector}[$__rate_interval]))"


def counted(selector: str, labels: str = "", over: str = "$__range") -> str:
    """Events within the range of the dashboard, or another."""
    return f"sum{_by(labels)}(increase({selector}[{over}]))"


def success_ratio(labels: str = "", over: str = "$__range") -> str:
    """Successful builds to all but the aborted ones; nothing where there were none."""
    good = counted(of_jobs("builds_total", 'result="success"'), labels, over)
    every = counted(of_jobs("builds_total", 'result!="aborted"'), labels, over)
    return f"{good} / ({every} > 0)"


def quantile(
    share: float, buckets: str, labels: str = "", over: str = "$__rate_interval", ago: str = ""
) -> str:
    """A quantile of a histogram, given the selector of its buckets; nothing where nothing was observed.

    The comparison drops the NaN that no observations yield, so that lines can bridge the gap.
    """
    shift = f" offset {ago}" if ago else ""
    grouping = f"{labels}, le" if labels else "le"
    return f"histogram_quantile({share}, sum by ({grouping}) (increase({buckets}[{over}]{shift}))) >= 0"


def mean(histogram: str) -> str:
    """The mean of a job's histogram within the range of the dashboard; nothing where nothing was observed."""
    return f"{counted(of_jobs(f'{histogram}_sum'))} / ({counted(of_jobs(f'{histogram}_count'))} > 0)"


def by_job(aggregation: str, metric: str, *matchers: str) -> str:
    """A gauge of jobs, one value for each job."""
    return f"{aggregation} {BY_JOB} ({of_jobs(metric, *matchers)})"


def of_present_jobs(selector: str) -> str:
    """Series of jobs, without those of jobs that were deleted or that polls have not found for an hour.

    Their last values stand still and say nothing of the present. An outage of some minutes takes no job out.
    """
    deleted = f"{by_job('max', 'job_deleted')} == 1"
    fails = f"{by_job('max', 'job_up')} == 0"
    unseen = f"time() - {by_job('max', 'job_last_poll_timestamp_seconds')} > 3600"
    return f"({selector} unless {ON_JOB} ({deleted} or {fails} and {unseen}))"


def _by(labels: str) -> str:
    return f" by ({labels}) " if labels else " "
