"""A cache within one process."""

from __future__ import annotations

from collections import OrderedDict

from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from qabel_block.interfaces import ICache


@implementer(ICache)
class MemoryCache:
    """Keeps what was set last, up to a number of entries.

    :param clock: tells when an entry expires.
    :param limit: entries; beyond that the ones set longest ago are forgotten.
    """

    def __init__(self, clock: IReactorTime, limit: int = 10_000) -> None:
        self._clock = clock
        self._limit = limit
        self._entries: OrderedDict[str, tuple[float, str]] = OrderedDict()

    async def start(self) -> None:
        """See :meth:`ICache.start`."""

    async def get(self, key: str) -> str | None:
        """See :meth:`ICache.get`."""
        expires, value = self._entries.get(key, (0.0, ""))
        return value if expires > self._clock.seconds() else None

    async def set(self, key: str, value: str, seconds: int) -> None:
        """See :meth:`ICache.set`."""
        self._entries[key] = (self._clock.seconds() + seconds, value)
        self._entries.move_to_end(key)
        if len(self._entries) > self._limit:
            self._entries.popitem(last=False)

    async def check(self) -> None:
        """See :meth:`ICache.check`."""

    async def close(self) -> None:
        """See :meth:`ICache.close`."""
        self._entries.clear()
