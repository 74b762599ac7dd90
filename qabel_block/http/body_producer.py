"""Sends a blob as the body of an answer, as fast as the client takes it."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime
from zope.interface import implementer

from qabel_block.errors import ClientGone
from qabel_block.http.transport.request import StreamingRequest
from qabel_block.interfaces import IBlobReader

STALL_SECONDS = 120.0
"""How long a client may take for what the socket and one piece hold, before
its connection is cut."""


async def send_blob(
    request: StreamingRequest,
    reader: IBlobReader,
    length: int,
    clock: IReactorTime,
    count: Callable[[int], None],
) -> None:
    """Write all that ``reader`` has to the request, and close the reader.

    One piece is read ahead while another is on its way to the client; so two
    pieces are in memory at the most.

    :param length: bytes that the reader will return in all.
    :param count: told the number of bytes whenever some go to the client.
    :raises ClientGone: if the client leaves or stalls.
    :raises Unavailable: if the blob can't be read to its end. The connection
        has to be cut then: the answer has begun.
    """
    consumer = _Consumer(request, clock)
    ahead: Deferred[bytes] | None = None
    try:
        piece = await reader.read()
        while piece:
            length -= len(piece)
            if length > 0:
                ahead = Deferred.fromCoroutine(reader.read())
            await consumer.ready()
            count(len(piece))
            request.write(piece)
            if ahead is None:
                break
            piece, ahead = await ahead, None
    finally:
        if ahead is not None:
            await ahead.addErrback(lambda _: b"")
        consumer.release()
        await reader.close()


@implementer(IPushProducer)
class _Consumer:
    """The client's side, which says when it can take more."""

    def __init__(self, request: StreamingRequest, clock: IReactorTime) -> None:
        self._request = request
        self._clock = clock
        self._paused = False
        self._gone = False
        self._waiting: Deferred[None] | None = None
        self._stall: IDelayedCall | None = None
        if request.channel is None:
            self._gone = True
        else:
            request.registerProducer(self, True)

    async def ready(self) -> None:
        """Return when more can be written.

        :raises ClientGone: if that will never be.
        """
        if self._paused and not self._gone:
            self._stall = self._clock.callLater(STALL_SECONDS, self._request.abort)
            self._waiting = Deferred()
            await self._waiting
            if self._stall.active():
                self._stall.cancel()
        if self._gone:
            raise ClientGone

    def release(self) -> None:
        """Let go of the connection, which may be gone already."""
        if self._request.channel is not None:
            self._request.unregisterProducer()

    def pauseProducing(self) -> None:
        self._paused = True

    def resumeProducing(self) -> None:
        self._paused = False
        self._wake()

    def stopProducing(self) -> None:
        self._gone = True
        self._wake()

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.callback(None)
