"""Finds the server to connect to, which Sentinel may have to be asked for."""

from __future__ import annotations

import re
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import (
    HostnameEndpoint,
    UNIXClientEndpoint,
    wrapClientTLS,
)
from twisted.internet.error import ConnectError, DNSLookupError
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.internet.ssl import optionsForClientTLS
from txredisapi import InvalidResponse, RedisError, ResponseError

from qabel_block.errors import Unavailable
from qabel_block.util.redis.address import RedisAddress
from qabel_block.util.redis.protocol import RedisCommands

CONNECT_SECONDS = 3.0
REPLY_SECONDS = 3.0

Host = tuple[str, int]

_PORT = re.compile("[0-9]{1,5}")


class ProtocolFactory(Factory):
    """Gives one protocol to one connection; txredisapi's ask it what to do."""

    noisy = False
    isLazy = True

    def __init__(self, protocol: Any) -> None:
        self._made = protocol
        protocol.factory = self

    def buildProtocol(self, _address: object) -> Any:
        return self._made


async def connect(endpoint: IStreamClientEndpoint, protocol: Any) -> None:
    """Connect a protocol.

    :raises ConnectError: if that does not succeed in time.
    """
    await endpoint.connect(ProtocolFactory(protocol))
    await protocol.whenConnected()


async def log_in(protocol: Any, address: RedisAddress) -> None:
    """Send user and password, if there are any.

    :raises Unavailable: if they are refused.
    :raises RedisError: if there is no answer.
    """
    if address.password is None:
        return
    try:
        await protocol.auth(address.password, address.user)
    except ResponseError:
        # Not its text: it is no secret today, but need not stay so.
        raise Unavailable("cache", "Redis refuses the password") from None


class RedisLocator:
    """Knows where the server is.

    :param reactor: connects and tells the time.
    """

    def __init__(self, reactor: Any, address: RedisAddress) -> None:
        self._reactor = reactor
        self._address = address

    async def find(self) -> Host | None:
        """Return host and port of the server, ``None`` if it is on a socket in the
        file system.

        :raises Unavailable: if no Sentinel knows.
        """
        if self._address.path is not None:
            return None
        if self._address.master is None:
            return self._address.hosts[0]
        answered = False
        for sentinel in self._address.hosts:
            try:
                found = await self._ask(sentinel)
            except (ConnectError, DNSLookupError, RedisError):
                continue
            if found is not None:
                return found
            answered = True
        if answered:
            raise Unavailable("cache", "Sentinel knows no master of this name")
        raise Unavailable("cache", "no Sentinel answers")

    def endpoint(self, host: Host | None) -> IStreamClientEndpoint:
        """Return how to connect to what ``find`` has found."""
        if host is None:
            assert self._address.path is not None
            return UNIXClientEndpoint(
                self._reactor, self._address.path, timeout=CONNECT_SECONDS
            )
        plain = HostnameEndpoint(self._reactor, *host, timeout=CONNECT_SECONDS)
        if not self._address.tls:
            return plain
        secure: IStreamClientEndpoint = wrapClientTLS(
            optionsForClientTLS(host[0]), plain
        )
        return secure

    async def _ask(self, sentinel: Host) -> Host | None:
        protocol = RedisCommands(
            charset="utf-8", replyTimeout=REPLY_SECONDS, convertNumbers=False
        )
        await connect(
            HostnameEndpoint(self._reactor, *sentinel, timeout=CONNECT_SECONDS),
            protocol,
        )
        try:
            answer = await self._master(protocol)
        finally:
            protocol.transport.abortConnection()
        match answer:
            case None:
                return None
            case [str(host), str(port)] if host and _PORT.fullmatch(port):
                if 0 < int(port) < 65536:
                    return host, int(port)
        raise InvalidResponse("a Sentinel answers with no host and port")

    async def _master(self, sentinel: Any) -> object:
        question = ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._address.master)
        try:
            return await _answer(sentinel.execute_command(*question))
        except ResponseError as error:
            if not str(error).startswith("NOAUTH"):
                raise
        await log_in(sentinel, self._address)
        return await _answer(sentinel.execute_command(*question))


async def _answer(asked: Deferred[object]) -> object:
    return await asked
