"""The running exporter: wired from a configuration, reloaded, stopped."""

import hashlib
import math
import os
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import structlog
from prometheus_client import CollectorRegistry
from pydantic import SecretStr

from exporter.api.auth import Credentials, credentials_for
from exporter.api.client import ApiClient, new_session
from exporter.api.request_queue import Throttle
from exporter.config import LARGEST_FILE, Config, load, read_bounded
from exporter.errors import ConfigError, ExporterError, StoreError
from exporter.exposition.publisher import Publisher
from exporter.ledger import Buckets, JobLedger, LabelPolicy
from exporter.metrics import Family, FleetView, JobView, job_families
from exporter.metrics.exporter_metrics import Telemetry
from exporter.poller import Intervals, Poller, PollingThreads, PollPlanner, Rules
from exporter.poller.watchlist import Watchlist, in_shard
from exporter.store import open_store

RECOVERY_BUCKETS = (300, 900, 1800, 3600, 7200, 14400, 28800, 86400, 259200)

GAP_INTERVALS = 3
"""A poll later than so many longest intervals after the one before it recovers what it finds."""

PATIENCE_INTERVALS = 6
"""A missing build is waited for during so many longest intervals."""

_COMMIT_WITHIN_S = 10.0
"""A reload waits so long for the commit in hand."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Shard:
    """Which part of the watched jobs this process takes; by default all of them."""

    index: int = 0
    total: int = 1


class Exporter:
    """Everything one process runs, wired from a configuration, which may be exchanged for another.

    Raises:
        ExporterError: a part cannot be set up.
    """

    def __init__(self, config: Config, shard: Shard | None = None) -> None:
        self._shard = shard or Shard()
        self._reloading = threading.Lock()
        self.registry = CollectorRegistry()
        self.telemetry = Telemetry(self.registry, revision=os.environ.get("EXPORTER_REVISION", "unknown"))
        self.throttle = Throttle(config.poll.max_requests_per_minute)
        self.telemetry.budget.set_function(lambda: self.throttle.requests_per_minute)
        self.store = open_store(config.state.path, _secret(config.state.redis_url))
        self.publisher = Publisher(lambda: self.poller.view, self.telemetry)
        self.config: Config
        self.poller: Poller
        self.client: ApiClient
        self.threads: PollingThreads
        self._take_up(config)

    @property
    def is_healthy(self) -> bool:
        """Whether it does its work; if not, it is better started anew."""
        return self.threads.is_healthy and self.publisher.is_healthy

    @property
    def is_ready(self) -> bool:
        """Whether every job has been polled, or restored from the store, and is shown."""
        return self.publisher.is_complete

    @property
    def view(self) -> FleetView:
        """All that is published."""
        return self.poller.view

    def now_ms(self) -> int:
        """Now, by the clock that polls are dated with."""
        return self.poller.now_ms()

    @property
    def watched(self) -> int:
        """How many jobs are watched."""
        return self.poller.watched

    def stop(self, timeout: float) -> bool:
        """Begin nothing new, finish the commit in hand; True if that was done within ``timeout`` seconds."""
        is_mine = self._reloading.acquire(timeout=timeout / 2)
        self.publisher.stop()
        stopped = self.threads.stop(timeout / 2) and is_mine
        self.store.close()
        return stopped

    def reload(self, load: Callable[[], Config]) -> None:
        """Go on under another configuration; no count is lost, and none is forgotten.

        Requests that wait for their turn are called off, and the polls under way are made again. What the
        throttle has learnt stays, and what the same service has told is not asked again before it is due.
        If the configuration is the one in force, the same object, nothing of this happens.

        Args:
            load: reads the configuration.

        Raises:
            ExporterError: nothing has changed.
        """
        with self._reloading:
            try:
                config = load()
                is_changed = config is not self.config
                if is_changed:
                    self._exchange(config)
            except ExporterError as error:
                self.telemetry.reload_successful.set(0)
                _log.error("config_not_reloaded", error=str(error))
                raise
            self._note_success()
            _log.info("config_reloaded", jobs=self.watched, changed=is_changed)

    def _exchange(self, config: Config) -> None:
        if config.state != self.config.state:
            raise ConfigError("state: cannot be changed while the exporter runs; restart it")
        if not self.threads.stop(_COMMIT_WITHIN_S):
            threading.Thread(target=self._go_on, name="reload", daemon=True).start()
            raise ExporterError(f"the commit in hand has not ended within {_COMMIT_WITHIN_S:g} s; try again")
        try:
            self._take_up(config, self.poller)
        except ExporterError:
            self._resume()
            raise
        finally:
            self.threads.start()

    def _go_on(self) -> None:
        """Poll again as before, once the commit in hand has ended."""
        with self._reloading:
            self.threads.stop(None)
            self._resume()
            self.threads.start()

    def _resume(self) -> None:
        """Under the same configuration, after a stop."""
        self.client = self.client.reopened()
        self.poller.resume(self.client)
        self.threads = PollingThreads(self.poller, self.config.poll.concurrency, self.client.close)

    def _take_up(self, config: Config, before: Poller | None = None) -> None:
        """Set up what follows from a configuration; nothing changes unless all of it can be."""
        shard = self._shard
        watchlist = Watchlist(config, lambda job_id: in_shard(job_id, shard.index, shard.total))
        _, client = connect(config, self.telemetry, self.throttle)
        same_service = before is not None and _service_of(config) == _service_of(self.config)
        if same_service:
            client.clock = self.client.clock
        ledgers = self._restored(config, watchlist, before)
        intervals = Intervals.of(config)
        self.poller = Poller(
            PollPlanner(watchlist, intervals, time.monotonic(), random.Random()),
            client,
            self.store,
            ledgers,
            rules(config, intervals.longest),
            shows_fleet=shard.index == 0,
            concurrency=config.poll.concurrency,
            has_room=lambda: self.publisher.series < config.metrics.max_series,
            telemetry=self.telemetry,
            before=before,
            same_service=same_service,
        )
        self.stale_after_s = GAP_INTERVALS * intervals.longest
        self.config, self.client, self._watchlist = config, client, watchlist
        self.threads = PollingThreads(self.poller, config.poll.concurrency, client.close)
        self.throttle.set_ceiling(config.poll.max_requests_per_minute)
        self.publisher.set_families(families_of(config))
        self.telemetry.series_limit.set(config.metrics.max_series)
        self._note_success()

    def _note_success(self) -> None:
        self.telemetry.reload_successful.set(1)
        self.telemetry.reload_timestamp.set(time.time())

    def _restored(self, config: Config, watchlist: Watchlist, before: Poller | None) -> dict[str, JobLedger]:
        """The ledgers kept for this process's jobs, under the buckets of today.

        Jobs that are named, or that were discovered and not found gone, have theirs whatever its age. Of all
        others the store drops what has outlived its retention.
        """
        shown = dict(before.ledgers) if before else {}
        kept = shown | self.store.load(None if config.projects else watchlist.ids, shown)
        names = {job_id: ledger.names for job_id, ledger in kept.items()}
        gone = {job_id for job_id, ledger in kept.items() if ledger.gone and job_id not in shown}
        gone |= before.leaving.keys() if before else set()
        everyone = Watchlist(config)
        everyone.restore(names, gone)
        dropped = self._pruned(everyone.ids, config.state.retention)
        watchlist.restore(names, gone)
        if before:
            watchlist.carry_over(self._watchlist)
        buckets = buckets_of(config)
        ledgers = {job_id: kept[job_id].with_buckets(buckets) for job_id in watchlist.ids & kept.keys()}
        _log.info(
            "ledgers_restored",
            jobs=len(ledgers),
            new_jobs=len(watchlist.ids) - len(ledgers),
            rebucketed=sum(ledger != kept[job_id] for job_id, ledger in ledgers.items()),
            dropped=dropped,
        )
        return ledgers

    def _pruned(self, watched: frozenset[str], retention_s: float) -> int:
        """Drop ledgers that outlived their retention; what cannot be dropped now will be at another start."""
        try:
            return self.store.prune(watched, round((time.time() - retention_s) * 1000))
        except StoreError as error:
            self.telemetry.store_errors.labels("prune").inc()
            _log.warning("ledgers_not_pruned", error=str(error))
            return 0


def read(path: str) -> Config:
    """The configuration in a file.

    Raises:
        ConfigError: it is wrong.
    """
    return load(Path(path), os.environ)


class ConfigFile:
    """A configuration file that is parsed again only after a change.

    A change is one of the file's bytes, of a file that it names, or of the environment.

    Args:
        path: of the file.
    """

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self._config: Config | None = None
        self._files: tuple[Path, ...] = ()
        self._digest: bytes | None = None
        """None as long as it does not cover all files, which are known only once they have been read."""

    def load(self) -> Config:
        """The configuration, the same object as before if nothing has changed.

        Raises:
            ConfigError: it is wrong.
        """
        digest, was_known = self._digest_of_all(), self._digest is not None
        if self._config is not None and digest == self._digest:
            return self._config
        config = read(str(self._path))
        self._digest = digest if config.files == self._files else None
        self._files = config.files
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
    telemetry: Telemetry,
    throttle: Throttle,
    max_refusals: float = math.inf,
    *,
    isolates_operations: bool = True,
) -> tuple[Credentials, ApiClient]:
    """Make the credentials and the API client of a configuration; sends nothing yet."""
    session = new_session(str(config.ca_file) if config.ca_file else None, config.poll.concurrency)
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
        throttle,
        telemetry,
        timeout=config.poll.timeout,
        isolates_operations=isolates_operations,
    )
    return credentials, client


def _service_of(config: Config) -> tuple[object, ...]:
    """Whom a configuration asks, and as whom."""
    return config.endpoint, config.iam_endpoint, config.ca_file, config.auth


def families_of(config: Config) -> tuple[Family[JobView], ...]:
    """The metrics of jobs that are shown."""
    metrics = config.metrics
    return job_families(metrics.extra_labels, metrics.plain_branches, stages=metrics.stages)


def buckets_of(config: Config) -> Buckets:
    """The bounds of the histograms."""
    return Buckets.of_seconds(config.metrics.duration_buckets, config.metrics.queue_buckets, RECOVERY_BUCKETS)


def rules(config: Config, longest: float) -> Rules:
    """What the configuration says about polls; ``longest`` is the longest interval in seconds."""
    longest_ms = round(longest * 1000)
    return Rules(
        buckets=buckets_of(config),
        lookback_ms=round(config.poll.lookback * 1000),
        gap_ms=GAP_INTERVALS * longest_ms,
        patience_ms=PATIENCE_INTERVALS * longest_ms,
        policy=LabelPolicy(
            trigger="trigger" in config.metrics.extra_labels,
            branch=config.metrics.branch_label if "branch" in config.metrics.extra_labels else None,
            stages=config.metrics.stages,
            always=frozenset(config.metrics.plain_branches),
        ),
    )


def _secret(value: SecretStr | None) -> str | None:
    return value.get_secret_value() if value else None
