"""The HTTP/1.1 connection: requests handed over with their head, time limits.

A request is handed over when its head is complete, the body still to come.

This module leans on the insides of :mod:`twisted.web.http`:
``HTTPChannel.allHeadersReceived``, ``allContentReceived``, ``writeHeaders``,
``write``, ``writeSequence``, ``_maybeChooseTransferDecoder`` and
``_respondToBadRequestAndDisconnect``, the attributes ``_command``, ``_path``,
``_version``, ``_handlingRequest``, ``_networkProducer``, ``_transferDecoder``,
``_dataBuffer`` and ``_abortingCall``; on ``line_mode`` and ``_buffer`` of
:mod:`twisted.protocols.basic`; and on the ``bufferSize`` of TCP transports.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from twisted.internet.interfaces import IAddress, IHalfCloseableProtocol
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web.http import (
    BAD_REQUEST,
    REQUEST_TIMEOUT,
    RESPONSES,
    SWITCHING,
    HTTPChannel,
)
from twisted.web.http_headers import Headers
from zope.interface import implementer

from qabel_block.http.transport.admission import (
    Admission,
    OverLimit,
    WrongProtocol,
)
from qabel_block.http.transport.framing import (
    is_ambiguous_length,
    is_ambiguous_line,
    is_host_missing_or_repeated,
    is_persistent,
)
from qabel_block.http.transport.interfaces import (
    KEEP_ALIVE_SECONDS,
    REJECT_SECONDS,
    SHUTDOWN_IDLE_SECONDS,
    ConnectionSite,
    UpgradedProtocol,
)
from qabel_block.http.transport.request_ids import choose_request_id
from qabel_block.http.transport.response_head import (
    format_common,
    format_connection,
    format_head,
    format_refusal,
    format_rejection,
)
from qabel_block.http.transport.slow_clients import SlowClientWatch, Stage
from qabel_block.http.transport.trusted_proxies import Peer


@implementer(IHalfCloseableProtocol)
class BlockChannel(HTTPChannel):
    """An HTTP/1.1 connection that hands over a request with its head.

    Messages that can be read in more than one way are refused, and so are clients
    that send too slowly or are too many.
    """

    site: ConnectionSite
    transport: Any
    _head = b""
    _refused = False
    _discarded = 0
    _silent = True
    _upgraded: UpgradedProtocol | None = None
    _admission: Admission
    _watch: SlowClientWatch

    # Twisted asks for the addresses with each request. They are known when there is
    # something to read: before, the PROXY protocol may not have said.

    @cached_property
    def peer(self) -> Peer:
        """Who is at the other end."""
        return self.site.proxies.peer(self._peer_address)

    @cached_property
    def _peer_address(self) -> IAddress:
        address: IAddress = self.transport.getPeer()
        return address

    @cached_property
    def _host_address(self) -> IAddress:
        address: IAddress = self.transport.getHost()
        return address

    def getPeer(self) -> IAddress:
        """Return the address of the other end."""
        return self._peer_address

    def getHost(self) -> IAddress:
        """Return the address of this end."""
        return self._host_address

    # The connection's beginning and end.

    def connectionMade(self) -> None:
        super().connectionMade()
        self._watch = SlowClientWatch(self.callLater, self._abort_slow_client)
        self._admission = Admission(
            self.transport, self.site.connection_limiter, lambda: self.peer
        )
        self.site.opened(self)
        refusal = self._admission.connected()
        if refusal is not None:
            self._reject(refusal)

    def dataReceived(self, data: bytes) -> None:
        if self._upgraded is not None:
            self._upgraded.dataReceived(data)
            return
        if self._silent:
            self._silent = False
            refusal = None if self._refused else self._admission.first_data(data)
            if refusal is not None:
                self._reject(refusal)
        if self._refused:
            self._discard(len(data))
            return
        self._watch.received(len(data))
        super().dataReceived(data)
        self._watch.wait_for(self._find_stage())

    def readConnectionLost(self) -> None:
        """Take note that the client sends nothing more. It may go on reading: who
        has sent a whole request gets its answer, and who stopped in a body 400 (RFC
        9112 section 8). Called again after each answer, when reading is resumed."""
        if self._upgraded is not None:
            self.transport.loseConnection()
        elif self._handlingRequest and not self._refused:
            return
        elif self.requests and self.requests[-1].has_begun and not self._refused:
            self._refuse_half_a_request()
        else:
            self.loseConnection()

    def writeConnectionLost(self) -> None:
        """Called when the refusal of a request was sent."""

    def loseConnection(self) -> None:
        self._watch.stop()
        super().loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._watch.stop()
        self._admission.close()
        super().connectionLost(reason)
        self.site.closed(self)
        upgraded, self._upgraded = self._upgraded, None
        if upgraded is not None:
            upgraded.connectionLost()

    def timeoutConnection(self) -> None:
        if self._watch.paused:
            # The silence is of the server's making, not the client's.
            self.setTimeout(self.timeOut)
        elif self.site.draining and not self.requests:
            self.loseConnection()  # once the client has read what it was sent
        else:
            super().timeoutConnection()

    def close_when_idle(self) -> None:
        """Close the connection as soon as it has nothing more to answer.

        Clients may send again what a closed connection did not answer, but ours
        never do (PROTOCOL section 9). So each is told with an answer that its
        connection ends, or has to be silent for a while first.
        """
        if not self.requests:
            self.setTimeout(SHUTDOWN_IDLE_SECONDS)
        elif not self.requests[-1].startedWriting:
            self.persistent = False

    def upgrade(self, protocol: UpgradedProtocol) -> None:
        """Answer the last request, which has no body, with 101 and the headers that
        are set, and give what the client sends from now on to ``protocol``.

        The connection goes on counting for the limits of connections.
        """
        self._watch.stop()
        self.setTimeout(None)
        request = self.requests[-1]
        request.setResponseCode(SWITCHING)
        self.site.ended(request)
        self.site.closed(self)
        self.transport.unregisterProducer()
        self.transport.resumeProducing()
        self.transport.write(
            format_head(
                b"HTTP/1.1",
                b"%d" % SWITCHING,
                RESPONSES[SWITCHING],
                request.responseHeaders,
                request.common_headers(),
            )
        )
        self._upgraded = protocol
        if self._handlingRequest:
            self.requests.clear()  # else Twisted has not done with it yet
        protocol.connectionMade(self.transport)
        early = b"".join(self._dataBuffer)
        self._dataBuffer.clear()
        if early:
            protocol.dataReceived(early)

    # What comes in. Once it has refused a request, Twisted goes on parsing what has
    # already arrived, and might serve the very request it has refused.

    def lineReceived(self, line: bytes) -> None:
        if self._refused:
            return
        if is_ambiguous_line(line):
            self._respondToBadRequestAndDisconnect()
        else:
            super().lineReceived(line)

    def rawDataReceived(self, data: bytes) -> None:
        if self._upgraded is not None:
            self._upgraded.dataReceived(data)
        elif not self._refused:
            super().rawDataReceived(data)

    def lineLengthExceeded(self, line: bytes) -> None:
        self._respondToBadRequestAndDisconnect()

    def _maybeChooseTransferDecoder(self, header: bytes, data: bytes) -> bool:
        if is_ambiguous_length(header, data):
            self._respondToBadRequestAndDisconnect()
            return False
        chosen: bool = super()._maybeChooseTransferDecoder(header, data)
        return chosen

    def allHeadersReceived(self) -> None:
        request = self.requests[-1]
        if self.site.draining:
            self.setTimeout(self.timeOut)
        self.persistent = not self.site.draining and is_persistent(
            self._version, request.requestHeaders
        )
        hosts = request.requestHeaders.getRawHeaders(b"Host", ())
        if is_host_missing_or_repeated(hosts, self._version):
            self._respondToBadRequestAndDisconnect()
        else:
            request.headReceived(self._command, self._path, self._version, self.length)

    def allContentReceived(self) -> None:
        if not self._refused:
            super().allContentReceived()
        if self._upgraded is not None:
            self.requests.clear()

    def receive_at_most(self, size: int) -> None:
        """Say how many bytes to take from a plain socket at a time."""
        if hasattr(self.transport, "bufferSize"):
            self.transport.bufferSize = size

    def pause_body(self) -> None:
        """Make the client wait. Bytes already received may still come."""
        self._watch.pause()
        self._networkProducer.pauseProducing()

    def resume_body(self) -> None:
        """End the wait of :meth:`pause_body`."""
        if self._watch.paused:
            self._watch.paused = False
            self._networkProducer.resumeProducing()

    def body_complete(self) -> None:
        """Forget the wait of a body that has come to its end: the connection reads on
        when its request is answered."""
        self._watch.paused = False

    # What goes out.

    def writeHeaders(
        self, version: bytes, code: bytes, reason: bytes, headers: Headers
    ) -> None:
        """Keep a head for what follows it: a part of the body, or
        :meth:`send_head`."""
        common = self.requests[0].common_headers()
        connection = format_connection(bool(self.persistent), KEEP_ALIVE_SECONDS)
        self._head = format_head(version, code, reason, headers, common, connection)

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

    def requestDone(self, request: Any) -> None:
        super().requestDone(request)
        if self.site.draining and self.persistent and not self.requests:
            self.setTimeout(SHUTDOWN_IDLE_SECONDS)

    # Refusals.

    def refuse(self, status: int, reason: bytes, text: str = "") -> None:
        """Say that what comes is no request that can be served, unless an answer has
        begun already, and hang up.

        :param text: what to tell people, in ASCII.
        """
        if self._refused:
            return
        self._refused = True
        request = self.requests[-1] if self.requests else None
        if request is None or not request.startedWriting:
            request_id = self._record_refusal(request, status)
            self._send_refusal(status, reason, request_id, text)
        if request is not None and request.has_begun:
            self.loseConnection()
        else:
            self._close_writing()

    def _refuse_half_a_request(self) -> None:
        """Answer a client that has stopped in a body, in case it has only closed its
        own side. Whether it has left can't be known, so that is what is recorded."""
        self._refused = True
        request = self.requests[-1]
        if not request.startedWriting:
            self._send_refusal(BAD_REQUEST, b"Bad Request", request.request_id)
        self.loseConnection()

    def _send_refusal(
        self, status: int, reason: bytes, request_id: str, text: str = ""
    ) -> None:
        origin = self.requests[-1].getHeader(b"Origin") if self.requests else None
        headers = self.site.cross_origin.headers(origin)
        common = format_common(self.site.date.value(), request_id)
        self.transport.write(format_refusal(status, reason, common, text, headers))

    def _close_writing(self) -> None:
        """Send no more, but go on reading for a while: a client that still sends would
        lose the answer if the connection was closed under it (RFC 9112 section 9.6).
        """
        self._watch.stop()
        if hasattr(self.transport, "loseWriteConnection"):
            self.setTimeout(REJECT_SECONDS)
            self.transport.loseWriteConnection()
        else:
            self.loseConnection()

    def _discard(self, size: int) -> None:
        """Take note of bytes that nobody reads."""
        self._discarded += size
        if self._discarded > self.site.discard_bytes:
            self.transport.abortConnection()

    def _respondToBadRequestAndDisconnect(self) -> None:
        self.refuse(BAD_REQUEST, b"Bad Request")

    def _abort_slow_client(self) -> None:
        """End the connection of a client that is too slow."""
        self.setTimeout(None)
        self.refuse(REQUEST_TIMEOUT, b"Request Timeout")
        self._abortingCall = self.callLater(self.abortTimeout, self.forceAbortClient)

    def _record_refusal(self, request: Any, status: int) -> str:
        """Record that what was sent is no request, or no longer one; return the ID
        under which that is recorded."""
        if request is not None and request.has_begun:
            request.refused = status
            request_id: str = request.request_id
            return request_id
        given = None if request is None else request.getHeader(b"X-Request-ID")
        request_id = choose_request_id(given)
        self.site.refused(self, request_id, status)
        return request_id

    def _reject(self, refusal: OverLimit | WrongProtocol) -> None:
        """Answer a connection that is not served, and give the client a moment to read
        that: if it was closed while the client still sends, the answer would be lost.
        """
        if isinstance(refusal, WrongProtocol):
            self.site.wrong_protocol(self, refusal.found, refusal.expected)
            self.refuse(BAD_REQUEST, b"Bad Request", refusal.text)
            return
        self._refused = True
        if refusal.is_told:
            self.transport.write(format_rejection(refusal.reason))
            self.setTimeout(REJECT_SECONDS)
        else:
            self.transport.abortConnection()

    def _find_stage(self) -> Stage:
        if self._refused:
            return Stage.NOTHING
        if self.line_mode:
            return Stage.HEAD if self._buffer or self.requests else Stage.NOTHING
        return Stage.NOTHING if self._transferDecoder is None else Stage.BODY
