"""An exporter with a simulated fleet, driven by tests; fleet, polls and waits share one manual clock."""

import math
import random
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest

from exporter.api.auth import credentials_for
from exporter.api.client import ApiClient
from exporter.api.clock_offset import ClockOffset
from exporter.api.http import new_session
from exporter.api.throttle import Throttle
from exporter.config import parse
from exporter.metrics.exporter_metrics import Telemetry
from exporter.model import Job
from exporter.poller import Intervals, Poller, PollPlanner, Rules
from exporter.poller.task_requests import Service
from exporter.poller.watchlist import Watchlist
from exporter.simulator import Exchange, Fleet, ManualClock, Simulator
from exporter.store import MemoryStore, Store
from tests.support.in_process import answer_in_process
from tests.support.oracle import Oracle, rendered
from tests.support.programs import free_port
from tests.support.truth import Differences, Labels, Values, differences, expected

START_MS: Final = round(datetime(2025, 3, 10, 4, 0, tzinfo=UTC).timestamp() * 1000)
"""Far from the present, so that the real clock cannot be mistaken for this one."""

MINUTE: Final = 60.0
HOUR: Final = 3600.0
DAY: Final = 86_400.0


class Watch:
    """An exporter without threads or a server: `poll` advances the clock and runs all due tasks.

    Args:
        simulator: the service to poll; its fleet's clock is shared.
        store: keeps the ledgers; with a non-empty store this is a restart.
        settings: YAML that is appended to the configuration.
        jobs: the ids of the jobs to watch; None for all there are.
        timeout: seconds of real time to wait for an answer.
        max_requests_per_minute: limit of the throttle, by the shared clock.
        ahead_s: how far the clock of the exporter's machine is ahead of the service's.
    """

    def __init__(
        self,
        simulator: Simulator,
        *,
        store: Store | None = None,
        settings: str = "",
        jobs: Collection[str] | None = None,
        timeout: float = 5.0,
        max_requests_per_minute: float = 6000,
        ahead_s: float = 0.0,
        shard: int = 0,
    ) -> None:
        assert isinstance(simulator.fleet.clock, ManualClock)
        assert simulator.caller_clock is simulator.fleet.clock
        self.clock = simulator.fleet.clock
        self.simulator = simulator
        self._ahead_s = ahead_s
        self.store, self.shard = store or MemoryStore(), shard
        config = parse(_config(simulator, settings, jobs), source="test", environ={}, base_dir=Path())
        self.registry = CollectorRegistry()
        self.telemetry = Telemetry(self.registry)
        throttle = Throttle(
            max_requests_per_minute, clock=self.now, wait=lambda _, seconds: self.wait(seconds or 0.001)
        )
        self.telemetry.show_budget(throttle.requests_per_minute)
        self._session = new_session()
        answer_in_process(self._session, simulator)
        self.credentials = credentials_for(
            config.auth, iam_endpoint="", session=self._session, timeout=timeout, clock=self.now
        )
        self.client = ApiClient(
            config.endpoint,
            self._session,
            self.credentials,
            throttle,
            self.telemetry,
            timeout=timeout,
            sleep=lambda _: None,
            clock=ClockOffset(self.wall, self.now),
        )
        self.service: Service = self.client
        self.config = config
        self._extra, self._stages = config.metrics.extra_labels, config.metrics.stages
        self._lean = config.metrics.is_lean
        self._branches = config.metrics.plain_branches
        self._intervals = Intervals.of(config)
        self.rules = Rules.of(config)
        # To be looked at; jobs are watched from the first poll on.
        self._start(MemoryStore(), real_time=False)

    def start(self, *, real_time: bool = False) -> None:
        """Begin with the ledgers that the store holds, as a new process would; all is due at the next poll.

        Args:
            real_time: let threads wait by a clock that moves by itself.
        """
        self._start(self.store, real_time=real_time)

    def reload(self) -> None:
        """Continue with the same configuration, as after a reload."""
        self._start(self.store, real_time=False, before=self.poller)
        self._begun = True

    def begin(self) -> None:
        """Watch the jobs from now on, without a poll yet; after `close`, as another process would."""
        self.start()
        self._begun = True

    def _start(self, store: Store, *, real_time: bool, before: Poller | None = None) -> None:
        self._begun = False
        monotonic = time.monotonic if real_time else self.now
        watchlist = Watchlist(self.config)
        published = before.commits.rows if before else {}
        ledgers = published | self.store.load(None, published)
        gone = {job_id for job_id, ledger in ledgers.items() if ledger.gone}
        watchlist.restore({job_id: ledger.names for job_id, ledger in ledgers.items()}, gone)
        self.poller: Poller = Poller(
            PollPlanner(watchlist, self._intervals, monotonic(), random.Random(7)),
            self.service,
            store,
            {key: ledger.with_buckets(self.rules.buckets) for key, ledger in ledgers.items()},
            self.rules,
            shard=self.shard,
            concurrency=self.config.poll.concurrency,
            telemetry=self.telemetry,
            before=before,
            same_service=before is not None,
            wall=self.wall,
            monotonic=monotonic,
        )

    @property
    def jobs(self) -> tuple[Job, ...]:
        """The jobs that are watched at present."""
        return tuple(view.job for view in self.poller.view.jobs)

    def close(self) -> None:
        """Let go of connections."""
        self._session.close()

    def now(self) -> float:
        """Return seconds since the epoch, by the shared clock."""
        return self.clock.now_ms() / 1000

    def wall(self) -> float:
        """Return the time of the exporter's machine."""
        return self.now() + self._ahead_s

    def set_wall(self, ahead_s: float) -> None:
        """Set the clock of the exporter's machine."""
        self._ahead_s = ahead_s

    def wait(self, seconds: float) -> None:
        """Advance the shared clock, in whole milliseconds."""
        self.clock.advance(math.ceil(seconds * 1000) / 1000)

    def poll(self, after: float = MINUTE, times: int = 1) -> int:
        """Move the clock and do all that is due; how many tasks that were.

        Requests that wait for the budget move the clock too. What comes due by that is done too, until the
        next poll would be late: where the budget does not suffice, there is always something due.
        """
        done = 0
        for _ in range(times):
            self.clock.advance(after)
            if not self._begun:
                self.start()
                self._begun = True
            late = self.now() + after
            for _ in range(50):
                works = self.poller.take(1000) if self.now() <= late else []
                if not works:
                    break
                done += len(works)
                self.poller.settle([self.poller.run(work) for work in works])
            else:
                raise AssertionError("there is always something due")
        return done

    def poll_for(self, seconds: float, every: float = MINUTE) -> None:
        """Poll repeatedly for the given time."""
        self.poll(after=every, times=round(seconds / every))

    def shown(self, names: Collection[str] = (), job_name: str = "") -> Values:
        """Return every sample, or only those of some names and of one job, which is faster."""
        view = self.poller.view
        if job_name:
            view = replace(view, jobs=tuple(each for each in view.jobs if each.job.name == job_name))
        oracle = Oracle(view, self._extra, branches=self._branches, stages=self._stages, lean=self._lean)
        own = self.registry.restricted_registry(names) if names else self.registry
        return {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in (*own.collect(), *oracle.collect(names))
            for sample in family.samples
            if not names or sample.name in names
        }

    def wrong(self, since: Mapping[str, int], *, stages: bool = False) -> Differences:
        """Return the samples that differ from what happened, by the highest number of each job before."""
        truth = self.simulator.truth(since).values()
        wanted = expected((job.to_json() for job in truth if job.deleted_ms is None), stages=stages)
        return differences(self.shown({name for name, _ in wanted}), wanted)

    def series(self, name: str, job_name: str = "") -> dict[Labels, float]:
        """Return the samples of one name by their labels, of all jobs or of one."""
        return {labels: value for (_, labels), value in self.shown({name}, job_name).items()}

    def value(self, name: str, **labels: str) -> float | None:
        """Return the only sample with these labels, possibly among others, or None."""
        found = [
            value
            for names, value in self.series(f"codearts_build_{name}", labels.get("job_name", "")).items()
            if labels.items() <= dict(names).items()
        ]
        assert len(found) < 2, f"{name}{labels}: {len(found)} series"
        return found[0] if found else None

    def counted(self, job_name: str = "checkout") -> dict[str, int]:
        """Return counted builds by result, without zeros."""
        return {
            dict(labels)["result"]: int(value)
            for labels, value in self.series("codearts_build_builds_total", job_name).items()
            if dict(labels)["job_name"] == job_name and value
        }

    def text(self) -> str:
        """Return the whole exposition."""
        jobs = rendered(
            self.poller.view,
            extra=self._extra,
            branches=self._branches,
            stages=self._stages,
            lean=self._lean,
        )
        return (jobs + generate_latest(self.registry)).decode()

    def asked(self, operation: str) -> list[Exchange]:
        """Return the requests that the simulator received for an operation."""
        return [exchange for exchange in self.simulator.requests if exchange.operation == operation]

    def asked_numbers(self) -> list[int]:
        """The builds whose detail was asked for, in that order."""
        return [int(exchange.target.split("/")[4]) for exchange in self.asked("record-info")]


@contextmanager
def watching(
    fleet: Fleet,
    *,
    settings: str = "",
    store: Store | None = None,
    jobs: Collection[str] | None = None,
    max_requests_per_minute: float = 6000,
) -> Iterator[Watch]:
    """Run a simulator of a fleet and an exporter during a block."""
    with Simulator(fleet, caller_clock=fleet.clock).start(port=free_port()) as simulator:
        watch = Watch(
            simulator,
            settings=settings,
            store=store,
            jobs=jobs,
            max_requests_per_minute=max_requests_per_minute,
        )
        try:
            yield watch
        finally:
            watch.close()


def _config(simulator: Simulator, settings: str, jobs: Collection[str] | None) -> str:
    if jobs is None:
        jobs = [job.id for job in simulator.fleet.jobs() if job.deleted_ms is None]
    return (
        f"endpoint: {simulator.url}\n"
        f"auth: {{token: {simulator.credentials.tokens[0]}}}\n"
        f"jobs: [{', '.join(jobs)}]\n"
        'state: {path: ":memory:"}\n'
        f"{settings}\n"
    )
