"""What is served over HTTP or HTTPS: metrics, health, readiness, the status page."""

from exporter.web.app import REST_S, Shown, Told, application
from exporter.web.config import WatchedConfig, WebConfig
from exporter.web.metrics import MetricsEndpoint
from exporter.web.server import MOST_CONNECTIONS, WebServer, address_of, bind

__all__ = [
    "MOST_CONNECTIONS",
    "REST_S",
    "MetricsEndpoint",
    "Shown",
    "Told",
    "WatchedConfig",
    "WebConfig",
    "WebServer",
    "address_of",
    "application",
    "bind",
]
