"""Frames that no client should send (RFC 6455), by themselves and at random."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from contextlib import suppress

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from websockets.sync.client import connect

from tests.support.server import ServerProcess

EXAMPLES = int(os.environ.get("QABEL_BLOCK_TEST_REQUESTS", "150"))
HANDSHAKE = (
    b"GET /api/v0/websocket/p/a HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n"
    b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
FIN, RSV1, RSV2, RSV3 = 0x80, 0x40, 0x20, 0x10
KEY = b"\1\2\3\4"


def frame(
    opcode: int, payload: bytes = b"", flags: int = FIN, masked: bool = True
) -> bytes:
    """Return a frame of a client."""
    mask = 0x80 if masked else 0
    size = len(payload)
    if size < 126:
        length = bytes([mask | size])
    elif size < 2**16:
        length = bytes([mask | 126]) + struct.pack(">H", size)
    else:
        length = bytes([mask | 127]) + struct.pack(">Q", size)
    if masked:
        payload = KEY + bytes(byte ^ KEY[n % 4] for n, byte in enumerate(payload))
    return bytes([flags | opcode]) + length + payload


def announced(size: int) -> bytes:
    """Return the beginning of a frame of so many bytes."""
    return bytes([FIN | BINARY, 0x80 | 127]) + struct.pack(">Q", size) + KEY


WRONG = {
    "not masked": (frame(TEXT, b"x", masked=False), 1002),
    "first reserved bit": (frame(TEXT, b"x", FIN | RSV1), 1002),
    "second reserved bit": (frame(TEXT, b"x", FIN | RSV2), 1002),
    "third reserved bit": (frame(PING, b"x", FIN | RSV3), 1002),
    "reserved opcode": (frame(3), 1002),
    "reserved control opcode": (frame(11), 1002),
    "continues nothing": (frame(0, b"x"), 1002),
    "interrupted message": (frame(TEXT, b"x", 0) + frame(TEXT, b"x"), 1002),
    "control frame in pieces": (frame(PING, b"x", 0), 1002),
    "long ping": (frame(PING, b"x" * 126), 1002),
    "close with half a code": (frame(CLOSE, b"\3"), None),
    "close with a reserved code": (frame(CLOSE, struct.pack(">H", 1005)), None),
    "close with an unknown code": (frame(CLOSE, struct.pack(">H", 999)), None),
    "close that is no text": (frame(CLOSE, struct.pack(">H", 1000) + b"\xff"), None),
    "too large": (announced(64 * 1024 + 1), 1009),
    "far too large": (announced(2**40), 1009),
    "negative": (announced(2**63), 1002),
    "too large in pieces": (
        frame(BINARY, b"x" * 40_000, 0) + frame(0, b"x" * 40_000),
        1009,
    ),
}

RIGHT = {
    "nothing": b"",
    "text": frame(TEXT, b"hello"),
    "no text at all": frame(TEXT, b"\xff\xfe"),
    "binary": frame(BINARY, b"x" * 60_000),
    "empty": frame(TEXT) + frame(BINARY),
    "in pieces": frame(TEXT, b"x", 0) + frame(0, b"y", 0) + frame(0, b"z"),
    "ping within": frame(TEXT, b"x", 0) + frame(PING, b"p") + frame(0, b"z"),
    "many pings": frame(PING, b"x" * 125) * 1000,
    "pongs that nobody asked for": frame(PONG, b"x") * 1000,
    "many small pieces": frame(TEXT, b"x", 0) + frame(0, b"x", 0) * 5000 + frame(0),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    home = tmp_path_factory.mktemp("frames") / "home"
    server = ServerProcess("--standalone", str(home), "--dummy-auth", "T")
    server.start()
    yield server
    server.kill()
    assert "Traceback" not in server.log()


def opened(server: ServerProcess) -> socket.socket:
    """Return a connection on which a handshake has succeeded."""
    connection = socket.create_connection(("127.0.0.1", server.port), 30)
    connection.sendall(HANDSHAKE)
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += connection.recv(1)
    assert head.startswith(b"HTTP/1.1 101 ")
    return connection


def rest(connection: socket.socket) -> bytes:
    """Return what comes until the server hangs up."""
    received = b""
    try:
        while data := connection.recv(65536):
            received += data
    except ConnectionError:
        pass
    return received


def upload(server: ServerProcess) -> None:
    answer = httpx.post(
        f"{server.url}/api/v0/files/p/a",
        content=b"x",
        headers={"Authorization": "Token T"},
        timeout=60,
    )
    assert answer.status_code == 204


@pytest.mark.parametrize("name", WRONG)
def test_wrong(server: ServerProcess, name: str) -> None:
    """What breaks the protocol closes the socket, with the code that says why unless
    the client was closing it already, and no other socket."""
    frames, code = WRONG[name]
    url = f"{server.url.replace('http', 'ws')}/api/v0/websocket/p/a"
    with connect(url, open_timeout=60) as other, opened(server) as connection:
        connection.sendall(frames)
        if code is None:
            assert rest(connection) == b""
        else:
            assert connection.recv(2)[0] == FIN | CLOSE
            assert struct.unpack(">H", connection.recv(2)) == (code,)
        upload(server)
        assert other.recv(timeout=60)


@pytest.mark.parametrize("name", RIGHT)
def test_right(server: ServerProcess, name: str) -> None:
    """What keeps to the protocol is ignored; pings are answered; and events still
    come."""
    with opened(server) as connection:
        connection.sendall(RIGHT[name])
        upload(server)
        received = b""
        while b'"operation"' not in received:
            data = connection.recv(65536)
            assert data
            received += data
        connection.sendall(frame(CLOSE, struct.pack(">H", 1000)))
        received += rest(connection)
        assert received[-4:] == bytes([FIN | CLOSE, 2]) + struct.pack(">H", 1000)


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    frames=st.lists(
        st.binary(max_size=30)
        | st.builds(
            frame,
            st.integers(0, 15),
            st.binary(max_size=130),
            st.integers(0, 15).map(lambda bits: bits << 4),
            st.booleans(),
        ),
        max_size=5,
    ).map(b"".join)
)
def test_random_frames(server: ServerProcess, frames: bytes) -> None:
    """Whatever comes, the server goes on (and logs no traceback)."""
    with opened(server) as connection:
        with suppress(OSError):  # it may be closed by now
            connection.sendall(frames)
            connection.shutdown(socket.SHUT_WR)
        rest(connection)
