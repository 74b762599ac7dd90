"""--processes: workers on the same sockets, and the supervisor that keeps them."""

from __future__ import annotations

import http.client
import os
import re
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from websockets.sync.client import connect

from tests.support.activation import activated
from tests.support.certificates import make_certificate, shown_by
from tests.support.checkout import CHECKOUT
from tests.support.forked_workers import workers_of
from tests.support.load import REQUESTS, Load, get_and_put
from tests.support.server import ServerProcess
from tests.support.waiting import wait_for
from tests.support.wire import Wire

TOKEN = {"Authorization": "Token T"}
OBJECT = "/api/v0/files/p/0"


def _workers(server: ServerProcess) -> set[int]:
    return workers_of(server.pid)


def _load(port: int, clients: int = 8) -> Load:
    def make() -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    return Load(make, get_and_put("T"), clients)


def _put(server: ServerProcess) -> None:
    answer = httpx.put(f"{server.url}{OBJECT}", content=b"x", headers=TOKEN)
    assert answer.status_code == 204


def _begin_upload(server: ServerProcess) -> Wire:
    """Begin to store two bytes, and return when a worker waits for them."""
    wire = Wire(server.port)
    headers = {**TOKEN, "Content-Length": "2", "Expect": "100-continue"}
    wire.head("POST", OBJECT, headers)
    assert wire.answer().status == 100
    return wire


def _wait_for_log(server: ServerProcess, text: str, times: int = 1) -> None:
    wait_for(lambda: server.log().count(text) == times)


def test_workers_serve_one_store(shared_options: tuple[str, ...]) -> None:
    """What one worker stores, all of them read; the supervisor serves nothing."""
    with ServerProcess(*shared_options, "--processes", "2") as server:
        _put(server)
        workers = _workers(server)
        assert len(workers) == 2
        for _ in range(20):
            assert httpx.get(f"{server.url}{OBJECT}").content == b"x"
        wait_for(lambda: sum(server.served().values()) == 21)
        assert set(server.served()) <= workers
    assert not any(Path(f"/proc/{pid}").exists() for pid in workers)


def test_even_load(shared_options: tuple[str, ...]) -> None:
    """Of 4,000 requests on 40 connections that are opened one after the other, two
    workers serve as many, give or take 10 %."""
    with ServerProcess(*shared_options, "--processes", "2") as server:
        _put(server)
        wires = []
        for _ in range(40):
            wire = Wire(server.port)
            wire.head("GET", OBJECT)
            assert wire.answer().body == b"x"
            wires.append(wire)

        def read_often(wire: Wire) -> None:
            for _ in range(99):
                wire.head("GET", OBJECT)
                assert wire.answer().body == b"x"
            wire.close()

        with ThreadPoolExecutor(40) as pool:
            list(pool.map(read_often, wires))
        wait_for(lambda: sum(server.served().values()) == 4001)
        one, other = server.served().values()
        assert abs(one - other) <= 0.1 * max(one, other)


def test_crash(shared_options: tuple[str, ...]) -> None:
    """A worker that is killed is replaced; the other serves meanwhile, and a
    connection that only the dead one had is all that is lost."""
    with ServerProcess(*shared_options, "--processes", "2") as server:
        _put(server)
        before = _workers(server)
        os.kill(min(before), signal.SIGKILL)
        for _ in range(50):
            assert httpx.get(f"{server.url}{OBJECT}").status_code == 200
        wait_for(lambda: len(_workers(server) - before) == 1)
        assert max(before) in _workers(server)
        assert "has ended (signal 9)" in server.log()


