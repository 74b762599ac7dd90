"""The sockets on which the server listens."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Any

from attrs import frozen
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IProtocolFactory
from twisted.logger import Logger

from qabel_block.listening.certificates import Certificate, encrypted
from qabel_block.listening.endpoints import (
    CannotListen,
    EndpointPlan,
    plan,
    plan_for_inherited,
)
from qabel_block.listening.ports import AcceptGate, TcpPort, accept_from
from qabel_block.listening.sockets import OpenSocket, open_socket

log = Logger()


@frozen
class Inherited:
    """Listening sockets that the process was started with.

    :ivar descriptors: one for each endpoint.
    :ivar gate: how to share them with other processes.
    """

    descriptors: tuple[int, ...]
    gate: AcceptGate | None = None


class Listeners:
    """Listens on several endpoints with one factory.

    :param descriptions: Twisted's descriptions of stream server endpoints.
    :param inherited: sockets to use instead of those that are described.
    :param purpose: what the log says of it.
    :raises CannotListen: if a description is wrong.
    """

    def __init__(
        self,
        reactor: Any,
        descriptions: Sequence[str],
        factory: IProtocolFactory,
        inherited: Inherited | None = None,
        purpose: str = "listening",
    ) -> None:
        self._reactor = reactor
        self._factory = factory
        self._inherited = inherited
        self._purpose = purpose
        make = plan if inherited is None else plan_for_inherited
        self._plans = [make(reactor, one, factory) for one in descriptions]
        self._certificates: dict[str, Certificate] = {}
        self._sockets: list[OpenSocket] = []
        self._ports: list[TcpPort] = []

    def open(self) -> None:
        """Open the sockets. Connections wait from now on. May be repeated.

        :raises CannotListen: if one of the sockets can't be had.
        """
        if self._sockets:
            return
        if self._inherited is not None:
            self._sockets = [
                OpenSocket(socket.socket(fileno=descriptor))
                for descriptor in self._inherited.descriptors
            ]
            return
        try:
            for one in self._plans:
                self._sockets.append(open_socket(one))
        except CannotListen:
            self.close()
            raise

    def descriptors(self) -> tuple[int, ...]:
        """Return the open sockets, for other processes to inherit."""
        return tuple(listener.socket.fileno() for listener in self._sockets)

    def start(self) -> None:
        """Accept connections, those first that wait already."""
        gate = self._inherited.gate if self._inherited else None
        for one, listener in zip(self._plans, self._sockets, strict=True):
            factory = self._behind_tls(one)
            port = accept_from(self._reactor, listener.socket, factory, gate)
            self._ports.append(port)
        if gate is None:
            self.announce()
        else:
            gate.join()

    def announce(self) -> None:
        """Log where connections are accepted."""
        for listener in self._sockets:
            log.info(
                "{purpose} on {address}", purpose=self._purpose, address=str(listener)
            )

    def urls(self) -> list[str]:
        """Return where to find them, those that are found by a URL."""
        found = []
        for one, listener in zip(self._plans, self._sockets, strict=True):
            name = listener.socket.getsockname()
            kind = one.description.partition(":")[0]
            if isinstance(name, tuple) and kind in ("tcp", "tcp6", "ssl", "tls"):
                scheme = "https" if kind in ("ssl", "tls") else "http"
                found.append(f"{scheme}://{_host(name[0])}:{name[1]}")
        return found

    def reload(self) -> None:
        """Read certificates again. One that can't be used changes nothing."""
        for one in self._plans:
            if one.description not in self._certificates:
                continue
            try:
                fresh = plan(self._reactor, one.description, self._factory)
            except CannotListen as error:
                log.error("the old certificate stays: {error}", error=str(error))
            else:
                self._certificates[one.description].current = fresh.certificate
                log.info("read the certificate of {what}", what=one.description)

    async def stop(self) -> None:
        """Accept no more connections; those that are open stay."""
        ports, self._ports = self._ports, []
        for port, listener in zip(ports, self._sockets, strict=False):
            if listener.ours:
                port.empty()  # nobody else would serve who waits there
        if self._inherited is not None and self._inherited.gate is not None:
            self._inherited.gate.leave()
        stopping: list[Deferred[object]] = [port.stopListening() for port in ports]
        await gatherResults(stopping)
        self.close()

    def close(self) -> None:
        """Close the sockets, in this process."""
        sockets, self._sockets = self._sockets, []
        for listener in sockets:
            listener.close()

    def _behind_tls(self, one: EndpointPlan) -> IProtocolFactory:
        if one.certificate is None:
            return one.factory
        certificate = Certificate(one.certificate)
        self._certificates[one.description] = certificate
        return encrypted(certificate, one.factory, self._reactor)


def _host(address: str) -> str:
    """Return the name in a URL of a machine that is reached at an address."""
    if address in ("127.0.0.1", "::1", "0.0.0.0", "::"):  # noqa: S104
        return "localhost"
    return f"[{address}]" if ":" in address else address
