"""Connections in memory for what connects by a reactor."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IConsumer, IPushProducer, ITransport
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from zope.interface import implementer

CLIENT = IPv4Address("TCP", "127.0.0.1", 1)
SERVER = IPv4Address("TCP", "127.0.0.1", 2)


class MemoryReactor(MemoryReactorClock):
    """Tells the time, and connects to one server, whatever the address.

    :ivar server: makes the protocols of the other ends.
    """

    server: Any = None

    def connectTCP(
        self, host: str, port: int, factory: Any, *how: Any, **more: Any
    ) -> Any:
        connector = super().connectTCP(host, port, factory, *how, **more)
        protocols = self.server.buildProtocol(CLIENT), factory.buildProtocol(SERVER)
        ends = [_End(self, protocol) for protocol in protocols]
        for end, other in zip(ends, reversed(ends), strict=True):
            end.other = other
        for end in ends:
            end.protocol.makeConnection(end)
        return connector


@implementer(ITransport, IConsumer, IPushProducer)
class _End:
    """One end of a connection between two protocols.

    Whatever is written is taken at once; what reads may pause.
    """

    other: _End
    disconnecting = False

    def __init__(self, clock: Clock, protocol: Any) -> None:
        self.protocol = protocol
        self._clock = clock
        self._incoming: list[bytes | None] = []
        self._paused = False
        self._lost = False

    def write(self, data: bytes) -> None:
        self.other.receive(data)

    def writeSequence(self, data: Iterable[bytes]) -> None:
        self.write(b"".join(data))

    def receive(self, data: bytes | None) -> None:
        """Take what the other end has written; ``None`` is the end."""
        self._incoming.append(data)
        self._clock.callLater(0, self._deliver)

    def _deliver(self) -> None:
        while self._incoming and not self._paused and not self._lost:
            data = self._incoming.pop(0)
            if data is None:
                self._lose()
            else:
                self.protocol.dataReceived(data)

    def pauseProducing(self) -> None:
        self._paused = True

    def resumeProducing(self) -> None:
        self._paused = False
        self._clock.callLater(0, self._deliver)

    def stopProducing(self) -> None:
        self.loseConnection()

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """Do nothing: it need not pause."""

    def unregisterProducer(self) -> None:
        """Do nothing."""

    def loseConnection(self) -> None:
        self.disconnecting = True
        self.other.receive(None)
        self._clock.callLater(0, self._lose)

    def abortConnection(self) -> None:
        self.loseConnection()

    def _lose(self) -> None:
        if not self._lost:
            self._lost = True
            self.protocol.connectionLost(Failure(ConnectionDone()))

    def getPeer(self) -> IPv4Address:
        return SERVER

    def getHost(self) -> IPv4Address:
        return CLIENT
