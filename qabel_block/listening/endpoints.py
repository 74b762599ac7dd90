"""What an endpoint description asks for, before anything is done about it.

Twisted's parsers turn a description into an endpoint that opens its socket, puts
a factory behind it and begins to accept, all in one call. Here these are three
steps: several processes may share one socket, and a certificate may be read
again while connections stay open.
"""

from __future__ import annotations

import os
import re
import socket
from typing import Any

from attrs import frozen
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IProtocolFactory
from twisted.python.failure import Failure

from qabel_block.util.proxy_protocol import detect_missing_headers


class CannotListen(Exception):
    """An endpoint can't be used; the message says which and why."""


@frozen
class Tcp:
    """A TCP address; port 0 is any that is free, no interface is all of them."""

    interface: str
    port: int
    backlog: int


@frozen
class Unix:
    """A socket in the file system, with these permissions."""

    path: str
    mode: int
    backlog: int


@frozen
class EndpointPlan:
    """What to do about one description.

    :ivar address: what to bind, or a socket that listens already.
    :ivar factory: takes the connections, once they are decrypted. If the
        description asks for the PROXY protocol, it reads that first.
    :ivar certificate: an OpenSSL context factory; ``None`` without TLS, and for
        endpoints that see to it themselves.
    """

    description: str
    address: Tcp | Unix | socket.socket
    factory: IProtocolFactory
    certificate: Any = None


def plan(reactor: Any, description: str, factory: IProtocolFactory) -> EndpointPlan:
    """Return what a description asks for.

    Files that it names are read. A socket that was inherited from systemd is
    taken, so this can be done only once.

    :raises CannotListen: if the description is wrong, or names something that
        isn't there.
    """
    recorder = _Recorder(reactor, description)
    failures: list[Failure] = []
    try:
        endpoint = serverFromString(recorder, _with_backlog(description))
        endpoint.listen(factory).addErrback(failures.append)
        for failure in failures:
            failure.raiseException()
    except Exception as error:  # parsers raise whatever they stumble over
        raise CannotListen(
            f"can't listen on {description}: {_reason(error)}"
        ) from error
    if recorder.plan is None:
        raise CannotListen(f"can't listen on {description}: it has no socket")
    return recorder.plan


def plan_for_inherited(
    reactor: Any, description: str, factory: IProtocolFactory
) -> EndpointPlan:
    """Return what a description asks for, but for its address: whoever calls
    has the socket."""
    return plan(reactor, _INHERITED.sub("tcp:0", description), factory)


_INHERITED = re.compile(r"\bsystemd:.*")

BACKLOG = 1024
"""Connections that may wait for a moment in which the server is busy, unless the
description says another number; the kernel may allow fewer (net.core.somaxconn)."""


_BACKLOG_KINDS = re.compile(r"(?:haproxy:)?(?:tcp6?|ssl|tls|unix):")
_BACKLOG_GIVEN = re.compile(r":backlog=")


def _with_backlog(description: str) -> str:
    """Return a description with the length of the queue, if it has none and opens a
    socket. Twisted's own default is 50."""
    if not _BACKLOG_KINDS.match(description) or _BACKLOG_GIVEN.search(description):
        return description
    return f"{description}:backlog={BACKLOG}"


class _Recorder:
    """Stands in for the reactor: writes down what it is asked to listen on."""

    def __init__(self, reactor: Any, description: str) -> None:
        self.plan: EndpointPlan | None = None
        self._reactor = reactor
        self._description = description

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def listenTCP(
        self, port: int, factory: Any, backlog: int = 50, interface: str = ""
    ) -> None:
        self._note(Tcp(interface, port, backlog), factory)

    def listenSSL(
        self,
        port: int,
        factory: Any,
        contextFactory: Any,  # noqa: N803
        backlog: int = 50,
        interface: str = "",
    ) -> None:
        self._note(Tcp(interface, port, backlog), factory, contextFactory)

    def listenUNIX(
        self,
        address: str,
        factory: Any,
        backlog: int = 50,
        mode: int = 0o666,
        wantPID: bool = False,  # noqa: N803
    ) -> None:
        self._note(Unix(os.fsdecode(address), mode, backlog), factory)

    def adoptStreamPort(self, fileno: int, _family: object, factory: Any) -> None:
        # The endpoint closes its own when it has been adopted.
        self._note(socket.socket(fileno=os.dup(fileno)), factory)

    def _note(
        self,
        address: Tcp | Unix | socket.socket,
        factory: IProtocolFactory,
        certificate: Any = None,
    ) -> None:
        detect_missing_headers(factory)
        self.plan = EndpointPlan(self._description, address, factory, certificate)


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        named = f": {os.fsdecode(error.filename)}" if error.filename else ""
        return error.strerror + named
    if isinstance(error, (IndexError, KeyError)):
        return f"there is no {error.args[0] if error.args else 'such socket'}"
    return " ".join(str(error).split()) or type(error).__name__
