"""Reads a range of a blob from S3."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from twisted.logger import Logger
from zope.interface import implementer

from qabel_block.errors import BlobNotFound, BlockError, Unavailable
from qabel_block.interfaces import IBlobReader
from qabel_block.storage.s3.client import S3Client
from qabel_block.storage.s3.errors import translated

log = Logger()

PIECE = 512 * 1024
"""Bytes read at a time: enough that handing them over costs little, and little
enough that many downloads fit into memory."""

ATTEMPTS = 3
"""How often a body that breaks off without progress is asked for again."""

Run = Callable[..., Awaitable[Any]]


@implementer(IBlobReader)
class S3Reader:
    """A body on its way from S3; one that breaks off is taken up again.

    :param run: calls a function in a thread.
    :param client: returns the client, in a thread.
    """

    def __init__(
        self,
        key: str,
        start: int,
        length: int,
        run: Run,
        client: Callable[[], S3Client],
    ) -> None:
        self._key = key
        self._next = start
        self._end = start + length
        self._run = run
        self._client = client
        self._body: Any = None
        self._first = b""

    async def open(self) -> None:
        """Begin to read: the first piece, so that a small blob takes one turn of a
        thread, and its connection no longer than that.

        :raises BlobNotFound: if there is no such blob.
        :raises Unavailable: if S3 fails.
        """
        self._first = await self._run(self._open_and_read)

    async def read(self) -> bytes:
        """See :meth:`IBlobReader.read`."""
        if self._first or self._next >= self._end:
            first, self._first = self._first, b""
            return first
        piece: bytes = await self._run(self._read)
        return piece

    async def close(self) -> None:
        """See :meth:`IBlobReader.close`."""
        # On the spot: to close a socket does not block, and to wait for a thread
        # would keep the connection.
        self._drop()

    def _open(self) -> None:
        self._body = self._client().open(self._key, self._next, self._end - self._next)

    def _open_and_read(self) -> bytes:
        self._open()
        return self._read()

    def _read(self) -> bytes:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                if self._body is None:
                    self._open()
            except BlobNotFound as error:
                raise Unavailable("storage", "the blob is gone") from error
            try:
                with translated():
                    piece: bytes = self._body.read(min(PIECE, self._end - self._next))
            except BlockError as error:
                log.info("{key} broke off: {error}", key=self._key, error=str(error))
                piece = b""
            if piece:
                self._next += len(piece)
                if self._next == self._end:
                    self._drop()
                return piece
            self._drop()
            log.debug("attempt {attempt} of {key}", attempt=attempt, key=self._key)
        raise Unavailable("storage", "S3 broke off in the middle of a blob")

    def _drop(self) -> None:
        """Let go of the body: read to its end, its connection is used again."""
        body, self._body = self._body, None
        if body is not None:
            try:
                with translated():
                    body.close()
            except BlockError as error:
                log.debug("closing {key}: {error}", key=self._key, error=str(error))
