"""Where the server listens: --listen with Twisted's endpoint descriptions."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import stat
from pathlib import Path

import httpx
import pytest
from websockets.sync.client import unix_connect

from tests.support.activation import activated
from tests.support.certificates import make_certificate
from tests.support.load import REQUESTS, Load, get_and_put
from tests.support.runners import TWIST, run_to_the_end
from tests.support.server import ServerProcess
from tests.support.waiting import wait_for
from tests.support.wire import Wire

TOKEN = {"Authorization": "Token T"}
TCP = "tcp:0:interface=127.0.0.1"


@pytest.fixture
def options(tmp_path: Path) -> tuple[str, ...]:
    return ("--standalone", str(tmp_path / "home"), "--dummy-auth", "T")


def _over_unix(path: Path) -> httpx.Client:
    return httpx.Client(
        transport=httpx.HTTPTransport(uds=str(path)),
        base_url="http://localhost/api/v0/files/p",
        timeout=60,
    )


def test_several_endpoints(options: tuple[str, ...], tmp_path: Path) -> None:
    """What is stored over one endpoint is read over another."""
    path = tmp_path / "socket"
    listen = ("--listen", TCP, "--listen", f"unix:{path}", "--listen", TCP)
    with ServerProcess(*options, *listen) as server, _over_unix(path) as client:
        assert client.post("/a", content=b"x", headers=TOKEN).status_code == 204
        assert httpx.get(f"{server.url}/api/v0/files/p/a").content == b"x"
        assert server.log().count("listening on 127.0.0.1 port") == 2


def test_several_endpoints_from_the_environment(
    options: tuple[str, ...], tmp_path: Path
) -> None:
    """In the environment, spaces separate endpoints."""
    path = tmp_path / "socket"
    listen = {"QABEL_BLOCK_LISTEN": f"{TCP} unix:{path}"}
    with ServerProcess(*options, environment=listen), _over_unix(path) as client:
        assert client.get("/a").status_code == 404


def test_unix_socket(options: tuple[str, ...], tmp_path: Path) -> None:
    """The socket's file has the mode that was asked for, and is removed at the
    end."""
    path = tmp_path / "socket"
    listen = ("--listen", TCP, "--listen", f"unix:{path}:mode=660")
    with ServerProcess(*options, *listen):
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
    assert not path.exists()


def test_push_over_a_unix_socket(options: tuple[str, ...], tmp_path: Path) -> None:
    """Events reach a subscriber on a socket in the file system."""
    path = tmp_path / "socket"
    listen = ("--listen", TCP, "--listen", f"unix:{path}")
    with (
        ServerProcess(*options, *listen),
        _over_unix(path) as client,
        unix_connect(str(path), "ws://localhost/api/v0/websocket/p/a") as websocket,
    ):
        client.post("/a", content=b"x", headers=TOKEN)
        assert '"POST"' in str(websocket.recv(timeout=60))


def test_stale_unix_socket(options: tuple[str, ...], tmp_path: Path) -> None:
    """The socket that a crash leaves behind doesn't keep the server from
    starting."""
    path = tmp_path / "socket"
    server = ServerProcess(*options, "--listen", TCP, "--listen", f"unix:{path}")
    server.start()
    server.kill()
    assert path.exists()
    with server, _over_unix(path) as client:
        assert client.get("/a").status_code == 404


def test_unix_socket_in_use(options: tuple[str, ...], tmp_path: Path) -> None:
    """The socket of a server that lives is left to it."""
    path = tmp_path / "socket"
    with (
        ServerProcess(*options, "--listen", TCP, "--listen", f"unix:{path}"),
        _over_unix(path) as client,
    ):
        assert "in use" in _refused("--listen", f"unix:{path}")
        assert client.get("/a").status_code == 404


def _refused(*options: str) -> str:
    """Run a server that must not start; return the one line that it says."""
    places = ("--dummy", "--dummy-cache", "--dummy-auth", "T")
    ended = run_to_the_end(TWIST, *places, "--logging", "error", *options)
    assert ended.status != 0
    assert ended.out == ""
    assert ended.err.count("\n") == 1
    assert ended.err.startswith("qabel-block: ")
    return ended.err


@pytest.mark.parametrize(
    "description",
    [
        "8888",
        "tcp",
        "tcp:",
        "tcp:http-alt-or-so",
        "tcp:70000",
        "tcp:0:interface=192.0.2.1",
        "tcp:0:nonsense=1",
        "tcp:0:interface=no.such.host.invalid",
        "ssl:0",
        "ssl:0:privateKey=/no/such/file",
        "unix:/no/such/directory/socket",
        "unix:/socket:mode=rw",
        "systemd:domain=INET:index=0",
        "systemd:domain=INET:name=block",
        "systemd:domain=NONSENSE:index=0",
        "haproxy:nonsense:1",
        "haproxy:tcp:",
        "haproxy:ssl:0",
        "stdio:",
        "fd:3",
    ],
)
def test_wrong_description(description: str) -> None:
    """A description that can't be used is one line and a failure."""
    assert description.partition(":")[0] in _refused("--listen", description)


def test_port_in_use() -> None:
    """So is a port that another process has."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        assert "in use" in _refused("--address", "127.0.0.1", "--port", port)


def test_socket_activation(options: tuple[str, ...]) -> None:
    """With a socket that systemd holds, restarts under load refuse or cut no
    request."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        server = activated(listener, *options)
        port = listener.getsockname()[1]
        load = Load(
            lambda: http.client.HTTPConnection("127.0.0.1", port, timeout=60),
            get_and_put("T"),
        )
        server.start()
        httpx.put(f"{server.url}/api/v0/files/p/0", content=b"x", headers=TOKEN)
        with load:
            for restart in range(1, 3):
                wait_for(lambda: load.sent > REQUESTS // 3 * restart)  # noqa: B023
                assert server.stop() == 0
                server.start()
            wait_for(lambda: load.sent > REQUESTS)
        server.stop()
    assert load.failures == []
    assert set(load.answers) == {200, 204}


def test_waiting_connections_are_served(options: tuple[str, ...]) -> None:
    """A connection that waits when the server stops is served first."""
    with ServerProcess(*options) as server:
        os.kill(server.pid, signal.SIGSTOP)
        with Wire(server.port) as wire:
            wire.head("GET", "/healthz")
            os.kill(server.pid, signal.SIGTERM)
            os.kill(server.pid, signal.SIGCONT)
            assert wire.answer().status == 200
        assert server.wait() == 0


def test_certificates_are_files(tmp_path: Path) -> None:
    """A certificate that doesn't go with its key is refused at the start."""
    certificate, _ = make_certificate(tmp_path, "one")
    _, key = make_certificate(tmp_path, "two")
    _refused("--listen", f"ssl:0:privateKey={key}:certKey={certificate}")
