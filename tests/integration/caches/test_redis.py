"""What is particular to the cache in Redis: it can be away."""

from __future__ import annotations

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred

from qabel_block.caches.redis import RedisCache
from qabel_block.errors import Unavailable
from tests.support.clocks import sleep, until
from tests.support.tcp_proxy import TcpProxy
from tests.support.valkey import ValkeyServer, installation, redis_at


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
    cache = RedisCache(reactor, redis_at(9), installation)
    await cache.start()
    for call in (
        cache.check(),
        cache.get("a"),
        cache.set("a", "b", 1),
        cache.count("a", 1),
    ):
        with pytest.raises(Unavailable) as caught:
            await call
        assert caught.value.dependency == "cache"
    await cache.close()


@pytest_twisted.ensureDeferred
async def test_restart(own_valkey: ValkeyServer) -> None:
    """When Redis goes away calls fail, and when it is back they work again, by
    themselves."""
    cache = RedisCache(reactor, redis_at(own_valkey.port), installation)
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
async def test_silence(redis_address: tuple[str, int]) -> None:
    """A Redis that falls silent fails calls within a limit, and so does one that
    takes connections and has never answered."""
    with TcpProxy(redis_address) as network:
        cache = RedisCache(reactor, redis_at(network.port), installation)
        await cache.start()
        await _until_it_answers(cache)
        network.fall_silent()
        with pytest.raises(Unavailable, match="did not answer in time"):
            await cache.get("a")
        await until(lambda: network.accepted == 2)
        with pytest.raises(Unavailable, match="can't be reached"):
            await cache.get("a")
        network.recover()
        await _until_it_answers(cache)
        await cache.close()


@pytest_twisted.ensureDeferred
async def test_two_installations(redis_address: tuple[str, int]) -> None:
    """Two installations on one Redis do not see each other's entries."""

    async def other() -> str:
        return "other"

    host, port = redis_address
    caches = [
        RedisCache(reactor, redis_at(port, host), identity)
        for identity in (installation, other)
    ]
    for cache in caches:
        await cache.start()
        await _until_it_answers(cache)
    await caches[0].set("user:7", "ours", 60)
    assert await caches[1].get("user:7") is None
    for cache in caches:
        await cache.close()


@pytest_twisted.ensureDeferred
async def test_until_the_installation_is_known(redis_address: tuple[str, int]) -> None:
    """Redis is not used before the installation's id is known; that is said."""
    known: Deferred[str] = Deferred()

    async def identity() -> str:
        return await known

    host, port = redis_address
    cache = RedisCache(reactor, redis_at(port, host), identity)
    await cache.start()
    with pytest.raises(Unavailable, match="waits for the installation's id"):
        await cache.get("a")
    known.callback("late")
    await _until_it_answers(cache)
    await cache.close()
