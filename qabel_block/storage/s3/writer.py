"""Writes one blob to S3: at once if it is small, in parts if it is not."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from mmap import MAP_ANONYMOUS, MAP_PRIVATE, mmap
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from zope.interface import implementer

from qabel_block.errors import BlockError
from qabel_block.interfaces import IBlobWriter
from qabel_block.storage.s3.client import S3Client

log = Logger()

SMALLEST_PART = 5 * 2**20
MOST_PARTS = 10_000
"""S3's own limits; the last part may be smaller."""

UNDER_WAY = 2
"""Parts of one upload that are on their way at a time."""

Run = Callable[..., Awaitable[Any]]


def part_size(largest: int) -> int:
    """Return the bytes of a part with which ``largest`` bytes can be stored."""
    return max(SMALLEST_PART, -(-largest // MOST_PARTS))


@implementer(IBlobWriter)
class S3Writer:
    """Collects parts; while some are on their way, the next is collected.

    So an upload holds three parts in memory, and a store that is slower than the
    client makes ``write`` wait.

    :param run: calls a function in a thread.
    :param client: returns the client, in a thread.
    :param size: bytes of a part.
    """

    def __init__(
        self, key: str, run: Run, client: Callable[[], S3Client], size: int
    ) -> None:
        self._key = key
        self._run = run
        self._client = client
        self._part_size = size
        self._part: memoryview | None = None
        self._filled = 0
        self._stored = 0
        self._upload: str | None = None
        self._etags: list[str] = []
        self._under_way: deque[Deferred[None]] = deque()

    async def write(self, data: bytes) -> None:
        """See :meth:`IBlobWriter.write`."""
        view = memoryview(data)
        while view:
            if self._part is None:
                # Not from the heap: that keeps what it once had, and it would
                # be moved about while a part grows.
                self._part = memoryview(
                    mmap(-1, self._part_size, flags=MAP_PRIVATE | MAP_ANONYMOUS)
                )
            piece = view[: self._part_size - self._filled]
            self._part[self._filled : self._filled + len(piece)] = piece
            self._filled += len(piece)
            view = view[len(piece) :]
            if self._filled == self._part_size:
                await self._send()

    async def finish(self) -> None:
        """See :meth:`IBlobWriter.finish`."""
        if self._upload is None:
            part = self._take()
            await self._run(lambda: self._client().put(self._key, part))
            return
        if self._filled:
            await self._send()
        await self._arrived(0)
        upload = self._upload
        await self._run(
            lambda: self._client().complete(
                self._key, upload, self._etags, self._stored
            )
        )

    async def abort(self) -> None:
        """See :meth:`IBlobWriter.abort`."""
        self._part = None
        while self._under_way:
            try:
                await self._arrived(0)
            except Exception as error:
                log.debug("aborting after {error}", error=str(error))
        upload, self._upload = self._upload, None
        if upload is None:
            return
        try:
            await self._run(lambda: self._client().abort(self._key, upload))
        except BlockError as error:
            log.info("left to the sweep: {key}: {error}", key=self._key, error=error)
        except Exception:
            log.failure("left to the sweep: {key}", key=self._key)

    async def _send(self) -> None:
        """Begin to send the part that was collected."""
        if self._upload is None:
            self._upload = await self._run(lambda: self._client().begin(self._key))
        await self._arrived(UNDER_WAY - 1)
        self._etags.append("")
        sending = self._send_part(self._upload, len(self._etags), self._take())
        self._under_way.append(Deferred.fromCoroutine(sending))

    async def _send_part(self, upload: str, number: int, part: memoryview) -> None:
        self._etags[number - 1] = await self._run(
            lambda: self._client().put_part(self._key, upload, number, part)
        )

    async def _arrived(self, most: int) -> None:
        """Wait until no more than so many parts are on their way."""
        while len(self._under_way) > most:
            await self._under_way.popleft()

    def _take(self) -> memoryview:
        part = memoryview(b"") if self._part is None else self._part[: self._filled]
        self._part, self._filled = None, 0
        self._stored += len(part)
        return part
