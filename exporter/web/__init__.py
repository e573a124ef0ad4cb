"""What is served over HTTP or HTTPS: metrics, health, readiness, the status page."""

from exporter.web.config_watcher import WatchedConfig
from exporter.web.metrics_endpoint import MetricsEndpoint
from exporter.web.routes import REST_S, Shown, Told, application
from exporter.web.server import MOST_CONNECTIONS, WebServer, address_of, bind
from exporter.web.web_config import WebConfig

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
