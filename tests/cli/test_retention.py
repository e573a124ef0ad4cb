"""What a start and a reload take up from the store, what they leave and what they drop, whichever it is."""

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from exporter.app import Exporter, Shard
from exporter.config import load
from exporter.errors import StoreError
from exporter.ledger.job_ledger import JobLedger
from exporter.poller.watchlist import GONE_AFTER, in_shard
from exporter.simulator import Simulator
from exporter.store import Store, open_store
from tests.store.redis_server import redis_server
from tests.support.programs import eventually

DAY_S = 86_400


class Place:
    """A project of three jobs, and an exporter's state that no process has open between two of them."""

    def __init__(self, simulator: Simulator, config: Path, state: dict[str, str]) -> None:
        self.fleet = simulator.fleet
        self._simulator = simulator
        self.config = config
        self._path, self._url = state.get("path"), state.get("redis_url")
        section = ", ".join(f"{key}: '{value}'" for key, value in state.items())
        config.write_text(
            f"endpoint: {simulator.url}\n"
            f"auth: {{token: {simulator.credentials.tokens[0]}}}\n"
            f"projects: [{self.fleet.project_id('shop')}]\n"
            "poll: {interval: 200ms, max_interval: 400ms}\n"
            f"state: {{{section}, retention: 30d}}\n",
            encoding="utf-8",
        )

    @contextmanager
    def exporter(self, shard: Shard | None = None, *, polls: bool = True) -> Iterator[Exporter]:
        """One without a server, for the length of a block."""
        one = Exporter(load(self.config), shard)
        if not polls:
            with closing(one.store):
                yield one
            return
        one.threads.start()
        try:
            yield one
        finally:
            assert one.stop(10)

    def opened(self) -> "closing[Store]":
        """The store, while no exporter has it."""
        return closing(open_store(self._path, self._url))

    def kept(self) -> dict[str, JobLedger]:
        """All ledgers."""
        with self.opened() as store:
            return store.load(None)

    def age(self, days: float, job_id: str = "") -> None:
        """All ledgers, or that of one job, were polled so long ago."""
        polled_ms = round((time.time() - days * DAY_S) * 1000)
        with self.opened() as store:
            aged = {job_id} if job_id else store.load(None).keys()
            store.commit({key: replace(one, polled_ms=polled_ms) for key, one in store.load(aged).items()})

    def ids(self) -> list[str]:
        """Of the jobs."""
        return [job.id for job in self.fleet.jobs()]

    def sweeps(self) -> int:
        """How often a list was asked for."""
        return sum("job-list" in (exchange.operation or "") for exchange in self._simulator.requests)

    def purge(self, job_id: str) -> None:
        """It is deleted, and not even in the recycle bin."""
        self.fleet.delete_job(job_id, round((time.time() - 40 * DAY_S) * 1000))


@pytest.fixture(params=["sqlite", "redis"])
def place(
    request: pytest.FixtureRequest, simulator: Simulator, config: Path, tmp_path: Path
) -> Iterator[Place]:
    if request.param == "sqlite":
        yield Place(simulator, config, {"path": str(tmp_path / "state.db")})
        return
    with redis_server(tmp_path) as server:
        yield Place(simulator, config, {"redis_url": server.url})


def shown(one: Exporter) -> set[str]:
    return {view.job.id for view in one.view.jobs}


def counts(one: Exporter, job_id: str) -> int:
    ledgers = [view.ledger for view in one.view.jobs if view.job.id == job_id]
    return sum(ledgers[0].counts.values()) if ledgers and ledgers[0] else 0


def all_built(one: Exporter) -> bool:
    return one.view.is_complete and all(view.ledger and view.ledger.last for view in one.view.jobs)


def lose_the_first(place: Place) -> tuple[str, set[str], int]:
    """One job has built, been counted and been purged; its id, those of the others, and its builds."""
    gone, *others = place.ids()
    with place.exporter() as one:
        eventually(lambda: all_built(one), 20)
        builds = counts(one, gone) + 1
        place.fleet.add_build(gone, queue_s=0, duration_s=0.05)
        eventually(lambda: counts(one, gone) == builds, 20)
        place.purge(gone)
        eventually(lambda: shown(one) == set(others), 20)
        one.reload(lambda: load(place.config))
        assert shown(one) == set(others)
    return gone, set(others), builds


def test_a_start_shows_what_was_there_and_nothing_that_was_gone(place: Place) -> None:
    gone, others, _ = lose_the_first(place)
    with place.exporter(polls=False) as one:
        assert shown(one) == others
    assert {job_id for job_id, ledger in place.kept().items() if ledger.gone} == {gone}


