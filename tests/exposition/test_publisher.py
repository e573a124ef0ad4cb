"""When snapshots are made, which are kept, and what is told of them."""

import gzip
import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
from prometheus_client import CollectorRegistry

from exporter.exposition import Format
from exporter.exposition.publisher import Publisher
from exporter.metrics import JOB_FAMILIES, FleetView
from exporter.metrics.exporter_metrics import Telemetry
from tests.exposition.views import busy
from tests.support.oracle import rendered
from tests.support.programs import eventually

TEXT, OPENMETRICS = Format.TEXT, Format.OPENMETRICS
QUARTER_HOUR_S = 900.0


class Stage:
    """A publisher, the view it shows, and its clock."""

    def __init__(self) -> None:
        self.view = FleetView((busy(1),))
        self.now = 0.0
        self.registry = CollectorRegistry()
        self.publisher = Publisher(lambda: self.view, Telemetry(self.registry), monotonic=lambda: self.now)

    def text(self, form: Format = OPENMETRICS) -> bytes | None:
        snapshot = self.publisher.latest(form, gzip=False)
        if snapshot is None:
            return None
        return b"".join(snapshot.identity(b"# EOF\n" if form is OPENMETRICS else b""))

    def sizes(self) -> set[str]:
        return {
            f"{sample.labels['format']} {sample.labels['encoding']}"
            for family in self.registry.collect()
            for sample in family.samples
            if sample.name == "codearts_build_exporter_snapshot_size_bytes"
        }

    def value(self, name: str) -> float | None:
        return self.registry.get_sample_value(f"codearts_build_exporter_{name}")


@pytest.fixture
def stage() -> Stage:
    return Stage()


def test_nothing_is_there_before_it_is_published(stage: Stage) -> None:
    assert stage.text() is None


def test_what_prometheus_asks_for_is_ready_before_it_asks(stage: Stage) -> None:
    stage.publisher.publish()
    assert stage.publisher.latest(OPENMETRICS, gzip=True) is not None
    assert stage.sizes() == {"openmetrics identity", "openmetrics gzip"}


def test_other_forms_are_kept_from_when_somebody_asks(stage: Stage) -> None:
    stage.publisher.publish()
    assert stage.text(TEXT) is None
    stage.publisher.publish()
    assert stage.text(TEXT) == rendered(stage.view)
    assert stage.publisher.latest(TEXT, gzip=True) is None
    assert stage.sizes() == {"openmetrics identity", "openmetrics gzip", "text identity"}


def test_forms_that_nobody_asks_for_are_let_go(stage: Stage) -> None:
    stage.text(TEXT)
    stage.publisher.publish()
    stage.now += QUARTER_HOUR_S / 2
    stage.text(OPENMETRICS)
    stage.now += QUARTER_HOUR_S / 2 + 1
    stage.publisher.publish()
    assert stage.sizes() == {"openmetrics identity"}
    assert stage.text() == rendered(stage.view, OPENMETRICS)
    assert stage.text(TEXT) is None
    stage.publisher.publish()
    assert stage.text(TEXT) == rendered(stage.view)


def test_one_form_is_kept_though_nobody_asks_so_that_series_are_known(stage: Stage) -> None:
    stage.publisher.publish()
    stage.now += 10 * QUARTER_HOUR_S
    stage.view = FleetView(tuple(map(busy, range(9))))
    stage.publisher.publish()
    assert stage.sizes() == {"openmetrics identity"}
    assert stage.publisher.series == sum(
        not line.startswith(b"#") for line in rendered(stage.view, OPENMETRICS).splitlines()
    )


