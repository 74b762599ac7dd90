"""Caches: implementations of ICache."""
