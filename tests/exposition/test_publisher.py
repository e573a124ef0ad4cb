"""Times at which snapshots are rendered, which of them are kept, and the metrics about them."""

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
from tests.support.client_model import families
from tests.support.oracle import rendered
from tests.support.programs import eventually

TEXT, OPENMETRICS, PROTOBUF = Format.TEXT, Format.OPENMETRICS, Format.PROTOBUF
QUARTER_HOUR_S = 900.0


class Stage:
    """A publisher, the view it shows, and its clock."""

    def __init__(self) -> None:
        self.view = FleetView((busy(1),))
        self.now = 0.0
        self.registry = CollectorRegistry()
        self.publisher = Publisher(lambda: self.view, Telemetry(self.registry), monotonic=lambda: self.now)

    def text(self, fmt: Format = OPENMETRICS) -> bytes | None:
        snapshot = self.publisher.latest(fmt, gzip=False)
        if snapshot is None:
            return None
        return b"".join(snapshot.identity(b"# EOF\n" if fmt is OPENMETRICS else b""))

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


def test_there_is_no_snapshot_before_the_first_rendering(stage: Stage) -> None:
    assert stage.text() is None


def test_the_format_of_prometheus_is_ready_before_the_first_request(stage: Stage) -> None:
    stage.publisher.publish()
    assert stage.publisher.latest(OPENMETRICS, gzip=True) is not None
    assert stage.sizes() == {"openmetrics identity", "openmetrics gzip"}


def test_other_formats_are_kept_from_their_first_request_on(stage: Stage) -> None:
    stage.publisher.publish()
    assert stage.text(TEXT) is None
    stage.publisher.publish()
    assert stage.text(TEXT) == rendered(stage.view)
    assert stage.publisher.latest(TEXT, gzip=True) is None
    assert stage.sizes() == {"openmetrics identity", "openmetrics gzip", "text identity"}


def test_formats_that_are_not_requested_are_discarded(stage: Stage) -> None:
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


def test_one_format_is_kept_without_requests_so_that_series_are_known(stage: Stage) -> None:
    stage.publisher.publish()
    stage.now += 10 * QUARTER_HOUR_S
    stage.view = FleetView(tuple(map(busy, range(9))))
    stage.publisher.publish()
    assert stage.sizes() == {"openmetrics identity"}
    assert stage.publisher.series == sum(
        not line.startswith(b"#") for line in rendered(stage.view, OPENMETRICS).splitlines()
    )


def test_series_are_those_of_the_format_with_the_most(stage: Stage) -> None:
    lines = sum(not line.startswith(b"#") for line in rendered(stage.view, OPENMETRICS).splitlines())
    native = sum(len(family.metric) for family in families(rendered(stage.view, PROTOBUF)))
    stage.publisher.latest(PROTOBUF, gzip=True)
    stage.publisher.publish()
    assert stage.sizes() >= {"openmetrics gzip", "protobuf gzip"}
    assert (stage.publisher.series, native < lines) == (lines, True)
    stage.now += QUARTER_HOUR_S + 1
    stage.publisher.latest(PROTOBUF, gzip=True)
    stage.publisher.publish()
    assert stage.sizes() == {"protobuf identity", "protobuf gzip"}
    assert stage.publisher.series == native


def test_a_failed_rendering_leaves_no_partial_state(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_the_timestamp_is_that_of_the_view(stage: Stage) -> None:
    read_times: list[float] = []

    def slow() -> FleetView:
        read_times.append(time.time())
        time.sleep(0.2)
        return stage.view

    before = time.time()
    stage.publisher._view = slow
    stage.publisher.publish()
    assert before <= (stage.value("snapshot_timestamp_seconds") or 0) <= read_times[0]


def test_it_is_complete_when_its_snapshots_are(stage: Stage) -> None:
    assert not stage.publisher.is_complete
    stage.publisher.publish()
    assert not stage.publisher.is_complete
    stage.view = replace(stage.view, is_complete=True)
    assert not stage.publisher.is_complete
    stage.publisher.publish()
    assert stage.publisher.is_complete
    stage.publisher.set_families(JOB_FAMILIES)
    assert not stage.publisher.is_complete
    stage.publisher.publish()
    assert stage.publisher.is_complete


def test_a_discarded_format_does_not_count_as_incomplete(stage: Stage) -> None:
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


def test_series_and_time_are_reported(stage: Stage) -> None:
    stage.publisher.publish()
    lines = rendered(stage.view, OPENMETRICS).splitlines()
    series = sum(not line.startswith(b"#") for line in lines)
    assert (stage.value("series"), stage.publisher.series) == (series, series)
    assert time.time() - (stage.value("snapshot_timestamp_seconds") or 0) < 60


class Restless(Stage):
    """A publisher whose view is a new one each time, and the times at which it was read."""

    def __init__(self) -> None:
        super().__init__()
        self.read_times: list[float] = []

        def view() -> FleetView:
            self.read_times.append(time.monotonic())
            return FleetView((busy(len(self.read_times)),))

        self.publisher = Publisher(view, Telemetry(CollectorRegistry()))


@pytest.fixture
def restless() -> Iterator[Restless]:
    stage = Restless()
    stage.publisher.start()
    yield stage
    stage.publisher.stop()


def test_the_thread_publishes_changes_at_most_once_a_second(restless: Restless) -> None:
    eventually(lambda: len(restless.read_times) > 3, 20)
    waits = [
        later - earlier for earlier, later in zip(restless.read_times, restless.read_times[1:], strict=False)
    ]
    assert min(waits) > 0.9
    assert restless.publisher.is_healthy


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_publisher_that_has_died_is_not_healthy() -> None:
    views = iter([FleetView()])
    publisher = Publisher(lambda: next(views), Telemetry(CollectorRegistry()))
    publisher.start()
    eventually(lambda: not publisher.is_healthy, 10)
    publisher._thread.join()


def test_readers_do_not_wait_for_a_rendering(stage: Stage) -> None:
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
