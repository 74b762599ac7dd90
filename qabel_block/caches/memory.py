"""A cache within one process."""

from __future__ import annotations

from cachetools import TLRUCache
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from qabel_block.interfaces import ICache


@implementer(ICache)
class MemoryCache:
    """Keeps what was set last, up to a number of entries.

    :param clock: tells when an entry expires.
    :param limit: entries; beyond that the ones not used for longest are forgotten.
    """

    def __init__(self, clock: IReactorTime, limit: int = 10_000) -> None:
        self._clock = clock
        self._entries: TLRUCache[str, tuple[float, str], float] = TLRUCache(
            limit, ttu=lambda _key, entry, _now: entry[0], timer=clock.seconds
        )

    async def start(self) -> None:
        """See :meth:`ICache.start`."""

    async def get(self, key: str) -> str | None:
        """See :meth:`ICache.get`."""
        entry = self._entries.get(key)
        return None if entry is None else entry[1]

    async def set(self, key: str, value: str, seconds: int) -> None:
        """See :meth:`ICache.set`."""
        self._entries[key] = (self._clock.seconds() + seconds, value)

    async def count(self, key: str, seconds: int) -> tuple[int, float]:
        """See :meth:`ICache.count`."""
        now = self._clock.seconds()
        expires, count = self._entries.get(key) or (now + seconds, "0")
        count = str(int(count) + 1)
        self._entries[key] = (expires, count)
        return int(count), expires - now

    async def check(self) -> None:
        """See :meth:`ICache.check`."""

    async def close(self) -> None:
        """See :meth:`ICache.close`."""
        self._entries.clear()
