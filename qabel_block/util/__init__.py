"""Helpers without a domain: locks, batches, threads, a Redis connection."""