def test_replaced_under_load(shared_options: tuple[str, ...]) -> None:
    """SIGHUP replaces all workers; of all requests meanwhile none is refused or
    cut."""
    with ServerProcess(*shared_options, "--processes", "2") as server:
        _put(server)
        with _load(server.port) as load:
            for round_ in range(1, 3):
                wait_for(lambda: load.sent > REQUESTS // 3 * round_)  # noqa: B023
                before = _workers(server)
                os.kill(server.pid, signal.SIGHUP)
                _wait_for_log(server, "all workers have been replaced", round_)
                assert not before & _workers(server)
            wait_for(lambda: load.sent > REQUESTS)
        assert load.failures == []
        assert set(load.answers) == {200, 204}


def test_restarted_on_a_socket_of_systemd(shared_options: tuple[str, ...]) -> None:
    """With a socket that systemd holds, a restart of everything under load
    refuses or cuts none of all requests."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        server = activated(listener, *shared_options, "--processes", "2")
        server.start()
        _put(server)
        with _load(listener.getsockname()[1]) as load:
            wait_for(lambda: load.sent > REQUESTS // 2)
            assert server.stop() == 0
            server.start()
            wait_for(lambda: load.sent > REQUESTS)
        server.stop()
    assert load.failures == []
    assert set(load.answers) == {200, 204}


def test_sighup_lets_transfers_finish(shared_options: tuple[str, ...]) -> None:
    """An upload that is under way goes on with the worker that has it, and one
    SIGHUP after another is enough for the last to count."""
    with ServerProcess(*shared_options, "--processes", "2") as server:
        with _begin_upload(server) as wire:
            wire.send(b"x")
            before = _workers(server)
            for _ in range(3):
                os.kill(server.pid, signal.SIGHUP)
            wait_for(lambda: len(_workers(server) - before) >= 1)
            wire.send(b"y")
            assert wire.answer().status == 204
        wait_for(lambda: not before & _workers(server))
        assert httpx.get(f"{server.url}{OBJECT}").content == b"xy"


def test_one_after_the_other(shared_options: tuple[str, ...]) -> None:
    """SIGHUP starts the second worker's successor when the first worker has ended,
    and not before."""
    with ServerProcess(*shared_options, "--processes", "2") as server:
        (first,) = re.findall(r"worker 1 is process (\d+)", server.log())
        wires = [_begin_upload(server) for _ in range(6)]
        os.kill(server.pid, signal.SIGHUP)
        _wait_for_log(server, "requests under way have")
        for wire in wires:
            wire.send(b"xy")
            assert wire.answer().status == 204
            wire.close()
        _wait_for_log(server, "all workers have been replaced")
        records = list(enumerate(server.records()))
        said = [n for n, record in records if record["process"] == int(first)]
        began = [n for n, record in records if record.get("number") == 2]
        assert len(began) == 2
        assert said[-1] < began[1]


def test_certificate_of_workers(
    shared_options: tuple[str, ...], tmp_path: Path
) -> None:
    """Successors read the certificate again."""
    certificate, key = make_certificate(tmp_path, "old")
    listen = f"ssl:0:privateKey={key}:certKey={certificate}:interface=127.0.0.1"
    options = (*shared_options, "--listen", listen, "--processes", "2")
    with ServerProcess(*options) as server:
        assert shown_by(server.port) == "old"
        for made, kept in zip(
            make_certificate(tmp_path, "new"), (certificate, key), strict=True
        ):
            kept.write_bytes(made.read_bytes())
        os.kill(server.pid, signal.SIGHUP)
        _wait_for_log(server, "all workers have been replaced")
        assert {shown_by(server.port) for _ in range(10)} == {"new"}


def test_all_drain(shared_options: tuple[str, ...]) -> None:
    """SIGTERM lets uploads finish in all workers; then the supervisor ends with
    status 0, even if everyone has got the signal, as from systemd."""
    with ServerProcess(*shared_options, "--processes", "2") as server:
        wires = [_begin_upload(server) for _ in range(6)]
        for pid in (server.pid, *_workers(server)):
            os.kill(pid, signal.SIGTERM)
        _wait_for_log(server, "stopping 2 workers")
        _wait_for_log(server, "requests under way have", 2)
        for wire in wires:
            wire.send(b"xy")
            assert wire.answer().status == 204
            wire.close()
        assert server.wait() == 0


def test_second_sigterm(shared_options: tuple[str, ...]) -> None:
    """A second SIGTERM cuts off what is under way in the workers."""
    with ServerProcess(*shared_options, "--processes", "2") as server:
        with _begin_upload(server) as wire:
            os.kill(server.pid, signal.SIGTERM)
            _wait_for_log(server, "requests under way have", 2)
            os.kill(server.pid, signal.SIGTERM)
            assert wire.at_end()
        assert server.wait() == 0


def test_supervisor_dies(shared_options: tuple[str, ...]) -> None:
    """Workers whose supervisor is killed drain and end."""
    with ServerProcess(*shared_options, "--processes", "2") as server:
        workers = _workers(server)
        with _begin_upload(server) as wire:
            server.kill()
            wire.send(b"xy")
            assert wire.answer().status == 204
        wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers))


def test_push_between_workers(shared_options: tuple[str, ...]) -> None:
    """Subscribers hear of changes that another worker made."""
    with ServerProcess(*shared_options, "--processes", "2") as server:
        uri = f"ws://127.0.0.1:{server.port}/api/v0/websocket/p/0"
        with connect(uri) as one, connect(uri) as other:
            for _ in range(4):
                _put(server)
                for websocket in (one, other):
                    assert '"POST"' in str(websocket.recv(timeout=60))


def test_log_files(shared_options: tuple[str, ...], tmp_path: Path) -> None:
    """Each worker has a log file of its own beside the supervisor's."""
    log = tmp_path / "block.log"
    options = (*shared_options, "--log-file-prefix", str(log), "--log-to-stderr")
    with ServerProcess(*options, "--processes", "2") as server:
        _put(server)
        workers = [tmp_path / f"block-{number}.log" for number in (1, 2)]
        wait_for(lambda: any("PUT" in one.read_text() for one in workers))
        assert "worker 1 is process" in log.read_text()
        assert "PUT" not in log.read_text()


@pytest.mark.parametrize("endpoint", ["unix", "haproxy"])
def test_other_endpoints(
    shared_options: tuple[str, ...], tmp_path: Path, endpoint: str
) -> None:
    """Workers share sockets in the file system and such that expect the PROXY
    protocol, and SIGHUP leaves them in their place."""
    path = tmp_path / "socket"
    listen = {
        "unix": ("--listen", f"unix:{path}", "--listen", "tcp:0:interface=127.0.0.1"),
        "haproxy": ("--listen", "haproxy:tcp:0:interface=127.0.0.1"),
    }[endpoint]
    with ServerProcess(*shared_options, *listen, "--processes", "2") as server:
        for turn in range(2):
            if endpoint == "unix":
                connection = socket.socket(socket.AF_UNIX)
                connection.connect(str(path))
            else:
                connection = socket.create_connection(("127.0.0.1", server.port))
                connection.sendall(b"PROXY TCP4 192.0.2.7 192.0.2.1 55 44\r\n")
            with connection:
                connection.settimeout(60)
                connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
                assert connection.recv(12) == b"HTTP/1.1 200"
            if turn == 0:
                os.kill(server.pid, signal.SIGHUP)
                _wait_for_log(server, "all workers have been replaced")
    assert not path.exists()


def test_twistd(shared_options: tuple[str, ...], tmp_path: Path) -> None:
    """It works as well under twistd that runs as a daemon."""
    log, pidfile = tmp_path / "log", tmp_path / "pid"
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [
        *(sys.executable, "-m", "tests.support.twistd"),
        *("--pidfile", str(pidfile), "--rundir", str(tmp_path)),
        *("qabel-block", *shared_options, "--processes", "2"),
        *("--address", "127.0.0.1", "--port", str(port)),
        *("--log-file-prefix", str(log)),
    ]
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    subprocess.run(command, check=True, env=environment, timeout=60)
    wait_for(lambda: log.exists() and "listening on" in log.read_text())
    pid = int(pidfile.read_text())
    assert httpx.get(f"http://127.0.0.1:{port}/readyz").status_code == 200
    assert len(workers_of(pid)) == 2
    os.kill(pid, signal.SIGTERM)
    wait_for(lambda: not Path(f"/proc/{pid}").exists())
    assert not pidfile.exists()
