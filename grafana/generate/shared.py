"""Panels that more than one dashboard shows."""

from typing import Final

from grafana.generate.panels import Json, bars, graph, heat_map, stacked_bars, stat
from grafana.generate.promql import Histogram, counted, heat, of_builds, of_jobs, per_second, success_ratio
from grafana.generate.results import result_colours
from grafana.generate.targets import buckets, now, over_time

QUEUED: Final = Histogram("queue_duration_seconds")
SUCCESSFUL: Final = Histogram("duration_seconds", ('result="success"',))
LEAN: Final = "In lean detail, it is that of whole projects."


def success(width: int) -> Json:
    """Build the success ratio of the time range."""
    return stat(
        (
            "Success ratio",
            "Share of successful builds among those that finished in the time range. Aborted builds are "
            "ignored, because they say nothing about the code.",
        ),
        width,
        "percentunit",
        now(success_ratio()),
        steps=((None, "red"), (0.7, "orange"), (0.9, "green")),
        decimals=1,
    )


def finished(width: int) -> Json:
    """Build the number of finished builds in the time range."""
    return stat(
        ("Builds finished", "Builds that finished in the time range, with any result."),
        width,
        "short",
        now(counted(of_jobs("builds_total"))),
        decimals=0,
    )


def builds_per_hour(width: int) -> Json:
    """Build the rate of finished builds by result."""
    return stacked_bars(
        (
            "Builds per hour, by result",
            "Finished builds per hour by result. Each point covers the time since the previous one, so a "
            "longer time range gives a smoother graph.",
        ),
        width,
        "short",
        over_time(f"3600 * {per_second(of_jobs('builds_total'), 'result')}", "{{result}}"),
        overrides=result_colours(),
    )


def builds_by_result(width: int) -> Json:
    """Build the number of finished builds by result."""
    return bars(
        ("Builds by result", "Builds that finished in the time range, by result."),
        width,
        "short",
        now(counted(of_jobs("builds_total"), "result"), "{{result}}"),
        overrides=result_colours(),
    )


def durations(width: int) -> Json:
    """Build the heat map of durations of all builds."""
    return heat_map(
        ("Duration of builds", f"Time from start to finish of builds with any result. {LEAN}"),
        width,
        "s",
        buckets(heat(Histogram("duration_seconds"))),
    )


def queue_times(width: int) -> Json:
    """Build the heat map of queue times of all builds."""
    return heat_map(
        ("Queue time of builds", f"Time that builds waited for a machine before they started. {LEAN}"),
        width,
        "s",
        buckets(heat(QUEUED)),
    )


def lost_and_recovered(width: int) -> Json:
    """Build the number of lost and recovered builds."""
    return graph(
        (
            "Lost and recovered builds",
            "Lost: build numbers that the API does not know. Recovered: builds counted late, after downtime "
            "or API errors, or after they had been counted as lost.",
        ),
        width,
        "short",
        over_time(counted(of_jobs("lost_builds_total"), "", "$__rate_interval"), "lost"),
        over_time(counted(of_builds("recovered_builds_total"), "", "$__rate_interval"), "recovered"),
        coarse=True,
    )
