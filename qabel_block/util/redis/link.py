"""One connection to Redis that is made again whenever it is lost."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from OpenSSL import SSL
from service_identity import VerificationError
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as TimedOut
from twisted.internet.task import LoopingCall, deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure
from txredisapi import RedisError, ResponseError

from qabel_block.errors import Unavailable
from qabel_block.util.redis.address import RedisAddress
from qabel_block.util.redis.endpoint import (
    REPLY_SECONDS,
    Host,
    RedisLocator,
    connect,
    log_in,
)
from qabel_block.util.redis.protocol import RedisCommands, RedisConnection

log = Logger()

ESTABLISH_SECONDS = 10.0
"""Seconds for all it takes to be connected, looking up names included."""

RECONNECT_SECONDS = 2.0
PING_SECONDS = 5.0
"""How often a connection is asked whether it still is one, and to the right server."""

UNREACHABLE = "Redis can't be reached"
REPLICA = "Redis is a replica"
NO_ROLE = "Redis does not say whether it takes writes"
NO_ANSWER = "Redis did not answer in time"
UNKNOWN_INSTALLATION = "it waits for the installation's id, from the database"

Identity = Callable[[], Awaitable[str]]
"""Returns the installation's id as soon as that is known; it may wait long."""


class RedisLink:
    """Keeps one connection to the server that takes writes.

    A replica counts as no connection: what is published there reaches few, and
    nothing can be set.

    :ivar protocol: the connection while there is one, else ``None``.
    :ivar reason: why there is none, or was none before this one.
    :ivar namespace: what the names of keys and channels begin with, so that two
        installations can use one Redis. There before the first connection is.
    :param identity: the installation's id.
    :param kind: makes its protocol, a ``RedisConnection``.
    :param connected: told of every new connection.
    :param changed: told when a connection is made or lost.
    """

    def __init__(
        self,
        reactor: Any,
        address: RedisAddress,
        identity: Identity,
        kind: Callable[..., Any],
        connected: Callable[[Any], None] = lambda _protocol: None,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self.protocol: Any = None
        self.namespace = ""
        self._reactor = reactor
        self._address = address
        self._identity = identity
        self._kind = kind
        self._connected = connected
        self._changed = changed
        self._locator = RedisLocator(reactor, address)
        self.reason = UNKNOWN_INSTALLATION
        self._running: Deferred[None] | None = None
        self._stopping = False

    def start(self) -> None:
        """Begin to connect."""
        self._running = Deferred.fromCoroutine(self._run())
        self._running.addErrback(_not_stopped)

    async def stop(self) -> None:
        """Close the connection and make no other."""
        self._stopping = True
        if self._running is not None:
            self._running.cancel()
            await self._running
        if self.protocol is not None:
            gone = self.protocol.whenDisconnected()
            self.protocol.transport.abortConnection()
            await gone
            self.protocol = None

    def require(self) -> Any:
        """Return the connection.

        :raises Unavailable: if there is none.
        """
        if self.protocol is None:
            raise Unavailable("cache", self.reason)
        return self.protocol

    async def run(self, *command: str | int) -> Any:
        """Run a command and return its answer.

        :raises Unavailable: if there is no connection, or no good answer in time.
        """
        protocol = self.require()
        asked: Deferred[Any] = protocol.execute_command(*command)
        try:
            return await asked
        except ResponseError as error:
            if str(error).startswith("READONLY"):
                self.drop(REPLICA)
                raise Unavailable("cache", REPLICA) from None
            raise Unavailable("cache", f"Redis refuses {command[0]}") from None
        except RedisError:
            raise Unavailable("cache", protocol.fault or NO_ANSWER) from None

    async def check(self) -> None:
        """See that the server is the one that takes writes; one for commands only.

        :raises Unavailable: if it is not, or does not answer.
        """
        protocol = self.require()
        try:
            await _require_master(protocol)
        except Unavailable as error:
            self.drop(error.reason)
            raise
        except RedisError:
            raise Unavailable("cache", protocol.fault or NO_ANSWER) from None

    def drop(self, reason: str) -> None:
        """Give up the connection for another one.

        :param reason: what is the matter with it.
        """
        protocol = self.protocol
        if protocol is not None:
            self.reason = reason
            protocol.transport.abortConnection()
            self._lost(protocol)

    async def _run(self) -> None:
        self.namespace = f"qabel-block:{await self._identity()}:"
        self.reason = UNREACHABLE
        while not self._stopping:
            try:
                host, protocol = await self._establish()
            except Unavailable as error:
                self.reason = error.reason
            except TimedOut:
                self.reason = UNREACHABLE
            else:
                await self._use(host, protocol)
            # Some endpoints do not say that connecting was cancelled.
            if not self._stopping:
                await deferLater(self._reactor, RECONNECT_SECONDS)

    def _establish(self) -> Deferred[tuple[Host | None, Any]]:
        establishing = Deferred.fromCoroutine(self._connect())
        return establishing.addTimeout(ESTABLISH_SECONDS, self._reactor)

    async def _connect(self) -> tuple[Host | None, Any]:
        protocol = self._kind(
            charset="utf-8", replyTimeout=REPLY_SECONDS, convertNumbers=False
        )
        try:
            host = await self._locator.find()
            await connect(self._locator.endpoint(host), protocol)
            await log_in(protocol, self._address)
            if self._address.database:
                await _select(protocol, self._address.database)
            await _require_master(protocol)
        except BaseException as error:
            if protocol.transport is not None:
                protocol.transport.abortConnection()
            if isinstance(error, (Unavailable, CancelledError)):
                raise
            raise Unavailable("cache", _reason(error, protocol)) from None
        return host, protocol

    async def _use(self, host: Host | None, protocol: Any) -> None:
        """Offer a connection until it is lost."""
        if not protocol.connected:
            return
        lost = protocol.whenDisconnected()
        lost.addCallback(self._lost)
        self.reason = UNREACHABLE
        self.protocol = protocol
        self._connected(protocol)
        self._changed()
        watching = LoopingCall(
            lambda: Deferred.fromCoroutine(self._watch(host, protocol))
        )
        watching.clock = self._reactor
        watching.start(PING_SECONDS, now=False)
        try:
            await lost
        finally:
            if watching.running:
                watching.stop()

    def _lost(self, protocol: RedisConnection) -> None:
        if self.protocol is protocol:
            self.protocol = None
            self.reason = protocol.fault or self.reason
            self._changed()

    async def _watch(self, host: Host | None, protocol: Any) -> None:
        """See that a connection still is one, and to the right server."""
        try:
            if isinstance(protocol, RedisCommands):
                await self.check()
            else:
                await protocol.ping()  # A subscriber may not ask for the role.
            if self._address.master and await self._locator.find() != host:
                self.drop("Sentinel names another master")
        except (Unavailable, RedisError):
            pass  # What is not answered in time has cut the connection.
        except Exception:
            # Or the connection would never be watched again.
            log.failure("a connection to Redis can't be watched")
            self.drop(UNREACHABLE)


async def _select(protocol: Any, database: int) -> None:
    try:
        answer = await protocol.select(database)
    except ResponseError:
        raise Unavailable("cache", f"Redis has no database {database}") from None
    if answer != "OK":
        raise Unavailable("cache", "Redis does not answer SELECT with OK")


async def _require_master(protocol: Any) -> None:
    try:
        role = await protocol.execute_command("ROLE")
    except ResponseError as error:
        text = str(error)
        if text.startswith("NOAUTH"):
            raise Unavailable("cache", "Redis wants a password") from None
        if text.startswith(("LOADING", "MASTERDOWN")):
            raise Unavailable("cache", "Redis is starting") from None
        return  # A user who may not ask: then it can't be known.
    match role:
        case ["master", *_]:
            return
        case ["slave", *_]:
            raise Unavailable("cache", REPLICA)
    raise Unavailable("cache", NO_ROLE)


def _reason(error: BaseException, protocol: RedisConnection) -> str:
    """Say in an operator's words why there is no connection."""
    if protocol.fault is not None:
        return protocol.fault
    reason = error if protocol.lost is None else protocol.lost.value
    if isinstance(reason, VerificationError):
        return "Redis' certificate is for another host"
    if isinstance(reason, SSL.Error):
        return f"TLS with Redis fails ({_of_tls(reason)})"
    return UNREACHABLE


def _of_tls(error: SSL.Error) -> str:
    try:
        return str(error.args[0][0][2])
    except (IndexError, TypeError):
        return type(error).__name__


def _not_stopped(failure: Failure) -> None:
    if not failure.check(CancelledError):
        log.failure("Redis is not connected to any more", failure=failure)
