"""``--web.config.file``: TLS, passwords, headers and a rate, in the format of Prometheus's exporter-toolkit.

Source: https://github.com/prometheus/exporter-toolkit/blob/master/docs/web-configuration.md
"""

from exporter.web.config.loading import load, parse
from exporter.web.config.schema import HttpServerConfig, RateLimit, WebConfig
from exporter.web.config.tls_section import TlsServerConfig
from exporter.web.config.watch import WatchedConfig

__all__ = [
    "HttpServerConfig",
    "RateLimit",
    "TlsServerConfig",
    "WatchedConfig",
    "WebConfig",
    "load",
    "parse",
]
