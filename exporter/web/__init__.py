"""What is served over HTTP or HTTPS: metrics, health, readiness, the status page."""

from exporter.web.app import Shown, Told, application
from exporter.web.config import WatchedConfig, WebConfig
from exporter.web.metrics import MetricsEndpoint
from exporter.web.server import WebServer, address_of, bind

__all__ = [
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