def test_a_rendering_that_failed_leaves_nothing_half_done(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.text(TEXT)
    stage.publisher.publish()
    stage.publisher.latest(TEXT, gzip=True)
    with monkeypatch.context() as patched:
        patched.setattr("exporter.exposition.renderer.Piece.of", out_of_memory)
        with pytest.raises(MemoryError):
            stage.publisher.publish()
    stage.publisher.publish()
    snapshot = stage.publisher.latest(TEXT, gzip=True)
    assert snapshot is not None
    assert gzip.decompress(b"".join(snapshot.gzip(b""))) == rendered(stage.view)


def out_of_memory(*_: object, **__: object) -> None:
    raise MemoryError


def test_the_time_told_is_that_of_the_view(stage: Stage) -> None:
    asked: list[float] = []

    def slow() -> FleetView:
        asked.append(time.time())
        time.sleep(0.2)
        return stage.view

    before = time.time()
    stage.publisher._view = slow
    stage.publisher.publish()
    assert before <= (stage.value("snapshot_timestamp_seconds") or 0) <= asked[0]


def test_it_is_complete_when_what_it_shows_is_not_when_there_is_more_to_show(stage: Stage) -> None:
    assert not stage.publisher.is_complete
    stage.publisher.publish()
    assert not stage.publisher.is_complete
    stage.view = replace(stage.view, is_complete=True)
    assert not stage.publisher.is_complete
    stage.publisher.publish()
    assert stage.publisher.is_complete
    stage.publisher.show(JOB_FAMILIES)
    assert not stage.publisher.is_complete
    stage.publisher.publish()
    assert stage.publisher.is_complete


def test_a_form_that_is_let_go_says_nothing_of_what_is_shown(stage: Stage) -> None:
    stage.view = replace(stage.view, is_complete=True)
    stage.text(TEXT)
    stage.publisher.publish()
    stage.now += QUARTER_HOUR_S + 1
    stage.text(TEXT)
    stage.publisher.publish()
    assert stage.sizes() == {"text identity"}
    assert stage.publisher.is_complete


def test_a_view_that_is_the_same_object_is_not_rendered_again(stage: Stage) -> None:
    stage.publisher.publish()
    before = stage.publisher.latest(OPENMETRICS, gzip=True)
    stage.publisher.publish()
    assert stage.publisher.latest(OPENMETRICS, gzip=True) is before
    stage.view = replace(stage.view, jobs=(busy(1), busy(2)))
    stage.publisher.publish()
    assert stage.text() == rendered(stage.view, OPENMETRICS)


def test_series_and_time_are_told(stage: Stage) -> None:
    stage.publisher.publish()
    lines = rendered(stage.view, OPENMETRICS).splitlines()
    series = sum(not line.startswith(b"#") for line in lines)
    assert (stage.value("series"), stage.publisher.series) == (series, series)
    assert time.time() - (stage.value("snapshot_timestamp_seconds") or 0) < 60


class Restless(Stage):
    """Shows another view each time it is asked, and counts how often."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[float] = []

        def view() -> FleetView:
            self.asked.append(time.monotonic())
            return FleetView((busy(len(self.asked)),))

        self.publisher = Publisher(view, Telemetry(CollectorRegistry()))


@pytest.fixture
def restless() -> Iterator[Restless]:
    stage = Restless()
    stage.publisher.start()
    yield stage
    stage.publisher.stop()


def test_changes_are_published_by_themselves_at_most_once_a_second(restless: Restless) -> None:
    eventually(lambda: len(restless.asked) > 3, 20)
    waits = [later - earlier for earlier, later in zip(restless.asked, restless.asked[1:], strict=False)]
    assert min(waits) > 0.9
    assert restless.publisher.is_healthy


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_publisher_that_has_died_is_not_healthy() -> None:
    views = iter([FleetView()])
    publisher = Publisher(lambda: next(views), Telemetry(CollectorRegistry()))
    publisher.start()
    eventually(lambda: not publisher.is_healthy, 10)
    publisher._thread.join()


def test_readers_never_wait_for_a_rendering(stage: Stage) -> None:
    stage.publisher.publish()
    entered, leave = threading.Event(), threading.Event()

    def slow() -> FleetView:
        entered.set()
        leave.wait(10)
        return stage.view

    stage.publisher._view = slow
    thread = threading.Thread(target=stage.publisher.publish)
    thread.start()
    entered.wait(10)
    read: list[bytes | None] = []
    reader = threading.Thread(target=lambda: read.append(stage.text()))
    reader.start()
    reader.join(5)
    assert thread.is_alive()
    assert read == [rendered(stage.view, OPENMETRICS)]
    leave.set()
    thread.join()
