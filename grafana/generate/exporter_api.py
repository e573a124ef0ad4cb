"""The middle of the dashboard *Exporter*: the API, and what could not be learnt from it."""

from typing import Final

from grafana.generate.frame import ROW_TO_JOB, Line
from grafana.generate.panels import DASHED_LIMIT, graph, named, table
from grafana.generate.promql import BY_JOB, counted, of_exporters, of_jobs, per_second, quantile
from grafana.generate.shared import lost_and_recovered
from grafana.generate.targets import over_time

EACH: Final = "{{instance}}"
REQUESTS: Final = of_exporters("exporter_api_requests_total")


def requests() -> Line:
    """What is asked, what comes back, and how fast."""
    durations = of_exporters("exporter_api_request_duration_seconds_bucket")
    return Line(
        8,
        [
            graph(
                (
                    "Requests, by code",
                    "Requests to the API by HTTP status, or by what went wrong instead: timeout, "
                    "connection, invalid.",
                ),
                8,
                "reqps",
                over_time(per_second(REQUESTS, "code"), "{{code}}"),
                stacking={"mode": "normal", "group": "A"},
            ),
            graph(
                ("Requests, by operation", "Requests to the API by what they ask for."),
                8,
                "reqps",
                over_time(per_second(REQUESTS, "operation"), "{{operation}}"),
                stacking={"mode": "normal", "group": "A"},
            ),
            graph(
                (
                    "Answer time, p95",
                    "Within which time 95 of 100 answers of the API came, by operation.",
                ),
                8,
                "s",
                over_time(quantile(0.95, durations, "operation"), "{{operation}}"),
                spanNulls=True,
                fillOpacity=0,
            ),
        ],
    )


def throttling() -> Line:
    """What the API lets through."""
    throttled = of_exporters("exporter_api_throttled_total")
    budget = of_exporters("exporter_api_budget_requests_per_minute")
    failed = of_exporters("exporter_api_requests_total", 'code!~"2.."')
    return Line(
        8,
        [
            graph(
                (
                    "Request budget",
                    "Requests in a minute, and as dashes how many the throttle allows at present. The "
                    'budget drops when the API says "too many requests" and then grows back.',
                ),
                8,
                "cpm",
                over_time(f"60 * {per_second(REQUESTS, 'instance')}", "{{instance}}: sent"),
                over_time(f"sum by (instance) ({budget})", "{{instance}}: allowed"),
                overrides=[DASHED_LIMIT],
            ),
            graph(
                ("Throttled", "Answers in a minute that told the exporter to slow down, by operation."),
                8,
                "cpm",
                over_time(f"60 * {per_second(throttled, 'operation')}", "{{operation}}"),
            ),
            graph(
                (
                    "Share of failed requests",
                    "Requests without an answer of the 2xx kind to all requests, by exporter. A refused job "
                    "counts too.",
                ),
                8,
                "percentunit",
                over_time(
                    f"({per_second(failed, 'instance')} or 0 * {per_second(REQUESTS, 'instance')}) "
                    f"/ ({per_second(REQUESTS, 'instance')} > 0)",
                    EACH,
                ),
            ),
        ],
    )


def errors() -> Line:
    """What could not be read, or not be kept."""
    payload = of_exporters("exporter_payload_errors_total")
    store = of_exporters("exporter_store_errors_total")
    return Line(
        8,
        [
            graph(
                (
                    "Unreadable records and answers",
                    "What could not be read or cannot be right, each time it was read, by operation and "
                    "reason.",
                ),
                12,
                "short",
                over_time(
                    counted(payload, "operation, reason", "$__rate_interval"), "{{operation}}: {{reason}}"
                ),
                coarse=True,
            ),
            graph(
                (
                    "Store errors",
                    "Failures to read or write what has been counted. While they last, the numbers stay at "
                    "what was last written; nothing is lost.",
                ),
                12,
                "short",
                over_time(
                    counted(store, "instance, operation", "$__rate_interval"), f"{EACH}: {{{{operation}}}}"
                ),
                coarse=True,
            ),
        ],
    )


def builds() -> Line:
    """Builds that are not counted as they should be."""
    losing = f"sum {BY_JOB} (increase({of_jobs('lost_builds_total')}[$__range])) > 0"
    return Line(
        8,
        [
            lost_and_recovered(8),
            graph(
                (
                    "Capped builds",
                    "Builds counted under other label values than their own, because the limit of series "
                    "was reached.",
                ),
                6,
                "short",
                over_time(
                    counted(of_exporters("exporter_capped_builds_total"), "instance", "$__rate_interval"),
                    EACH,
                ),
                coarse=True,
            ),
            table(
                (
                    "Jobs with lost builds",
                    "How many build numbers of a job could not be accounted for within the time range. One "
                    "that turns up later stays counted here.",
                ),
                10,
                {"Lost": ("short", losing)},
                first="Lost",
                overrides=[named("job_name", links=ROW_TO_JOB), named("Lost", decimals=0)],
            ),
        ],
    )
