"""HTTP/1.1 connections: strict parsing, requests with their head, time limits.

A request is handed over when its head is complete, the body still to come. What
a proxy in front might read in another way (RFC 9112 section 11.2) is refused,
and so are clients that send too slowly or are too many.

This module leans on the insides of :mod:`twisted.web.http`:
``HTTPChannel.allHeadersReceived``, ``allContentReceived``, ``writeHeaders``,
``write``, ``writeSequence``, ``_maybeChooseTransferDecoder`` and
``_respondToBadRequestAndDisconnect``, the attributes ``_command``, ``_path``,
``_version``, ``_handlingRequest``, ``_networkProducer``, ``_transferDecoder`` and
``_abortingCall``; on ``line_mode`` and ``_buffer`` of
:mod:`twisted.protocols.basic`; on the ``bufferSize`` of TCP transports; and on
:class:`HAProxyProtocolWrapper`, which knows the client's address only when it has
read the first bytes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import Enum
from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import IDelayedCall, IHalfCloseableProtocol
from twisted.internet.protocol import connectionDone
from twisted.protocols.haproxy._wrapper import HAProxyProtocolWrapper
from twisted.web.http import BAD_REQUEST, REQUEST_TIMEOUT, SWITCHING, HTTPChannel
from zope.interface import implementer

from qabel_block.http.transport.limits import origin
from qabel_block.http.transport.request_ids import choose_request_id
from qabel_block.http.transport.trusted_proxies import Peer

if TYPE_CHECKING:
    from twisted.python.failure import Failure
    from twisted.web.http_headers import Headers

    from qabel_block.http.transport.request import StreamingRequest
    from qabel_block.http.transport.site import BlockSite

_LENGTH = re.compile(rb"[0-9]{1,18}")
"""More digits would be a number that nothing here can hold."""

_STRAY = re.compile(rb"[\r\n\0]")


class StrictChannel(HTTPChannel):
    """An HTTP/1.1 connection that takes messages of one reading only."""

    def lineReceived(self, line: bytes) -> None:
        # A line feed or a carriage return alone ends a line for some (RFC 9112
        # section 2.2), and a line that is folded is two for others (section 5.2).
        if _STRAY.search(line) or line[:1] in (b" ", b"\t"):
            self._respondToBadRequestAndDisconnect()
        else:
            super().lineReceived(line)

    def _maybeChooseTransferDecoder(self, header: bytes, data: bytes) -> bool:
        if (header == b"Content-Length" and not _LENGTH.fullmatch(data)) or (
            header == b"Transfer-Encoding" and data.lower() != b"chunked"
        ):
            self._respondToBadRequestAndDisconnect()
            return False
        chosen: bool = super()._maybeChooseTransferDecoder(header, data)
        return chosen


class WritingChannel(StrictChannel):
    """An HTTP/1.1 connection that puts together what belongs together."""

    transport: Any
    _head = b""

    def writeHeaders(
        self, version: bytes, code: bytes, reason: bytes, headers: Headers
    ) -> None:
        """Keep a head for what follows it: a part of the body, or
        :meth:`send_head`."""
        lines = [b"%s %s %s" % (version, code, reason)]
        for name, values in headers.getAllRawHeaders():
            lines += [b"%s: %s" % (name, value) for value in values]
        self._head = b"\r\n".join([*lines, b"", b""])

    def send_head(self) -> None:
        """Send a head that nothing has followed so far."""
        if self._head:
            self.write(b"")

    def write(self, data: bytes) -> None:
        """Send ``data``, behind the head that waits for it."""
        head, self._head = self._head, b""
        self.transport.write(head + data if head else data)

    def writeSequence(self, iovec: Sequence[bytes]) -> None:
        """Send some pieces."""
        self.write(b"".join(iovec))


IDLE_SECONDS = 75.0
"""After this time without a byte from the client a connection is closed."""

KEEP_ALIVE_SECONDS = 60
"""What clients are told; the margin to IDLE_SECONDS is for a request that is
on its way when we lose patience, which a client can't send again."""

SHUTDOWN_IDLE_SECONDS = 2.0
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
            self.setTimeout(SHUTDOWN_IDLE_SECONDS)
        elif not self.requests[-1].startedWriting:
            self.persistent = False

    def upgrade(self) -> Any:
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
            self.setTimeout(SHUTDOWN_IDLE_SECONDS)

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


HEAD_SECONDS = 30.0
"""How long a request's head may take, from its first byte to its last."""

