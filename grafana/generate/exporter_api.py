"""Rows of the dashboard *Exporter*: the API, errors and lost builds."""

from typing import Final

from grafana.generate.frame import ROW_TO_JOB, Line
from grafana.generate.panels import DASHED_LIMIT, TYPICAL, graph, named, table
from grafana.generate.promql import BY_JOB, counted, of_exporters, of_jobs, per_second, quantile_of_buckets
from grafana.generate.shared import lost_and_recovered
from grafana.generate.targets import over_time

EACH: Final = "{{instance}}"
REQUESTS: Final = of_exporters("exporter_api_requests_total")


def requests() -> Line:
    """Build the row of request rates and response times."""
    durations = of_exporters("exporter_api_request_duration_seconds_bucket")
    return Line(
        8,
        [
            graph(
                (
                    "Requests, by code",
                    "Requests to the API by HTTP status, or by the kind of failure: timeout, connection, "
                    "invalid.",
                ),
                8,
                "reqps",
                over_time(per_second(REQUESTS, "code"), "{{code}}"),
                calcs=TYPICAL,
                stacking={"mode": "normal", "group": "A"},
            ),
            graph(
                ("Requests, by operation", "Requests to the API by operation, such as record-info."),
                8,
                "reqps",
                over_time(per_second(REQUESTS, "operation"), "{{operation}}"),
                calcs=TYPICAL,
                stacking={"mode": "normal", "group": "A"},
            ),
            graph(
                (
                    "Response time, p95",
                    "95th percentile of the response time of the API, by operation.",
                ),
                8,
                "s",
                over_time(quantile_of_buckets(0.95, durations, "operation"), "{{operation}}"),
                calcs=TYPICAL,
                spanNulls=True,
                fillOpacity=0,
            ),
        ],
    )


def throttling() -> Line:
    """Build the row of the request budget, throttling and failures."""
    throttled = of_exporters("exporter_api_throttled_total")
    budget = of_exporters("exporter_api_budget_requests_per_minute")
    sent = f"60 * {per_second(REQUESTS, 'operation')}"
    failed = of_exporters("exporter_api_requests_total", 'code!~"2.."')
    return Line(
        8,
        [
            graph(
                (
                    "Request budget",
                    "Requests per minute and operation; dashed: the current limit of the exporter. An "
                    "operation's limit drops when the API throttles it, and then grows again.",
                ),
                8,
                "cpm",
                over_time(sent, "{{operation}}: sent"),
                over_time(
                    f"sum by (operation) ({budget}) and on (operation) {sent} > 0", "{{operation}}: allowed"
                ),
                overrides=[DASHED_LIMIT],
            ),
            graph(
                ("Throttled", "Throttled requests per minute, by operation."),
                8,
                "cpm",
                over_time(f"60 * {per_second(throttled, 'operation')}", "{{operation}}"),
                calcs=TYPICAL,
            ),
            graph(
                (
                    "Share of failed requests",
                    "Share of requests without a 2xx response, by exporter. It includes requests for jobs "
                    "that the user may not view.",
                ),
                8,
                "percentunit",
                over_time(
                    f"({per_second(failed, 'instance')} or 0 * {per_second(REQUESTS, 'instance')}) "
                    f"/ ({per_second(REQUESTS, 'instance')} > 0)",
                    EACH,
                ),
                calcs=TYPICAL,
            ),
        ],
    )


def errors() -> Line:
    """Build the row of unreadable responses and failures of the store."""
    payload = of_exporters("exporter_payload_errors_total")
    store = of_exporters("exporter_store_errors_total")
    sources = of_exporters("exporter_api_source")
    return Line(
        8,
        [
            graph(
                (
                    "Unreadable records and responses",
                    "Records and responses that are unreadable or implausible, by operation and reason. Each "
                    "read counts.",
                ),
                8,
                "short",
                over_time(
                    counted(payload, "operation, reason", "$__rate_interval"), "{{operation}}: {{reason}}"
                ),
                coarse=True,
            ),
            graph(
                (
                    "Store errors",
                    "Failures to read or write the state. Meanwhile, metrics keep the last written values; "
                    "nothing is lost.",
                ),
                8,
                "short",
                over_time(
                    counted(store, "instance, operation", "$__rate_interval"), f"{EACH}: {{{{operation}}}}"
                ),
                coarse=True,
            ),
            graph(
                (
                    "Endpoints in use",
                    "Exporters by the endpoint that answers each operation. A v1 endpoint replaces one that "
                    "was withdrawn.",
                ),
                8,
                "short",
                over_time(f"sum by (operation, endpoint) ({sources})", "{{operation}}: {{endpoint}}"),
            ),
        ],
    )


def builds() -> Line:
    """Build the row of lost, recovered and capped builds."""
    losing = f"sum {BY_JOB} (increase({of_jobs('lost_builds_total')}[$__range])) > 0"
    return Line(
        8,
        [
            lost_and_recovered(8),
            graph(
                (
                    "Capped builds",
                    "Builds counted under label values other than their own, because the series limit was "
                    "reached.",
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
                    "Build numbers counted as lost within the time range, by job. A lost build that is found "
                    "later stays in this count.",
                ),
                10,
                {"Lost": ("short", losing)},
                first="Lost",
                overrides=[named("job_name", links=ROW_TO_JOB), named("Lost", decimals=0)],
            ),
        ],
    )
