"""The head of the page: how the exporter itself is."""

from dataclasses import dataclass

from exporter.catalogue import FleetView
from exporter.telemetry import Readings
from exporter.web.status import words


@dataclass(frozen=True, slots=True)
class Fact:
    """A name, a value, and a remark; ``is_bad`` where somebody should look."""

    name: str
    value: str
    remark: str = ""
    is_bad: bool = False


def facts(view: FleetView, readings: Readings, now_ms: int, stale_after_ms: int) -> tuple[Fact, ...]:
    """What is told of the exporter, most wanted first."""
    up = readings.api_up
    loaded = (
        f"loaded {words.age(now_ms - readings.config_loaded_ms)} ago" if readings.config_loaded_ms else ""
    )
    lag_ms = round(readings.poll_lag_s * 1000)
    gzip = f"{words.size(readings.snapshot_gzip_bytes)} gzip" if readings.snapshot_gzip_bytes else ""
    deleted = len(view.recycle_bin.jobs) if view.recycle_bin else None
    return (
        Fact(
            "API",
            "not asked yet" if up is None else "up" if up else "down",
            readings.api_trouble,
            is_bad=up is False,
        ),
        Fact("Jobs", f"{len(view.jobs):,}", "" if deleted is None else f"{deleted:,} in recycle bin"),
        Fact(
            "Configuration", "ok" if readings.config_ok else "reload failed", loaded, not readings.config_ok
        ),
        Fact("Request budget", f"{readings.budget_per_minute:,.0f}", "per minute"),
        Fact("Poll lag", words.length(lag_ms), "most overdue", lag_ms > stale_after_ms),
        Fact("Snapshot", words.size(readings.snapshot_bytes), gzip),
    )
