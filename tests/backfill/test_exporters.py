"""Running exporters determine the end of a backfill over HTTP; anything else is refused."""

import http.server
import math
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from exporter.backfill import Notices, Selection
from exporter.backfill.plan import Plan
from exporter.backfill.plan_builder import make_plan
from exporter.errors import BackfillError
from exporter.exposition import Format
from exporter.model import Job
from exporter.simulator import Fleet, Simulator
from tests.backfill.conftest import DAY_MS, HOUR_MS, NOON_MS, Past, counting, read, series_of
from tests.backfill.test_command import refused
from tests.cli.conftest import Ended, run
from tests.support.client_model import exposition as encoded
from tests.support.programs import free_port

PROTOBUF = Format.PROTOBUF.content_type


def exposition(job_id: str, since_s: float, number: float = 1) -> bytes:
    """Of an exporter that counts one job."""
    return encoded(*counting(Job(job_id, "checkout", "shop", "p"), round(since_s * 1000), number))


@contextmanager
def serving(body: bytes, not_ready: int = 0, content_type: str = PROTOBUF) -> Iterator[str]:
    """The address of something that answers with that, and at first so often that it is not ready."""
    statuses = [503] * not_ready

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(statuses.pop() if self.path == "/-/ready" and statuses else 200)
            self.send_header("Content-Type", content_type)
            self.end_headers()
            self.wfile.write(body)

        def log_request(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/metrics"
        server.shutdown()


@pytest.fixture
def job_id(fleet: Fleet) -> str:
    job = fleet.add_job("checkout")
    for hours in (20, 10):
        fleet.add_build(job.id, at_ms=NOON_MS - hours * HOUR_MS, duration_s=5)
    return job.id


def backfill(
    simulator: Simulator,
    job_id: str,
    folder: Path,
    *expositions: bytes,
    flags: tuple[str, ...] = ("--end=2025-03-10T12:00:00Z",),
) -> Ended:
    folder.mkdir()
    config = folder / "config.yaml"
    config.write_text(
        f"endpoint: {simulator.url}\nauth: {{token: {simulator.credentials.tokens[0]}}}\njobs: [{job_id}]\n"
        "poll: {max_requests_per_minute: 100000}\n"
    )
    with ExitStack() as servers:
        urls = [f"--exporter={servers.enter_context(serving(body))}" for body in expositions]
        period = ("--start=2025-03-09T12:00:00Z", "--step=1h")
        return run("backfill", f"--config.file={config}", f"--output={folder}", *period, *urls, *flags)


def test_the_exporter_that_counted_first_sets_the_end(
    simulator: Simulator, job_id: str, tmp_path: Path
) -> None:
    early_s, late_s = ((NOON_MS - hours * HOUR_MS) / 1000 for hours in (12, 6))
    expositions = [exposition(job_id, early_s), exposition(job_id, late_s, 2)]
    for folder, order in (("a", expositions), ("b", expositions[::-1])):
        done = backfill(simulator, job_id, tmp_path / folder, *order)
        assert done.code == 0, done.err
        counts = series_of(read(sorted((tmp_path / folder).glob("*.om"))), "builds_total", result="success")
        assert (max(counts), counts[max(counts)]) == (early_s, 1)


@pytest.mark.parametrize("body", [exposition("a" * 32, 1, math.nan), exposition("a" * 32, 1)[:-1]])
def test_invalid_metrics_are_reported(simulator: Simulator, job_id: str, tmp_path: Path, body: bytes) -> None:
    done = backfill(simulator, job_id, tmp_path / "out", body)
    refused(done, 1, "the exporter's metrics cannot be read")


def test_an_answer_that_is_not_protobuf_is_refused(past: Past) -> None:
    with (
        serving(b"<html>", content_type="text/html") as url,
        pytest.raises(BackfillError, match="no metrics as protobuf"),
    ):
        settled(past, url)


def test_a_job_that_no_exporter_counts_ends_at_the_given_end(
    simulator: Simulator, job_id: str, tmp_path: Path
) -> None:
    done = backfill(simulator, job_id, tmp_path / "out", exposition("b" * 32, 1741600000))
    message = "no exporter counts these jobs yet, so their backfill ends at 2025-03-10T12:00:00Z"
    assert f"{message}: {job_id}" in done.err
    counts = series_of(read(sorted((tmp_path / "out").glob("*.om"))), "builds_total", result="success")
    assert max(counts) == NOON_MS / 1000


def test_a_job_that_no_exporter_counts_is_refused_without_an_end(
    simulator: Simulator, job_id: str, tmp_path: Path
) -> None:
    done = backfill(simulator, job_id, tmp_path / "out", exposition("b" * 32, 1741600000), flags=())
    assert done.code == 1
    assert f"no exporter given counts these jobs: {job_id}" in done.err
    assert "--include-uncounted" in done.err
    assert not list((tmp_path / "out").glob("*.om"))


def test_a_job_that_no_exporter_counts_can_be_included(past: Past, fleet: Fleet) -> None:
    [job] = fleet.jobs()
    notices = Notices(past.said.append)
    with serving(exposition("b" * 32, 1741600000)) as url:
        plan = make_plan(past.config, Selection("1000d", "0s", (url,), True), past.client(), notices)
    assert [past.job.id for past in plan.jobs] == [job.id]


def test_it_fails_if_all_jobs_are_counted_already(simulator: Simulator, job_id: str, tmp_path: Path) -> None:
    since = (NOON_MS - 2 * DAY_MS) / 1000
    done = backfill(simulator, job_id, tmp_path / "out", exposition(job_id, since))
    refused(done, 1, "no job is left to backfill")


def settled(past: Past, url: str, end: str = "0s", waits: list[float] | None = None) -> Plan:
    """The plan of a backfill from years ago on."""
    waits = [] if waits is None else waits
    notices = Notices(past.said.append)
    return make_plan(past.config, Selection("1000d", end, (url,)), past.client(), notices, waits.append)


@pytest.mark.parametrize(
    ("since_s", "end", "number"),
    [(-7200, "0s", 7), (3, "0s", 7), (60, "0s", 7), (-7200, "1h", 7), (-60, "1h", None)],
)
def test_the_baseline_is_the_cutoff_unless_the_end_is_earlier(
    past: Past, fleet: Fleet, since_s: int, end: str, number: int | None
) -> None:
    [job] = fleet.jobs()
    with serving(exposition(job.id, time.time() + since_s, 7)) as url:
        [planned] = settled(past, url, end).jobs
    assert planned.baseline == number


def test_it_waits_for_an_exporter_that_is_starting(past: Past, fleet: Fleet) -> None:
    [job] = fleet.jobs()
    waits: list[float] = []
    with serving(exposition(job.id, time.time()), not_ready=3) as url:
        assert settled(past, url, waits=waits).jobs
    assert len(waits) == 3
    assert f"{url}: not ready yet: waiting" in past.said


def test_it_does_not_wait_long_for_an_exporter_that_does_not_answer(past: Past) -> None:
    waits: list[float] = []
    url = f"http://127.0.0.1:{free_port()}/metrics"
    with pytest.raises(BackfillError, match="no answer: nothing can be reached at that address"):
        settled(past, url, waits=waits)
    assert f"{url}: no answer yet: waiting" in past.said
    assert 0 < sum(waits) < 30
