"""Writes a response body as fast as the client reads it (back-pressure)."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime
from zope.interface import implementer

from qabel_block.errors import ClientGone
from qabel_block.http.transport.request import StreamingRequest
from qabel_block.http.transport.sendfile import FileSender, file_sender
from qabel_block.interfaces import IFileBlobReader

STALL_SECONDS = 120.0
"""How long a client may take for what the socket and one piece hold, before
its connection is cut."""


@implementer(IPushProducer)
class BodyProducer:
    """Writes the body of an answer, and knows when the client can take more.

    :param clock: limits how long a client may stall.
    """

    def __init__(self, request: StreamingRequest, clock: IReactorTime) -> None:
        self._request = request
        self._clock = clock
        self._paused = False
        self._gone = False
        self._registered = False
        self._waiting: Deferred[None] | None = None
        self._stall: IDelayedCall | None = None
        self._files: FileSender | None = None

    async def ready(self) -> None:
        """Return when more can be written.

        :raises ClientGone: if that will never be.
        """
        if not self._registered:
            self._register()
        if self._paused and not self._gone:
            self._stall = self._clock.callLater(STALL_SECONDS, self._request.abort)
            self._waiting = Deferred()
            await self._waiting
            if self._stall.active():
                self._stall.cancel()
        if self._gone:
            raise ClientGone

    def write(self, data: bytes) -> None:
        """Write the next bytes."""
        self._request.write(data)

    def can_send_files(self) -> bool:
        """Return whether :meth:`send_file` may be called; once something is written."""
        return self._files is not None

    def send_file(self, reader: IFileBlobReader, size: int) -> int | None:
        """Let the kernel send some of the next ``size`` bytes.

        :return: see :meth:`FileSender.send`.
        """
        assert self._files is not None
        sent = self._files.send(reader, size)
        self._request.sentLength += sent or 0
        return sent

    def unregister(self) -> None:
        """Let go of the connection, which may be gone already."""
        if self._registered and self._request.channel is not None:
            self._request.unregisterProducer()

    def pauseProducing(self) -> None:
        self._paused = True

    def resumeProducing(self) -> None:
        self._paused = False
        self._wake()

    def stopProducing(self) -> None:
        self._gone = True
        self._wake()

    def _register(self) -> None:
        """Begin to hear from the connection how fast the client reads."""
        self._registered = True
        if self._request.channel is None:
            self._gone = True
        else:
            self._request.registerProducer(self, True)
            self._files = file_sender(self._request.channel.transport)

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.callback(None)
