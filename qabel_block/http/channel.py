"""Connections that hand over a request when its head is complete.

This module leans on the insides of :mod:`twisted.web.http`:
``HTTPChannel.allHeadersReceived``, ``allContentReceived`` and
``_respondToBadRequestAndDisconnect``, the attributes ``_command``, ``_path``,
``_version``, ``_handlingRequest`` and ``_networkProducer``; and on the ``bufferSize``
of TCP transports.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import connectionDone
from twisted.web.http import BAD_REQUEST, SWITCHING
from zope.interface import implementer

from qabel_block.http.clients import Peer
from qabel_block.http.request_ids import choose_request_id
from qabel_block.http.writing import WritingChannel

if TYPE_CHECKING:
    from twisted.python.failure import Failure

    from qabel_block.http.site import BlockSite
    from qabel_block.http.streaming import StreamingRequest

IDLE_SECONDS = 75.0
"""After this time without a byte from the client a connection is closed."""

KEEP_ALIVE_SECONDS = 60
"""What clients are told; the margin to IDLE_SECONDS is for a request that is
on its way when we lose patience, which a client can't send again."""

FAREWELL_SECONDS = 2.0
"""How long an idle connection stays open when the server stops: a request that
is on its way still gets its answer, and with it ``Connection: close``."""


@implementer(IHalfCloseableProtocol)
class StreamingChannel(WritingChannel):
    """An HTTP/1.1 connection that hands over a request with its head."""

    site: BlockSite
    body_paused = False
    _refused = False
    _peer: Peer | None = None

    @property
    def peer(self) -> Peer:
        """Who is at the other end. Ask when there is something to read: before,
        the PROXY protocol may not have said."""
        if self._peer is None:
            self._peer = self.site.proxies.peer(self.transport.getPeer())
        return self._peer

    def connectionMade(self) -> None:
        super().connectionMade()
        self.site.opened(self)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        super().connectionLost(reason)
        self.site.closed(self)

    def readConnectionLost(self) -> None:
        """Take note that the client sends nothing more. It may go on reading: who
        has sent a whole request gets its answer. Called again after each answer,
        when reading is resumed."""
        if not self._handlingRequest:
            self.loseConnection()

    def writeConnectionLost(self) -> None:
        """Never called: nothing here closes only its own side."""

    def retire(self) -> None:
        """Close the connection as soon as it has nothing more to answer.

        Clients may send again what a closed connection did not answer, but ours
        never do (PROTOCOL section 9). So each is told with an answer that its
        connection ends, or has to be silent for a while first.
        """
        if not self.requests:
            self.setTimeout(FAREWELL_SECONDS)
        elif not self.requests[-1].startedWriting:
            self.persistent = False

    def hand_over(self) -> Any:
        """Give up the connection to another protocol; return its transport."""
        self.setTimeout(None)
        self.transport.unregisterProducer()
        request = self.requests[-1]
        request.setResponseCode(SWITCHING)
        self.site.ended(request)
        self.site.closed(self)
        return self.transport

    def receive_at_most(self, size: int) -> None:
        """Say how many bytes to take from a plain socket at a time."""
        if hasattr(self.transport, "bufferSize"):
            self.transport.bufferSize = size

    def take_early_data(self) -> bytes:
        """Return what the client has sent after its request."""
        data = b"".join(self._dataBuffer)
        self._dataBuffer.clear()
        return data

    # Once it has refused a request, Twisted goes on parsing what has already
    # arrived, and might serve the very request it has refused.

    def lineReceived(self, line: bytes) -> None:
        if not self._refused:
            super().lineReceived(line)

    def rawDataReceived(self, data: bytes) -> None:
        if not self._refused:
            super().rawDataReceived(data)

    def lineLengthExceeded(self, line: bytes) -> None:
        self._respondToBadRequestAndDisconnect()

    def requestDone(self, request: Any) -> None:
        super().requestDone(request)
        if self.site.draining and self.persistent and not self.requests:
            self.setTimeout(FAREWELL_SECONDS)

    def allHeadersReceived(self) -> None:
        request = self.requests[-1]
        if self.site.draining:
            self.setTimeout(self.timeOut)
        self.persistent = not self.site.draining and self.checkPersistence(
            request, self._version
        )
        hosts = request.requestHeaders.getRawHeaders(b"Host", ())
        if len(hosts) > 1 or (not hosts and self._version == b"HTTP/1.1"):
            # RFC 9112 section 3.2
            self._respondToBadRequestAndDisconnect()
        else:
            request.headReceived(self._command, self._path, self._version, self.length)

    def allContentReceived(self) -> None:
        if not self._refused:
            super().allContentReceived()

    def timeoutConnection(self) -> None:
        if self.body_paused:
            # The silence is of our making, not the client's.
            self.setTimeout(self.timeOut)
        elif self.site.draining and not self.requests:
            self.loseConnection()  # once the client has read what it was sent
        else:
            super().timeoutConnection()

    def pause_body(self) -> None:
        """Make the client wait. Bytes already received may still come."""
        self.body_paused = True
        self._networkProducer.pauseProducing()

    def resume_body(self) -> None:
        """End the wait of :meth:`pause_body`."""
        if self.body_paused:
            self.body_paused = False
            self._networkProducer.resumeProducing()

    def refuse(self, status: int, reason: bytes) -> None:
        """Say that what comes is no request that can be served, unless an answer has
        begun already, and hang up."""
        self._refused = True
        request: StreamingRequest | None = self.requests[-1] if self.requests else None
        if request is None or not request.startedWriting:
            request_id = self._note_refusal(request, status)
            self.transport.write(
                b"HTTP/1.1 %d %s\r\nX-Request-ID: %s\r\n"
                b"Connection: close\r\nContent-Length: 0\r\n\r\n"
                % (status, reason, request_id.encode("ascii"))
            )
        self.loseConnection()

    def _respondToBadRequestAndDisconnect(self) -> None:
        self.refuse(BAD_REQUEST, b"Bad Request")

    def _note_refusal(self, request: StreamingRequest | None, status: int) -> str:
        """Take note that what was sent is no request, or no longer one; return the
        ID under which that is noted."""
        if request is not None and request.has_begun:
            request.refused = status
            return request.request_id
        given = None if request is None else request.getHeader(b"X-Request-ID")
        request_id = choose_request_id(given)
        self.site.refused(self, request_id, status)
        return request_id
