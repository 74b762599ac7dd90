"""Benchmarks: what is fast, and what is large."""
