"""Benchmarks of a scrape, compared with a static file and prometheus-client's own application."""
