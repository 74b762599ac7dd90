"""Whatever Redis or a Sentinel answers ends in a clear error, or the connection is
made anew; no traceback, no buffer without an end, no watch that stops."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack

import pytest
import pytest_twisted
from twisted.internet import reactor

from qabel_block.caches.redis import RedisCache
from qabel_block.errors import Unavailable
from qabel_block.push.redis import RedisNotifier
from qabel_block.util.redis import link as links
from qabel_block.util.redis.address import RedisAddress
from tests.integration.ledger.support import logged, tracebacks
from tests.integration.util.conftest import NewCache
from tests.support.clocks import sleep, until
from tests.support.fake_redis import FakeRedis, array, bulk, message
from tests.support.valkey import installation, redis_at

Call = Callable[[RedisCache], Awaitable[object]]


@pytest.fixture(autouse=True)
def no_tracebacks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Watches come soon, and nothing here is logged with a traceback."""
    monkeypatch.setattr(links, "PING_SECONDS", 0.2)
    monkeypatch.setattr(links, "RECONNECT_SECONDS", 0.05)
    monkeypatch.setattr("qabel_block.push.redis.PING_SECONDS", 0.2)
    with logged() as events:
        yield
    assert tracebacks(events) == []


@pytest.fixture
def server() -> Iterator[FakeRedis]:
    with FakeRedis() as server:
        yield server


async def _works(cache: RedisCache) -> None:
    await until(lambda: cache._link.protocol is not None)
    assert await cache.get("key") == "value of qabel-block:test:key"


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(
    "role", [b":7\r\n", b":0\r\n", b"$-1\r\n", b"*0\r\n", b"+master\r\n", b"*-5\r\n"]
)
async def test_role(new_cache: NewCache, server: FakeRedis, role: bytes) -> None:
    """What tells no role is no master, and is asked again."""
    cache = new_cache(redis_at(server.port))
    await _works(cache)
    server.answers[b"ROLE"] = role
    await until(lambda: cache._link.protocol is None)
    with pytest.raises(Unavailable):
        await cache.get("key")
    server.answers.clear()
    await _works(cache)
    asked = server.count(b"ROLE")
    await until(lambda: server.count(b"ROLE") > asked)


ADDRESSES = [
    array(bulk(b"127.0.0.1"), bulk(b"x")),
    array(bulk(b"127.0.0.1"), bulk(b"99999")),
    array(bulk(b"127.0.0.1"), bulk(b"0")),
    array(bulk(b"127.0.0.1"), b":5\r\n"),
    array(bulk(b"127.0.0.1")),
    array(bulk(b"\xff"), bulk(b"6379")),
    array(bulk(b""), bulk(b"6379")),
    b":5\r\n",
    b"*0\r\n",
    b"+\xff\r\n",
    b"HTTP/1.1 400 Bad Request\r\n\r\n",
]


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("address", ADDRESSES)
async def test_sentinel(new_cache: NewCache, address: bytes) -> None:
    """A Sentinel that answers with no address is passed by, at the start and later;
    when it names another server, that is noticed."""
    with ExitStack() as stack:
        first, second, bad, good = (stack.enter_context(FakeRedis()) for _ in range(4))

        def name(server: FakeRedis) -> bytes:
            return array(bulk(b"127.0.0.1"), bulk(b"%d" % server.port))

        bad.answers[b"SENTINEL"] = address
        good.answers[b"SENTINEL"] = name(first)
        hosts = tuple(("127.0.0.1", sentinel.port) for sentinel in (bad, good))
        cache = new_cache(RedisAddress(hosts, master="m"))
        await _works(cache)
        good.answers[b"SENTINEL"] = address
        asked = good.count(b"SENTINEL")
        await until(lambda: good.count(b"SENTINEL") > asked + 1)
        await _works(cache)
        assert second.accepted == 0
        bad.answers[b"SENTINEL"] = name(second)
        await until(lambda: second.accepted)
        await _works(cache)


def _get(cache: RedisCache) -> Awaitable[object]:
    return cache.get("key")


def _count(cache: RedisCache) -> Awaitable[object]:
    return cache.count("key", 60)


def _check(cache: RedisCache) -> Awaitable[object]:
    return cache.check()


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(
    ("call", "command", "answer"),
    [
        (_get, b"GET", b"+\xff\xfe\r\n"),
        (_get, b"GET", bulk(b"\xff")),
        (_get, b"GET", b"$-5\r\n"),
        (_get, b"GET", b"$x\r\n"),
        (_get, b"GET", b"*-5\r\n"),
        (_get, b"GET", b"*x\r\n"),
        (_get, b"GET", b":5\r\n"),
        (_get, b"GET", b":x\r\n"),
        (_get, b"GET", b"\r\n"),
        (_get, b"GET", b"%1\r\n+a\r\n+b\r\n"),
        (_get, b"GET", b"+" + b"x" * 100_000 + b"\r\n"),
        (_get, b"GET", b"*1\r\n" * 100_000),
        (_get, b"GET", b"$1000000000\r\n"),
        (_get, b"GET", b"*1000000000\r\n"),
        (_get, b"GET", b"*200\r\n" + bulk(b"x" * 10_000) * 200),
        (_count, b"EVAL", array(b":1\r\n", b":" + b"9" * 400 + b"\r\n")),
        (_count, b"EVAL", array(b":1\r\n", b":" + b"9" * 5000 + b"\r\n")),
        (_count, b"EVAL", array(b":2147483648\r\n", b":1\r\n")),
        (_count, b"EVAL", array(b":0\r\n", b":1\r\n")),
        (_count, b"EVAL", array(b":1\r\n", b":-1\r\n")),
        (_count, b"EVAL", array(b":1\r\n", b":60001\r\n")),
        (_count, b"EVAL", array(b"-ERR x\r\n", b":1\r\n")),
        (_count, b"EVAL", array(b"+QUEUED\r\n", b":1\r\n")),
        (_check, b"SETEX", b"$-1\r\n"),
        (_check, b"SETEX", b"+QUEUED\r\n"),
        (_check, b"SETEX", b"+nonsense\r\n"),
    ],
)
async def test_answers(
    new_cache: NewCache, server: FakeRedis, call: Call, command: bytes, answer: bytes
) -> None:
    """An answer that is none to the question is told as trouble of the cache, not by
    a time limit, and the next one is right."""
    cache = new_cache(redis_at(server.port))
    await _works(cache)
    server.answers[command] = answer
    with pytest.raises(Unavailable) as caught:
        await call(cache)
    assert caught.value.dependency == "cache"
    assert caught.value.reason != links.NO_ANSWER
    server.answers.clear()
    await _works(cache)


