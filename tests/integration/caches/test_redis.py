"""What is particular to the cache in Redis: it can be away."""

from __future__ import annotations

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.protocol import Factory, Protocol

from qabel_block.caches.redis import RedisCache
from qabel_block.errors import Unavailable
from tests.support.clocks import sleep, until
from tests.support.valkey import ValkeyServer


async def _answers(cache: RedisCache) -> bool:
    try:
        await cache.check()
    except Unavailable:
        return False
    return True


async def _until_it_answers(cache: RedisCache) -> None:
    for _ in range(600):
        if await _answers(cache):
            return
        await sleep(0.1)
    raise AssertionError("it never answers")


@pytest_twisted.ensureDeferred
async def test_nobody_there() -> None:
    """Without a Redis it starts all the same, and every call fails at once."""
    cache = RedisCache(reactor, "127.0.0.1", 9)
    await cache.start()
    for call in (cache.check(), cache.get("a"), cache.set("a", "b", 1)):
        with pytest.raises(Unavailable) as caught:
            await call
        assert caught.value.dependency == "cache"
    await cache.close()


@pytest_twisted.ensureDeferred
async def test_restart(own_valkey: ValkeyServer) -> None:
    """When Redis goes away calls fail, and when it is back they work again, by
    themselves."""
    cache = RedisCache(reactor, "127.0.0.1", own_valkey.port)
    await cache.start()
    await _until_it_answers(cache)
    await cache.set("a", "b", 60)
    own_valkey.stop()
    with pytest.raises(Unavailable):
        await cache.get("a")
    own_valkey.start()
    await _until_it_answers(cache)
    assert await cache.get("a") is None
    await cache.close()


@pytest_twisted.ensureDeferred
async def test_silence() -> None:
    """A Redis that takes connections and never answers fails calls within a
    limit."""
    endpoint = TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1")
    silent = await endpoint.listen(Factory.forProtocol(Protocol))
    cache = RedisCache(reactor, "127.0.0.1", silent.getHost().port)
    await cache.start()
    await until(lambda: cache._link.protocol is not None)
    with pytest.raises(Unavailable):
        await cache.get("a")
    await cache.close()
    await silent.stopListening()
