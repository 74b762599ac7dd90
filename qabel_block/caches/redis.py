"""A cache in Redis."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from zope.interface import implementer

from qabel_block.errors import Unavailable
from qabel_block.interfaces import ICache
from qabel_block.util.redis.address import RedisAddress
from qabel_block.util.redis.link import Identity, RedisLink
from qabel_block.util.redis.protocol import RedisCommands

CHECK_SECONDS = 10

_COUNT = """
local count = redis.call('INCR', KEYS[1])
if count == 1 then redis.call('PEXPIRE', KEYS[1], ARGV[1]) end
return {count, redis.call('PTTL', KEYS[1])}
"""
"""One step, so that no count is ever kept without an end."""


@implementer(ICache)
class RedisCache:
    """Keeps entries in Redis, over one connection.

    Commands are pipelined on it. While there is no connection every call fails
    at once; one that is not answered in time cuts the connection.

    :param reactor: connects and tells the time.
    :param identity: the installation's id, which is in the names of all keys.
    :param changed: told when a connection is made or lost.
    """

    def __init__(
        self,
        reactor: Any,
        address: RedisAddress,
        identity: Identity,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self._link = RedisLink(
            reactor, address, identity, RedisCommands, changed=changed
        )

    async def start(self) -> None:
        """See :meth:`ICache.start`."""
        self._link.start()

    async def get(self, key: str) -> str | None:
        """See :meth:`ICache.get`."""
        value: object = await self._link.run("GET", self._link.namespace + key)
        if value is not None and not isinstance(value, str):
            raise Unavailable("cache", "an entry is not text")
        return value

    async def set(self, key: str, value: str, seconds: int) -> None:
        """See :meth:`ICache.set`."""
        name = self._link.namespace + key
        if await self._link.run("SETEX", name, seconds, value) != "OK":
            raise Unavailable("cache", "Redis does not answer SETEX with OK")

    async def count(self, key: str, seconds: int) -> tuple[int, float]:
        """See :meth:`ICache.count`."""
        name, period = self._link.namespace + key, seconds * 1000
        match await self._link.run("EVAL", _COUNT, 1, name, period):
            case [int(count), int(left)] if 0 < count < 2**31 and 0 <= left <= period:
                return count, left / 1000
        raise Unavailable("cache", "an entry is no count")

    async def check(self) -> None:
        """See :meth:`ICache.check`: sets an entry, which a replica or a full Redis
        refuses."""
        await self.set("check", "", CHECK_SECONDS)

    async def close(self) -> None:
        """See :meth:`ICache.close`."""
        await self._link.stop()
