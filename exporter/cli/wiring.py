"""From a configuration to the objects that do the work."""

import os
import time
from dataclasses import dataclass
from pathlib import Path

import structlog
from prometheus_client import CollectorRegistry
from pydantic import SecretStr

from exporter.api.auth import Credentials, credentials_for
from exporter.api.client import ApiClient, new_session
from exporter.api.throttle import Throttle
from exporter.catalogue import job_families
from exporter.config import Config, load
from exporter.errors import StoreError
from exporter.ledger import Breakdown, Buckets, JobLedger
from exporter.poller import Agenda, Intervals, Poller, Rules
from exporter.publisher import Publisher
from exporter.store import open_store
from exporter.telemetry import Telemetry
from exporter.watchlist import Watchlist, in_shard

RECOVERY_BUCKETS = (300, 900, 1800, 3600, 7200, 14400, 28800, 86400, 259200)
GAP_INTERVALS = 3
"""A poll later than so many longest intervals after the one before it recovers what it finds."""
PATIENCE_INTERVALS = 6
"""A missing build is waited for during so many longest intervals."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Shard:
    """Which part of the watched jobs this process takes; by default all of them."""

    index: int = 0
    total: int = 1


class Exporter:
    """Everything one process runs, wired from a configuration.

    Raises:
        ExporterError: a part cannot be set up.
    """

    def __init__(self, config: Config, shard: Shard | None = None) -> None:
        self.config = config
        shard = shard or Shard()
        self.watchlist = Watchlist(config, lambda job_id: in_shard(job_id, shard.index, shard.total))
        self.registry = CollectorRegistry()
        self.telemetry = Telemetry(self.registry, revision=os.environ.get("EXPORTER_REVISION", "unknown"))
        self.credentials, self.client = connect(config, self.telemetry)
        self.store = open_store(config.state.path, _secret(config.state.redis_url))
        ledgers = self._restored()
        intervals = Intervals(
            interval=config.poll.interval,
            max_interval=config.poll.max_interval,
            recycle=config.recycle_bin.interval if config.recycle_bin.enabled else None,
        )
        self.poller = Poller(
            Agenda(self.watchlist, intervals, time.monotonic()),
            self.client,
            self.store,
            ledgers,
            rules(config, intervals.longest),
            shows_fleet=shard.index == 0,
            has_room=lambda: self.publisher.series < config.metrics.max_series,
            telemetry=self.telemetry,
        )
        self.publisher = Publisher(
            lambda: self.poller.view, job_families(config.metrics.extra_labels), self.telemetry
        )
        self.telemetry.series_limit.set(config.metrics.max_series)
        self.telemetry.reload_successful.set(1)
        self.telemetry.reload_timestamp.set(time.time())

    def _restored(self) -> dict[str, JobLedger]:
        """The ledgers kept for this process's jobs, under the buckets of today; what is stale is dropped."""
        kept = self.store.load(None if self.config.projects else self.watchlist.ids)
        names = {job_id: ledger.names for job_id, ledger in kept.items()}
        everyone = Watchlist(self.config)
        everyone.restore(names)
        dropped = self._pruned(everyone.ids)
        self.watchlist.restore(names)
        buckets = buckets_of(self.config)
        ledgers = {job_id: kept[job_id].rebounded(buckets) for job_id in self.watchlist.ids & kept.keys()}
        _log.info(
            "ledgers_restored",
            jobs=len(ledgers),
            new_jobs=len(self.watchlist.ids) - len(ledgers),
            rebucketed=sum(ledger != kept[job_id] for job_id, ledger in ledgers.items()),
            dropped=dropped,
        )
        return ledgers

    def _pruned(self, watched: frozenset[str]) -> int:
        """Drop ledgers that outlived their retention; what cannot be dropped now will be at another start."""
        try:
            return self.store.prune(watched, round((time.time() - self.config.state.retention) * 1000))
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


def connect(config: Config, telemetry: Telemetry) -> tuple[Credentials, ApiClient]:
    """The API client of a configuration, and the credentials it uses; sends nothing yet."""
    session = new_session(str(config.ca_file) if config.ca_file else None, config.poll.concurrency)
    credentials = credentials_for(
        config.auth,
        iam_endpoint=config.iam_endpoint,
        session=session,
        timeout=config.poll.timeout,
        clock=time.time,
    )
    throttle = Throttle(config.poll.max_requests_per_minute)
    telemetry.budget.set_function(lambda: throttle.requests_per_minute)
    client = ApiClient(
        config.endpoint, session, credentials, throttle, telemetry, timeout=config.poll.timeout
    )
    return credentials, client


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
        breakdown=Breakdown(
            trigger="trigger" in config.metrics.extra_labels,
            branch=config.metrics.branch_label if "branch" in config.metrics.extra_labels else None,
        ),
    )


def _secret(value: SecretStr | None) -> str | None:
    return value.get_secret_value() if value else None
