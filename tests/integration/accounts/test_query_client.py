"""What the accounting server's HTTP may bring that is not in its JSON."""

from __future__ import annotations

import gzip
import json
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from http.client import parse_headers
from socketserver import StreamRequestHandler, ThreadingTCPServer
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor

from qabel_block.accounts.accounting_server import AccountingAuthenticator
from qabel_block.errors import Unavailable
from qabel_block.model import Account
from tests.support.clocks import until

ACCOUNT = Account(7, True, 100, 200)
BODY = json.dumps(
    {"user_id": 7, "active": True, "block_quota": 100, "monthly_traffic_quota": 200}
).encode("ascii")


class RawServer(ThreadingTCPServer):
    """Answers every request with the same pieces, in segments of their own.

    :ivar requests: the headers of each.
    :ivar connections: those that are open.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        self.pieces: list[bytes] = []
        self.requests: list[Any] = []
        self.connections: set[_Connection] = set()
        self.accepted = 0

    def answer(self, *fields: bytes, body: bytes = BODY) -> None:
        """Answer this from now on."""
        lines = [b"HTTP/1.1 200 OK", b"Content-Length: %d" % len(body), *fields]
        self.pieces = [b"\r\n".join([*lines, b"", b""]), body]


class _Connection(StreamRequestHandler):
    server: RawServer
    disable_nagle_algorithm = True

    def handle(self) -> None:
        self.server.accepted += 1
        self.server.connections.add(self)
        with suppress(ConnectionError):
            self._answer()

    def _answer(self) -> None:
        while self.rfile.readline():
            headers = parse_headers(self.rfile)
            self.rfile.read(int(headers["Content-Length"]))
            self.server.requests.append(headers)
            for piece in self.server.pieces:
                self.wfile.write(piece)
                time.sleep(0.02)

    def finish(self) -> None:
        self.server.connections.discard(self)
        super().finish()


@pytest.fixture
def server() -> Iterator[RawServer]:
    with RawServer() as server:
        threading.Thread(target=server.serve_forever, args=(0.02,)).start()
        yield server
        server.shutdown()


@pytest_twisted.async_yield_fixture
async def client(server: RawServer) -> AsyncIterator[AccountingAuthenticator]:
    url = f"http://127.0.0.1:{server.server_address[1]}"
    client = AccountingAuthenticator(reactor, url, "secret", timeout=5)
    yield client
    await client.close()


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("cookie", [b"a=1", b"\xff=1", b"a=1; Domain=\xff", b""])
@pytest.mark.parametrize("name", [b"Set-Cookie", b"Set-Cookie2"])
async def test_cookies(
    client: AccountingAuthenticator, server: RawServer, name: bytes, cookie: bytes
) -> None:
    """Cookies are neither kept nor sent back, and what is wrong with them does not
    matter."""
    server.answer(name + b": " + cookie)
    for _ in range(3):
        assert await client.account(7, "r") == ACCOUNT
    assert [headers["Cookie"] for headers in server.requests] == [None] * 3
    assert server.accepted == 1


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("coding", [b"gzip", b"GZIP", b"identity, gzip", b"br"])
async def test_coded_answer(
    client: AccountingAuthenticator, server: RawServer, coding: bytes
) -> None:
    """No coding is asked for, and an answer that has one is our own trouble, before
    its body is there; its connection is closed."""
    server.answer(b"Content-Encoding: " + coding, body=gzip.compress(BODY))
    del server.pieces[1]
    with pytest.raises(Unavailable, match="ValueError"):
        await client.account(7, "r")
    await until(lambda: not server.connections)
    (headers,) = server.requests
    assert headers.get_all("Accept-Encoding") == ["identity"]


@pytest_twisted.ensureDeferred
async def test_answer_without_a_coding(
    client: AccountingAuthenticator, server: RawServer
) -> None:
    """An answer may say that it is not encoded."""
    server.answer(b"Content-Encoding: Identity")
    assert await client.account(7, "r") == ACCOUNT


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("start", [b"HTTP/1.1 200 OK\r\n", b""])
async def test_endless_head(
    client: AccountingAuthenticator, server: RawServer, start: bytes
) -> None:
    """An answer whose head does not end is given up when it is too long, and not only
    when time is up; answers that come in turn on a connection don't add up."""
    server.answer(b"X-Padding: " + b"x" * 15_000)
    for _ in range(20):
        assert await client.account(7, "r") == ACCOUNT
    line = b"X-Padding: 1\r\n" if start else b"HTTP/1.1 100 Continue\r\n\r\n"
    server.pieces = [start, *[line * 1000] * 50]
    with pytest.raises(Unavailable, match="ResponseFailed"):
        await client.account(7, "r")
    await until(lambda: not server.connections)
