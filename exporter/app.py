"""The running exporter: wired from a configuration, reloaded, stopped."""

import hashlib
import math
import os
import queue
import random
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog
from prometheus_client import CollectorRegistry

from exporter import revision
from exporter.api.auth import Credentials, credentials_for
from exporter.api.client import ApiClient
from exporter.api.http import new_session
from exporter.api.throttle import Throttle
from exporter.config import LARGEST_FILE, Config, load
from exporter.errors import ConfigError, ExporterError, StoreError
from exporter.exposition.publisher import Publisher
from exporter.ledger.histogram import Buckets
from exporter.ledger.job_ledger import JobLedger
from exporter.metrics import Family, FleetView, JobView, job_families
from exporter.metrics.exporter_metrics import Telemetry
from exporter.model import ConsoleLinks
from exporter.poller import Intervals, Poller, PollingThreads, PollPlanner, Rules
from exporter.poller.first_watched import doubts_of
from exporter.poller.project_totals import totals_of
from exporter.poller.tasks_and_results import PlannedPoll
from exporter.poller.watchlist import Watchlist, in_shard
from exporter.regular_files import read_bounded
from exporter.store import open_store

_COMMIT_WITHIN_S = 10.0
"""Time for which a reload waits for the current commit."""

_IF_MISSING_AT_THE_START: Final = "; --config.file=FILE names another, and the command demo needs none"

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Shard:
    """The part of the watched jobs that this process polls; by default all."""

    index: int = 0
    total: int = 1


