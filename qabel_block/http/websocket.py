"""WebSockets: the far end of push (PROTOCOL section 4, RFC 6455).

A handshake is looked at like any other request, and refused like one. Only when
it is certain to succeed is the connection taken from HTTP and given to
autobahn's protocol.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IPushProducer
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.protocols.policies import ProtocolWrapper
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET
from zope.interface import implementer

from qabel_block.errors import BadRequest, Unavailable, UpgradeRequired
from qabel_block.http.headers import field
from qabel_block.http.transport.request import StreamingRequest
from qabel_block.push.hub import TRY_AGAIN_LATER, Hub

log = Logger()

SUBPROTOCOL = "v0.ws.block.qabel.de"

PING_SECONDS = 30.0
MISSED_PINGS = 2
"""A peer that answers none of so many pings is gone."""

UNREAD_BYTES = 2**20
"""How much may wait for a subscriber that does not read."""

FRAME_BYTES = 64 * 1024
"""The largest frame or message a client may send; nobody reads them."""

CLOSE_SECONDS = 2
"""How long a peer may take to answer a closing handshake."""


def check_handshake(request: StreamingRequest) -> None:
    """Look at what RFC 6455 section 4.2.1 asks of a handshake.

    :raises UpgradeRequired: if it is none.
    :raises BadRequest: if it is wrong, or offers only other subprotocols.
    """
    asked = "websocket" in _tokens(field(request, "Upgrade"))
    version = field(request, "Sec-WebSocket-Version")
    if request.method != b"GET" or not asked or version != "13":
        raise UpgradeRequired
    if "upgrade" not in _tokens(field(request, "Connection")):
        raise BadRequest("the handshake lacks Connection: Upgrade")
    if len(field(request, "Sec-WebSocket-Key") or "") != 24:
        raise BadRequest("the handshake lacks a Sec-WebSocket-Key")
    offered = field(request, "Sec-WebSocket-Protocol")
    if offered is not None and SUBPROTOCOL not in _tokens(offered):
        raise BadRequest(f"the only subprotocol here is {SUBPROTOCOL}")


def _tokens(value: str | None) -> list[str]:
    return [token.strip().lower() for token in (value or "").split(",")]


@implementer(IPushProducer)
class WebSocket(WebSocketServerProtocol):
    """One subscriber's socket. What it is told before the handshake is done is sent
    then.

    :ivar unanswered: pings since the last sign of life.
    :ivar request_id: that of the request that it came from.
    :ivar gone: fires when it is closed, or never will be open.
    """

    def __init__(self, hub: Hub, prefix: str, path: str | None) -> None:
        super().__init__()
        self.prefix = prefix
        self.path = path
        self.unanswered = 0
        self.request_id = ""
        self.gone: Deferred[None] = Deferred()
        self._hub = hub
        self._open = False
        self._closing: tuple[int, str] | None = None
        self._paused = False
        self._unread: deque[bytes] = deque()
        self._unread_bytes = 0

    def onConnect(self, request: Any) -> tuple[str | None, dict[str, str]]:
        chosen = SUBPROTOCOL if SUBPROTOCOL in request.protocols else None
        return chosen, {"X-Request-ID": self.request_id}

    def onOpen(self) -> None:
        self.registerProducer(self, True)
        self._open = True
        self._send_close()
        self._send_waiting()

    def onMessage(self, _payload: bytes, _is_binary: bool) -> None:
        self.unanswered = 0

    def onPong(self, _payload: bytes) -> None:
        self.unanswered = 0

    def onClose(self, _was_clean: bool, _code: object, _reason: object) -> None:
        self._open = False
        self._unread.clear()
        Deferred.fromCoroutine(self._hub.remove(self)).addErrback(_broken)
        self.gone.callback(None)

    def tell(self, message: bytes) -> None:
        """Send an event, as soon as the peer takes it. One that does not is cut
        off at a bound, and one whose socket is closing is not told any more."""
        if self._closing or (self._open and self.state != self.STATE_OPEN):
            return
        self._unread.append(message)
        self._unread_bytes += len(message)
        if self._unread_bytes > UNREAD_BYTES:
            self.end(TRY_AGAIN_LATER, "too slow")
        elif self._open and not self._paused:
            self._send_waiting()

    def end(self, code: int, reason: str) -> None:
        """Close the socket; nothing more is sent."""
        self._unread.clear()
        self._unread_bytes = 0
        self._closing = self._closing or (code, reason)
        self._send_close()

    def ping(self) -> None:
        """Ask for a sign of life; give up on a peer that showed none for long."""
        if self.unanswered >= MISSED_PINGS:
            self.dropConnection(abort=True)
        elif self._open:
            self.unanswered += 1
            self.sendPing()

    def pauseProducing(self) -> None:
        self._paused = True

    def resumeProducing(self) -> None:
        self._paused = False
        self._send_waiting()

    def stopProducing(self) -> None:
        """Nothing to do: ``onClose`` follows."""

    def _send_close(self) -> None:
        if self._open and self._closing:
            self._open = False
            code, reason = self._closing
            # sendClose takes only the codes that applications may make up.
            self.sendCloseFrame(code=code, reasonUtf8=reason.encode(), isReply=False)

    def _send_waiting(self) -> None:
        while self._unread and not self._paused and self.state == self.STATE_OPEN:
            message = self._unread.popleft()
            self._unread_bytes -= len(message)
            self.sendMessage(message)


class WebSockets:
    """Opens sockets, keeps an eye on them, and closes them at the end.

    :param kind: makes them.
    """

    def __init__(
        self,
        hub: Hub,
        reactor: Any,
        kind: Callable[[Hub, str, str | None], WebSocket] = WebSocket,
    ) -> None:
        self._hub = hub
        self._kind = kind
        self._factory = WebSocketServerFactory(server="qabel-block", reactor=reactor)
        self._factory.setProtocolOptions(
            maxFramePayloadSize=FRAME_BYTES,
            maxMessagePayloadSize=FRAME_BYTES,
            perMessageCompressionAccept=lambda _offers: None,
            utf8validateIncoming=False,
            closeHandshakeTimeout=CLOSE_SECONDS,
            failByDrop=False,
        )
        self._pinging = LoopingCall(self._ping)
        self._pinging.clock = reactor
        self._stopped = False

    def start(self) -> None:
        """Begin to look after sockets."""
        self._pinging.start(PING_SECONDS, now=False)

    async def stop(self) -> None:
        """Say goodbye to all, and return when they are gone."""
        self._stopped = True
        if self._pinging.running:
            self._pinging.stop()
        sockets: Any = self._hub.subscribers()
        self._hub.close()
        await DeferredList([socket.gone for socket in sockets])

    async def open(
        self, request: StreamingRequest, prefix: str, path: str | None
    ) -> Resource:
        """Return what takes the connection over from HTTP.

        :param path: of the one object to tell of, ``None`` for all of them.
        :raises Unavailable: if events can't be had at the moment.
        """
        if self._stopped:
            raise Unavailable("push", "the server is shutting down")
        socket = self._kind(self._hub, prefix, path)
        socket.factory = self._factory
        socket.request_id = request.request_id
        await self._hub.add(socket)
        if request.channel is None:
            socket.onClose(False, None, None)
        return _Upgrade(socket)

    def _ping(self) -> None:
        for socket in self._hub.subscribers():
            socket.ping()  # type: ignore[attr-defined]


class _Upgrade(Resource):
    """Gives a request's connection to a socket."""

    isLeaf = True

    def __init__(self, socket: WebSocket) -> None:
        super().__init__()
        self._socket = socket

    def render(self, request: Any) -> Any:
        channel = request.channel
        if channel is None:
            return NOT_DONE_YET
        transport = channel.upgrade()
        if isinstance(transport, ProtocolWrapper):
            transport.wrappedProtocol = self._socket
        else:
            transport.protocol = self._socket
        self._socket.makeConnection(transport)
        self._socket.gone.addCallback(lambda _: channel.left())
        transport.resumeProducing()
        self._socket.dataReceived(_head(request) + channel.take_early_data())
        return NOT_DONE_YET


def _head(request: StreamingRequest) -> bytes:
    """Return the head of a request as it is sent: autobahn reads it again."""
    lines = [b"%s %s HTTP/1.1" % (request.method, request.uri)]
    for name, values in request.requestHeaders.getAllRawHeaders():
        lines.append(b"%s: %s" % (name, b",".join(values)))
    return b"\r\n".join([*lines, b"", b""])


def _broken(failure: Any) -> None:
    log.failure("a subscriber could not be removed", failure=failure)
