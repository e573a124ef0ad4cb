"""Benchmarks: the cost of the exporter's series to a real Prometheus, and the quantiles that it computes."""
