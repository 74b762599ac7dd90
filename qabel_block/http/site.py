"""The HTTP server: a Twisted ``Site`` that knows its connections."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.web.resource import IResource
from twisted.web.server import Site

from qabel_block.http.streaming import IDLE_SECONDS, StreamingChannel, StreamingRequest

access_log = Logger("qabel_block.access")


class BlockSite(Site):
    """Serves one resource over :class:`StreamingChannel` connections.

    :param resource: a leaf; it finds its way from ``request.postpath``.
    :param reactor: for time and timeouts.
    :param counted: told how many connections there are whenever that changes.
    """

    protocol = StreamingChannel  # type: ignore[assignment]
    requestFactory = StreamingRequest
    reactor: Any

    draining = False
    noisy = False

    def __init__(
        self,
        resource: IResource,
        reactor: Any,
        counted: Callable[[int], None] = lambda _: None,
    ) -> None:
        super().__init__(resource, reactor=reactor, timeout=IDLE_SECONDS)
        self._counted = counted
        self._channels: set[StreamingChannel] = set()
        self._waiting: list[Deferred[None]] = []

    def acceptableProtocols(self) -> list[bytes]:
        """Called for TLS: this is the only protocol here (RFC 7301)."""
        return [b"http/1.1"]

    def opened(self, channel: StreamingChannel) -> None:
        """Take note of a new connection."""
        self._channels.add(channel)
        self._counted(len(self._channels))

    def closed(self, channel: StreamingChannel) -> None:
        """Take note that a connection is no more."""
        self._channels.discard(channel)
        self._counted(len(self._channels))
        if not self._channels:
            waiting, self._waiting = self._waiting, []
            for deserted in waiting:
                deserted.callback(None)

    def began(self, request: StreamingRequest) -> None:
        """Take note of a request whose head is complete."""

    def ended(self, request: StreamingRequest) -> None:
        """Take note that a request is answered, or its client gone. Called once for
        each that has begun."""
        self._log(request)

    async def drain(self) -> None:
        """Finish what is under way, close idle connections, and return when
        none is left. No new ones are expected."""
        self.draining = True
        for channel in tuple(self._channels):
            channel.retire()
        await self.deserted()

    async def deserted(self) -> None:
        """Return when no connection is left."""
        if self._channels:
            deserted: Deferred[None] = Deferred()
            self._waiting.append(deserted)
            await deserted

    def abandon(self) -> None:
        """Cut the connections that are left."""
        for channel in tuple(self._channels):
            channel.forceAbortClient()

    def log(self, request: Any) -> None:
        """Called by Twisted when an answer is complete."""
        self.ended(request)

    def _log(self, request: StreamingRequest) -> None:
        """Write one line; it never holds a header."""
        method, path = request.method.decode("ascii"), request.path.decode("latin-1")
        user = "-" if request.user_id is None else request.user_id
        milliseconds = (self.reactor.seconds() - request.arrived) * 1000
        access_log.info(
            "{line}",
            line=(
                f"{method} {path} {request.status} {request.sentLength} B"
                f" {milliseconds:.1f} ms user={user} request={request.request_id}"
            ),
        )
