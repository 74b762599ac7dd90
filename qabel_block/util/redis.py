"""One connection to Redis that is made again whenever it is lost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.application.internet import ClientService
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.protocol import Factory
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from qabel_block.errors import Unavailable

log = Logger()

CONNECT_SECONDS = 3.0
REPLY_SECONDS = 3.0
RECONNECT_SECONDS = 2.0
PING_SECONDS = 10.0
"""How often a connection is asked whether it still is one."""


class RedisLink(Factory):
    """Keeps one connection.

    :ivar protocol: the connection while there is one, else ``None``.
    :param kind: makes its protocol, one of txredisapi's.
    :param connected: told of every new connection.
    """

    noisy = False
    isLazy = True

    def __init__(
        self,
        reactor: Any,
        host: str,
        port: int,
        kind: Callable[..., Any],
        connected: Callable[[Any], None],
    ) -> None:
        self.protocol: Any = None
        self._kind = kind
        self._connected = connected
        endpoint = HostnameEndpoint(reactor, host, port, timeout=CONNECT_SECONDS)
        self._service = ClientService(
            endpoint,
            self,
            retryPolicy=lambda _attempts: RECONNECT_SECONDS,
            clock=reactor,
        )
        self._pinging = LoopingCall(self._ping)
        self._pinging.clock = reactor

    def start(self) -> None:
        """Begin to connect."""
        self._service.startService()
        self._pinging.start(PING_SECONDS, now=False)

    async def stop(self) -> None:
        """Close the connection and make no other."""
        self._pinging.stop()
        await self._service.stopService()

    def require(self) -> Any:
        """Return the connection.

        :raises Unavailable: if there is none.
        """
        if self.protocol is None:
            raise Unavailable("cache", "Redis can't be reached")
        return self.protocol

    def buildProtocol(self, _address: object) -> Any:
        protocol = self._kind(
            charset="utf-8", replyTimeout=REPLY_SECONDS, convertNumbers=False
        )
        protocol.factory = self
        protocol.whenConnected().addCallback(self._up)
        return protocol

    def _up(self, protocol: Any) -> None:
        self.protocol = protocol
        protocol.whenDisconnected().addCallback(self._down)
        self._connected(protocol)

    def _down(self, protocol: Any) -> None:
        if self.protocol is protocol:
            self.protocol = None

    def _ping(self) -> None:
        if self.protocol is not None:
            # A ping that is not answered cuts the connection.
            pong: Deferred[object] = self.protocol.ping()
            pong.addErrback(lambda _: None)
