"""Hashes the body of an upload while it is read."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256

from twisted.internet.defer import Deferred
from zope.interface import implementer

from qabel_block.errors import BodyTooLarge
from qabel_block.interfaces import IBody
from qabel_block.util.threads import ThreadPool

_HASHED_IN_PLACE = 32 * 1024
"""Bytes whose SHA-256 takes less time than handing them to a thread."""


@implementer(IBody)
class HashedBody:
    """A body that knows what it has been so far.

    A piece is hashed in a thread while its reader works on it.

    :param limit: bytes that it may have in all.
    :ivar size: bytes that were read.
    """

    def __init__(self, body: IBody, threads: ThreadPool, limit: int) -> None:
        self._body = body
        self._threads = threads
        self._limit = limit
        self._digest = sha256()
        self._hashing: Deferred[None] | None = None
        self.size = 0

    async def read(self) -> bytes:
        """See :meth:`IBody.read`.

        :raises BodyTooLarge: if there is more than the limit.
        """
        await self._hashed()
        data = await self._body.read()
        self.size += len(data)
        if self.size > self._limit:
            raise BodyTooLarge
        if len(data) > _HASHED_IN_PLACE:
            update: Callable[[bytes], None] = self._digest.update
            self._hashing = Deferred.fromCoroutine(self._threads.run(update, data))
        else:
            self._digest.update(data)
        return data

    async def sha256(self) -> str:
        """Read what is left; return the hexadecimal digest of all of it."""
        while await self.read():
            pass
        return self._digest.hexdigest()

    async def _hashed(self) -> None:
        hashing, self._hashing = self._hashing, None
        if hashing is not None:
            await hashing
