"""Prometheus exporter for Huawei Cloud CodeArts Build."""

__version__ = "0.1.0"
