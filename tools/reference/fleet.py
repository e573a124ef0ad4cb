"""A fixed example fleet, whose samples are on the metrics page."""

import inspect
from dataclasses import replace
from typing import Any, Final

from prometheus_client import CollectorRegistry, generate_latest

from exporter.config.schema import DURATION_BUCKETS, QUEUE_BUCKETS
from exporter.exposition import Format, Renderer
from exporter.ledger.build_labels import LabelPolicy
from exporter.ledger.fold_observations import apply_details, apply_history, apply_stages, baseline
from exporter.ledger.histogram import Buckets
from exporter.ledger.job_ledger import JobLedger
from exporter.ledger.stages import KnownStages
from exporter.metrics import Family, FleetView, JobView, job_families
from exporter.metrics.exporter_metrics import Telemetry
from exporter.metrics.lean_detail import LEAN_FAMILIES
from exporter.model import Build, BuildDetail, Job, RecycleBin, RecycledJob, Result, Stage, State
from exporter.poller.job_state import RECOVERY_BUCKETS

_BEGAN_MS: Final = 1_741_579_200_000  # 10 March 2025, noon in UTC+8
_MINUTE_MS: Final = 60_000
_DAY_MS: Final = 86_400_000
_BUCKETS: Final = Buckets.of_seconds(DURATION_BUCKETS, QUEUE_BUCKETS, RECOVERY_BUCKETS)
_POLICY: Final = LabelPolicy(stages=True)
_RECORD: Final = "94baa8ec-fd3f-4cae-81af-b24385a7220f"
_PROJECT: Final = "b4d3971c3988463b865f6f920846149e"
_CHECKOUT: Final = Job("48c66c6002964721be537cdc6ce0297b", "checkout", "shop", _PROJECT)
_NIGHTLY: Final = Job("f9d6c8466d614a9788e9a0acf6c15f46", "nightly", "shop", _PROJECT)


def families(extra: tuple[str, ...] = ()) -> tuple[Family[JobView], ...]:
    """Return the job metrics in full detail with every option enabled, so that the page has all of them."""
    parameters = inspect.signature(job_families).parameters.values()
    switches: dict[str, Any] = {
        flag.name: flag.name != "lean" for flag in parameters if flag.default is False
    }
    return job_families(extra, (), **switches)


def exposition() -> str:
    """Return a scrape of the example in the text format."""
    view = _fleet()
    registry = CollectorRegistry()
    _set_example_values(Telemetry(registry))
    snapshot = Renderer((*families(), *LEAN_FAMILIES), Format.TEXT).render(view, compress=False)
    return b"".join(snapshot.identity(generate_latest(registry))).decode()


def _fleet() -> FleetView:
    ended = (Result.SUCCESS, Result.FAILURE, Result.FAILURE, Result.SUCCESS)
    checkout = replace(_ledger(*ended), lost_builds=1, recovered_builds=2)
    at_ms = checkout.polled_ms + _MINUTE_MS
    running = Build(532, state=State.RUNNING, start_ms=at_ms - 40_000)
    checkout = apply_history(checkout, [Build(533, state=State.QUEUED), running], at_ms=at_ms).ledger
    nightly = _ledger(Result.SUCCESS, Result.FAILURE, Result.FAILURE)
    gone = RecycledJob(_NIGHTLY.id, _NIGHTLY.name, _PROJECT, _BEGAN_MS - 3 * _DAY_MS)
    return FleetView(
        jobs=(
            JobView(
                _CHECKOUT, checkout, up=True, deleted=False, disabled=False, checked_ms=checkout.polled_ms
            ),
            JobView(_NIGHTLY, nightly, up=True, deleted=True, disabled=True, checked_ms=nightly.polled_ms),
        ),
        recycle_bin=RecycleBin(30 * _DAY_MS, {gone.id: gone}, read_ms=at_ms),
        projects={_PROJECT: "shop"},
    )


def _ledger(*results: Result) -> JobLedger:
    """Make the ledger of a job with these results from build 528 on, one build every ten minutes."""
    first = Build(527, result=Result.SUCCESS, start_ms=_BEGAN_MS - 90_000, finish_ms=_BEGAN_MS - 30_000)
    ledger = baseline([first], at_ms=_BEGAN_MS, buckets=_BUCKETS).ledger
    for index, result in enumerate(results):
        start_ms = _BEGAN_MS + (10 * index + 1) * _MINUTE_MS
        finish_ms = start_ms + 48_125 + 20_000 * index
        build = Build(528 + index, result=result, start_ms=start_ms, finish_ms=finish_ms)
        detail = BuildDetail(
            528 + index,
            result=result,
            queued_ms=start_ms - 2500,
            start_ms=start_ms,
            finish_ms=finish_ms,
            duration_ms=finish_ms - start_ms,
            record_id=_RECORD,
        )
        stages = (Stage("Code checkout", 9_125), Stage("Maven", finish_ms - start_ms - 9_125))
        ledger = apply_history(ledger, [build], at_ms=finish_ms + _MINUTE_MS).ledger
        ledger = apply_details(ledger, [detail], at_ms=finish_ms + _MINUTE_MS, policy=_POLICY).ledger
        ledger = apply_stages(ledger, [KnownStages(528 + index, stages)], policy=_POLICY)
    return ledger


def _set_example_values(telemetry: Telemetry) -> None:
    """Set the exporter's registry metrics to example values."""
    telemetry.up.set(1)
    telemetry.requests.labels("period-history", "200").inc(1742)
    for seconds in (0.08, 0.12, 0.31):
        telemetry.request_duration.labels("period-history").observe(seconds)
    telemetry.throttled.labels("period-history").inc(2)
    telemetry.budget.labels("period-history").set(300)
    telemetry.payload_fault("record-info", "unknown_trigger")
    telemetry.poll_lag.set(0.4)
    telemetry.watched_jobs.set(2)
    telemetry.lists_trusted.set(1)
    telemetry.clock_offset.set(-2)
    telemetry.series.set(212)
    telemetry.series_limit.set(1_000_000)
    telemetry.capped_builds.inc(7)
    telemetry.snapshot_size.labels("openmetrics", "gzip").set(2318)
    telemetry.snapshot_timestamp.set(_BEGAN_MS / 1000 + 2530)
    telemetry.store_errors.labels("commit").inc()
    telemetry.reload_successful.set(1)
    telemetry.reload_timestamp.set(_BEGAN_MS / 1000)
    telemetry.build_info.clear()
    telemetry.build_info.labels("0.1.0", "4194870", "3.11.2").set(1)
