"""The buffer of a request's body between its connection and its reader."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from zope.interface import implementer

from qabel_block.errors import ClientGone
from qabel_block.http.transport.interfaces import BODY_BUFFER_BYTES, FlowControl
from qabel_block.interfaces import IBody


@implementer(IBody)
class RequestBody:
    """A request's body, fed by its connection and read by one upload.

    :param flow: the connection.
    """

    def __init__(self, flow: FlowControl) -> None:
        self._flow = flow
        self._pieces: list[bytes] = []
        self._buffered = 0
        self._ended = False
        self._lost = False
        self._discarding = False
        self._waiting: Deferred[None] | None = None

    async def read(self) -> bytes:
        """See :meth:`IBody.read`."""
        if not (self._pieces or self._ended or self._lost):
            self._flow.go_ahead()
            self._waiting = Deferred()
            await self._waiting
        if self._lost:
            raise ClientGone
        return self._take()

    def feed(self, data: bytes) -> None:
        """Take bytes from the connection."""
        if self._discarding:
            return
        self._pieces.append(data)
        self._buffered += len(data)
        if self._buffered >= BODY_BUFFER_BYTES:
            self._flow.pause()
        self._wake()

    def end(self) -> None:
        """Take note that the body is complete."""
        self._ended = True
        self._wake()

    def lose(self) -> None:
        """Take note that the connection is lost. Nothing more can be read
        unless the body was complete by then."""
        if not self._ended:
            self._lost = True
            self._wake()

    def discard(self) -> None:
        """Throw away what is here and what may come: nobody will read it."""
        self._discarding = True
        self._take()

    def _take(self) -> bytes:
        data = b"".join(self._pieces)
        self._pieces.clear()
        self._buffered = 0
        self._flow.resume()
        return data

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.callback(None)
