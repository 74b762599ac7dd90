"""A cache in Redis."""

from __future__ import annotations

from typing import Any

from txredisapi import RedisError, RedisProtocol
from zope.interface import implementer

from qabel_block.errors import Unavailable
from qabel_block.interfaces import ICache
from qabel_block.util.redis import RedisLink


@implementer(ICache)
class RedisCache:
    """Keeps entries in Redis, over one connection.

    Commands are pipelined on it. While there is no connection every call fails
    at once; one that is not answered in time cuts the connection.

    :param reactor: connects and tells the time.
    """

    def __init__(self, reactor: Any, host: str, port: int) -> None:
        self._link = RedisLink(reactor, host, port, RedisProtocol, lambda _: None)

    async def start(self) -> None:
        """See :meth:`ICache.start`."""
        self._link.start()

    async def get(self, key: str) -> str | None:
        """See :meth:`ICache.get`."""
        with _translated():
            value: str | None = await self._link.require().get(key)
        return value

    async def set(self, key: str, value: str, seconds: int) -> None:
        """See :meth:`ICache.set`."""
        with _translated():
            await self._link.require().setex(key, seconds, value)

    async def check(self) -> None:
        """See :meth:`ICache.check`."""
        with _translated():
            await self._link.require().ping()

    async def close(self) -> None:
        """See :meth:`ICache.close`."""
        await self._link.stop()


class _translated:  # noqa: N801
    """Turns what Redis says into the domain's errors."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: object, _traceback: object) -> None:
        if isinstance(error, RedisError):
            raise Unavailable("cache", "Redis did not answer as it should") from error
