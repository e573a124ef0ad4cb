"""From a configuration to the objects that do the work."""

import os
import time
from pathlib import Path

from prometheus_client import CollectorRegistry

from exporter.api.auth import Credentials, credentials_for
from exporter.api.client import ApiClient, new_session
from exporter.api.throttle import Throttle
from exporter.config import Config, load
from exporter.ledger import Buckets
from exporter.model import Job
from exporter.poller import Poller, Rules
from exporter.store import MemoryStore, Store
from exporter.telemetry import SnapshotCollector, Telemetry
from exporter.watchlist import watched_jobs

RECOVERY_BUCKETS = (300, 900, 1800, 3600, 7200, 14400, 28800, 86400, 259200)
GAP_INTERVALS = 3
"""A poll later than so many longest intervals after the one before it recovers what it finds."""
PATIENCE_INTERVALS = 6
"""A missing build is waited for during so many longest intervals."""


class Exporter:
    """Everything one process runs, wired from a configuration.

    Raises:
        ExporterError: a part cannot be set up.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.jobs: tuple[Job, ...] = watched_jobs(config)
        self.registry = CollectorRegistry()
        self.telemetry = Telemetry(self.registry, revision=os.environ.get("EXPORTER_REVISION", "unknown"))
        self.credentials, self.client = connect(config, self.telemetry)
        self.store = open_store(config)
        self.poller = Poller(
            self.jobs,
            self.client,
            self.store,
            rules(config),
            interval=config.poll.interval,
            recycle_interval=config.recycle_bin.interval if config.recycle_bin.enabled else None,
            telemetry=self.telemetry,
        )
        self.registry.register(SnapshotCollector(self.poller))
        self.telemetry.reload_successful.set(1)
        self.telemetry.reload_timestamp.set(time.time())


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


def open_store(_config: Config) -> Store:
    """The store of a configuration."""
    return MemoryStore()


def rules(config: Config) -> Rules:
    """What the configuration says about polls."""
    longest_ms = round(config.poll.max_interval * 1000)
    return Rules(
        buckets=Buckets.of_seconds(
            config.metrics.duration_buckets, config.metrics.queue_buckets, RECOVERY_BUCKETS
        ),
        lookback_ms=round(config.poll.lookback * 1000),
        gap_ms=GAP_INTERVALS * longest_ms,
        patience_ms=PATIENCE_INTERVALS * longest_ms,
    )
