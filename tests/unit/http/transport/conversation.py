"""A connection in memory, a clock, and a resource that does as it is told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IProtocolFactory
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from qabel_block.http.transport.request import StreamingRequest
from qabel_block.http.transport.site import BlockSite

Handler = Callable[[StreamingRequest], None]


class Transport(StringTransport):
    """Knows whether it is paused, and how it was ended."""

    aborted = False

    def abortConnection(self) -> None:
        self.aborted = True
        super().abortConnection()


class _Told(Resource):
    isLeaf = True

    def __init__(self, handler: Handler) -> None:
        super().__init__()
        self._handler = handler

    def render(self, request: Any) -> Any:
        self._handler(request)
        return NOT_DONE_YET


class Conversation:
    """A client and a server that talk.

    :param wrap: returns what makes the connection of a site.
    :ivar requests: those whose work has started, oldest first.
    """

    def __init__(
        self,
        handler: Handler = lambda request: None,
        max_body_size: int = 0,
        wrap: Callable[[BlockSite], IProtocolFactory] = lambda site: site,
    ) -> None:
        self.requests: list[StreamingRequest] = []
        self.clock = Clock()

        def handle(request: StreamingRequest) -> None:
            self.requests.append(request)
            handler(request)

        resource = _Told(handle)
        self.site = BlockSite(resource, self.clock, max_body_size=max_body_size)
        address = IPv4Address("TCP", "127.0.0.1", 1)
        channel: Any = wrap(self.site).buildProtocol(address)
        self.channel = channel
        # Twisted wraps the channel; what is inside has its clock from the site.
        self.transport = Transport()
        self.channel.makeConnection(self.transport)

    def send(self, data: bytes) -> None:
        """Send all at once, unless the server has hung up."""
        if not self.over:
            self.channel.dataReceived(data)

    def leave(self) -> None:
        """Break the connection off."""
        self.channel.connectionLost(Failure(ConnectionLost()))

    def end(self) -> None:
        """Close the client's side; it goes on reading."""
        if not self.over:
            self.channel.readConnectionLost()

    @property
    def paused(self) -> bool:
        """Whether the server reads nothing more."""
        return bool(self.transport.producerState == "paused")

    @property
    def over(self) -> bool:
        """Whether the server has ended the connection."""
        return self.transport.disconnecting or self.transport.disconnected

    def received(self) -> bytes:
        """Return what has come since the last time."""
        data: bytes = self.transport.value()
        self.transport.clear()
        return data

    def read(self, n: int = 0) -> list[object]:
        """Begin to read a request's body; the list gets what comes of it."""
        outcome: list[object] = []
        reading = Deferred.fromCoroutine(self.requests[n].body.read())
        reading.addCallbacks(outcome.append, lambda f: outcome.append(f.type))
        return outcome


def answer(request: StreamingRequest, status: int = 204) -> None:
    """Answer at once."""
    request.setResponseCode(status)
    if status != 204:
        request.setHeader(b"Content-Length", b"0")
    request.finish()
