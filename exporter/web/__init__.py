"""The HTTP interface: metrics, health, readiness, reload and the status page, with or without TLS."""

from exporter.web.metrics_endpoint import MetricsEndpoint
from exporter.web.routes import MIN_RELOAD_PAUSE_S, application
from exporter.web.server import MAX_CONNECTIONS, WebServer, address_of, bind
from exporter.web.web_config_watcher import WatchedConfig

__all__ = [
    "MAX_CONNECTIONS",
    "MIN_RELOAD_PAUSE_S",
    "MetricsEndpoint",
    "WatchedConfig",
    "WebServer",
    "address_of",
    "application",
    "bind",
]
