"""A whole server without sockets, threads, processes and waiting.

Its parts are those of :func:`qabel_block.server.composition.compose`, on SQLite and a
temporary directory; only the accounting server is a double. Connections are in memory,
blocking calls are done at once, and time passes only while somebody waits.
"""

from __future__ import annotations

import io
import shutil
import socket
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpcore
import httpx
import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.interfaces import IConsumer, IPushProducer, ITransport
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, LogEvent, eventAsText, globalLogPublisher
from twisted.python.failure import Failure
from websockets.typing import Subprotocol
from zope.interface import implementer

from qabel_block.config.config import (
    AccountingServer,
    BuiltinAccounts,
    Config,
    InProcess,
    LocalDirectory,
    SqliteLedger,
)
from qabel_block.server import composition
from qabel_block.util import threads
from tests.support.accounting import AccountingDouble
from tests.support.memory_network import MemoryReactor
from tests.support.websocket import MemoryWebSocket, Socket
from tests.support.wire import Wire

T = TypeVar("T")

TIMEOUT_SECONDS = 60.0
"""Of the server's time: how long to wait for what may never come."""

SOCKET_BYTES = 256 * 1024
"""What a connection holds before it makes the server wait."""

PIECE_BYTES = 64 * 1024
"""How much the server is given at a time."""


@implementer(ILogObserver)
class _Log:
    """What Twisted's log was given, with tracebacks."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def __call__(self, event: LogEvent) -> None:
        self.lines.append(eventAsText(event, includeTimestamp=False))


class MemoryServer:
    """Serves connections in memory.

    :param home: an empty directory.
    :param ledger: a migrated SQLite file, to be copied.
    :param accounting: the accounting server; if ``None``, users are in the ledger.
    """

    url = "http://memory"

    def __init__(
        self, home: Path, ledger: Path, accounting: AccountingDouble | None
    ) -> None:
        self.clients: set[MemorySocket] = set()
        self._log = _Log()
        self.clock = MemoryReactor()
        self.clock.rightNow = time.time()
        accounts: AccountingServer | BuiltinAccounts = BuiltinAccounts()
        if accounting is not None:
            self.clock.server = accounting.site(self.clock)
            accounts = AccountingServer("http://memory", accounting.secret)
        self.dsn = f"sqlite:///{home / 'ledger.sqlite'}"
        self.objects = home / "objects"
        shutil.copy(ledger, home / "ledger.sqlite")
        config = Config(
            storage=LocalDirectory(self.objects),
            ledger=SqliteLedger(home / "ledger.sqlite", migrate=False),
            cache=InProcess(),
            accounts=accounts,
            endpoints=("tcp:0",),
        )
        self.parts = composition.compose(config, self.clock)

    def start(self) -> None:
        """Start the parts that requests need."""
        globalLogPublisher.addObserver(self._log)
        parts = self.parts
        for starting in (
            parts.database.start(),
            parts.cache.start(),
            parts.storage.check(),
        ):
            self.wait(starting)
        parts.hub.start()
        parts.sockets.start()
        parts.traffic.start()

    def stop(self) -> None:
        """Stop them, once all clients have left."""
        for client in tuple(self.clients):
            client.close()
        self.clock.advance(0)
        for ending in (
            self.parts.authenticator.close(),
            self.parts.sockets.stop(),
            self.parts.traffic.stop(),
            self.parts.database.close(),
            self.parts.storage.close(),
        ):
            self.wait(ending)
        self.parts.threads.stop()
        globalLogPublisher.removeObserver(self._log)

    def wait(self, work: Coroutine[Deferred[Any], Any, T]) -> T:
        """Let time pass until some work is done; return what it returns."""
        outcome: list[Any] = []
        Deferred.fromCoroutine(work).addBoth(outcome.append)
        self.wait_for(lambda: bool(outcome))
        if isinstance(outcome[0], Failure):
            outcome[0].raiseException()
        result: T = outcome[0]
        return result

    def wait_for(self, condition: Callable[[], bool]) -> None:
        """Let time pass until a condition holds.

        :raises TimeoutError: if it does not.
        """
        self.clock.advance(0)
        deadline = self.clock.seconds() + TIMEOUT_SECONDS
        while not condition():
            calls = self.clock.getDelayedCalls()
            following = min((call.getTime() for call in calls), default=deadline)
            if following >= deadline:
                raise TimeoutError("nothing will come")
            self.clock.advance(max(0.0, following - self.clock.seconds()))

    def connect(self) -> MemorySocket:
        """Return the client's end of a new connection."""
        return MemorySocket(self)

    def wire(self, **_options: Any) -> Wire:
        """Return a new connection; there are no buffers whose size to choose."""
        return MemoryWire(self.connect())

    def transport(self) -> httpx.BaseTransport:
        """Return what httpx sends requests by."""
        transport = httpx.HTTPTransport(verify=False)
        transport._pool = httpcore.ConnectionPool(network_backend=_Backend(self))
        return transport

    def websocket(
        self,
        path: str,
        headers: dict[str, str],
        subprotocols: list[Subprotocol] | None = None,
    ) -> Socket:
        """Open a WebSocket."""
        url = self.url.replace("http", "ws", 1) + path
        return MemoryWebSocket.open(self.connect(), url, headers, subprotocols)

    def log(self) -> str:
        """Return what Twisted's log was given."""
        return "\n".join(self._log.lines)


