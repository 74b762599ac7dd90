"""Blobs that the kernel sends: the same bytes, whatever the client does."""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from attrs import define, field
from twisted.internet import reactor, ssl, tcp, unix
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocolFactory
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.internet.threads import deferToThread
from twisted.protocols.haproxy._wrapper import HAProxyWrappingFactory
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from qabel_block.errors import ClientGone
from qabel_block.http.body_producer import STALL_SECONDS
from qabel_block.http.downloads import HTTPRecipient
from qabel_block.http.transport.request import StreamingRequest
from qabel_block.http.transport.sendfile import file_sender
from qabel_block.http.transport.site import BlockSite
from qabel_block.log.access import AccessRecord
from qabel_block.operations.download import transfer
from qabel_block.storage.local.page_cache import PageCache
from qabel_block.storage.local.storage import FIRST_PIECE, PIECE, LocalStorage
from qabel_block.util.event import Event
from qabel_block.util.proxy_protocol import detect_missing_headers
from qabel_block.util.threads import ThreadPool
from tests.integration.storage.blobs import INSTALLATION, new_key, pattern, write
from tests.support.certificates import make_certificate

SIZE = 8 * 2**20 + 12_345
BLOB = pattern(SIZE)
GET = b"GET /%d-%d HTTP/1.1\r\nHost: x\r\n\r\n"
WHOLE = GET % (0, SIZE)


class Kernel(PageCache):
    """Counts what it sends, and forgets every n-th time that it has a file.

    :ivar forgets: n; 0 is never.
    """

    sent = 0
    asked = 0
    forgets = 0

    def send(self, socket: int, descriptor: int, size: int, offset: int) -> int | None:
        self.asked += 1
        if self.forgets and self.asked % self.forgets == 0:
            return 0
        sent = super().send(socket, descriptor, size, offset)
        self.sent += sent or 0
        return sent


@define
class Served:
    """A server of one blob. ``/START-LENGTH`` is a part of it.

    :ivar counted: what was counted as sent, for each request.
    :ivar failures: how requests failed.
    :ivar clock: of the limits for clients that stall.
    """

    storage: LocalStorage
    kernel: Kernel
    key: str
    clock: Clock = field(factory=Clock)
    counted: list[list[int]] = field(factory=list)
    failures: list[type[BaseException] | None] = field(factory=list)
    ended: Event = field(factory=Event)
    sending: Event = field(factory=Event)
    site: BlockSite = field(init=False)
    ports: list[Any] = field(factory=list)
    log: list[AccessRecord] = field(factory=list)

    def __attrs_post_init__(self) -> None:
        self.site = BlockSite(_Blob(self), reactor, self.log.append)

    def listen(
        self, wrap: Callable[[BlockSite], IProtocolFactory] = lambda site: site
    ) -> int:
        twisted: Any = reactor
        port = twisted.listenTCP(0, wrap(self.site), interface="127.0.0.1")
        self.ports.append(port)
        number: int = port.getHost().port
        return number

    async def serve(self, request: StreamingRequest) -> None:
        start, length = map(int, request.path[1:].split(b"-"))
        request.setHeader(b"Content-Length", b"%d" % length)
        reader = await self.storage.open(self.key, start, length)
        counted: list[int] = []
        self.counted.append(counted)

        def count(size: int) -> None:
            counted.append(size)
            if sum(counted) > FIRST_PIECE:
                self.sending.set()

        recipient = HTTPRecipient(request, self.clock)
        try:
            await transfer(reader, length, recipient, count)
        finally:
            recipient.end()
        request.finish()


class _Blob(Resource):
    isLeaf = True

    def __init__(self, served: Served) -> None:
        super().__init__()
        self._served = served

    def render(self, request: Any) -> Any:
        def ended(result: Any) -> None:
            self._served.failures.append(getattr(result, "type", None))
            self._served.ended.set()

        Deferred.fromCoroutine(self._served.serve(request)).addBoth(ended)
        return NOT_DONE_YET


@pytest_twisted.async_yield_fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    threads = ThreadPool(reactor, 4, "test")
    threads.start()
    kernel = Kernel(PIECE)
    storage = LocalStorage(tmp_path / "objects", threads, kernel)
    await storage.bind(INSTALLATION)
    key = new_key()
    await write(storage, key, BLOB)
    one = Served(storage, kernel, key)
    yield one
    for port in one.ports:
        await port.stopListening()
    one.site.abort_connections()
    await one.site.wait_closed()
    threads.stop()


def _connected(port: int, buffer: int | None = None) -> socket.socket:
    client = socket.socket()
    if buffer is not None:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    client.settimeout(60)
    client.connect(("127.0.0.1", port))
    return client


def _body(client: socket.socket, length: int) -> bytes:
    """Return the body of the next answer, reading no further."""
    with client.makefile("rb", buffering=0) as file:
        while file.readline() != b"\r\n":
            pass
        pieces = []
        while length and (piece := file.read(length)):
            pieces.append(piece)
            length -= len(piece)
    return b"".join(pieces)


def _fetch(port: int, *parts: tuple[int, int], before: bytes = b"") -> list[bytes]:
    """Return parts of the blob, asked for one after the other on one connection."""
    bodies = []
    with _connected(port) as client:
        client.sendall(before)
        for start, length in parts:
            client.sendall(GET % (start, length))
            bodies.append(_body(client, length))
    return bodies


