"""What is served over HTTP: metrics, health, readiness, a landing page."""

from exporter.web.app import Shown, application
from exporter.web.metrics import MetricsEndpoint
from exporter.web.server import WebServer, address_of, bind

__all__ = ["MetricsEndpoint", "Shown", "WebServer", "address_of", "application", "bind"]
