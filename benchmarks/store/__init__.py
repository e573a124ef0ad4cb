"""Benchmarks of the stores."""
