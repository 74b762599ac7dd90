"""The HTTP server: a Twisted ``Site`` that knows its connections."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from twisted.logger import Logger
from twisted.web.resource import IResource
from twisted.web.server import Site

from qabel_block.http.cors import CrossOrigin
from qabel_block.http.transport.channel import BlockChannel
from qabel_block.http.transport.interfaces import (
    IDLE_SECONDS,
    MIN_DISCARD_BYTES,
    ChannelRequest,
    SiteChannel,
    SiteRecorder,
)
from qabel_block.http.transport.limits import ConnectionLimiter
from qabel_block.http.transport.request import StreamingRequest
from qabel_block.http.transport.response_head import DateHeader
from qabel_block.http.transport.trusted_proxies import TrustedProxies
from qabel_block.log.access import AccessRecord, WriteAccess, write_to_twisted
from qabel_block.util.event import Waiters
from qabel_block.util.throttle import Throttle

log = Logger()


class BlockSite(Site):
    """Serves one resource over :class:`BlockChannel` connections.

    :param resource: a leaf; it finds its way from ``request.route_path``.
    :param reactor: for time and timeouts.
    :param write_access: takes note of each request.
    :param counted: told how many connections there are whenever that changes.
    :param proxies: those that are believed whom they speak for; by default none.
    :param recorder: measures connections and requests.
    :param max_body_size: bytes of the largest body that is not refused for its size.
    :ivar cross_origin: what is said to pages of other origins; by default, nothing.
    :ivar connection_limiter: what lets connections in; by default, all of them.
    """

    protocol = BlockChannel  # type: ignore[assignment]
    requestFactory = StreamingRequest
    reactor: Any

    draining = False
    noisy = False

    def __init__(
        self,
        resource: IResource,
        reactor: Any,
        write_access: WriteAccess = write_to_twisted,
        counted: Callable[[int], None] = lambda _: None,
        proxies: TrustedProxies | None = None,
        recorder: SiteRecorder | None = None,
        max_body_size: int = 0,
    ) -> None:
        super().__init__(resource, reactor=reactor, timeout=IDLE_SECONDS)
        self.proxies = TrustedProxies() if proxies is None else proxies
        self.connection_limiter = ConnectionLimiter()
        self.cross_origin = CrossOrigin()
        self.discard_bytes = max(max_body_size, MIN_DISCARD_BYTES)
        # Not the reactor's time, which need not be that of the wall clock.
        self._wall_clock = time.time
        self.date = DateHeader(self._wall_clock)
        self._write_access = write_access
        self._counted = counted
        self._recorder = recorder
        self._channels: set[SiteChannel] = set()
        self._closed = Waiters[None]()
        self._wrong_protocols = Throttle(reactor.seconds)

    def acceptableProtocols(self) -> list[bytes]:
        """Called for TLS: this is the only protocol here (RFC 7301)."""
        return [b"http/1.1"]

    def opened(self, channel: SiteChannel) -> None:
        """Take note of a new connection."""
        self._channels.add(channel)
        self._count()

    def closed(self, channel: SiteChannel) -> None:
        """Take note that a connection is no more."""
        self._channels.discard(channel)
        self._count()
        if not self._channels:
            self._closed.wake(None)

    def began(self, request: ChannelRequest) -> None:
        """Record a request whose head is complete."""
        if self._recorder is not None:
            self._recorder.began()

    def ended(self, request: ChannelRequest) -> None:
        """Take note that a request is answered, or its client gone. Called once for
        each that has begun."""
        seconds = self.reactor.seconds() - request.arrived
        if self._recorder is not None:
            self._recorder.ended(request, seconds)
        self._log(request, self._wall_clock(), seconds)

    def refused(self, channel: SiteChannel, request_id: str, status: int) -> None:
        """Take note of what was refused before it was a request."""
        if self._recorder is not None:
            self._recorder.refused(status)
        now = self._wall_clock()
        client = channel.peer.address
        self._write_access(
            AccessRecord(now, "-", "-", status, 0, 0.0, None, request_id, client, False)
        )

    def wrong_protocol(self, channel: SiteChannel, found: str, expected: str) -> None:
        """Log, now and then, that a connection did not begin as it should."""
        if self._wrong_protocols.allows():
            log.warn(
                "refused a connection from {client}: {found} where {expected} is"
                " expected",
                client=channel.peer.address,
                found=found,
                expected=expected,
            )

    async def drain(self) -> None:
        """Finish what is under way, close idle connections, and return when
        none is left. No new ones are expected."""
        self.draining = True
        for channel in tuple(self._channels):
            channel.close_when_idle()
        await self.wait_closed()

    async def wait_closed(self) -> None:
        """Return when no connection is left."""
        if self._channels:
            await self._closed.wait()

    def abort_connections(self) -> None:
        """Cut the connections that are left."""
        for channel in tuple(self._channels):
            channel.forceAbortClient()

    def log(self, request: Any) -> None:
        """Called by Twisted when an answer is complete."""
        self.ended(request)

    def _count(self) -> None:
        count = len(self._channels)
        self._counted(count)
        if self._recorder is not None:
            self._recorder.connections(count)

    def _log(self, request: ChannelRequest, now: float, seconds: float) -> None:
        self._write_access(
            AccessRecord(
                now,
                request.method.decode("latin-1"),
                request.path.decode("latin-1"),
                request.status,
                request.sentLength,
                seconds,
                request.user_id,
                request.request_id,
                request.client,
                request.cut,
            )
        )
