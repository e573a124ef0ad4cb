"""Benchmarks of the exporter. Each module prints a table; ``make bench`` runs them all."""
