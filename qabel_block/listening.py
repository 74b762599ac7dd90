"""The sockets on which the server listens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IListeningPort, IProtocolFactory
from twisted.logger import Logger
from twisted.python.failure import Failure

log = Logger()


class CannotListen(Exception):
    """An endpoint can't be used; the message says which and why."""


class Listeners:
    """Listens on several endpoints with one factory.

    :param descriptions: Twisted's descriptions of stream server endpoints.
    """

    def __init__(
        self, reactor: Any, descriptions: Sequence[str], factory: IProtocolFactory
    ) -> None:
        self._reactor = reactor
        self._descriptions = descriptions
        self._factory = factory
        self._ports: list[IListeningPort] = []

    def start(self) -> None:
        """Begin to accept connections.

        :raises CannotListen: if one of the endpoints can't be used.
        """
        for description in self._descriptions:
            endpoint = serverFromString(self._reactor, description)
            failures: list[Failure] = []
            # Listening never waits: all server endpoints answer at once.
            endpoint.listen(self._factory).addCallbacks(
                self._ports.append, failures.append
            )
            for failure in failures:
                raise CannotListen(
                    f"can't listen on {description}: {failure.getErrorMessage()}"
                )
            log.info("listening on {address}", address=_show(self._ports[-1]))

    async def stop(self) -> None:
        """Accept no more connections; those that are open stay."""
        ports, self._ports = self._ports, []
        stopping: list[Deferred[object]] = [
            Deferred.fromCoroutine(_stop(port)) for port in ports
        ]
        await gatherResults(stopping)


async def _stop(port: IListeningPort) -> None:
    stopped = port.stopListening()
    if isinstance(stopped, Deferred):
        await stopped


def _show(port: IListeningPort) -> str:
    address: Any = port.getHost()
    if hasattr(address, "port"):
        return f"{address.host} port {address.port}"
    return str(getattr(address, "name", address))
