"""Accepts connections from sockets that other processes may share.

This module leans on the insides of :class:`twisted.internet.tcp.Port`:
``_fromListeningDescriptor``, ``_preexistingSocket``, ``numberAccepts``,
``disconnecting``, and the steps of ``startListening``.
"""

from __future__ import annotations

import socket
from typing import Any, Protocol

from twisted.internet import tcp, unix
from twisted.internet.interfaces import IDelayedCall, IProtocolFactory

DEFER_SECONDS = 0.002
MAX_DEFER_SECONDS = 0.02
"""How long a connection is left to the process that has the fewest, for each that
it has less. If that has taken none by then it is busy, and others serve."""

MOST_AT_A_TIME = 64
"""How many connections are taken, at most, when waiting was in vain again and
again: a process that hangs must not hold up the others."""


class AcceptGate(Protocol):
    """Shares connections among processes."""

    def join(self) -> None:
        """Take part from now on."""

    def leave(self) -> None:
        """Take part no more."""

    def count(self, connections: int) -> None:
        """Take note of how many connections this process has now."""

    def excess(self) -> int:
        """Return how many connections this process has more than it should, other
        processes having fewer."""

    def lowest(self) -> int:
        """Return how many connections the process has that has the fewest."""


class TcpPort(tcp.Port):
    """Accepts TCP connections, and lets others go first whose turn it is.

    The kernel wakes every process that waits for a connection. Without turns
    the one that happens to be quicker gets them all.
    """

    reactor: Any
    gate: AcceptGate | None = None
    _vain = 1
    _leaving: IDelayedCall | None = None

    def doRead(self) -> None:
        if self.gate is None:
            super().doRead()
        elif excess := self.gate.excess():
            delay = min(excess * DEFER_SECONDS, MAX_DEFER_SECONDS)
            self.stopReading()
            lowest = self.gate.lowest()
            self._leaving = self.reactor.callLater(delay, self._resume, lowest)
        else:
            self._vain = 1
            self._accept(1)

    def empty(self) -> None:
        """Accept all connections that wait."""
        self._accept(10_000)

    def connectionLost(self, reason: Any) -> None:
        if self._leaving is not None and self._leaving.active():
            self._leaving.cancel()
        super().connectionLost(reason)

    def _resume(self, lowest: int) -> None:
        assert self.gate is not None
        if not self.disconnecting:
            if self.gate.lowest() <= lowest:
                self._accept(self._vain)
                self._vain = min(self._vain * 2, MOST_AT_A_TIME)
            else:
                self._vain = 1
            self.startReading()

    def _accept(self, limit: int) -> None:
        self.numberAccepts = limit
        super().doRead()


class UnixPort(TcpPort, unix.Port):
    """The same for a socket in the file system.

    Neither its file nor the permissions of that are touched: they belong to
    whoever has made it.
    """

    def startListening(self) -> None:
        self.factory.doStart()  # type: ignore[union-attr]
        self.connected = True
        self.socket = self._preexistingSocket
        self._preexistingSocket = None
        self._shouldShutdown = False
        self.fileno = self.socket.fileno  # type: ignore[method-assign, union-attr]
        self.numberAccepts = 100
        self.startReading()

    def connectionLost(self, reason: Any) -> None:
        self._bindPath = b"\0"  # which has no file
        super().connectionLost(reason)


def accept_from(
    reactor: Any,
    listener: socket.socket,
    factory: IProtocolFactory,
    gate: AcceptGate | None,
) -> TcpPort:
    """Begin to accept connections; return what does.

    :param listener: is duplicated, so closing it changes nothing.
    """
    port: TcpPort
    descriptor, family = listener.fileno(), listener.family
    if family == socket.AF_UNIX:
        port = UnixPort._fromListeningDescriptor(reactor, descriptor, factory)
    else:
        port = TcpPort._fromListeningDescriptor(reactor, descriptor, family, factory)
    port.gate = gate
    port.startListening()
    return port