BODY_SECONDS = 60.0
BODY_BYTES = 16 * 1024
"""In each such time a client sends at least so much of a body that it has not sent
yet, or is cut off. Time in which we made it wait does not count."""

REJECT_SECONDS = 2
"""How long a client that is turned away may take to read why."""

_REJECTION = (
    b"HTTP/1.1 503 %s\r\nRetry-After: 5\r\nConnection: close\r\n"
    b"Content-Length: 0\r\n\r\n"
)


class Stage(Enum):
    """What a connection waits for."""

    NOTHING = "nothing, or our own answer"
    HEAD = "the rest of a head"
    BODY = "the rest of a body"


class GuardedChannel(StreamingChannel):
    """A connection with limits."""

    _stage = Stage.NOTHING
    _watch: IDelayedCall | None = None
    _received = 0
    _received_before = 0
    _made_to_wait = False
    _inside = False
    _outside = False
    _origin: str | None = None

    def connectionMade(self) -> None:
        super().connectionMade()
        refusal = self.site.connection_limiter.refusal()
        if refusal is None:
            self.site.connection_limiter.enter()
            self._inside = True
            if not isinstance(self.transport, HAProxyProtocolWrapper):
                refusal = self._enter_client()
        if refusal is not None:
            self._reject(refusal)

    def dataReceived(self, data: bytes) -> None:
        if not self._received and isinstance(self.transport, HAProxyProtocolWrapper):
            refusal = self._enter_client()
            if refusal is not None:
                self._reject(refusal)
        if self._refused:
            return
        self._received += len(data)
        super().dataReceived(data)
        stage = self._find_stage()
        if stage is not self._stage:
            self._begin(stage)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._begin(Stage.NOTHING)
        self.left()
        if self._outside:
            self._outside = False
            self.site.connection_limiter.forget()
        super().connectionLost(reason)

    def loseConnection(self) -> None:
        self._begin(Stage.NOTHING)
        super().loseConnection()

    def upgrade(self) -> Any:
        self._begin(Stage.NOTHING)
        return super().upgrade()

    def left(self) -> None:
        """Take note that the connection is no more, whoever has had it. May be
        repeated."""
        if self._inside:
            self._inside = False
            self.site.connection_limiter.leave(self._origin)

    def pause_body(self) -> None:
        self._made_to_wait = True
        super().pause_body()

    def _enter_client(self) -> str | None:
        """Count the connection for its client; return why that can't be. Proxies
        that speak for many are nobody."""
        who = None if self.peer.trusted else origin(self.peer.address)
        refusal = self.site.connection_limiter.client_refusal(who)
        if refusal is None:
            self.site.connection_limiter.enter_client(who)
            self._origin = who
        return refusal

    def _reject(self, reason: str) -> None:
        """Answer, and give the client a moment to read that: if the connection was
        closed while it still sends, the answer would be lost."""
        self.left()
        self._refused = True
        self._outside = self.site.connection_limiter.reject(reason)
        if self._outside:
            self.transport.write(_REJECTION % reason.encode("ascii"))
            self.setTimeout(REJECT_SECONDS)
        else:
            self.transport.abortConnection()

    def _find_stage(self) -> Stage:
        if self._refused:
            return Stage.NOTHING
        if self.line_mode:
            return Stage.HEAD if self._buffer or self.requests else Stage.NOTHING
        return Stage.NOTHING if self._transferDecoder is None else Stage.BODY

    def _begin(self, stage: Stage) -> None:
        """Begin to watch what the connection waits for now."""
        self._stage = stage
        if self._watch is not None and self._watch.active():
            self._watch.cancel()
        self._watch = None
        if stage is Stage.HEAD:
            self._watch = self.callLater(HEAD_SECONDS, self._cut_off)
        elif stage is Stage.BODY:
            self._received_before = self._received
            self._made_to_wait = self.body_paused
            self._watch = self.callLater(BODY_SECONDS, self._look_at_body)

    def _look_at_body(self) -> None:
        enough = self._received - self._received_before >= BODY_BYTES
        if enough or self._made_to_wait:
            self._begin(Stage.BODY)
        else:
            self._cut_off()

    def _cut_off(self) -> None:
        """End the connection of a client that is too slow."""
        self.setTimeout(None)
        self.refuse(REQUEST_TIMEOUT, b"Request Timeout")
        self._abortingCall = self.callLater(self.abortTimeout, self.forceAbortClient)
