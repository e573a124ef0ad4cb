"""Keeps snapshots ready: rendered off the request path, at most once a second, swapped by one reference."""

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from exporter.exposition import Format, Renderer, Snapshot
from exporter.metrics import JOB_FAMILIES, Family, FleetView, JobView
from exporter.metrics.exporter_metrics import Telemetry

_EVERY_S: Final = 1.0
"""Changes that come closer together are published as one."""

_PAUSE_S: Final = 0.2
"""A rendering that takes long leaves at least this much to everything else."""

_KEPT_FOR_S: Final = 900.0
"""A form that nobody asked for during this long is kept no more."""

_NEVER: Final = float("-inf")


class _Kept:
    """One format: when somebody asked for it last, and what was rendered of it."""

    def __init__(self, families: Sequence[Family[JobView]], form: Format) -> None:
        self.form = form
        self.renderer = Renderer(families, form)
        self.asked_s = self.gzip_asked_s = _NEVER
        self.view: FleetView | None = None
        self.snapshot: Snapshot | None = None

    def is_wanted(self, now: float) -> bool:
        """Whether somebody asked for it lately."""
        return now - self.asked_s <= _KEPT_FOR_S

    def render(self, view: FleetView, now: float) -> None:
        """Bring the snapshot up to date."""
        compress = now - self.gzip_asked_s <= _KEPT_FOR_S
        if view is not self.view or self.snapshot is None or self.snapshot.is_compressed is not compress:
            self.snapshot = self.renderer.render(view, compress=compress)
            self.view = view

    def let_go(self, families: Sequence[Family[JobView]]) -> None:
        """Keep nothing until somebody asks again."""
        self.snapshot, self.view, self.renderer = None, None, Renderer(families, self.form)


class Publisher:
    """Renders what a poller publishes.

    What Prometheus asks for, OpenMetrics as gzip, is kept from the start; anything else from the first time
    that it is asked for. One format is always kept, since its series are what the limit is about. `latest`
    may be called on any thread and never waits.

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
        self._families = families
        self._monotonic = monotonic
        self._kept = {form: _Kept(families, form) for form in Format}
        self._rendering = threading.Lock()
        self._wake = threading.Event()
        self._stopping = False
        self._failed = False
        self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)
        prometheus = self._kept[Format.OPENMETRICS]
        prometheus.asked_s = prometheus.gzip_asked_s = monotonic()

    @property
    def is_healthy(self) -> bool:
        """Rendering has not died of something that nobody thought of."""
        return not self._failed

    @property
    def is_complete(self) -> bool:
        """Whoever scrapes now gets every job."""
        shown = [kept.view for kept in self._kept.values() if kept.snapshot]
        return bool(shown) and all(view is not None and view.is_complete for view in shown)

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
        self._wake.set()

    def latest(self, form: Format, *, gzip: bool) -> Snapshot | None:
        """The snapshot in that format, with its gzip form if that is wanted; None if it is not there yet."""
        kept = self._kept[form]
        kept.asked_s = self._monotonic()
        if gzip:
            kept.gzip_asked_s = kept.asked_s
        snapshot = kept.snapshot
        if snapshot is None or (gzip and not snapshot.is_compressed):
            self._wake.set()
            return None
        return snapshot

    def publish(self) -> None:
        """Render what has changed, in every format that somebody asks for."""
        with self._rendering:
            now, began = self._monotonic(), time.time()
            view = self._view()
            wanted = [kept for kept in self._kept.values() if kept.is_wanted(now)]
            kept_still = wanted or [kept for kept in self._kept.values() if kept.snapshot][:1]
            for kept in self._kept.values():
                if kept in kept_still:
                    kept.render(view, now)
                elif kept.snapshot:
                    kept.let_go(self._families)
                self._show_size(kept)
            self._telemetry.series.set(self.series)
            self._telemetry.snapshot_timestamp.set(began)

    def start(self) -> None:
        """Publish at once, then whenever something has changed."""
        self.publish()
        self._thread.start()

    def stop(self) -> None:
        """Publish no more."""
        self._stopping = True
        self._wake.set()

    def _run(self) -> None:
        try:
            took = 0.0
            while not self._stopping:
                self._wake.wait(max(_PAUSE_S, _EVERY_S - took))
                self._wake.clear()
                began = time.monotonic()
                self.publish()
                took = time.monotonic() - began
        except BaseException:
            self._failed = True
            raise

    def _show_size(self, kept: _Kept) -> None:
        snapshot = kept.snapshot
        sizes = {"identity": snapshot.size} if snapshot else {}
        if snapshot and snapshot.is_compressed:
            sizes["gzip"] = snapshot.gzip_size
        for encoding in ("identity", "gzip"):
            if encoding in sizes:
                self._telemetry.snapshot_size.labels(kept.form.value, encoding).set(sizes[encoding])
            else:
                with suppress(KeyError):
                    self._telemetry.snapshot_size.remove(kept.form.value, encoding)
