"""What every ICache does."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from uuid import uuid4

import pytest
import pytest_twisted
from attrs import frozen
from prometheus_client import CollectorRegistry
from twisted.internet import reactor
from twisted.internet.task import Clock
from zope.interface.verify import verifyObject

from qabel_block.caches.memory import MemoryCache
from qabel_block.caches.redis import RedisCache
from qabel_block.interfaces import ICache
from qabel_block.metrics.accounts import MeasuredCache
from qabel_block.metrics.definitions import Metrics
from tests.support.clocks import sleep
from tests.support.valkey import installation, redis_at

IMPLEMENTATIONS = {
    "memory": MemoryCache,
    "redis": RedisCache,
    "measured": MeasuredCache,
}


@frozen
class Subject:
    """A cache, and how time passes for it."""

    cache: ICache
    passes: Callable[[float], Awaitable[None]]


@pytest_twisted.async_yield_fixture(params=IMPLEMENTATIONS)
async def subject(request: pytest.FixtureRequest) -> AsyncIterator[Subject]:
    if request.param != "redis":
        clock = Clock()
        cache: ICache = MemoryCache(clock)
        if request.param == "measured":
            cache = MeasuredCache(cache, Metrics(CollectorRegistry()))

        async def advance(seconds: float) -> None:
            clock.advance(seconds)

        subject = Subject(cache, advance)
    else:
        host, port = request.getfixturevalue("redis_address")
        cache = RedisCache(reactor, redis_at(port, host), installation)
        subject = Subject(cache, sleep)
    await subject.cache.start()
    for _ in range(100):
        # Starting does not wait.
        try:
            await subject.cache.check()
            break
        except Exception:
            await sleep(0.05)
    yield subject
    await subject.cache.close()


@pytest.fixture
def key() -> str:
    """A key nobody has used before."""
    return f"test:{uuid4()}"


@pytest_twisted.ensureDeferred
async def test_interface(subject: Subject) -> None:
    """It has all methods, and answers."""
    assert verifyObject(ICache, subject.cache)
    await subject.cache.check()


@pytest_twisted.ensureDeferred
async def test_what_was_never_set(subject: Subject, key: str) -> None:
    """There is nothing under a key that was never set."""
    assert await subject.cache.get(key) is None


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("value", ["", "x", "ä€\U0001f600", "1", "a\r\nb", "y" * 65536])
async def test_what_was_set(subject: Subject, key: str, value: str) -> None:
    """What was set is returned as it was, whatever it is."""
    await subject.cache.set(key, value, 60)
    assert await subject.cache.get(key) == value


@pytest_twisted.ensureDeferred
async def test_what_was_set_last(subject: Subject, key: str) -> None:
    """Setting again replaces."""
    await subject.cache.set(key, "old", 60)
    await subject.cache.set(key, "new", 60)
    assert await subject.cache.get(key) == "new"


@pytest_twisted.ensureDeferred
async def test_expiry(subject: Subject, key: str) -> None:
    """After its time an entry is gone; another, set for longer, is not."""
    await subject.cache.set(key, "short", 1)
    await subject.cache.set(key + "x", "long", 60)
    await subject.passes(1.5)
    assert await subject.cache.get(key) is None
    assert await subject.cache.get(key + "x") == "long"


@pytest_twisted.ensureDeferred
async def test_setting_again_begins_anew(subject: Subject, key: str) -> None:
    """The time begins anew with each setting."""
    await subject.cache.set(key, "short", 1)
    await subject.cache.set(key, "long", 60)
    await subject.passes(1.5)
    assert await subject.cache.get(key) == "long"


@pytest_twisted.ensureDeferred
async def test_count(subject: Subject, key: str) -> None:
    """A count goes up by one, and begins anew so long after its first."""
    for expected in (1, 2, 3):
        count, left = await subject.cache.count(key, 2)
        assert count == expected
        assert 0 < left <= 2
    assert (await subject.cache.count(key + "x", 60))[0] == 1
    await subject.passes(1)
    assert (await subject.cache.count(key, 2))[1] <= 1
    await subject.passes(1.5)
    assert (await subject.cache.count(key, 2))[0] == 1
