"""Several exporters with one real Redis: shards, replicas, and an outage of the server."""

import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest
import requests

from exporter.poller.watchlist import in_shard
from tests.e2e.processes import Service, Victim, configure, live, service
from tests.e2e.torture import Report, Scraper
from tests.store.redis_server import RedisServer, redis_server
from tests.support.exposition import build_counters, samples, value_of
from tests.support.programs import answers, eventually
from tests.support.truth import Values, differences, expected

pytestmark = pytest.mark.long

JOBS = 6


class Replica(Victim):
    """One of several exporters."""

    def __init__(self, config: Path, folder: Path, *flags: str) -> None:
        super().__init__(config, folder)
        self._command += flags
        self.start()

    def text(self) -> str:
        """Return the exposition."""
        return requests.get(f"{self.url}/metrics", timeout=30).text

    def store_errors(self) -> float:
        """Return the number of failed commits."""
        return value_of('codearts_build_exporter_store_errors_total{operation="commit"}', self.text())

    def await_store_error(self, errors: float) -> None:
        """Wait until more commits have failed, and everything committed before is published."""
        eventually(lambda: self.store_errors() > errors, 30)
        failed_s, published = time.time(), "codearts_build_exporter_snapshot_timestamp_seconds"
        eventually(lambda: value_of(published, self.text()) > failed_s, 30)


@dataclass
class Place:
    """A simulated service with jobs, a Redis, and the configuration of the exporters."""

    simulator: Service
    server: RedisServer
    jobs: Sequence[str]
    config: Path
    folder: Path
    rng: Random
    report: Report

    def shards(self, stack: ExitStack, total: int) -> list[Replica]:
        """Start one exporter for each shard."""
        started = [
            stack.enter_context(closing(self.replica(f"--shard=exporter-{shard}", f"--total-shards={total}")))
            for shard in range(total)
        ]
        self.await_ready(started)
        return started

    def replica(self, *flags: str) -> Replica:
        """Start an exporter."""
        return Replica(self.config, self.folder, *flags)

    def await_ready(self, replicas: Sequence[Replica]) -> None:
        """Wait until each exporter has polled or restored all its jobs."""
        for replica in replicas:
            eventually(lambda url=replica.url: answers(f"{url}/-/ready"), 60)  # type: ignore[misc]

    def live(self, seconds: float) -> None:
        """Add builds for some time."""
        live(self.simulator, self.jobs, self.rng, seconds)

    def wrong(self, shown: Values) -> object:
        """Return the differences between an exposition and the truth."""
        return differences(shown, expected(self.simulator.truth()))

    def check(self) -> None:
        """Check that no counter decreased, and that enough builds were counted."""
        assert self.report.fallen == []
        assert self.report.scrapes > 20
        totals = [job["totals"]["finished"] for job in self.simulator.truth()]
        assert sum(sum(finished.values()) for finished in totals) > 3 * JOBS
        assert "unexpected_error" not in (self.folder / "exporter.log").read_text()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with redis_server(tmp_path) as server, service(tmp_path) as simulator:
        jobs = [
            simulator.post("jobs", {"name": f"job-{index}", "project": "p"})["job_id"]
            for index in range(JOBS)
        ]
        config = configure(simulator, jobs, tmp_path, f"redis_url: '{server.url}?socket_timeout=1'")
        text = config.read_text().replace("{enabled: false}", "{interval: 10s}")
        config.write_text(text.replace("interval: 200ms", "interval: 500ms"))
        yield Place(simulator, server, jobs, config, tmp_path, Random(7), Report(7))


@contextmanager
def scraped(place: Place, replicas: Sequence[Replica], highest: Values | None = None) -> Iterator[None]:
    """Scrape all exporters; with ``highest``, counters must not decrease across exporters either."""
    with ExitStack() as stack:
        for replica in replicas:
            scraper = Scraper(replica.url, place.report)
            if highest is not None:
                scraper._highest = highest
            stack.enter_context(scraper)
        yield


def union(replicas: Sequence[Replica]) -> Values:
    """Return the series of jobs of all shards; each must exist only once."""
    shown: Values = {}
    for replica in replicas:
        own = {key: value for key, value in samples(replica.text()).items() if "job_name" in dict(key[1])}
        assert not own.keys() & shown.keys()
        shown |= own
    return shown


def eventually_right(place: Place, groups: Sequence[Sequence[Replica]]) -> None:
    """Wait until each group of exporters matches the truth, and check that it still does later."""
    place.await_ready([replica for group in groups for replica in group])
    eventually(place.simulator.is_quiet, 60)
    for group in groups:
        eventually(lambda group=group: not place.wrong(union(group)), 60, every=0.5)  # type: ignore[misc]
    time.sleep(1)
    assert [place.wrong(union(group)) for group in groups] == [{}] * len(groups)


def test_shards_are_killed_replaced_and_increased_to_three(place: Place) -> None:
    assert {shard for job_id in place.jobs for shard in range(3) if in_shard(job_id, shard, 3)} == {0, 1, 2}
    highest: Values = {}
    with ExitStack() as stack:
        two = place.shards(stack, 2)
        with scraped(place, two, highest):
            place.live(2)
            two[1].signal(signal.SIGKILL)
            place.live(1)
        replacement = stack.enter_context(closing(place.replica("--shard=1", "--total-shards=2")))
        with scraped(place, [two[0], replacement], highest):
            place.live(2)
            two[0].signal(signal.SIGTERM)
            replacement.signal(signal.SIGKILL)
            place.live(1)
        three = place.shards(stack, 3)
        with scraped(place, three, highest):
            place.live(2)
            eventually_right(place, [three])
        have_recycle_bin = ["codearts_build_recycle_bin_jobs " in replica.text() for replica in three]
        assert have_recycle_bin == [True, False, False]
    place.check()


def test_replicas_that_watch_the_same_jobs_count_nothing_twice(place: Place) -> None:
    with closing(place.replica()) as first, closing(place.replica()) as second:
        place.await_ready([first, second])
        with scraped(place, [first]), scraped(place, [second]):
            place.live(2)
            second.signal(signal.SIGKILL)
            place.live(1)
            second.start()
            place.live(2)
            eventually_right(place, [[first], [second]])
    place.check()


def test_an_outage_of_redis_is_handled_like_a_full_disk(place: Place) -> None:
    with closing(place.replica()) as replica:
        place.await_ready([replica])
        with scraped(place, [replica]):
            for number in (signal.SIGSTOP, signal.SIGKILL):
                place.live(1)
                errors = replica.store_errors()
                place.server.signal(number)
                place.live(2)  # long enough for builds to finish, whose commits fail
                replica.await_store_error(errors)
                before, errors = build_counters(replica.text()), replica.store_errors()
                place.live(2.5)
                replica.await_store_error(errors)
                assert build_counters(replica.text()) == before
                place.server.revive()
            place.live(1)
            eventually_right(place, [[replica]])
    place.check()
    log = (place.folder / "exporter.log").read_text()
    assert (log.count("store_unavailable"), log.count("store_recovered")) == (2, 2)