class Exporter:
    """Everything one process runs, wired from a configuration that can be reloaded.

    Raises:
        ExporterError: a component cannot be set up.
    """

    def __init__(self, config: Config, shard: Shard | None = None) -> None:
        self._shard = shard or Shard()
        self._reloading = threading.Lock()
        self.registry = CollectorRegistry()
        self.telemetry = Telemetry(self.registry, revision=revision())
        self.throttle = Throttle(config.poll.max_requests_per_minute)
        self.telemetry.show_budget(self.throttle.requests_per_minute)
        redis_url = config.state.redis_url
        self.store = open_store(config.state.path, redis_url.get_secret_value() if redis_url else None)
        self.publisher = Publisher(lambda: self.poller.view, self.telemetry)
        self._hints: queue.SimpleQueue[tuple[str, ...]] = queue.SimpleQueue()
        self.config: Config
        self.poller: Poller
        self.client: ApiClient
        self.threads: PollingThreads
        self._apply(config)

    @property
    def is_healthy(self) -> bool:
        """All threads work; if not, the process should be restarted."""
        return self.threads.is_healthy and self.publisher.is_healthy

    @property
    def is_ready(self) -> bool:
        """Every job was polled, or restored from the store, and is published."""
        return self.publisher.is_complete

    @property
    def links(self) -> ConsoleLinks:
        """Links to the console."""
        return self.config.links

    @property
    def view(self) -> FleetView:
        """The published view of the fleet."""
        return self.poller.view

    def now_ms(self) -> int:
        """Current time by the clock that dates polls."""
        return self.poller.now_ms()

    def hint(self, job_ids: Iterable[str]) -> int:
        """Poll those of the jobs that are watched soon, and return their number; on any thread."""
        states = self._watchlist.states
        watched = tuple({job_id for job_id in job_ids if job_id in states})
        if watched:
            self.threads.hint(watched)
        return len(watched)

    def next_poll(self, job_id: str) -> PlannedPoll | None:
        """Return when and why a watched job is polled next; on any thread."""
        return self._planner.next_poll(job_id, self.client.clock.monotonic())

    def stop(self, timeout: float) -> bool:
        """Stop polling and finish the current commit; True if that was done within `timeout` seconds."""
        is_mine = self._reloading.acquire(timeout=timeout / 2)
        self.publisher.stop()
        stopped = self.threads.stop(timeout / 2) and is_mine
        self.store.close()
        return stopped

    def reload(self, load: Callable[[], Config]) -> None:
        """Continue with another configuration, without losing a count.

        Waiting requests are cancelled, and polls under way are repeated. The request rate stays, and what
        the same service has answered is not requested again before it is due. If `load` returns the current
        configuration object, none of this happens.

        Raises:
            ExporterError: the configuration is unchanged.
        """
        with self._reloading:
            try:
                config = load()
                is_changed = config is not self.config
                if is_changed:
                    self._replace_config(config)
            except ExporterError as error:
                self.telemetry.reload_successful.set(0)
                _log.error("config_not_reloaded", error=str(error))
                raise
            self._record_success()
            _log.info("config_reloaded", jobs=self.poller.watched, changed=is_changed)

    def _replace_config(self, config: Config) -> None:
        if config.state != self.config.state:
            raise ConfigError("state: cannot be changed while the exporter runs; restart it")
        if not self.threads.stop(_COMMIT_WITHIN_S):
            threading.Thread(target=self._resume_later, name="reload", daemon=True).start()
            raise ExporterError(f"the current commit did not finish within {_COMMIT_WITHIN_S:g} s; try again")
        before = self.client
        try:
            self._apply(config, self.poller)
        except ExporterError:
            self._resume()
            raise
        finally:
            self.threads.start()
        before.session.close()  # its idle connections; those in use close with their responses

    def _resume_later(self) -> None:
        """Resume with the same configuration once the current commit has finished."""
        with self._reloading:
            self.threads.stop(None)
            self._resume()
            self.threads.start()

    def _resume(self) -> None:
        """Replace connections and threads after a stop, with the same configuration."""
        self.client = self.client.reopened()
        self.poller.resume(self.client)
        self.threads = PollingThreads(
            self.poller, self.config.poll.concurrency, self.client.close, self._hints
        )

    def _apply(self, config: Config, before: Poller | None = None) -> None:
        """Set up all components of a configuration; nothing changes unless all of them can be."""
        shard = self._shard
        watchlist = Watchlist(config, lambda job_id: in_shard(job_id, shard.index, shard.total))
        _, client = connect(config, self.telemetry, self.throttle)
        same_service = before is not None and _service_of(config) == _service_of(self.config)
        if same_service:
            client.clock, client.sources = self.client.clock, self.client.sources
        rules = Rules.of(config)
        ledgers = self._restored(config, watchlist, rules.buckets, before)
        monotonic = client.clock.monotonic
        planner = PollPlanner(watchlist, Intervals.of(config), monotonic(), random.Random())
        self.poller = Poller(
            planner,
            client,
            self.store,
            ledgers,
            rules,
            shard=shard.index,
            concurrency=config.poll.concurrency,
            has_room=lambda: self.publisher.series < config.metrics.max_series,
            telemetry=self.telemetry,
            before=before,
            same_service=same_service,
            monotonic=monotonic,
        )
        self.stale_after_s = rules.gap_ms / 1000
        self.config, self.client, self._watchlist, self._planner = config, client, watchlist, planner
        self.threads = PollingThreads(self.poller, config.poll.concurrency, client.close, self._hints)
        self.throttle.set_ceiling(config.poll.max_requests_per_minute)
        self.publisher.set_families(families_of(config), created_series=config.metrics.created_series)
        self.telemetry.series_limit.set(config.metrics.max_series)
        self._record_success()

    def _record_success(self) -> None:
        self.telemetry.reload_successful.set(1)
        self.telemetry.reload_timestamp.set(time.time())

    def _restored(
        self, config: Config, watchlist: Watchlist, buckets: Buckets, before: Poller | None
    ) -> dict[str, JobLedger]:
        """Load the ledgers of this process's jobs, with the configured buckets, and all others as they are.

        Those of jobs that are named, or discovered and not gone, are kept whatever their age, and so are the
        totals of their projects. Of all others, the store drops those older than the retention.
        """
        published = before.commits.rows if before else {}
        wants_all = config.projects or config.metrics.is_lean
        kept = published | self.store.load(None if wants_all else watchlist.ids, published)
        names = {job_id: ledger.names for job_id, ledger in kept.items()}
        gone = {job_id for job_id, ledger in kept.items() if ledger.gone and job_id not in published}
        gone |= before.commits.leaving.keys() if before else set()
        all_shards = Watchlist(config)
        all_shards.restore(names, gone)
        in_use = all_shards.ids | totals_of({job.project for job in all_shards.jobs}, kept)
        dropped = self._prune(in_use, config.state.retention)
        watchlist.restore(names, gone)
        if before:
            watchlist.carry_over(self._watchlist)
        ledgers = {job_id: kept[job_id].with_buckets(buckets) for job_id in watchlist.ids & kept.keys()}
        _log.info(
            "ledgers_restored",
            jobs=len(ledgers),
            new_jobs=len(watchlist.ids) - len(ledgers),
            rebucketed=sum(ledger != kept[job_id] for job_id, ledger in ledgers.items()),
            dropped=dropped,
        )
        return kept | ledgers

    def _prune(self, watched: frozenset[str], retention_s: float) -> int:
        """Drop expired ledgers and return their number; a failure is retried at the next start.

        Ages are those at the last poll that is known: our clock may be far ahead.
        """
        try:
            if (newest_ms := self.store.newest_poll_ms()) is None:
                return 0
            now_ms = min(round(time.time() * 1000), newest_ms)
            return self.store.prune(watched | doubts_of(watched), now_ms - round(retention_s * 1000))
        except StoreError as error:
            self.telemetry.store_errors.labels("prune").inc()
            _log.warning("ledgers_not_pruned", error=str(error))
            return 0


