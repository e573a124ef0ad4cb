"""Keep snapshots ready: rendered off the request path, at most once a second, swapped by one reference."""

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from exporter.exposition import Format, Renderer, Snapshot
from exporter.metrics import JOB_FAMILIES, Family, FleetView, JobView
from exporter.metrics.exporter_metrics import Telemetry

_INTERVAL_S: Final = 1.0
"""Changes within this time are published together."""

_MIN_PAUSE_S: Final = 0.2
"""Least pause between renderings, however long they take."""

_KEPT_FOR_S: Final = 900.0
"""A format or encoding that was not requested for this long is discarded."""


class _Slot:
    """One format: when it was last requested, and its latest snapshot."""

    def __init__(self, families: Sequence[Family[JobView]], fmt: Format) -> None:
        self.fmt = fmt
        self.use(families)
        self.requested_s = self.gzip_requested_s = float("-inf")
        self.snapshot: Snapshot | None = None

    def use(self, families: Sequence[Family[JobView]], *, created_series: bool = False) -> None:
        """Render everything again, with these families."""
        self._shape = families, created_series
        self.renderer = Renderer(families, self.fmt, created_series=created_series)
        self.view: FleetView | None = None

    def render(self, view: FleetView, now: float) -> None:
        """Bring the snapshot up to date."""
        compress = now - self.gzip_requested_s <= _KEPT_FOR_S
        if view is not self.view or self.snapshot is None or self.snapshot.is_compressed is not compress:
            self.snapshot = self.renderer.render(view, compress=compress)
            self.view = view

    def discard(self) -> None:
        """Free the snapshot until it is requested again."""
        self.snapshot = None
        families, created_series = self._shape
        self.use(families, created_series=created_series)


class Publisher:
    """Renders the current view in all formats that are in use.

    OpenMetrics with gzip, which Prometheus requests, is kept from the start; anything else from its first
    request on. At least one format is always kept, since its series are compared with the series limit.
    `latest` never blocks and may be called on any thread.

    Args:
        view: returns what to publish; a new object whenever anything has changed.
        telemetry: receives sizes and series.
        families: of jobs.
        monotonic: monotonic clock, in seconds.
    """

    def __init__(
        self,
        view: Callable[[], FleetView],
        telemetry: Telemetry,
        families: Sequence[Family[JobView]] = JOB_FAMILIES,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._view = view
        self._telemetry = telemetry
        self._monotonic = monotonic
        self._slots = {fmt: _Slot(families, fmt) for fmt in Format}
        self._rendering = threading.Lock()
        self._wake = threading.Event()
        self._stopping = False
        self._failed = False
        self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)
        openmetrics = self._slots[Format.OPENMETRICS]
        openmetrics.requested_s = openmetrics.gzip_requested_s = monotonic()

    @property
    def is_healthy(self) -> bool:
        """The thread has not died of an unexpected error."""
        return not self._failed

    @property
    def is_complete(self) -> bool:
        """All current snapshots contain every job."""
        views = [slot.view for slot in self._slots.values() if slot.snapshot]
        return bool(views) and all(view is not None and view.is_complete for view in views)

    @property
    def series(self) -> int:
        """Number of series in the largest snapshot."""
        return max((slot.snapshot.series for slot in self._slots.values() if slot.snapshot), default=0)

    def set_families(self, families: Sequence[Family[JobView]], *, created_series: bool = False) -> None:
        """Use other families of jobs from the next rendering on; ``created_series`` as in `Renderer`."""
        with self._rendering:
            for slot in self._slots.values():
                slot.use(families, created_series=created_series)
        self._wake.set()

    def latest(self, fmt: Format, *, gzip: bool) -> Snapshot | None:
        """Return the snapshot in a format, compressed if requested; None if it is not rendered yet."""
        slot = self._slots[fmt]
        slot.requested_s = self._monotonic()
        if gzip:
            slot.gzip_requested_s = slot.requested_s
        snapshot = slot.snapshot
        if snapshot is None or (gzip and not snapshot.is_compressed):
            self._wake.set()
            return None
        return snapshot

    def publish(self) -> None:
        """Render what has changed, in every format that is in use."""
        with self._rendering:
            now, began = self._monotonic(), time.time()
            view = self._view()
            slots = self._slots.values()
            requested = [slot for slot in slots if now - slot.requested_s <= _KEPT_FOR_S]
            in_use = requested or [slot for slot in slots if slot.snapshot][:1]
            for slot in slots:
                if slot in in_use:
                    slot.render(view, now)
                elif slot.snapshot:
                    slot.discard()
                self._report_size(slot)
            self._telemetry.series.set(self.series)
            self._telemetry.snapshot_timestamp.set(began)

    def start(self) -> None:
        """Publish now, then on a thread whenever something has changed."""
        self.publish()
        self._thread.start()

    def stop(self) -> None:
        """Stop publishing."""
        self._stopping = True
        self._wake.set()

    def _run(self) -> None:
        try:
            took = 0.0
            while not self._stopping:
                self._wake.wait(max(_MIN_PAUSE_S, _INTERVAL_S - took))
                self._wake.clear()
                began = time.monotonic()
                self.publish()
                took = time.monotonic() - began
        except BaseException:
            self._failed = True
            raise

    def _report_size(self, slot: _Slot) -> None:
        snapshot, metric = slot.snapshot, self._telemetry.snapshot_size
        sizes = {
            "identity": snapshot.size if snapshot else None,
            "gzip": snapshot.gzip_size if snapshot and snapshot.is_compressed else None,
        }
        for encoding, size in sizes.items():
            if size is not None:
                metric.labels(slot.fmt.value, encoding).set(size)
            else:
                with suppress(KeyError):
                    metric.remove(slot.fmt.value, encoding)
