"""Benchmarks: figures, never assertions. What counts are ratios in one run."""
