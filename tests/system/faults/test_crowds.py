"""Clients that are too many, too slow, or stop reading."""

from __future__ import annotations

import os
import selectors
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx
import pytest

from qabel_block.server.rlimits import raise_nofile_limit
from tests.support.server import ServerProcess
from tests.support.waiting import wait_for
from tests.system.faults.impatient import command
from tests.system.faults.test_websocket_frames import HANDSHAKE

HEAD = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
UPLOAD = (
    b"POST /api/v0/files/p/a HTTP/1.1\r\nHost: x\r\nAuthorization: Token T\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)
AUTHORIZATION = {"Authorization": "Token T"}

PROXY = "192.0.2.77"
MOST = 30
MOST_OF_ONE = 5
DRIBBLING = 2000
SLOW_SECONDS = 8.0
PIECE = bytes(range(256)) * 4096
MIB = 2**20


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server that lets few in, and hears from a proxy who they are."""
    home = tmp_path_factory.mktemp("crowds") / "home"
    server = ServerProcess(
        *("--standalone", str(home), "--dummy-auth", "T"),
        *("--listen", "haproxy:tcp:0:interface=127.0.0.1"),
        *("--trusted-proxy", PROXY, "--max-connections", str(MOST)),
        *("--max-connections-per-address", str(MOST_OF_ONE)),
    )
    server.start()
    yield server
    server.kill()
    assert "Traceback" not in server.log()


class Client:
    """A connection that seems to come from some address."""

    def __init__(self, server: ServerProcess, address: str) -> None:
        self.socket = socket.create_connection(("127.0.0.1", server.port), 60)
        kind = "TCP6" if ":" in address else "TCP4"
        line = f"PROXY {kind} {address} {address} 1 2\r\n"
        self.socket.sendall(line.encode())

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.socket.close()

    def ask(self, head: bytes = HEAD) -> bytes:
        """Send a head and return that of the answer."""
        self.socket.sendall(head)
        answered = b""
        while not answered.endswith(b"\r\n\r\n"):
            data = self.socket.recv(1)
            if not data:
                return answered
            answered += data
        return answered

    def rest(self) -> bytes:
        received = b""
        while data := self.socket.recv(65536):
            received += data
        return received


def is_served(server: ServerProcess, address: str) -> bool:
    with Client(server, address) as client:
        return client.ask().startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    ("addresses", "other"),
    [
        (["192.0.2.1"], "192.0.2.2"),
        (["2001:db8::1", "2001:db8::2"], "2001:db8:0:1::1"),
    ],
)
def test_connections_of_one_address(
    guarded: ServerProcess, addresses: list[str], other: str
) -> None:
    """From one address, or one IPv6 network, there are so many connections; others
    are told so, and let in as soon as one of the first has gone."""
    with ExitStack() as stack:
        clients = [
            stack.enter_context(Client(guarded, addresses[n % len(addresses)]))
            for n in range(MOST_OF_ONE)
        ]
        for client in clients:
            assert client.ask().startswith(b"HTTP/1.1 200 ")
        with Client(guarded, addresses[0]) as refused:
            answer = refused.ask()
            assert answer.startswith(b"HTTP/1.1 503 Too many connections from your ")
            assert b"\r\nConnection: close\r\n" in answer
            assert b"\r\nRetry-After: " in answer
            assert b"\r\nContent-Length: 0\r\n" in answer
            assert refused.rest() == b""
        assert is_served(guarded, other)
        # Those that are in stay in.
        clients[1].socket.sendall(HEAD)
        clients[0].socket.close()
        wait_for(lambda: is_served(guarded, addresses[0]))


def test_trusted_proxy(guarded: ServerProcess) -> None:
    """A proxy that speaks for many may have more."""
    with ExitStack() as stack:
        for _ in range(2 * MOST_OF_ONE):
            client = stack.enter_context(Client(guarded, PROXY))
            assert client.ask().startswith(b"HTTP/1.1 200 ")


def test_connections_in_all(guarded: ServerProcess) -> None:
    """So many connections are served at a time, those of sockets included; an upload
    that is turned away can read why; and there is room again when some have gone."""
    with ExitStack() as stack:
        for n in range(MOST):
            client = stack.enter_context(Client(guarded, f"192.0.2.{n}"))
            head = HANDSHAKE if n % 2 else HEAD
            assert client.ask(head)[:12] in (b"HTTP/1.1 101", b"HTTP/1.1 200")
        with Client(guarded, "192.0.2.200") as refused:
            answer = refused.ask(UPLOAD + b"5\r\nabcde\r\n" * 100)
            assert answer.startswith(b"HTTP/1.1 503 Too many connections\r\n")
            assert refused.rest() == b""
    wait_for(lambda: is_served(guarded, "192.0.2.200"))


def test_nobody_is_counted_twice(guarded: ServerProcess) -> None:
    """However connections end, there is room for as many others."""
    for n in range(3 * MOST):
        with Client(guarded, "192.0.2.1") as client:
            if n % 3 == 0:
                client.ask(HANDSHAKE)
            elif n % 3 == 1:
                client.socket.sendall(b"nonsense\r\n\r\n")
                client.rest()
            else:
                client.ask()
        wait_for(lambda: is_served(guarded, "192.0.2.1"))
    with ExitStack() as stack:
        for _ in range(MOST_OF_ONE):
            client = stack.enter_context(Client(guarded, "192.0.2.1"))
            assert client.ask().startswith(b"HTTP/1.1 200 ")


@pytest.fixture
def impatient(tmp_path: Path) -> Iterator[ServerProcess]:
    server = ServerProcess(
        *("--standalone", str(tmp_path / "home"), "--dummy-auth", "T"),
        command=command(SLOW_SECONDS),
    )
    server.start()
    yield server
    server.kill()
    assert "Traceback" not in server.log()


def descriptors(server: ServerProcess) -> int:
    return len(os.listdir(f"/proc/{server.pid}/fd"))


def test_dribbling(impatient: ServerProcess, tmp_path: Path) -> None:
    """2,000 clients dribble heads and bodies: others are served meanwhile, these are
    cut off, and nothing is left of them."""
    raise_nofile_limit(DRIBBLING + 500)
    client = httpx.Client(base_url=impatient.url, headers=AUTHORIZATION, timeout=30)
    assert client.post("/api/v0/files/p/b", content=b"x").status_code == 204
    before = descriptors(impatient)
    selector = selectors.DefaultSelector()
    for n in range(DRIBBLING):
        one = socket.create_connection(("127.0.0.1", impatient.port), 60)
        one.sendall(UPLOAD if n % 2 else b"GET /healthz HTTP/1.1\r\nX")
        one.setblocking(False)
        selector.register(one, selectors.EVENT_READ)
    last = time.monotonic()
    answered = 0
    while selector.get_map():
        assert client.get("/api/v0/files/p/b").content == b"x"
        for key, _ in selector.select(0.1):
            connection: socket.socket = key.fileobj  # type: ignore[assignment]
            answered += _is_cut_off(connection)
            selector.unregister(connection)
            connection.close()
        if time.monotonic() > last + 1:
            last = time.monotonic()
            for key in list(selector.get_map().values()):
                _dribble(key.fileobj)  # type: ignore[arg-type]
    assert answered > DRIBBLING / 4
    wait_for(lambda: descriptors(impatient) <= before)
    assert client.get("/api/v0/files/p/a").status_code == 404
    assert list((tmp_path / "home" / "objects" / ".incoming").iterdir()) == []


def _is_cut_off(connection: socket.socket) -> bool:
    """Say whether a client was told why; a reset may overtake that."""
    try:
        return connection.recv(100).startswith(b"HTTP/1.1 408 ")
    except ConnectionError:
        return False


def _dribble(connection: socket.socket) -> None:
    with suppress(OSError):  # it is cut off
        connection.send(b"1\r\nx\r\n" if connection.fileno() % 2 else b"x")


def test_readers_that_stop(tmp_path: Path) -> None:
    """Twenty clients ask for an object of 1 GiB and stop reading: it costs a bounded
    memory, and others are served."""
    options = ("--standalone", str(tmp_path / "home"), "--dummy-auth", "T")
    with ServerProcess(*options) as server, ExitStack() as stack:
        url = f"{server.url}/api/v0/files/p/large"
        pieces = (PIECE for _ in range(1024))
        client = httpx.Client(headers=AUTHORIZATION, timeout=120)
        assert client.post(url, content=pieces).status_code == 204
        before = server.memory()
        for _ in range(20):
            reader = socket.socket()
            stack.enter_context(reader)
            reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            reader.connect(("127.0.0.1", server.port))
            reader.sendall(b"GET /api/v0/files/p/large HTTP/1.1\r\nHost: x\r\n\r\n")
            assert reader.recv(100)
        part = client.get(url, headers={"Range": f"bytes=0-{MIB - 1}"})
        assert part.content == PIECE
        assert server.memory() - before < 48 * MIB
