"""What the parts of the transport ask of each other, and its limits."""

from __future__ import annotations

from typing import Any, Protocol

from twisted.internet.interfaces import IReactorTime

from qabel_block.http.cors import CrossOrigin
from qabel_block.http.transport.limits import ConnectionLimiter
from qabel_block.http.transport.response_head import DateHeader
from qabel_block.http.transport.trusted_proxies import Peer, TrustedProxies

IDLE_SECONDS = 75.0
"""After this time without a byte from the client a connection is closed."""

KEEP_ALIVE_SECONDS = 60
"""The timeout that clients are told. The margin to IDLE_SECONDS is for a request
that is on its way when the connection is closed: a client can't send that again."""

SHUTDOWN_IDLE_SECONDS = 2.0
"""How long an idle connection stays open when the server stops: a request that
is on its way still gets its answer, and with it ``Connection: close``."""

HEAD_SECONDS = 30.0
"""How long a request's head may take, from its first byte to its last."""

BODY_SECONDS = 60.0
BODY_BYTES = 16 * 1024
"""In each such time a client sends at least so much of a body that it has not sent
yet, or is cut off. Time in which the server made it wait does not count."""

REJECT_SECONDS = 2
"""How long a client that is not served may take to read why."""

BODY_BUFFER_BYTES = 512 * 1024
"""Bytes of a body that may wait for their reader before the client is paused."""

MIN_DISCARD_BYTES = 64 * 1024 * 1024
"""How much of a refused body is read at least, so that its client gets to read the
answer (PROTOCOL section 9): no more than a body may have, where that is more."""

DISCARD_SECONDS = 1800.0
"""For how long a refused body is read before the connection is cut."""

UNSENT_SECONDS = 5.0
"""How long to wait for the body of a client that asked with ``Expect`` and was
refused: it has no reason to send one, but may have stopped waiting."""

SMALL_READ_BYTES = 64 * 1024
LARGE_READ_BYTES = 512 * 1024
"""Bytes taken from the socket at a time: a body costs half as much in large reads,
for which a small request would allocate memory in vain."""

CLIENT_GONE = 499
"""Recorded as the status of a request whose client left before the answer began.
It is nginx's, and never sent."""


class FlowControl(Protocol):
    """What a body's buffer asks of its request. All of it may be repeated."""

    def go_ahead(self) -> None:
        """The body is wanted: send ``100 Continue`` if the client waits."""

    def pause(self) -> None:
        """Stop delivering soon; a little more may still come."""

    def resume(self) -> None:
        """Deliver again."""


class ChannelRequest(Protocol):
    """What a channel and a site ask of a request.

    :ivar has_begun: whether its head was complete.
    :ivar arrived: when that was, in seconds since 1970.
    :ivar request_id: the client's ``X-Request-ID`` if it is sane, else a new one.
    :ivar client: the address from which it comes, or what is known of that.
    :ivar user_id: who asked, if that is known.
    :ivar refused: the status, if it was refused because of how its body came.
    :ivar status: what was answered, or :data:`CLIENT_GONE`.
    :ivar cut: whether the connection ended before the answer did.
    """

    method: bytes
    path: bytes
    code_message: bytes
    sentLength: int
    arrived: float
    request_id: str
    client: str
    user_id: int | None
    refused: int | None
    cut: bool

    @property
    def has_begun(self) -> bool: ...

    @property
    def status(self) -> int: ...


class SiteRecorder(Protocol):
    """Takes what there is to measure about connections and requests."""

    def connections(self, count: int) -> None:
        """Take how many connections there are, whenever that changes."""

    def began(self) -> None:
        """Take note of a request whose head is complete."""

    def ended(self, request: ChannelRequest, seconds: float) -> None:
        """Take a request that is answered or whose client is gone, and the time
        since its head was complete."""

    def refused(self, status: int) -> None:
        """Take the answer to what was refused before it was a request."""


class ConnectionSite(Protocol):
    """What channels and requests ask of the site they belong to.

    :ivar draining: whether the server is about to stop.
    :ivar resource: answers all requests.
    :ivar cross_origin: what is said to pages of other origins, in every answer.
    :ivar date: for the head of each answer.
    :ivar discard_bytes: how much of a refused body is read before the connection is
        cut.
    """

    draining: bool
    reactor: IReactorTime
    resource: Any
    cross_origin: CrossOrigin
    discard_bytes: int
    date: DateHeader
    proxies: TrustedProxies
    connection_limiter: ConnectionLimiter

    def opened(self, channel: SiteChannel) -> None:
        """Record a new connection."""

    def closed(self, channel: SiteChannel) -> None:
        """Record that a connection is no more. May be repeated."""

    def began(self, request: ChannelRequest) -> None:
        """Record a request whose head is complete."""

    def ended(self, request: ChannelRequest) -> None:
        """Record that a request is answered, or its client gone. Called once for
        each that has begun."""

    def refused(self, channel: SiteChannel, request_id: str, status: int) -> None:
        """Record what was refused before it was a request."""

    def wrong_protocol(self, channel: SiteChannel, found: str, expected: str) -> None:
        """Record a connection that did not begin as it should."""


class SiteChannel(Protocol):
    """What a site asks of its connections."""

    @property
    def peer(self) -> Peer:
        """Who is at the other end."""

    def close_when_idle(self) -> None:
        """Close the connection as soon as it has nothing more to answer."""

    def forceAbortClient(self) -> None:
        """Cut the connection."""


class UpgradedProtocol(Protocol):
    """What takes a connection over from HTTP (RFC 9110 section 7.8)."""

    def connectionMade(self, transport: Any) -> None:
        """Begin, on an ``ITransport`` without a producer."""

    def dataReceived(self, data: bytes) -> None:
        """Take bytes from the client."""

    def connectionLost(self) -> None:
        """Take note that the connection is no more. Called once after
        ``connectionMade``."""


class RequestChannel(Protocol):
    """What a request asks of the connection it came by."""

    transport: Any
    site: ConnectionSite
    persistent: bool

    @property
    def peer(self) -> Peer:
        """Who is at the other end."""

    def receive_at_most(self, size: int) -> None:
        """Say how many bytes to take from a plain socket at a time."""

    def pause_body(self) -> None:
        """Make the client wait. Bytes already received may still come."""

    def resume_body(self) -> None:
        """End the wait of :meth:`pause_body`."""

    def body_complete(self) -> None:
        """Forget the wait of a body that has come to its end."""

    def send_head(self) -> None:
        """Send a head that nothing has followed so far."""

    def upgrade(self, protocol: UpgradedProtocol) -> None:
        """Answer with 101 and give the connection to another protocol."""

    def loseConnection(self) -> None:
        """Close the connection once what was written is sent."""
