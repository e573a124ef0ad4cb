"""Panels that more than one dashboard shows."""

from typing import Final

from grafana.generate.panels import Json, bars, graph, heat_map, stacked_bars, stat
from grafana.generate.promql import counted, of_jobs, per_second, success_ratio
from grafana.generate.results import result_colours
from grafana.generate.targets import buckets, now, over_time

QUEUED: Final = of_jobs("queue_duration_seconds_bucket")
SUCCESSFUL: Final = of_jobs("duration_seconds_bucket", 'result="success"')


def success(width: int) -> Json:
    """One number for the whole range."""
    return stat(
        (
            "Success ratio",
            "Successful builds to all that finished within the time range. Aborted builds are left aside: "
            "whoever stops a build says nothing about the code.",
        ),
        width,
        "percentunit",
        now(success_ratio()),
        steps=((None, "red"), (0.7, "orange"), (0.9, "green")),
        decimals=1,
    )


def finished(width: int) -> Json:
    """One number for the whole range."""
    return stat(
        ("Builds finished", "Builds that finished within the time range, whatever their result."),
        width,
        "short",
        now(counted(of_jobs("builds_total"))),
        decimals=0,
    )


def builds_per_hour(width: int) -> Json:
    """When builds ended how."""
    return stacked_bars(
        (
            "Builds per hour, by result",
            "How many builds finish in an hour, and how. Each point looks at the time since the one before "
            "it, so that a longer time range draws a smoother picture.",
        ),
        width,
        "short",
        over_time(f"3600 * {per_second(of_jobs('builds_total'), 'result')}", "{{result}}"),
        overrides=result_colours(),
    )


def builds_by_result(width: int) -> Json:
    """How many builds ended how."""
    return bars(
        ("Builds by result", "Builds that finished within the time range, by result."),
        width,
        "short",
        now(counted(of_jobs("builds_total"), "result"), "{{result}}"),
        overrides=result_colours(),
    )


def durations(width: int) -> Json:
    """All builds, bucket by bucket."""
    return heat_map(
        ("Duration of builds", "How long builds took from start to finish, whatever their result."),
        width,
        "s",
        buckets(counted(of_jobs("duration_seconds_bucket"), "le", "$__rate_interval")),
    )


def queue_times(width: int) -> Json:
    """All builds, bucket by bucket."""
    return heat_map(
        ("Queue time of builds", "How long builds waited for a machine before they started."),
        width,
        "s",
        buckets(counted(QUEUED, "le", "$__rate_interval")),
    )


def lost_and_recovered(width: int) -> Json:
    """What the API hid, for a while or for good."""
    return graph(
        (
            "Lost and recovered builds",
            "Lost: build numbers that the API could not account for. Recovered: builds counted after a gap, "
            "such as downtime or API trouble, or after they had been given up on.",
        ),
        width,
        "short",
        over_time(counted(of_jobs("lost_builds_total"), "", "$__rate_interval"), "lost"),
        over_time(counted(of_jobs("recovered_builds_total"), "", "$__rate_interval"), "recovered"),
        coarse=True,
    )
