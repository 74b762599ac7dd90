"""What is particular to the cache within a process."""

from __future__ import annotations

import pytest_twisted
from twisted.internet.task import Clock

from qabel_block.caches.memory import MemoryCache


@pytest_twisted.ensureDeferred
async def test_bound() -> None:
    """Beyond its limit it forgets what was set longest ago."""
    cache = MemoryCache(Clock(), limit=2)
    for key in ("a", "b", "a", "c"):
        await cache.set(key, key, 60)
    assert [await cache.get(key) for key in "abc"] == ["a", None, "c"]
