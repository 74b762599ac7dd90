"""A network that can be told to fail, between the ledger and PostgreSQL."""

from __future__ import annotations

from typing import Any, Self

from attrs import define, field
from twisted.internet import reactor as global_reactor
from twisted.internet.protocol import ClientFactory, Factory, Protocol
from twisted.python.failure import Failure

# The reactor's annotations know only what every reactor has.
reactor: Any = global_reactor


@define(eq=False)
class Proxy:
    """Listens on a TCP port and passes everything on to a Unix socket.

    :ivar silent: pass nothing on, as if a cable had been cut.
    :ivar cut_at: cut the connection on which the client sends this, once.
    :ivar deliver: whether what the client sent then still arrives.
    :ivar connections: how many clients there have been.
    """

    socket: str
    silent: bool = False
    cut_at: bytes | None = None
    deliver: bool = False
    connections: int = 0
    port: int = 0
    _listener: Any = None
    _fronts: list[_Front] = field(factory=list)

    def start(self) -> Self:
        factory = Factory()
        factory.protocol = lambda: _Front(self)
        self._listener = reactor.listenTCP(0, factory, interface="127.0.0.1")
        self.port = self._listener.getHost().port
        return self

    async def stop(self) -> None:
        await self._listener.stopListening()
        for front in self._fronts:
            front.cut()

    def accepted(self, front: _Front) -> None:
        self.connections += 1
        self._fronts.append(front)


class _Front(Protocol):
    """The side of the client."""

    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy
        self._back: _Back | None = None
        self._waiting = b""
        self._deaf = False

    def connectionMade(self) -> None:
        self._proxy.accepted(self)
        factory = ClientFactory()
        factory.protocol = lambda: _Back(self)
        reactor.connectUNIX(self._proxy.socket, factory)

    def connected_to(self, back: _Back) -> None:
        self._back = back
        self._pass_on(self._waiting)

    def dataReceived(self, data: bytes) -> None:
        if self._proxy.cut_at is not None and self._proxy.cut_at in data:
            self._proxy.cut_at = None
            self._deaf = True
            if not self._proxy.deliver:
                self.cut()
                return
        if self._back is None:
            self._waiting += data
        else:
            self._pass_on(data)

    def answer(self, data: bytes) -> None:
        if self._deaf:
            self.cut()
        elif not self._proxy.silent:
            self._write(self, data)

    def connectionLost(self, reason: Failure | None = None) -> None:
        if self._back is not None:
            self._transport(self._back).loseConnection()

    def cut(self) -> None:
        self._transport(self).abortConnection()

    def _pass_on(self, data: bytes) -> None:
        if self._back is not None and not self._proxy.silent:
            self._write(self._back, data)

    def _write(self, side: Protocol, data: bytes) -> None:
        self._transport(side).write(data)

    def _transport(self, side: Protocol) -> Any:
        return side.transport


class _Back(Protocol):
    """The side of the server."""

    def __init__(self, front: _Front) -> None:
        self._front = front

    def connectionMade(self) -> None:
        self._front.connected_to(self)

    def dataReceived(self, data: bytes) -> None:
        self._front.answer(data)

    def connectionLost(self, reason: Failure | None = None) -> None:
        self._front.cut()
