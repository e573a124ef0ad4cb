"""Lean detail: histograms of projects never fall, whichever jobs leave, move, come back or are renamed."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.errors import StoreError
from exporter.ledger.histogram import Histogram
from exporter.ledger.job_ledger import JobLedger
from exporter.ledger.stages import STAGE_NAMES_KEPT, Stages
from exporter.ledger.tallies import Tally
from exporter.model import Result
from exporter.poller.job_state import JobState
from exporter.poller.project_totals import Growth, ProjectTotals
from exporter.poller.zero_hold import HELD_S
from exporter.simulator import Fleet, ManualClock, Simulator
from exporter.store import Store
from exporter.store.redis import RedisStore
from exporter.store.serialization import decode, encode
from exporter.store.sqlite import SqliteStore
from tests.ledger.examples import BUCKETS, idle
from tests.store.redis_server import redis_server
from tests.support.programs import free_port
from tests.support.watch import MINUTE, START_MS, Watch

LEAN = "metrics: {detail: lean}\n"
OF_PROJECTS = ("duration_seconds", "queue_duration_seconds", "recovery_duration_seconds", "recovered_builds")

Labels = tuple[tuple[str, str], ...]


@dataclass
class Project:
    """A service with three jobs of one project, and exporters that must never show a counter that falls."""

    simulator: Simulator
    shown: dict[tuple[int, str, Labels], float] = field(default_factory=dict)

    @property
    def fleet(self) -> Fleet:
        return self.simulator.fleet

    @property
    def ids(self) -> list[str]:
        return [job.id for job in self.fleet.jobs()]

    @contextmanager
    def watched(
        self, store: Store, jobs: Collection[str], *, settings: str = LEAN, shard: int = 0
    ) -> Iterator[Watch]:
        """Watch jobs, as a process that starts now; the first poll is done."""
        watch = Watch(self.simulator, settings=settings, store=store, jobs=jobs, shard=shard)
        try:
            self.poll(watch)
            yield watch
        finally:
            watch.close()

    def poll(self, watch: Watch, times: int = 1, after: float = MINUTE) -> None:
        """Poll, and check after each time that no counter of a project has fallen."""
        for _ in range(times):
            watch.poll(after=after)
            for (name, labels), value in watch.shown().items():
                if name.removeprefix("codearts_build_").startswith(OF_PROJECTS):
                    key = (watch.shard, name, labels)
                    assert value >= self.shown.get(key, 0), f"{key} has fallen to {value}"
                    self.shown[key] = value

    def build(self, watch: Watch, job_id: str, result: str = "success") -> None:
        """Let a job build, and count that."""
        self.fleet.add_build(job_id, result=result, queue_s=1, duration_s=10)  # type: ignore[arg-type]
        self.poll(watch, times=3)


@pytest.fixture
def project() -> Iterator[Project]:
    fleet = Fleet(ManualClock(START_MS), seed=1)
    for name in ("checkout", "basket", "payment"):
        fleet.add_job(name, "shop")
    with Simulator(fleet, caller_clock=fleet.clock).start(port=free_port()) as simulator:
        yield Project(simulator)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    with closing(SqliteStore(str(tmp_path / "ledgers.db"))) as store:
        yield store


def total(watch: Watch, name: str = "shop", result: str = "success") -> tuple[float | None, ...]:
    """Builds with a duration, the sum of their durations, and builds with a queue time."""
    return (
        watch.value("duration_seconds_count", project=name, result=result),
        watch.value("duration_seconds_sum", project=name, result=result),
        watch.value("queue_duration_seconds_count", project=name),
    )


@contextmanager
def shared_redis(folder: Path, clients: int) -> Iterator[list[RedisStore]]:
    """Stores of several processes in one new server."""
    with redis_server(folder) as server, ExitStack() as stack:
        yield [stack.enter_context(closing(RedisStore(server.url))) for _ in range(clients)]


def named(job_id: str, project: str, name: str) -> str:
    return f"{{id: {job_id}, project: {project}, name: {name}}}"


def test_a_project_begins_at_zero_and_adds_up_its_jobs(project: Project, store: SqliteStore) -> None:
    first, second, _ = project.ids
    with project.watched(store, project.ids) as watch:
        assert total(watch) == (0, 0, 0)
        for job_id, result in ((first, "failure"), (first, "success"), (second, "success")):
            project.build(watch, job_id, result)
        assert total(watch) == (2, 20, 3)
        assert total(watch, result="failure") == (1, 10, 3)
        assert all("job_name" not in dict(labels) for _, _, labels in project.shown)
        assert watch.value("recovery_duration_seconds_count", project="shop") == 1


def test_a_restart_continues_and_so_does_a_process_that_was_killed(
    project: Project, store: SqliteStore
) -> None:
    first, *_ = project.ids
    with project.watched(store, project.ids) as watch:
        project.build(watch, first)
        watch.start()
        assert total(watch) == (1, 10, 1)
        project.fleet.add_build(first, duration_s=10)
        watch.clock.advance(5 * MINUTE)
        works = watch.poller.take(1000)
        watch.poller.settle([watch.poller.run(work) for work in works])  # committed, and never scraped
        watch.start()
        project.poll(watch, times=2)
        assert total(watch) == (2, 20, 2)


def test_a_job_that_is_no_longer_watched_takes_nothing_and_brings_only_what_is_new(
    project: Project, store: SqliteStore
) -> None:
    first, second, third = project.ids
    with project.watched(store, project.ids) as watch:
        for job_id in (first, first, second):
            project.build(watch, job_id)
        assert total(watch) == (3, 30, 3)
    with project.watched(store, [second, third]) as watch:
        assert total(watch) == (3, 30, 3)
        project.build(watch, third)
        assert total(watch) == (4, 40, 4)
    project.fleet.add_build(first, duration_s=10)
    with project.watched(store, project.ids) as watch:
        project.poll(watch, times=2)
        assert total(watch) == (5, 50, 5)


def test_a_discovered_job_that_is_deleted_and_restored(project: Project, store: SqliteStore) -> None:
    first, second, _ = project.ids
    settings = LEAN + f"projects: [{{id: {project.fleet.project_id('shop')}}}]\nrecycle_bin: {{interval: 1m}}"
    with project.watched(store, [], settings=settings) as watch:
        for job_id in (first, second):
            project.build(watch, job_id)
        project.fleet.delete_job(first)
        project.poll(watch, times=15)
        assert len(watch.jobs) == 2
        assert total(watch) == (2, 20, 2)
        watch.start()
        project.poll(watch)
        assert total(watch) == (2, 20, 2)
        project.fleet.restore_job(first)
        project.poll(watch, times=15)
        assert len(watch.jobs) == 3
        project.build(watch, first)
        assert total(watch) == (3, 30, 3)


def test_a_renamed_job_changes_nothing(project: Project, store: SqliteStore) -> None:
    first, *_ = project.ids
    with project.watched(store, [named(first, "shop", "old")]) as watch:
        project.build(watch, first)
    with project.watched(store, [named(first, "shop", "new")]) as watch:
        assert total(watch) == (1, 10, 1)
        project.build(watch, first)
        assert total(watch) == (2, 20, 2)


def test_a_job_that_moves_to_another_project_leaves_its_past_behind(
    project: Project, store: SqliteStore
) -> None:
    first, second, _ = project.ids
    with project.watched(store, [named(first, "shop", "a"), named(second, "bank", "b")]) as watch:
        project.build(watch, first)
        project.build(watch, second)
    with project.watched(store, [named(first, "bank", "a"), named(second, "bank", "b")]) as watch:
        assert total(watch, "bank") == (1, 10, 1)
        project.build(watch, first)
        assert total(watch, "bank") == (2, 20, 2)
    with project.watched(store, [named(first, "shop", "a"), named(second, "bank", "b")]) as watch:
        assert (total(watch, "shop"), total(watch, "bank")) == ((1, 10, 1), (2, 20, 2))
        project.build(watch, first)
        assert (total(watch, "shop"), total(watch, "bank")) == ((2, 20, 2), (2, 20, 2))


def test_a_job_that_moves_to_another_shard_is_counted_by_one_of_them(
    project: Project, store: SqliteStore
) -> None:
    """Both use one store, as shards with Redis do."""
    first, second, third = project.ids
    with (
        project.watched(store, [first, second]) as one,
        project.watched(store, [third], shard=1) as other,
    ):
        for watch, job_id in ((one, first), (one, second), (other, third)):
            project.build(watch, job_id)
    with (
        project.watched(store, [first]) as one,
        project.watched(store, [second, third], shard=1) as other,
    ):
        assert (total(one), total(other)) == ((2, 20, 2), (1, 10, 1))
        project.build(other, second)
        assert (total(one), total(other)) == ((2, 20, 2), (2, 20, 2))


def test_two_processes_with_the_same_jobs_count_each_build_once(project: Project, tmp_path: Path) -> None:
    first, second, _ = project.ids
    with (
        shared_redis(tmp_path, 2) as (one_store, other_store),
        project.watched(one_store, project.ids) as one,
        project.watched(other_store, project.ids) as other,
    ):
        other.shard = 1  # of its own series only; it shares the row of the first one
        for round_ in range(4):
            project.fleet.add_build((first, second)[round_ % 2], duration_s=10)
            project.poll(one, times=2)
            project.poll(other, times=2)
        assert (total(one), total(other)) == ((4, 40, 4), (4, 40, 4))
        one.start()
        project.poll(one)
        assert total(one) == (4, 40, 4)


def test_one_of_two_processes_with_the_same_jobs_is_killed_between_their_polls(
    project: Project, tmp_path: Path
) -> None:
    first, second, _ = project.ids
    with (
        shared_redis(tmp_path, 3) as (one_store, other_store, reader),
        project.watched(one_store, project.ids) as one,
        project.watched(other_store, project.ids) as other,
    ):
        for job_id, duration_s in ((first, 10), (second, 20)):
            project.fleet.add_build(job_id, queue_s=1, duration_s=duration_s)
        one.clock.advance(5 * MINUTE)
        for watch, job_id in ((one, first), (other, second)):
            works = watch.poller.take(1000)
            watch.poller.settle([watch.poller.run(work) for work in works if work.task == job_id])
        kept = reader.load(None)
        assert counts([kept.pop("project/0/shop")]) == counts(kept.values())
        other.begin()
        project.poll(other, times=2)
        assert total(other) == (2, 30, 2)


def test_a_reload_takes_over_no_total_of_another_process(project: Project, tmp_path: Path) -> None:
    """As while a deployment replaces one by one that watches more jobs: both write the same total."""
    first, second, _ = project.ids
    with (
        shared_redis(tmp_path, 3) as (old_store, new_store, reader),
        project.watched(old_store, [second]) as old,
        project.watched(new_store, [first, second]) as new,
    ):
        old.shard = 1  # of its own series only
        for _ in range(2):
            project.build(new, first)
        project.build(old, second)
        assert (total(new), total(old)) == ((2, 20, 2), (1, 10, 1))
        new.reload()
        project.poll(new)
        assert total(new) == (3, 30, 3)
        kept = reader.load(None)["project/0/shop"]
        assert kept.tallies == new.poller.commits.rows["project/0/shop"].tallies


def test_a_total_that_another_process_has_written_too_is_stored_at_once(
    project: Project, tmp_path: Path
) -> None:
    first, second, _ = project.ids
    with (
        shared_redis(tmp_path, 3) as (one_store, other_store, reader),
        project.watched(one_store, [first]) as one,
        project.watched(other_store, [second]) as other,
    ):
        for builds in range(1, 4):
            for watch, job_id in ((one, first), (other, second)):
                project.fleet.add_build(job_id, queue_s=1, duration_s=10)
                watch.clock.advance(5 * MINUTE)
                watch.poller.settle([watch.poller.run(work) for work in watch.poller.take(1000)])
                assert total(watch) == (builds, 10 * builds, builds)
                kept = reader.load(None)["project/0/shop"]
                assert kept.tallies == watch.poller.commits.rows["project/0/shop"].tallies


class FullDisk(SqliteStore):
    """A file that cannot be written at times."""

    is_full = False

    def commit(self, changed: Mapping[str, JobLedger]) -> dict[str, JobLedger]:
        if self.is_full:
            raise StoreError("the disk is full")
        return super().commit(changed)


def test_nothing_is_shown_that_is_not_committed(project: Project, tmp_path: Path) -> None:
    first, *_ = project.ids
    with closing(FullDisk(str(tmp_path / "full.db"))) as store, project.watched(store, project.ids) as watch:
        store.is_full = True
        project.build(watch, first)
        assert total(watch) == (0, 0, 0)
        store.is_full = False
        project.poll(watch, times=2)
        assert total(watch) == (1, 10, 1)


def test_what_a_job_could_not_commit_before_it_was_dropped_is_counted(
    project: Project, tmp_path: Path
) -> None:
    first, second, _ = project.ids
    settings = LEAN + f"projects: [{{id: {project.fleet.project_id('shop')}}}]\nrecycle_bin: {{interval: 1m}}"
    with (
        closing(FullDisk(str(tmp_path / "full.db"))) as store,
        project.watched(store, [], settings=settings) as watch,
    ):
        store.is_full = True
        project.build(watch, first)
        project.fleet.delete_job(first)
        project.poll(watch, times=15)
        assert (len(watch.jobs), total(watch)) == (2, (0, 0, 0))
        store.is_full = False
        project.build(watch, second)
        assert total(watch) == (2, 20, 2)


RESULTS: tuple[Literal["success", "failure", "aborted"], ...] = ("success", "failure", "aborted")


class LosesReplies(RedisStore):
    """At times, commits fail on the way back, and every second one on the way there."""

    is_lossy = False
    _commits = 0

    def commit(self, changed: Mapping[str, JobLedger]) -> dict[str, JobLedger]:
        if not self.is_lossy:
            return super().commit(changed)
        self._commits += 1
        if self._commits % 2:
            known = dict(self._revisions)
            super().commit(changed)
            self._revisions = known
        raise StoreError("the connection was lost")


def counts(ledgers: Iterable[JobLedger]) -> Counter[object]:
    added = Counter[object]()
    for ledger in ledgers:
        added["queue"] += ledger.queue.count
        added["recovery"] += ledger.recovery.count
        for tally in ledger.tallies:
            added[tally.labels] += tally.builds
            added["sum"] += tally.durations.sum_ms if tally.durations else 0
    return +added


def test_a_build_is_counted_once_if_the_process_is_killed_while_replies_are_lost(
    project: Project, tmp_path: Path
) -> None:
    """The server has a newer ledger of the job, from a commit without a build, but not of its project."""
    first, *_ = project.ids
    with (
        redis_server(tmp_path) as server,
        closing(LosesReplies(server.url)) as store,
        project.watched(store, [first]) as watch,
    ):
        project.build(watch, first)
        store.is_lossy = True
        project.poll(watch, after=120 * MINUTE)
        project.fleet.add_build(first, queue_s=1, duration_s=10)
        project.poll(watch, times=6)
        assert total(watch) == (1, 10, 1)
        store.is_lossy = False
        watch.begin()
        project.poll(watch, times=3)
        assert total(watch) == (2, 20, 2)


@pytest.mark.parametrize("seed", [1, 68])
def test_at_any_time_the_store_has_the_total_of_the_ledgers_that_it_has(
    project: Project, tmp_path: Path, seed: int
) -> None:
    """So a process that is killed then, and restarted, counts no build twice or never."""
    random, deleted = Random(seed), set[str]()
    settings = LEAN + f"projects: [{{id: {project.fleet.project_id('shop')}}}]\nrecycle_bin: {{interval: 1m}}"
    with (
        redis_server(tmp_path) as server,
        closing(LosesReplies(server.url)) as store,
        project.watched(store, [], settings=settings) as watch,
    ):
        for step in range(60):
            job_id = random.choice(project.ids)
            match random.choice(["build"] * 5 + ["poll"] * 4 + ["connection", "kill", "reload", "delete"]):
                case "build" if job_id not in deleted:
                    result, length_s = random.choice(RESULTS), random.randint(1, 99)
                    project.fleet.add_build(job_id, result=result, queue_s=1, duration_s=length_s)
                case "poll":
                    project.poll(watch, after=random.choice([MINUTE, 120 * MINUTE]))
                case "connection":
                    store.is_lossy = not store.is_lossy
                case "kill":
                    watch.begin()
                case "reload":
                    watch.reload()
                case "delete" if job_id in deleted:
                    deleted.remove(job_id)
                    project.fleet.restore_job(job_id)
                case "delete" if len(deleted) < 2:
                    deleted.add(job_id)
                    project.fleet.delete_job(job_id)
            kept = store.load(None)
            total = kept.pop("project/0/shop", None)
            assert counts([total] if total else []) == counts(kept.values()), step
        assert counts(kept.values())["queue"] > 5


def test_other_buckets_keep_count_and_sum(project: Project, store: SqliteStore) -> None:
    first, *_ = project.ids
    with project.watched(store, project.ids) as watch:
        project.build(watch, first)
    other = "metrics: {detail: lean, duration_buckets: [15, 100], queue_buckets: [3]}"
    project.shown.clear()  # the buckets have changed
    with project.watched(store, project.ids, settings=other) as watch:
        assert total(watch) == (1, 10, 1)
        project.build(watch, first)
        assert total(watch) == (2, 20, 2)
        assert watch.value("duration_seconds_bucket", result="success", le="15.0") == 2


def test_lean_detail_can_be_switched_on_later(project: Project, store: SqliteStore) -> None:
    first, *_ = project.ids
    with project.watched(store, project.ids, settings="") as full:
        full.poll()
        project.fleet.add_build(first, duration_s=10)
        full.poll(times=3)
        assert full.value("duration_seconds_count", job_name="checkout", result="success") == 1
    with project.watched(store, project.ids) as watch:
        assert total(watch) == (0, 0, 0), "what a job has counted before is no build of now"
        project.build(watch, first)
        assert total(watch) == (1, 10, 1)


def test_a_rare_result_is_shown_at_zero_first(project: Project, store: SqliteStore) -> None:
    first, *_ = project.ids

    def aborted(watch: Watch) -> tuple[float | None, ...]:
        return (
            watch.value("builds_total", job_name="checkout", result="aborted"),
            watch.value("duration_seconds_count", project="shop", result="aborted"),
        )

    with project.watched(store, project.ids) as watch:
        assert aborted(watch) == (None, None)
        assert watch.value("builds_total", job_name="checkout", result="failure") == 0
        project.fleet.add_build(first, result="aborted", queue_s=0.5, duration_s=1)
        while aborted(watch) == (None, None):
            project.poll(watch, after=5)
        assert aborted(watch) == (0, 0)
        project.poll(watch, after=5, times=round(HELD_S / 5) + 1)
        assert aborted(watch) == (1, 1)


def test_the_last_result_is_one_series(project: Project, store: SqliteStore) -> None:
    first, *_ = project.ids
    with project.watched(store, project.ids) as watch:
        assert watch.series("codearts_build_last_build_result") == {}
        for result in ("failure", "success"):
            project.build(watch, first, result)
            [(labels, value)] = watch.series("codearts_build_last_build_result").items()
            assert (dict(labels)["result"], value) == (result, 1)
        assert watch.value("recoveries_total", job_name="checkout") == 1
        assert watch.value("success_duration_seconds_total", job_name="checkout") == 10
        assert watch.value("timed_successes_total", job_name="checkout") == 1


def observed(*values_ms: int) -> JobLedger:
    """A ledger with successes that took so long, and as many recoveries."""
    durations, recovery = Histogram.empty(BUCKETS.duration), Histogram.empty(BUCKETS.recovery)
    for value_ms in values_ms:
        durations, recovery = durations.observed(value_ms), recovery.observed(value_ms)
    tallies = tuple(
        Tally(tally.labels, len(values_ms), durations) if tally.labels.result is Result.SUCCESS else tally
        for tally in idle().tallies
    )
    return replace(idle(), tallies=tallies, recovery=recovery, stages=Stages(durations={"Maven": durations}))


def counted(totals: ProjectTotals, growth: Callable[[], dict[JobState, JobLedger]]) -> None:
    for state, ledger in growth().items():
        state.ledger = ledger


@given(
    st.lists(
        st.tuples(
            st.sampled_from(("shop", "bank")), st.integers(0, 2), st.lists(st.integers(0, 10**7), max_size=3)
        ),
        max_size=12,
    )
)
def test_whatever_moves_the_totals_add_up_to_everything_that_was_counted(
    commits: list[tuple[str, int, list[int]]],
) -> None:
    totals = ProjectTotals(0, BUCKETS, {}, lambda: START_MS)
    of_jobs: dict[int, list[int]] = {}
    expected: dict[str, list[int]] = {"shop": [], "bank": []}
    for project, job, values_ms in commits:
        before = observed(*of_jobs[job]) if job in of_jobs else None
        of_jobs[job] = of_jobs.get(job, []) + values_ms
        expected[project] += values_ms
        counted(totals, lambda: totals.grown([Growth(project, before, observed(*of_jobs[job]))]))  # noqa: B023
    for project, values_ms in expected.items():
        shown, wanted = totals.of(project).ledger, observed(*values_ms)
        assert shown is not None
        assert (shown.tallies, shown.recovery) == (wanted.tallies, wanted.recovery)
        assert shown.stages.durations.get("Maven", wanted.queue).count == len(values_ms)
        assert decode(encode(shown)) == shown


def test_the_stages_of_a_project_beyond_those_kept_share_a_name() -> None:
    totals = ProjectTotals(0, BUCKETS, {}, lambda: START_MS)
    one = Histogram.empty(BUCKETS.duration).observed(1000)
    for job in range(3):
        names = [f"{job}-{index:02}" for index in range(STAGE_NAMES_KEPT // 2)]
        ledger = replace(idle(), stages=Stages(durations=dict.fromkeys(names, one)))
        counted(totals, lambda: totals.grown([Growth("shop", None, ledger)]))  # noqa: B023
    shown = totals.of("shop").ledger
    assert shown is not None
    assert len(shown.stages.durations) == STAGE_NAMES_KEPT + 1
    assert shown.stages.durations["other"].count == STAGE_NAMES_KEPT // 2
    assert decode(encode(shown)) == shown
