"""HTTP and push behave over TLS and behind the PROXY protocol as they do without."""

from __future__ import annotations

import os
import signal
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from attrs import frozen
from websockets.sync.client import connect

from tests.support.certificates import make_certificate, shown_by
from tests.support.server import ServerProcess
from tests.support.waiting import wait_for
from tests.support.wire import Wire

TOKEN = {"Authorization": "Token T"}
OBJECT = "/api/v0/files/p/blocks/a"
LARGE = bytes(range(256)) * 16_384  # 4 MiB
PROXY_V1 = b"PROXY TCP4 192.0.2.7 192.0.2.1 5555 443\r\n"
PROXY_V2 = (
    b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c"
    b"\xc0\x00\x02\x07\xc0\x00\x02\x01\x15\xb3\x01\xbb"
)


@frozen
class Way:
    """A server, and how to connect to it."""

    server: ServerProcess
    wrap: Callable[[socket.socket], socket.socket]

    def wire(self, receive_buffer: int | None = None) -> Wire:
        return Wire(self.server.port, receive_buffer, self.wrap)


def _says(header: bytes) -> Callable[[socket.socket], socket.socket]:
    def wrap(plain: socket.socket) -> socket.socket:
        plain.sendall(header)
        return plain

    return wrap


def _encrypts(certificate: Path) -> Callable[[socket.socket], socket.socket]:
    context = ssl.create_default_context(cafile=str(certificate))
    context.set_alpn_protocols(["h2", "http/1.1"])

    def wrap(plain: socket.socket) -> socket.socket:
        return context.wrap_socket(plain, server_hostname="127.0.0.1")

    return wrap


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate and its key."""
    return make_certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture(scope="module", params=["ssl", "v1", "v2"])
def way(
    request: pytest.FixtureRequest,
    files: tuple[Path, Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Way]:
    certificate, key = files
    secure = f"ssl:0:privateKey={key}:certKey={certificate}:interface=127.0.0.1"
    description, wrap = {
        "ssl": (secure, _encrypts(certificate)),
        "v1": ("haproxy:tcp:0:interface=127.0.0.1", _says(PROXY_V1)),
        "v2": ("haproxy:tcp:0:interface=127.0.0.1", _says(PROXY_V2)),
    }[request.param]
    home = str(tmp_path_factory.mktemp("wrapped") / "home")
    options = ("--standalone", home, "--dummy-auth", "T", "--listen", description)
    with ServerProcess(*options) as server:
        yield Way(server, wrap)


def test_objects(way: Way) -> None:
    """Objects are stored and read over one connection that stays open."""
    with way.wire() as wire:
        wire.head("POST", OBJECT, {**TOKEN, "Transfer-Encoding": "chunked"})
        for at in range(0, len(LARGE), 65_536):
            wire.chunk(LARGE[at : at + 65_536])
        wire.chunk(b"")
        assert wire.answer().status == 204
        wire.head("GET", OBJECT)
        assert wire.answer().body == LARGE


def test_slow_reader(way: Way) -> None:
    """A client that reads late gets the whole."""
    with way.wire() as wire:
        length = {**TOKEN, "Content-Length": str(len(LARGE))}
        wire.head("PUT", OBJECT, length)
        wire.send(LARGE)
        assert wire.answer().status == 204
    with way.wire(receive_buffer=4096) as wire:
        wire.head("GET", OBJECT)
        wire.head("GET", OBJECT, {"Range": "bytes=0-3"})
        assert wire.answer().body == LARGE
        assert wire.answer().body == LARGE[:4]


def test_pipelining(way: Way) -> None:
    """Requests that are sent together are answered one after the other."""
    request = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    with way.wire() as wire:
        wire.send(request * 20)
        assert [wire.answer().status for _ in range(20)] == [200] * 20


def test_refused_upload(way: Way) -> None:
    """A refusal is sent before the body, and the connection is kept after it."""
    with way.wire() as wire:
        wire.head("POST", OBJECT, {"Content-Length": str(len(LARGE))})
        assert wire.answer().status == 403
        wire.send(LARGE)
        wire.head("GET", "/healthz")
        assert wire.answer().status == 200


def test_expect_continue(way: Way) -> None:
    """``100 Continue`` comes before the body."""
    with way.wire() as wire:
        headers = {**TOKEN, "Content-Length": "1", "Expect": "100-continue"}
        wire.head("POST", OBJECT, headers)
        assert wire.answer().status == 100
        wire.send(b"x")
        assert wire.answer().status == 204


def test_push(way: Way) -> None:
    """A connection is handed from HTTP to push, also after other requests."""
    with way.wire() as writer, way.wire() as wire:
        wire.head("GET", "/healthz")
        wire.answer()
        uri = f"ws://127.0.0.1:{way.server.port}/api/v0/websocket/p/a"
        with connect(uri, sock=wire.socket) as websocket:
            for _ in range(3):
                headers = {**TOKEN, "Content-Length": "1"}
                writer.head("POST", "/api/v0/files/p/a", headers)
                writer.send(b"x")
                assert writer.answer().status == 204
                assert '"POST"' in str(websocket.recv(timeout=60))


def test_missing_proxy_header(tmp_path: Path) -> None:
    """Where the PROXY protocol is expected, a connection without it is told so and
    closed, and there is a line in the log."""
    options = ("--standalone", str(tmp_path / "home"), "--dummy-auth", "T")
    listen = ("--listen", "haproxy:tcp:0:interface=127.0.0.1")
    with ServerProcess(*options, *listen) as server, Wire(server.port) as wire:
        wire.head("GET", "/healthz")
        answer = wire.answer()
        assert (answer.status, answer.reason) == (400, "Bad Request")
        assert b"PROXY header" in answer.body
        assert wire.at_end()
        assert "a PROXY header is expected" in server.log()


def test_tls_on_a_plain_port(tmp_path: Path) -> None:
    """TLS where it is not expected is answered in plain text at once, and there is a
    line in the log."""
    options = ("--standalone", str(tmp_path / "home"), "--dummy-auth", "T")
    with ServerProcess(*options) as server, Wire(server.port) as wire:
        with pytest.raises(ssl.SSLError):
            ssl.create_default_context().wrap_socket(
                wire.socket.dup(), server_hostname="localhost"
            )
        assert "TLS where HTTP is expected" in server.log()


def test_certificate_reload(tmp_path: Path) -> None:
    """SIGHUP reads the certificate again: new connections see it, open ones stay
    as they are. One that is broken changes nothing."""
    certificate, key = make_certificate(tmp_path, "old")
    listen = f"ssl:0:privateKey={key}:certKey={certificate}:interface=127.0.0.1"
    options = ("--standalone", str(tmp_path / "home"), "--dummy-auth", "T")
    with ServerProcess(*options, "--listen", listen) as server:
        assert shown_by(server.port) == "old"
        with Wire(server.port, wrap=_encrypts(certificate)) as wire:
            wire.head("POST", OBJECT, {**TOKEN, "Transfer-Encoding": "chunked"})
            wire.chunk(b"before ")
            fresh, fresh_key = make_certificate(tmp_path, "new")
            certificate.write_bytes(fresh.read_bytes())
            key.write_bytes(fresh_key.read_bytes())
            os.kill(server.pid, signal.SIGHUP)
            wait_for(lambda: shown_by(server.port) == "new")
            key.write_bytes(b"not a key")
            os.kill(server.pid, signal.SIGHUP)
            wait_for(lambda: "the old certificate stays" in server.log())
            assert shown_by(server.port) == "new"
            wire.chunk(b"and after")
            wire.chunk(b"")
            assert wire.answer().status == 204
            wire.head("GET", OBJECT)
            assert wire.answer().body == b"before and after"
