"""Scenarios over HTTP, which run in memory and over TCP: ``tests/unit/http/scenarios``
and ``tests/integration/http`` collect them."""