class MemorySocket:
    """The client's end of a connection, with what is used of a ``socket``."""

    def __init__(self, server: MemoryServer) -> None:
        self._server = server
        server.clients.add(self)
        self._ended = False
        self._unsent = bytearray()
        self._received = bytearray()
        self._transport = _Transport(self, server.clock)
        self._protocol: Any = server.parts.site.buildProtocol(
            IPv4Address("TCP", "127.0.0.1", 1)
        )
        self._protocol.makeConnection(self._transport)

    @property
    def readable(self) -> bool:
        """Whether there is anything to read, be it the end."""
        return bool(self._received) or self._ended

    def sendall(self, data: bytes) -> None:
        self._unsent += data
        self.deliver()
        self._server.clock.advance(0)

    def recv(self, size: int, flags: int = 0) -> bytes:
        self._server.wait_for(lambda: self.readable)
        data = bytes(self._received[:size])
        if flags != socket.MSG_PEEK:
            del self._received[:size]
            self._transport.drained(len(self._received))
        return data

    def makefile(self, mode: str) -> io.BufferedReader:
        assert mode == "rb"
        return io.BufferedReader(_Raw(self))

    def shutdown(self, how: int) -> None:
        assert how == socket.SHUT_WR
        self._protocol.readConnectionLost()
        self._server.clock.advance(0)

    def settimeout(self, seconds: float) -> None:
        """Do nothing: time is the server's."""

    def close(self) -> None:
        self.end(Failure(ConnectionDone()))

    def deliver(self) -> None:
        """Give the server what it has not got yet, unless it makes us wait."""
        while self._unsent and not (
            self._transport.paused or self._transport.disconnecting
        ):
            piece = bytes(self._unsent[:PIECE_BYTES])
            del self._unsent[:PIECE_BYTES]
            self._protocol.dataReceived(piece)

    def receive(self, data: bytes) -> int:
        """Take bytes from the server; return how many are not read yet."""
        if not self._ended:
            self._received += data
        return len(self._received)

    def end(self, reason: Failure) -> None:
        """End the connection. May be repeated."""
        if not self._ended:
            self._ended = True
            self._server.clients.discard(self)
            self._transport.lost()
            self._protocol.connectionLost(reason)


class _Raw(io.RawIOBase):
    def __init__(self, connection: MemorySocket) -> None:
        self._connection = connection

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._connection.recv(len(buffer))
        buffer[: len(data)] = data
        return len(data)


@implementer(ITransport, IConsumer, IPushProducer)
class _Transport:
    """The server's end of a connection."""

    def __init__(self, client: MemorySocket, clock: Clock) -> None:
        self.paused = False
        self.disconnecting = False
        self._client = client
        self._clock = clock
        self._producer: Any = None
        self._producer_paused = False

    def write(self, data: bytes) -> None:
        if self._client.receive(data) > SOCKET_BYTES and not self._producer_paused:
            self._producer_paused = True
            if self._producer is not None:
                self._producer.pauseProducing()

    def writeSequence(self, data: Iterable[bytes]) -> None:
        self.write(b"".join(data))

    def drained(self, left: int) -> None:
        """Take note of how much the client has not read yet."""
        if self._producer_paused and left < SOCKET_BYTES:
            self._producer_paused = False
            if self._producer is not None:
                self._producer.resumeProducing()

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        assert streaming
        self._producer = producer
        if self._producer_paused:
            producer.pauseProducing()

    def unregisterProducer(self) -> None:
        self._producer = None

    def lost(self) -> None:
        """Stop who produces, as Twisted's transports do when a connection is lost."""
        if self._producer is not None:
            self._producer.stopProducing()
            self._producer = None

    def pauseProducing(self) -> None:
        self.paused = True

    def resumeProducing(self) -> None:
        self.paused = False
        self._clock.callLater(0, self._client.deliver)

    def stopProducing(self) -> None:
        self.loseConnection()

    def loseConnection(self) -> None:
        self._end(ConnectionDone())

    def abortConnection(self) -> None:
        self._end(ConnectionAborted())

    def _end(self, reason: Exception) -> None:
        self.disconnecting = True
        self._clock.callLater(0, self._client.end, Failure(reason))

    def getPeer(self) -> IPv4Address:
        return IPv4Address("TCP", "127.0.0.1", 1)

    def getHost(self) -> IPv4Address:
        return IPv4Address("TCP", "127.0.0.1", 2)


class MemoryWire(Wire):
    """A connection in memory."""

    def __init__(self, connection: Any) -> None:
        self.socket = connection
        self._received = connection.makefile("rb")


class _Stream(httpcore.NetworkStream):
    def __init__(self, connection: MemorySocket) -> None:
        self._connection = connection

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._connection.recv(max_bytes)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._connection.sendall(buffer)

    def close(self) -> None:
        self._connection.close()

    def get_extra_info(self, info: str) -> Any:
        return self._connection.readable if info == "is_readable" else None


class _Backend(httpcore.NetworkBackend):
    def __init__(self, server: MemoryServer) -> None:
        self._server = server

    def connect_tcp(self, *_where: Any, **_how: Any) -> httpcore.NetworkStream:
        return _Stream(self._server.connect())


@contextmanager
def no_threads() -> Iterator[None]:
    """Let blocking calls block, instead of doing them in threads."""

    def call(_reactor: Any, _pool: Any, function: Any, *args: Any, **named: Any) -> Any:
        return maybeDeferred(function, *args, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threads, "deferToThreadPool", call)
        yield