@pytest_twisted.ensureDeferred
async def test_surplus_reply(new_cache: NewCache, server: FakeRedis) -> None:
    """A reply that nobody waits for is not taken for the next one."""
    cache = new_cache(redis_at(server.port))
    await _works(cache)
    server.send(b"+surplus\r\n")
    await until(lambda: cache._link.protocol is None)
    assert "nobody waits for" in cache._link.reason
    await _works(cache)


class Listener:
    """Keeps what is heard."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def interrupted(self) -> None:
        pass

    def deliver(self, _prefix: str, message: str) -> None:
        self.heard.append(message)


@pytest_twisted.async_yield_fixture
async def notifier(server: FakeRedis) -> AsyncIterator[RedisNotifier]:
    """A notifier that is connected and has joined the prefix ``p``."""
    notifier = RedisNotifier(reactor, redis_at(server.port), installation)
    notifier.start(Listener())  # type: ignore[arg-type]
    await until(lambda: notifier._subscribed and notifier.connections() == 2)
    await notifier.join("p")
    yield notifier
    await notifier.close()


async def _pushes(notifier: RedisNotifier) -> None:
    """Wait until what is published is heard."""

    async def checked() -> bool:
        try:
            await notifier.check()
        except Unavailable:
            return False
        return True

    while not await checked():
        await sleep(0.02)
    listener = notifier._listener
    assert isinstance(listener, Listener)
    before = len(listener.heard)
    notifier.publish("p", "event")
    await until(lambda: len(listener.heard) > before)
    assert listener.heard[before:] == ["event"]


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(
    "data",
    [
        message(b"\xff", b"x"),
        array(bulk(b"message"), b":5\r\n", bulk(b"x")),
        array(bulk(b"message"), array(b":1\r\n"), bulk(b"x")),
        array(bulk(b"message"), bulk(b"qabel-block:test:push:p"), b"$-1\r\n"),
    ],
)
async def test_messages(
    notifier: RedisNotifier, server: FakeRedis, data: bytes
) -> None:
    """A message that is not text, on a channel that is text, is ignored."""
    accepted = server.accepted
    server.send_subscriber(data)
    await _pushes(notifier)
    assert server.accepted == accepted


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(
    "data",
    [
        b"+\xff\r\n",
        b"+OK\r\n",
        b"$-1\r\n",
        b"*-5\r\n",
        array(array(b":1\r\n"), bulk(b"a"), bulk(b"b")),
        array(bulk(b"subscribe"), bulk(b"a"), b":1\r\n"),
        array(bulk(b"message"), bulk(b"a"))[:-1].replace(b"*2", b"*3")
        + b"\n$400000000\r\n"
        + b"x" * 1_000_000,
    ],
)
async def test_subscription(
    notifier: RedisNotifier, server: FakeRedis, data: bytes
) -> None:
    """What is no message, or has no end, ends the connection; the next one works."""
    accepted = server.accepted
    server.send_subscriber(data)
    await until(lambda: server.accepted > accepted)
    await _pushes(notifier)


@pytest_twisted.ensureDeferred
async def test_unconfirmed_subscription(
    notifier: RedisNotifier, server: FakeRedis
) -> None:
    """A prefix is not joined before Redis has confirmed that."""
    server.answers[b"SUBSCRIBE"] = b":1\r\n"
    with pytest.raises(Unavailable):
        await notifier.join("other")
    server.answers.clear()
    await _pushes(notifier)


@pytest_twisted.ensureDeferred
async def test_twice(notifier: RedisNotifier, server: FakeRedis) -> None:
    """A message that arrives twice harms nothing."""

    def publish_twice(command: list[bytes]) -> bytes:
        server.publish(command)
        return server.publish(command)

    server.answers[b"PUBLISH"] = publish_twice
    accepted = server.accepted
    for _ in range(3):
        await notifier.check()
    server.answers.clear()
    await _pushes(notifier)
    assert server.accepted == accepted


@pytest_twisted.ensureDeferred
async def test_probe(notifier: RedisNotifier, server: FakeRedis) -> None:
    """Push is probed also after an odd answer to a probe."""
    server.answers[b"ROLE"] = b":7\r\n"
    await until(lambda: notifier.connections() == 0)
    server.answers.clear()
    await _pushes(notifier)
    probed = server.count(b"PUBLISH")
    await until(lambda: server.count(b"PUBLISH") > probed)
