"""Prometheus exporter for Huawei Cloud CodeArts Build."""

import os

__version__ = "0.1.0"


def revision() -> str:
    """Return the revision that the program was built from, which the image knows."""
    return os.environ.get("EXPORTER_REVISION", "unknown")
