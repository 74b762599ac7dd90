"""SIGTERM: no new connections, what is under way finishes, exit status 0."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.support.database import query
from tests.support.server import ServerProcess
from tests.support.waiting import wait_for
from tests.support.wire import Wire

TOKEN = {"Authorization": "Token T"}
LARGE = 24 * 1024 * 1024
"""More than the buffers between server and client hold."""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def server(home: Path) -> Iterator[ServerProcess]:
    """A server with a large object, and with its default patience."""
    with ServerProcess("--standalone", str(home), "--dummy-auth", "T") as server:
        _store(server)
        yield server


def _store(server: ServerProcess) -> None:
    url = f"{server.url}/api/v0/files/p/blocks/large"
    with httpx.Client(timeout=60) as client:
        answer = client.post(url, content=bytes(LARGE), headers=TOKEN)
        assert answer.status_code == 204


def _terminate(server: ServerProcess) -> None:
    """Send SIGTERM, and wait until new connections are refused."""
    os.kill(server.pid, signal.SIGTERM)
    wait_for(lambda: not _accepts(server.port))


def _accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=60).close()
    except OSError:
        return False
    return True


def _begin_upload(server: ServerProcess) -> Wire:
    wire = Wire(server.port)
    wire.head("POST", "/api/v0/files/p/a", {**TOKEN, "Transfer-Encoding": "chunked"})
    wire.chunk(b"first ")
    return wire


def _begin_download(server: ServerProcess) -> Wire:
    wire = Wire(server.port, receive_buffer=4096)
    wire.head("GET", "/api/v0/files/p/blocks/large")
    assert wire.socket.recv(12, socket.MSG_PEEK | socket.MSG_WAITALL)
    return wire


def test_upload_finishes(server: ServerProcess) -> None:
    """An upload that is under way is stored, and its answer says that the
    connection ends."""
    with _begin_upload(server) as wire:
        _terminate(server)
        wire.chunk(b"second")
        wire.chunk(b"")
        answer = wire.answer()
        assert answer.status == 204
        assert answer.headers["connection"] == "close"
        assert wire.at_end()
    assert server.wait() == 0
    server.start()
    assert httpx.get(f"{server.url}/api/v0/files/p/a").content == b"first second"


def test_download_finishes(server: ServerProcess, home: Path) -> None:
    """A download that is under way is sent to its end, and its traffic is in
    the ledger when the process has ended."""
    with _begin_download(server) as wire:
        _terminate(server)
        assert len(wire.answer().body) == LARGE
    assert server.wait() == 0
    ledger = f"sqlite:///{home / 'ledger.sqlite'}"
    assert query(ledger, "SELECT sum(traffic) FROM traffic") == [(LARGE,)]


def test_idle_connection_is_served_once_more(server: ServerProcess) -> None:
    """A request that arrives on an idle connection after SIGTERM is answered,
    and the answer says that the connection ends."""
    with _begin_upload(server) as upload, Wire(server.port) as idle:
        idle.head("GET", "/healthz")
        assert idle.answer().headers["connection"] == "keep-alive"
        _terminate(server)
        idle.head("GET", "/healthz")
        answer = idle.answer()
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        assert idle.at_end()
        upload.chunk(b"")
        assert upload.answer().status == 204
    assert server.wait() == 0


def test_idle_connections_do_not_hold_it_up(server: ServerProcess) -> None:
    """Connections that stay idle, before or after a request, are closed."""
    with Wire(server.port) as fresh, Wire(server.port) as used:
        used.head("GET", "/healthz")
        used.answer()
        _terminate(server)
        assert fresh.at_end()
        assert used.at_end()
        assert server.wait() == 0
    assert "did not end in time" not in server.log()


def test_push_sockets_are_told(server: ServerProcess) -> None:
    """Push sockets are closed as going away."""
    url = f"ws://127.0.0.1:{server.port}/api/v0/websocket/p/a"
    with connect(url) as websocket:
        os.kill(server.pid, signal.SIGTERM)
        with pytest.raises(ConnectionClosed) as closed:
            websocket.recv(timeout=60)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1001
    assert server.wait() == 0


def test_second_sigterm(server: ServerProcess, home: Path) -> None:
    """A second SIGTERM cuts off what is under way; the ledger still gets what
    was sent, nothing of the upload is stored, and the exit status is 0."""
    with _begin_upload(server) as upload, _begin_download(server) as download:
        _terminate(server)
        os.kill(server.pid, signal.SIGTERM)
        assert upload.at_end()
        with pytest.raises((EOFError, ConnectionResetError)):
            download.answer()
    assert server.wait() == 0
    _nothing_but_the_traffic(home)


def test_drain_limit(home: Path) -> None:
    """What takes longer than --drain is cut off; the exit status is still 0."""
    options = ("--standalone", str(home), "--dummy-auth", "T", "--drain", "1")
    with ServerProcess(*options) as server:
        _store(server)
        with _begin_upload(server) as upload, _begin_download(server) as download:
            _terminate(server)
            assert upload.at_end()
            with pytest.raises((EOFError, ConnectionResetError)):
                download.answer()
        assert server.wait() == 0
    _nothing_but_the_traffic(home)


def _nothing_but_the_traffic(home: Path) -> None:
    ledger = f"sqlite:///{home / 'ledger.sqlite'}"
    assert query(ledger, "SELECT path FROM objects") == [("blocks/large",)]
    ((traffic,),) = query(ledger, "SELECT sum(traffic) FROM traffic")
    assert 0 < traffic < LARGE
    assert list((home / "objects" / ".incoming").iterdir()) == []
