"""Batches blobs for transactions of the ledger, and runs two steps side by side."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any

from twisted.internet.defer import Deferred

from qabel_block.model import ListedBlob

BLOBS = 1000
BYTES = 64 * 2**20
"""The most that is taken together, so that an interruption is soon noticed and a
transaction soon over. One blob may be larger."""


class BlobBatcher:
    """Collects blobs into batches of bounded number and size.

    :param take: called with each batch.
    """

    def __init__(self, take: Callable[[list[ListedBlob]], Awaitable[None]]) -> None:
        self._take = take
        self._blobs: list[ListedBlob] = []
        self._bytes = 0

    async def add(self, blobs: Iterable[ListedBlob]) -> None:
        """Add some blobs; hand on what is enough."""
        for blob in blobs:
            self._blobs.append(blob)
            self._bytes += blob.size
            if len(self._blobs) >= BLOBS or self._bytes >= BYTES:
                await self.flush()

    async def flush(self) -> None:
        """Hand on what there is."""
        blobs, self._blobs, self._bytes = self._blobs, [], 0
        if blobs:
            await self._take(blobs)


class BackgroundTask:
    """Runs one coroutine at a time in the background, while the next is prepared."""

    def __init__(self) -> None:
        self._under_way: Deferred[None] | None = None

    async def begin(self, work: Coroutine[Deferred[Any], Any, None]) -> None:
        """Begin with ``work`` once what was begun before is done.

        :raises Exception: what the work before raised; this one is not begun then.
        """
        try:
            await self.done()
        except BaseException:
            work.close()
            raise
        self._under_way = Deferred.fromCoroutine(work)

    async def done(self) -> None:
        """Wait until nothing is under way.

        :raises Exception: what the work raised.
        """
        under_way, self._under_way = self._under_way, None
        if under_way is not None:
            await under_way