class ConfigFile:
    """A configuration file, parsed again only if it, a file that it names, or the environment changed."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self._config: Config | None = None
        self._files: tuple[Path, ...] = ()
        self._digest: bytes | None = None  # until it covers all files, which are known once they were read

    def load(self) -> Config:
        """Read the configuration; return the same object as before if nothing has changed."""
        digest, was_known = self._digest_of_all(), self._digest is not None
        if self._config is not None and digest == self._digest:
            return self._config
        config = load(self._path, if_missing="" if self._config else _IF_MISSING_AT_THE_START)
        self._digest, self._files = digest if config.files == self._files else None, config.files
        if self._config is None or was_known or config != self._config:
            self._config = config
        return self._config

    def _digest_of_all(self) -> bytes:
        digest = hashlib.sha256(repr(sorted(os.environ.items())).encode(errors="replace"))
        for path in (self._path, *self._files):
            try:
                content = read_bounded(path, LARGEST_FILE)
            except OSError as error:
                content = repr(error).encode(errors="replace")
            digest.update(len(content).to_bytes(8) + content)
        return digest.digest()


def connect(
    config: Config,
    telemetry: Telemetry | None = None,
    throttle: Throttle | None = None,
    max_refusals: float = math.inf,
    *,
    isolates_operations: bool = True,
) -> tuple[Credentials, ApiClient]:
    """Make the credentials and the API client of a configuration; sends nothing yet.

    Without ``throttle``, the client has the configured rate to itself.
    """
    session = new_session(str(config.ca_file) if config.ca_file else None, config.poll.concurrency + 2)
    credentials = credentials_for(
        config.auth,
        iam_endpoint=config.iam_endpoint,
        session=session,
        timeout=config.poll.timeout,
        clock=time.time,
        max_refusals=max_refusals,
    )
    client = ApiClient(
        config.endpoint,
        session,
        credentials,
        throttle or Throttle(config.poll.max_requests_per_minute),
        telemetry or Telemetry(CollectorRegistry()),
        timeout=config.poll.timeout,
        isolates_operations=isolates_operations,
    )
    return credentials, client


def _service_of(config: Config) -> tuple[object, ...]:
    """Return what identifies the API of a configuration, and the credentials."""
    return config.endpoint, config.iam_endpoint, config.ca_file, config.auth


def families_of(config: Config) -> tuple[Family[JobView], ...]:
    """Return the job metrics that a configuration publishes."""
    metrics = config.metrics
    return job_families(
        metrics.extra_labels,
        metrics.plain_branches,
        stages=metrics.stages,
        lean=metrics.is_lean,
        links=config.links,
    )