def test_only_what_is_gone_outlives_its_retention_in_vain(place: Place) -> None:
    gone, others, _ = lose_the_first(place)
    place.age(days=29)
    with place.exporter(polls=False):
        pass
    assert place.kept().keys() == {gone, *others}
    place.age(days=0)
    place.age(31, gone)
    with place.exporter(polls=False) as one:
        assert shown(one) == others
    assert place.kept().keys() == others


def test_a_clock_that_is_far_ahead_makes_nothing_expire(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone, others, _ = lose_the_first(place)
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda now=time.time: now() + 40 * DAY_S)
        with place.exporter(polls=False):
            pass
    assert place.kept().keys() == {gone, *others}


def test_a_job_that_comes_back_within_its_retention_keeps_its_counts(place: Place) -> None:
    gone, others, builds = lose_the_first(place)
    place.fleet.restore_job(gone)
    with place.exporter() as one:
        eventually(lambda: counts(one, gone) == builds, 20)
        place.fleet.add_build(gone, queue_s=0, duration_s=0.05)
        eventually(lambda: counts(one, gone) == builds + 1, 20)
        one.reload(lambda: load(place.config))
        assert (shown(one), counts(one, gone)) == ({gone, *others}, builds + 1)
    assert not any(ledger.gone for ledger in place.kept().values())


def test_a_job_that_is_named_instead_keeps_its_counts_and_its_name(place: Place) -> None:
    gone, _, builds = lose_the_first(place)
    text = place.config.read_text(encoding="utf-8")
    place.config.write_text(f"jobs: [{gone}]\n{text}", encoding="utf-8")
    place.age(days=400)
    with place.exporter(polls=False) as one:
        assert counts(one, gone) == builds
        assert [view.job.name for view in one.view.jobs if view.job.id == gone] == ["checkout"]


def test_the_total_of_a_project_that_rarely_builds_outlives_the_retention(place: Place) -> None:
    with place.config.open("a", encoding="utf-8") as file:
        file.write("metrics: {detail: lean}\n")
    job_id = place.ids()[0]
    with place.exporter() as one:
        eventually(lambda: all_built(one), 20)
        place.fleet.add_build(job_id, queue_s=0, duration_s=0.05)
        eventually(lambda: any(total.ledger and total.ledger.counts for total in one.view.totals), 20)
    [(key, total)] = ((key, row) for key, row in place.kept().items() if key not in place.ids())
    place.age(days=31)
    for _ in range(2):
        with place.exporter(polls=False) as one:
            assert [view.ledger and view.ledger.tallies for view in one.view.totals] == [total.tallies]
    assert place.kept()[key].tallies == total.tallies
    text = place.config.read_text(encoding="utf-8")
    watched = f"projects: [{place.fleet.project_id('shop')}]"
    place.config.write_text(text.replace(watched, f"jobs: [{'f' * 32}]"), encoding="utf-8")
    with place.opened() as store:
        store.commit({"e" * 32: replace(total, polled_ms=round(time.time() * 1000))})  # another exporter's
    with place.exporter(polls=False):
        pass
    assert key not in place.kept()


def test_a_job_of_another_shard_is_not_gone(place: Place) -> None:
    with place.exporter() as one:
        eventually(lambda: one.view.is_complete, 20)
    for index in range(2):
        with place.exporter(Shard(index, 2)) as one:
            sweeps = place.sweeps()
            eventually(lambda before=sweeps: place.sweeps() > before + 2 * GONE_AFTER, 20)  # type: ignore[misc]
            assert shown(one) == {job_id for job_id in place.ids() if in_shard(job_id, index, 2)}
    assert [ledger.gone for ledger in place.kept().values()] == [False] * 3


def test_a_reload_brings_back_nothing_whose_mark_could_not_be_written(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone, *others = place.ids()
    with place.exporter() as one:
        eventually(lambda: one.view.is_complete, 20)
        with monkeypatch.context() as full:

            def fail(changed: object) -> dict[str, JobLedger]:
                raise StoreError("no space left on device")

            full.setattr(one.store, "commit", fail)
            place.purge(gone)
            eventually(lambda: shown(one) == set(others), 20)
            one.reload(lambda: load(place.config))
            assert shown(one) == set(others)
        eventually(lambda: not one.poller.commits.leaving, 20)
    assert place.kept()[gone].gone
