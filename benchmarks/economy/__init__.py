"""Benchmarks of requests, delay, CPU time and memory while a fleet is watched."""