@pytest_twisted.ensureDeferred
async def test_kernel_sends_all_but_the_first_piece(served: Served) -> None:
    """The bytes are those of the blob, each counted and logged, and nearly all are sent
    by the kernel; the connection is kept."""
    parts = (
        (0, SIZE),
        (0, SIZE),
        (1, 3_000_000),
        (4_000_001, SIZE - 4_000_001),
        (5, 9),
    )
    bodies = await deferToThread(_fetch, served.listen(), *parts)
    for (start, length), body in zip(parts, bodies, strict=True):
        assert body == BLOB[start : start + length]
    assert [sum(one) for one in served.counted] == [length for _, length in parts]
    large = [length for _, length in parts if length > FIRST_PIECE]
    assert served.kernel.sent == sum(large) - FIRST_PIECE * len(large)
    assert served.failures == [None] * len(parts)
    assert [one.sent for one in served.log] == [length for _, length in parts]


@pytest.mark.parametrize("forgets", [1, 2, 3])
@pytest_twisted.ensureDeferred
async def test_parts_that_are_not_in_memory(served: Served, forgets: int) -> None:
    """What is not in memory is read, and what is behind it sent again."""
    served.kernel.forgets = forgets
    (body,) = await deferToThread(_fetch, served.listen(), (0, SIZE))
    assert body == BLOB
    assert sum(served.counted[0]) == SIZE
    assert bool(served.kernel.sent) == (forgets > 1)


def _proxied(site: BlockSite) -> IProtocolFactory:
    factory = HAProxyWrappingFactory(site)
    detect_missing_headers(factory)
    return factory


@pytest_twisted.ensureDeferred
async def test_behind_the_proxy_protocol(served: Served) -> None:
    """After a PROXY header the connection is plain TCP like any other."""
    header = b"PROXY TCP4 192.0.2.7 192.0.2.1 5555 443\r\n"
    port = served.listen(_proxied)
    (body,) = await deferToThread(_fetch, port, (0, SIZE), before=header)
    assert body == BLOB
    assert served.kernel.sent == SIZE - FIRST_PIECE


@pytest_twisted.ensureDeferred
async def test_client_that_stops_reading(served: Served) -> None:
    """A client that stops is waited for; what it has not taken is not counted."""
    with _connected(served.listen(), 64 * 1024) as client:
        client.sendall(WHOLE)
        await served.sending.wait()
        served.clock.advance(STALL_SECONDS / 2)
        assert not served.ended.is_set
        body = await deferToThread(_body, client, SIZE)
    assert body == BLOB
    assert sum(served.counted[0]) == SIZE


@pytest_twisted.ensureDeferred
async def test_client_that_never_goes_on(served: Served) -> None:
    """It is cut off when it has taken nothing for too long."""
    with _connected(served.listen(), 64 * 1024) as client:
        client.sendall(WHOLE)
        await served.sending.wait()
        for _ in range(1000):
            if served.ended.is_set:
                break
            await _turn()
            served.clock.advance(STALL_SECONDS)
        assert served.failures == [ClientGone]
    assert sum(served.counted[0]) < SIZE


@pytest.mark.parametrize("who", ["client", "server"])
@pytest_twisted.ensureDeferred
async def test_connection_that_ends(served: Served, who: str) -> None:
    """A client that leaves, or a server that cuts it off, ends the sending, and the
    file is closed."""
    with _connected(served.listen(), 64 * 1024) as client:
        client.sendall(WHOLE)
        await served.sending.wait()
        before = _open_blobs()
        if who == "client":
            client.close()
        else:
            served.site.abort_connections()
        await served.ended.wait()
    assert served.failures == [ClientGone]
    assert sum(served.counted[0]) < SIZE
    assert _open_blobs() == before - 1


def _open_blobs() -> int:
    """Return how many files of storage are open here."""
    links = (f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd"))
    return sum(
        "/objects/" in os.readlink(link) for link in links if os.path.islink(link)
    )


async def _turn() -> None:
    turn: Deferred[None] = Deferred()
    twisted: Any = reactor
    twisted.callLater(0, turn.callback, None)
    await turn


@pytest_twisted.ensureDeferred
async def test_tls(served: Served, tmp_path: Path) -> None:
    """What is encrypted here is read here."""
    certificate, key = make_certificate(tmp_path)
    context = ssl.DefaultOpenSSLContextFactory(str(key), str(certificate))
    port = served.listen(lambda site: TLSMemoryBIOFactory(context, False, site))

    def fetch() -> bytes:
        import ssl as standard

        trusting = standard.create_default_context(cafile=str(certificate))
        with trusting.wrap_socket(_connected(port), server_hostname="127.0.0.1") as one:
            one.sendall(WHOLE)
            return _body(one, SIZE)

    assert await deferToThread(fetch) == BLOB
    assert served.kernel.asked == 0


@pytest_twisted.ensureDeferred
async def test_unix_socket(served: Served, tmp_path: Path) -> None:
    """Sockets in the file system go the usual way."""
    path = str(tmp_path / "socket")
    twisted: Any = reactor
    served.ports.append(twisted.listenUNIX(path, served.site))

    def fetch() -> bytes:
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(path)
            client.sendall(WHOLE)
            return _body(client, SIZE)

    assert await deferToThread(fetch) == BLOB
    assert served.kernel.asked == 0


def test_other_transports() -> None:
    """Only a plain TCP connection is sent files."""
    assert file_sender(StringTransport()) is None
    assert file_sender(tcp.Server.__new__(tcp.Server)) is not None
    assert file_sender(unix.Server.__new__(unix.Server)) is None
