"""Benchmarks of what the exporter's series cost a real Prometheus, and of the quantiles that it computes."""
