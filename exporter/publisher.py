"""Keeps snapshots ready: rendered off the request path, at most once a second, swapped by one reference."""

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from exporter.catalogue import JOB_FAMILIES, Family, FleetView, JobView
from exporter.exposition import Format, Renderer, Snapshot
from exporter.telemetry import Telemetry

_EVERY_S: Final = 1.0
"""Changes that come closer together are published as one."""

_PAUSE_S: Final = 0.2
"""A rendering that takes long leaves at least this much to everything else."""

_KEPT_FOR_S: Final = 900.0
"""A form that nobody asked for during this long is kept no more."""


class _Kept:
    """One format, rendered as long as somebody asks for it."""

    def __init__(self, families: Sequence[Family[JobView]], form: Format) -> None:
        self.form = form
        self.renderer = Renderer(families, form)
        self.view: FleetView | None = None
        self.snapshot: Snapshot | None = None
        self.asked_s = self.gzip_asked_s = float("-inf")


class Publisher:
    """Renders what a poller publishes.

    What Prometheus asks for, OpenMetrics as gzip, is kept from the start; anything else from the first time
    that it is asked for. `latest` may be called on any thread and never waits.

    Args:
        view: gives what is to be shown; a new object whenever anything has changed.
        telemetry: is told of sizes and series.
        families: of jobs.
        monotonic: seconds that never jump.
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
        self._families = families
        self._kept = {form: _Kept(families, form) for form in Format}
        self._rendering = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)
        self._failed = False
        prometheus = self._kept[Format.OPENMETRICS]
        prometheus.asked_s = prometheus.gzip_asked_s = monotonic()

    @property
    def is_healthy(self) -> bool:
        """Rendering has not died of something that nobody thought of."""
        return not self._failed

    @property
    def series(self) -> int:
        """How many series the largest snapshot holds."""
        return max((kept.snapshot.series for kept in self._kept.values() if kept.snapshot), default=0)

    def show(self, families: Sequence[Family[JobView]]) -> None:
        """Show these families of jobs from the next rendering on."""
        with self._rendering:
            self._families = families
            for kept in self._kept.values():
                kept.renderer, kept.view = Renderer(families, kept.form), None

    def latest(self, form: Format, *, gzip: bool) -> Snapshot | None:
        """The snapshot in that format, with its gzip form if that is wanted; None if it is not kept yet."""
        kept = self._kept[form]
        kept.asked_s = self._monotonic()
        if gzip:
            kept.gzip_asked_s = kept.asked_s
        snapshot = kept.snapshot
        return None if snapshot is None or (gzip and not snapshot.is_compressed) else snapshot

    def publish(self) -> None:
        """Render what has changed, in every format that somebody asks for."""
        with self._rendering:
            for kept in tuple(self._kept.values()):
                self._render(kept)
            self._telemetry.series.set(self.series)
            self._telemetry.snapshot_timestamp.set_to_current_time()

    def start(self) -> None:
        """Publish at once, then whenever something has changed."""
        self.publish()
        self._thread.start()

    def stop(self) -> None:
        """Publish no more."""
        self._stopping.set()

    def _run(self) -> None:
        try:
            took = 0.0
            while not self._stopping.wait(max(_PAUSE_S, _EVERY_S - took)):
                began = time.monotonic()
                self.publish()
                took = time.monotonic() - began
        except BaseException:
            self._failed = True
            raise

    def _render(self, kept: _Kept) -> None:
        now = self._monotonic()
        if now - kept.asked_s > _KEPT_FOR_S:
            if kept.snapshot:
                self._kept[kept.form] = _Kept(self._families, kept.form)
                self._show_size(kept.form, None)
            return
        view, compress = self._view(), now - kept.gzip_asked_s < _KEPT_FOR_S
        if view is kept.view and kept.snapshot and kept.snapshot.is_compressed is compress:
            return
        kept.snapshot = kept.renderer.render(view, compress=compress)
        kept.view = view
        self._show_size(kept.form, kept.snapshot)

    def _show_size(self, form: Format, snapshot: Snapshot | None) -> None:
        sizes = {"identity": snapshot.size} if snapshot else {}
        if snapshot and snapshot.is_compressed:
            sizes["gzip"] = snapshot.gzip_size
        for encoding in ("identity", "gzip"):
            if encoding in sizes:
                self._telemetry.snapshot_size.labels(form.value, encoding).set(sizes[encoding])
            else:
                with suppress(KeyError):
                    self._telemetry.snapshot_size.remove(form.value, encoding)
