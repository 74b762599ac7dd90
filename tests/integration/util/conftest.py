"""Caches that are closed when a test ends."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest_twisted
from twisted.internet import reactor

from qabel_block.caches.redis import RedisCache
from qabel_block.util.redis.address import RedisAddress, parse_redis_url
from tests.support.valkey import installation

NewCache = Callable[[str | RedisAddress], RedisCache]


@pytest_twisted.async_yield_fixture
async def new_cache() -> AsyncIterator[NewCache]:
    """Makes caches, which are closed at the end."""
    made: list[RedisCache] = []

    def new(where: str | RedisAddress) -> RedisCache:
        address = parse_redis_url(where) if isinstance(where, str) else where
        made.append(RedisCache(reactor, address, installation))
        made[-1]._link.start()
        return made[-1]

    yield new
    for one in made:
        await one.close()
