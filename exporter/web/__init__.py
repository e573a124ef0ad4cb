"""The HTTP interface: metrics, health, readiness, reload and the status page, with or without TLS."""

from exporter.web.metrics_endpoint import MetricsEndpoint
from exporter.web.reloads import Reloads
from exporter.web.routes import application
from exporter.web.server import MAX_CONNECTIONS, WebServer, address_of, bind
from exporter.web.web_config_watcher import WatchedConfig

__all__ = [
    "MAX_CONNECTIONS",
    "MetricsEndpoint",
    "Reloads",
    "WatchedConfig",
    "WebServer",
    "address_of",
    "application",
    "bind",
]
