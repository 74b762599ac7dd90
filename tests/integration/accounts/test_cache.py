"""Accounts are remembered for a minute, and nobody's token with them."""

from __future__ import annotations

import traceback
from collections.abc import AsyncIterator
from time import time

import pytest
import pytest_twisted
import redis
from attrs import define, field
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.internet.task import Clock
from zope.interface import implementer

from qabel_block.accounts.accounting_server import AccountingAuthenticator
from qabel_block.accounts.cache import GOOD_SECONDS, SECONDS, CachingAuthenticator
from qabel_block.caches.memory import MemoryCache
from qabel_block.caches.redis import RedisCache
from qabel_block.errors import Unavailable, UnknownUser
from qabel_block.interfaces import IAuthenticator
from qabel_block.model import Account
from tests.integration.ledger.support import at_once, logged
from tests.support.accounting import AccountingDouble
from tests.support.clocks import until
from tests.support.valkey import ValkeyServer, installation, redis_at


@implementer(IAuthenticator)
@define
class Asked:
    """Counts what it is asked, and answers when it is told to."""

    asked: list[object] = field(factory=list)
    answer: Deferred[Account] | None = None
    quota: int = 1

    async def authenticate(self, authorization: str, request_id: str) -> Account:
        self.asked.append(authorization)
        if self.answer is not None:
            return await self.answer
        return Account(7, True, self.quota, 2)

    async def recall(self, authorization: str, request_id: str) -> Account | None:
        return None

    async def account(self, user_id: int, request_id: str) -> Account:
        self.asked.append(user_id)
        return Account(user_id, True, self.quota, 2)

    async def check(self) -> None:
        pass

    async def close(self) -> None:
        pass


class Nodes:
    """Two nodes with one cache."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.inner = Asked()
        cache = MemoryCache(self.clock)
        self.one, self.other = (
            CachingAuthenticator(self.inner, cache, "s", self.clock, self.clock.seconds)
            for _ in range(2)
        )


@pytest_twisted.ensureDeferred
async def test_a_minute() -> None:
    """An answer is good for 60 seconds on all nodes, and not a second longer on
    those that heard of it late."""
    nodes = Nodes()
    await nodes.one.authenticate("Token a", "r")
    nodes.clock.advance(SECONDS - 1)
    nodes.inner.quota = 5
    for node in (nodes.one, nodes.other):
        assert (await node.authenticate("Token a", "r")).storage_quota == 1
    assert len(nodes.inner.asked) == 1
    nodes.clock.advance(1)
    for node in (nodes.other, nodes.one):
        assert (await node.authenticate("Token a", "r")).storage_quota == 5
    assert len(nodes.inner.asked) == 2


@pytest_twisted.ensureDeferred
async def test_good_before() -> None:
    """A token that was good is recalled by asking, for a day and until it is unknown; a
    strange one never."""
    nodes = Nodes()
    assert await nodes.one.recall("Token t", "r") is None
    await nodes.one.authenticate("Token t", "r")
    nodes.clock.advance(GOOD_SECONDS - 1)
    assert await nodes.one.recall("Token t", "r") == Account(7, True, 1, 2)
    assert await nodes.other.recall("Token u", "r") is None
    assert nodes.inner.asked == ["Token t"] * 2
    nodes.clock.advance(SECONDS)
    nodes.inner.answer = fail(UnknownUser())
    assert await nodes.one.recall("Token t", "r") is None
    nodes.clock.advance(SECONDS)
    assert await nodes.one.recall("Token t", "r") is None
    assert nodes.inner.asked == ["Token t"] * 3


@pytest_twisted.ensureDeferred
async def test_token_and_user() -> None:
    """What a token has told of a user need not be asked by the user's ID."""
    nodes = Nodes()
    await nodes.one.authenticate("Token a", "r")
    for node in (nodes.one, nodes.other):
        assert (await node.account(7, "r")).user_id == 7
    assert nodes.inner.asked == ["Token a"]


@pytest_twisted.ensureDeferred
async def test_simultaneous_look_ups_share_a_call() -> None:
    """Eight that ask at the same time ask once; one that leaves does not
    disturb the others."""
    nodes = Nodes()
    nodes.inner.answer = Deferred()
    waiting = [
        Deferred.fromCoroutine(nodes.one.authenticate("Token a", "r")) for _ in range(8)
    ]
    waiting[0].cancel()
    with pytest.raises(CancelledError):
        await waiting[0]
    nodes.inner.answer.callback(Account(7, True, 1, 2))
    assert [await one for one in waiting[1:]] == [Account(7, True, 1, 2)] * 7
    assert nodes.inner.asked == ["Token a"]


