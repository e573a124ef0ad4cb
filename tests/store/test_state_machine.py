"""Ledger, poll and store against a service in memory, with crashes at every seam: each build counts once."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from exporter.api.endpoint_fallback import Sources
from exporter.errors import BackendError, NotVisibleError, ThrottledError, UnreachableError
from exporter.ledger.build_labels import LabelPolicy
from exporter.ledger.job_ledger import JobLedger
from exporter.ledger.job_list_evidence import apply_listed, next_running
from exporter.model import Build, BuildDetail, JobNames, ListedJob, Result, Stage, State
from exporter.poller.job_state import Rules, fold
from exporter.poller.task_requests import Enough, fetch_stages, observe_job
from exporter.poller.tasks_and_results import Observations, StagesFetched, Timer, Work
from exporter.poller.watchlist import in_shard
from exporter.store import SqliteStore, Store
from exporter.store.redis import FIRST_WATCHED, KEY, RedisStore
from tests.ledger.examples import durations_by_result
from tests.store.ledgers import BUCKETS, START_MS
from tests.store.redis_server import RedisServer

MINUTE_MS: Final = 60_000
PATIENCE_MS: Final = 60 * MINUTE_MS
RULES: Final = Rules(
    buckets=BUCKETS,
    lookback_ms=86_400_000,
    gap_ms=30 * MINUTE_MS,
    patience_ms=PATIENCE_MS,
    policy=LabelPolicy(stages=True),
)
JOBS: Final = tuple(letter * 32 for letter in "abc")
EXAMPLES: Final = settings().max_examples // 2
"""Of forty steps each."""
LATEST_MS: Final = 30 * MINUTE_MS
"""So late may a record come; longer than patience would make it a lost one."""


@dataclass
class Made:
    """A build as it really is; ``shown_ms`` is when its record comes, ``lost`` that it never does."""

    number: int
    queued_ms: int
    start_ms: int
    shown_ms: int
    lost: bool = False
    detailed: bool = True
    result: Result | None = None
    finish_ms: int | None = None

    def record(self) -> Build:
        """Its record in period-history."""
        if self.result is None:
            return Build(self.number, state=State.RUNNING, start_ms=self.start_ms)
        return Build(self.number, self.result, start_ms=self.start_ms, finish_ms=self.finish_ms)


@dataclass
class Service:
    """Period-history and record-info of a few jobs, without a network."""

    now_ms: int = START_MS
    down: bool = False
    stages_down: bool = False
    records_differ: bool = False
    sources: Sources = field(default_factory=Sources)
    made: dict[str, list[Made]] = field(default_factory=lambda: {job_id: [] for job_id in JOBS})

    def period_history(
        self, job_id: str, start: date, end: date, enough: Enough | None = None
    ) -> tuple[Build, ...]:
        """Records of builds that started in those days."""
        if self.down:
            raise UnreachableError("down")
        zone = timedelta(hours=8)
        return tuple(
            one.record()
            for one in reversed(self.made[job_id])
            if self._is_shown(one)
            and start <= (datetime.fromtimestamp(one.start_ms / 1000, UTC) + zone).date() <= end
        )

    def wait_s(self, operation: str) -> float:
        """Nothing has to wait."""
        return 0.0

    def record_info(self, job_id: str, number: int) -> BuildDetail:
        """One build, if its detail is to be had."""
        if self.down:
            raise BackendError("down")
        found = [one for one in self.made[job_id] if one.number == number and self._is_shown(one)]
        if not found or not found[0].detailed:
            raise NotVisibleError("no such build")
        self.sources.learn(job_id, job_id)
        return self._detail(job_id, found[0])

    def records(
        self,
        build_project_id: str,
        start_ms: int | None = None,
        end_ms: int | None = None,
        is_enough: object = None,
    ) -> tuple[BuildDetail, ...]:
        """All builds whose details are to be had; the job's id stands for it."""
        if self.down:
            raise BackendError("down")
        details = [
            self._detail(build_project_id, one)
            for one in self.made[build_project_id]
            if self._is_shown(one) and one.detailed
        ]
        if self.records_differ:
            details = [
                replace(
                    detail, queued_ms=(detail.queued_ms or 0) - 1, result=detail.result and Result.ABORTED
                )
                for detail in details
            ]
        return tuple(details)

    def records_compared(self, *, agreed: bool) -> None:
        """Note whether records and record-info agree."""
        self.sources.records.compared(agreed=agreed)

    def _detail(self, job_id: str, one: Made) -> BuildDetail:
        return BuildDetail(
            one.number,
            result=one.result,
            state=None if one.result else State.RUNNING,
            queued_ms=one.queued_ms,
            start_ms=one.start_ms,
            finish_ms=one.finish_ms,
            duration_ms=None if one.finish_ms is None else one.finish_ms - one.start_ms,
            record_id=f"{job_id}-{one.number}",
        )

    def listed(
        self, job_id: str, *, numbered: bool, wrong_by: int, late_ms: int, ends: bool | None
    ) -> ListedJob:
        """What a job list shows of the last build, perhaps not the truth."""
        last = self.made[job_id][-1]
        is_finished = last.result is not None if ends is None else ends
        return ListedJob(
            job_id,
            JobNames(),
            last_build_ms=last.start_ms + late_ms,
            is_finished=is_finished,
            number=max(1, last.number + wrong_by) if numbered else None,
            state=None if is_finished else State.RUNNING,
        )

    def full_stages(self, record_id: str) -> tuple[Stage, ...]:
        """The stages of one build: a third of its time, and the rest."""
        if self.stages_down:
            raise ThrottledError("too many requests")
        job_id, number = record_id.split("-")
        one = self.made[job_id][int(number) - 1]
        length_ms = (one.finish_ms or 0) - one.start_ms
        return (Stage("fetch", length_ms // 3), Stage("build", length_ms - length_ms // 3))

    def _is_shown(self, one: Made) -> bool:
        return not one.lost and one.shown_ms <= self.now_ms


Counters = dict[tuple[str, str], int]


def counters(ledger: JobLedger) -> Counters:
    """All that may never fall."""
    found: Counters = {("builds", str(result)): count for result, count in ledger.counts.items()}
    histograms = [("queue", ledger.queue), ("recovery", ledger.recovery)]
    histograms += [(str(result), durations) for result, durations in durations_by_result(ledger).items()]
    histograms += [(f"stage {name}", durations) for name, durations in ledger.stages.durations.items()]
    for name, histogram in histograms:
        found[name, "sum"], found[name, "count"] = histogram.sum_ms, histogram.count
    return found | {("lost", ""): ledger.lost_builds, ("recovered", ""): ledger.recovered_builds}


Seen = tuple[str, Observations | StagesFetched]
"""A job, and what a task saw of it."""


def folded(seen: Sequence[Seen], ledgers: Mapping[str, JobLedger], now_ms: int) -> dict[str, JobLedger]:
    """The ledgers after folding observations."""
    changed: dict[str, JobLedger] = {}
    for job_id, value in seen:
        ledger = changed.get(job_id) or ledgers.get(job_id)
        after = fold(ledger, value, RULES, now_ms=now_ms)
        if after and after.ledger is not ledger:
            changed[job_id] = after.ledger
    return changed


class Instance:
    """One exporter: the ledgers it holds in memory, and what a Prometheus that scrapes it has seen."""

    def __init__(self, jobs: Sequence[str], store: Store, seen: dict[str, Counters], now_ms: int) -> None:
        self.jobs = tuple(jobs)
        self.store = store
        self.ledgers = store.load(self.jobs)
        self.since_ms = store.first_watched([one for one in jobs if one not in self.ledgers], now_ms)
        self.seen = seen

    def commit(self, polled: Mapping[str, JobLedger]) -> None:
        """Commit, then hold it as published."""
        self.ledgers |= {**polled, **self.store.commit(polled)}

    def poll(self, service: Service, listed: Mapping[str, ListedJob] | None = None) -> list[Seen]:
        """What a round brings; nothing is kept yet. Lists may show what record-info is asked for first."""
        found: list[Seen] = []
        for job_id in self.jobs:
            with suppress(UnreachableError):
                before = self.ledgers.get(job_id)
                work = Work(
                    Timer(job_id),
                    before,
                    confirmed_denials=frozenset(range(1, 1000)),
                    listed=(listed or {}).get(job_id),
                )
                waited_ms = 0 if before else service.now_ms - self.since_ms[job_id]
                seen = observe_job(work, service, lambda: service.now_ms, RULES, waited_ms)
                found.append((job_id, seen))
        return found

    def fetch_stages(self, service: Service) -> list[Seen]:
        """What steps bring for the builds that wait; nothing is kept yet."""
        return [
            (job_id, fetch_stages(ledger, service, count_failures=True))
            for job_id, ledger in self.ledgers.items()
        ]

    def settle(self, seen: Sequence[Seen], now_ms: int) -> None:
        """Fold observations into the current ledgers, and commit them."""
        self.commit(folded(seen, self.ledgers, now_ms))


class Machine(RuleBasedStateMachine):
    """The rules that hold for any store; a subclass opens it and says how an exporter dies."""

    def __init__(self) -> None:
        super().__init__()
        self.service = Service()
        self.seen: dict[int, dict[str, Counters]] = {}
        self.instances: list[Instance] = []

    def open_store(self) -> Store:
        """As a new process would."""
        raise NotImplementedError

    def kill(self, store: Store) -> None:
        """As kill -9 would leave it."""
        raise NotImplementedError

    def start(self, at: int, jobs: Sequence[str]) -> Instance:
        """An exporter on what the store holds; the ordinal names it, as a Prometheus sees it."""
        return Instance(jobs, self.open_store(), self.seen.setdefault(at, {}), self.service.now_ms)

    def restart(self, at: int) -> None:
        """Kill one, start it again."""
        jobs = self.instances[at].jobs
        self.kill(self.instances[at].store)
        self.instances[at] = self.start(at, jobs)

    def pick(self, ordinal: int) -> int:
        return ordinal % len(self.instances)

    @initialize()
    def every_job_is_watched(self) -> None:
        self.instances = [self.start(0, JOBS)]
        for job_id in JOBS:
            first = Made(1, START_MS - 9000, START_MS - 8000, START_MS - 8000)
            first.result, first.finish_ms = Result.FAILURE, START_MS - 1000
            self.service.made[job_id].append(first)
        self.service.now_ms += 1

    @rule(
        job_id=st.sampled_from(JOBS),
        queue_ms=st.integers(0, MINUTE_MS),
        late_ms=st.sampled_from([0, 0, 0, 5 * MINUTE_MS, LATEST_MS]),
        lost=st.sampled_from([False, False, False, False, True]),
        detailed=st.sampled_from([True, True, True, False]),
    )
    def a_build_starts(self, job_id: str, queue_ms: int, late_ms: int, lost: bool, detailed: bool) -> None:
        number, now_ms = len(self.service.made[job_id]) + 1, self.service.now_ms
        if not all(job_id in one.ledgers for one in self.instances if job_id in one.jobs):
            # Numbers that a first poll misses far below the newest are taken for older than counting.
            late_ms, lost = 0, False
        made = Made(number, now_ms - queue_ms, now_ms, now_ms + late_ms, lost, detailed)
        self.service.made[job_id].append(made)

    @rule(job_id=st.sampled_from(JOBS), which=st.integers(0, 5), result=st.sampled_from(Result))
    def a_build_finishes(self, job_id: str, which: int, result: Result) -> None:
        running = [one for one in self.service.made[job_id] if one.result is None]
        if running:
            one = running[which % len(running)]
            one.result, one.finish_ms = result, self.service.now_ms

    @rule(job_id=st.sampled_from(JOBS), size=st.integers(5, 9), result=st.sampled_from(Result))
    def many_builds_start_and_finish(self, job_id: str, size: int, result: Result) -> None:
        now_ms = self.service.now_ms
        for _ in range(size):
            number = len(self.service.made[job_id]) + 1
            made = Made(number, now_ms - 1500, now_ms - 1000, now_ms, result=result, finish_ms=now_ms)
            self.service.made[job_id].append(made)

    @rule(differ=st.booleans())
    def records_and_record_info_differ_or_not(self, differ: bool) -> None:
        self.service.records_differ = differ

    @rule(minutes=st.sampled_from([1, 1, 1, 7, 45, 26 * 60]))
    def time_goes_by(self, minutes: int) -> None:
        self.service.now_ms += minutes * MINUTE_MS

    @rule(down=st.booleans())
    def the_api_goes_or_comes(self, down: bool) -> None:
        self.service.down = down

    @rule(down=st.booleans())
    def stages_go_or_come(self, down: bool) -> None:
        self.service.stages_down = down

    @rule(at=st.integers(0, 5))
    def a_poll(self, at: int) -> None:
        instance = self.instances[self.pick(at)]
        instance.settle(instance.poll(self.service), self.service.now_ms)

    @rule(
        at=st.integers(0, 5),
        numbered=st.booleans(),
        wrong_by=st.sampled_from([0, 0, 0, 1, -1, 9]),
        late_ms=st.sampled_from([0, 0, 0, MINUTE_MS, -MINUTE_MS]),
        ends=st.sampled_from([None, None, None, True, False]),
        opens=st.booleans(),
    )
    def a_poll_after_lists(
        self, at: int, numbered: bool, wrong_by: int, late_ms: int, ends: bool | None, opens: bool
    ) -> None:
        instance = self.instances[self.pick(at)]
        listed = {
            job_id: self.service.listed(
                job_id, numbered=numbered, wrong_by=wrong_by, late_ms=late_ms, ends=ends
            )
            for job_id in instance.jobs
        }
        running = {
            job_id: apply_listed(ledger, build, at_ms=self.service.now_ms)
            for job_id, ledger in instance.ledgers.items()
            if opens and (build := next_running(ledger, listed[job_id]))
        }
        instance.commit(running)
        instance.settle(instance.poll(self.service, listed), self.service.now_ms)

    @rule(at=st.integers(0, 5))
    def stages(self, at: int) -> None:
        instance = self.instances[self.pick(at)]
        instance.settle(instance.fetch_stages(self.service), self.service.now_ms)

    @rule(
        at=st.integers(0, 5), order=st.sampled_from(["stages end first", "the poll ends first", "together"])
    )
    def stages_during_a_poll(self, at: int, order: str) -> None:
        instance = self.instances[self.pick(at)]
        polls, steps = instance.poll(self.service), instance.fetch_stages(self.service)
        if order == "together":
            instance.settle([*steps, *polls], self.service.now_ms)
        else:
            for seen in (steps, polls) if order == "stages end first" else (polls, steps):
                instance.settle(seen, self.service.now_ms)

    @rule(at=st.integers(0, 5), minutes=st.sampled_from([1, 7, 45]))
    def a_poll_whose_answers_come_after_those_of_the_next(self, at: int, minutes: int) -> None:
        instance = self.instances[self.pick(at)]
        late = instance.poll(self.service)
        self.service.now_ms += minutes * MINUTE_MS
        instance.settle(instance.poll(self.service), self.service.now_ms)
        instance.settle(late, self.service.now_ms)

    @rule(at=st.integers(0, 5))
    def a_crash_before_the_commit(self, at: int) -> None:
        self.instances[self.pick(at)].poll(self.service)
        self.restart(self.pick(at))

    @rule(at=st.integers(0, 5))
    def a_crash_between_commit_and_publication(self, at: int) -> None:
        instance = self.instances[self.pick(at)]
        now_ms = self.service.now_ms
        instance.store.commit(folded(instance.poll(self.service), instance.ledgers, now_ms))
        self.restart(self.pick(at))

    @rule(at=st.integers(0, 5))
    def a_restart(self, at: int) -> None:
        self.restart(self.pick(at))

    @invariant()
    def no_counter_falls(self) -> None:
        for instance in self.instances:
            for job_id, ledger in instance.ledgers.items():
                after, before = counters(ledger), instance.seen.get(job_id, {})
                fallen = {key: (value, after.get(key)) for key, value in before.items() if after[key] < value}
                assert fallen == {}
                instance.seen[job_id] = after

    def poll_all(self) -> None:
        for instance in self.instances:
            instance.settle(instance.poll(self.service), self.service.now_ms)
            instance.settle(instance.fetch_stages(self.service), self.service.now_ms)
            self.no_counter_falls()

    def teardown(self) -> None:
        """Let everything end, and hold what is shown against the truth."""
        if not self.instances:
            return
        self.service.down = self.service.stages_down = False
        for job_id in JOBS:
            for which in range(len(self.service.made[job_id])):
                self.a_build_finishes(job_id, which, Result.SUCCESS)
            self.a_build_starts(job_id, 0, 0, lost=False, detailed=True)
            self.a_build_finishes(job_id, 0, Result.SUCCESS)
        for minutes in (1, 31, 20, 20, 20, 20, 40, 60, 60, 180, 180):  # a stuck build rests for six hours
            self.service.now_ms += minutes * MINUTE_MS
            self.poll_all()
        for at in range(len(self.instances)):
            self.restart(at)
            self.instances[at].settle(self.instances[at].poll(self.service), self.service.now_ms)
            self.instances[at].settle(self.instances[at].fetch_stages(self.service), self.service.now_ms)
        self.no_counter_falls()
        for instance in self.instances:
            for job_id in instance.jobs:
                assert_truth(instance.ledgers[job_id], self.service.made[job_id][1:])
        for instance in self.instances:
            self.kill(instance.store)


def assert_truth(ledger: JobLedger, made: Sequence[Made]) -> None:
    """The ledger is what a recount of the builds gives."""
    listed = [build for build in made if not build.lost]
    detailed = [build for build in listed if build.detailed]
    assert ledger.counts == {r: n for r in Result if (n := sum(build.result is r for build in listed))}
    assert sum(histogram.sum_ms for histogram in durations_by_result(ledger).values()) == sum(
        (build.finish_ms or 0) - build.start_ms for build in listed
    )
    assert (ledger.queue.count, ledger.queue.sum_ms) == (
        len(detailed),
        sum(build.start_ms - build.queued_ms for build in detailed),
    )
    assert sum(histogram.sum_ms for histogram in ledger.stages.durations.values()) == sum(
        (build.finish_ms or 0) - build.start_ms for build in detailed
    )
    assert {histogram.count for histogram in ledger.stages.durations.values()} <= {len(detailed)}
    assert ledger.lost_builds == len(made) - len(listed)
    assert (ledger.open, ledger.gaps, len(ledger.runs)) == ({}, (), 1)


class SqliteMachine(Machine):
    """One exporter and its file."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = TemporaryDirectory()

    def open_store(self) -> SqliteStore:
        return SqliteStore(str(Path(self.folder.name) / "state.db"))

    def kill(self, store: Store) -> None:
        assert isinstance(store, SqliteStore)
        store._connection.interrupt()
        store.close()

    @rule(torn=st.integers(1, 3))
    def a_crash_amid_the_commit(self, torn: int) -> None:
        (instance,) = self.instances
        assert isinstance(instance.store, SqliteStore)
        polled = instance.poll(self.service)
        instance.store._connection.execute("BEGIN IMMEDIATE")
        for job_id, _ in polled[:torn]:
            instance.store._connection.execute("DELETE FROM ledgers WHERE job_id = ?", (job_id,))
        self.restart(0)

    def teardown(self) -> None:
        try:
            super().teardown()
        finally:
            self.folder.cleanup()


class RedisMachine(Machine):
    """Some exporters and a server that they share."""

    server: RedisServer

    def __init__(self) -> None:
        super().__init__()
        with self.server.client() as client:
            client.flushall()
        self.total_shards = 1
        self.copy: dict[str, dict[bytes, bytes]] = {}

    @initialize()
    def every_job_is_watched(self) -> None:
        super().every_job_is_watched()
        self.the_server_is_copied()

    def open_store(self) -> RedisStore:
        return RedisStore(self.server.url)

    def kill(self, store: Store) -> None:
        store.close()

    def is_shard(self, at: int) -> bool:
        return at < self.total_shards

    @rule(total=st.integers(1, 3))
    def another_number_of_shards(self, total: int) -> None:
        for instance in self.instances:
            self.kill(instance.store)
        self.total_shards = total
        shards = [[job_id for job_id in JOBS if in_shard(job_id, at, total)] for at in range(total)]
        self.instances = [self.start(at, jobs) for at, jobs in enumerate(shards)]

    @precondition(lambda self: len(self.instances) <= self.total_shards)
    @rule()
    def a_replica_that_watches_everything_too(self) -> None:
        self.instances.append(self.start(9, JOBS))

    def restart(self, at: int) -> None:
        ordinal = at if self.is_shard(at) else 9
        jobs = self.instances[at].jobs
        self.kill(self.instances[at].store)
        self.instances[at] = self.start(ordinal, jobs)

    @rule(at=st.integers(0, 5))
    def a_commit_whose_answer_is_lost(self, at: int) -> None:
        instance = self.instances[self.pick(at)]
        assert isinstance(instance.store, RedisStore)
        revisions = dict(instance.store._revisions)
        now_ms = self.service.now_ms
        instance.store.commit(folded(instance.poll(self.service), instance.ledgers, now_ms))
        instance.store._revisions = revisions

    @rule()
    def the_server_is_copied(self) -> None:
        with self.server.client() as client:
            self.copy = {key: client.hgetall(key) for key in (KEY, FIRST_WATCHED)}

    @rule()
    def the_server_goes_back(self) -> None:
        with self.server.client() as client:
            client.delete(KEY, FIRST_WATCHED)
            for key, rows in self.copy.items():
                if rows:
                    client.hset(key, mapping=rows)
        for instance in self.instances:
            instance.ledgers = instance.store.load(instance.jobs, instance.ledgers)
        self.no_counter_falls()
        for instance in self.instances:
            instance.store.restore(instance.ledgers)

    @rule()
    def the_server_forgets_the_script(self) -> None:
        with self.server.client() as client:
            client.script_flush()


def test_sqlite_counts_each_build_once() -> None:
    run_state_machine_as_test(SqliteMachine, settings=settings(max_examples=EXAMPLES, stateful_step_count=40))


def test_redis_counts_each_build_once(server: RedisServer) -> None:
    machine = type("Machine", (RedisMachine,), {"server": server})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=EXAMPLES, stateful_step_count=40, suppress_health_check=list(HealthCheck)
        ),
    )