@pytest_twisted.ensureDeferred
async def test_errors_are_not_shared_nor_kept() -> None:
    """Each that waits gets an error of its own, and the next one asks again."""
    nodes = Nodes()
    nodes.inner.answer = Deferred()
    waiting = [nodes.one.authenticate("Token a", "r") for _ in range(2)]
    outcomes = Deferred.fromCoroutine(at_once(waiting))
    nodes.inner.answer.errback(Unavailable("accounting", "it is away"))
    first, second = await outcomes
    assert isinstance(first, Unavailable)
    assert isinstance(second, Unavailable)
    assert first is not second
    nodes.inner.answer = None
    assert (await nodes.one.authenticate("Token a", "r")).user_id == 7


@pytest_twisted.ensureDeferred
async def test_no_cache() -> None:
    """Without its cache it asks directly, and remembers in this process."""
    clock, inner = Clock(), Asked()
    cache = RedisCache(reactor, redis_at(9), installation)
    authenticator = CachingAuthenticator(inner, cache, "s", clock, clock.seconds)
    for _ in range(3):
        assert (await authenticator.authenticate("Token a", "r")).user_id == 7
    assert inner.asked == ["Token a"]


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("entry", ["", "{", "[]", '{"user_id": 1}', "\x00", "\xe4 x"])
async def test_unreadable_entry(entry: str) -> None:
    """An entry that makes no sense is as good as none."""
    clock, inner = Clock(), Asked()
    cache = MemoryCache(clock)
    await cache.set("account:user:7", entry, 60)
    authenticator = CachingAuthenticator(inner, cache, "s", clock, clock.seconds)
    assert (await authenticator.account(7, "r")).user_id == 7
    assert inner.asked == [7]


@pytest_twisted.ensureDeferred
async def test_entries_are_signed() -> None:
    """Who can write to the cache can't make, change or move an entry; that somebody
    tried is logged. What was signed is believed only until it expires."""
    clock, inner = Clock(), Asked()
    cache = MemoryCache(clock)

    def node(secret: str) -> CachingAuthenticator:
        return CachingAuthenticator(inner, cache, secret, clock, clock.seconds)

    await node("s").account(7, "r")
    entry = await cache.get("account:user:7")
    assert entry is not None
    signature, _, content = entry.partition(" ")
    for user_id, forged in (
        (8, entry),
        (7, f"{signature} {content.replace('true', 'false')}"),
        (7, f" {content}"),
        (7, content),
    ):
        inner.asked.clear()
        await cache.set(f"account:user:{user_id}", forged, 60)
        with logged() as events:
            assert (await node("s").account(user_id, "r")).user_id == user_id
        assert inner.asked == [user_id]
        assert ["ignored" in event["log_format"] for event in events] == [True]
    inner.asked.clear()
    await node("another secret").account(7, "r")
    assert inner.asked == [7]
    await cache.set("account:user:7", entry, 1000)
    clock.advance(SECONDS)
    inner.asked.clear()
    await node("s").account(7, "r")
    assert inner.asked == [7]


@pytest_twisted.async_yield_fixture
async def in_redis(
    own_valkey: ValkeyServer, accounting: AccountingDouble
) -> AsyncIterator[CachingAuthenticator]:
    cache = RedisCache(reactor, redis_at(own_valkey.port), installation)
    server = AccountingAuthenticator(reactor, accounting.url, accounting.secret)
    await cache.start()
    await until(lambda: cache._link.protocol is not None)
    yield CachingAuthenticator(
        server,
        cache,
        accounting.secret,
        reactor,
        time,
    )
    await server.close()
    await cache.close()


@pytest_twisted.ensureDeferred
async def test_no_secret_anywhere(
    in_redis: CachingAuthenticator,
    accounting: AccountingDouble,
    own_valkey: ValkeyServer,
) -> None:
    """Neither a token nor the secret is in Redis, in the log, or in an error."""
    token = "very-private-token"
    accounting.add_user(token, 9)
    texts = []
    with logged() as events:
        await in_redis.authenticate(f"Token {token}", "r")
        with pytest.raises(UnknownUser) as unknown:
            await in_redis.authenticate(f"Token not-{token}", "r")
        accounting.hang_up = True
        with pytest.raises(Unavailable) as unavailable:
            await in_redis.authenticate(f"Token other-{token}", "r")
    for error in (unknown.value, unavailable.value):
        texts += [repr(error), *traceback.format_exception(error)]
    texts += [repr(event) for event in events]
    client = redis.Redis(port=own_valkey.port or 0, decode_responses=True)
    keys = list(client.scan_iter())
    assert len(keys) == 2
    for key in keys:
        assert 0 < client.ttl(key) <= SECONDS
        texts += [key, str(client.get(key))]
    for text in texts:
        assert token not in text
        assert accounting.secret not in text
